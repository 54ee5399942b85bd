"""The values of templates: JSON, and what was not given. How they print, what they are called, what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from loopwright.kit.nearest import hint
from loopwright.prompts.budget import MOST_BITS, Budget
from loopwright.prompts.fault import Fault

_LOOKED_AT: Final = 200
"""Names of an object among which the nearest is looked for."""


class Missing:
    """What was not given: false, and else usable only by `default` and `is defined`."""

    __slots__ = ("among", "name", "path")

    def __init__(self, path: str, name: str = "", among: Iterable[Any] = ()) -> None:
        self.path = path
        self.name = name
        self.among = among
        """The names there are instead."""

    def __bool__(self) -> bool:
        return False

    @property
    def nearest(self) -> str:
        """What may have been meant, for people; found only when it is told."""
        known = [each[:60] for each in islice(self.among, _LOOKED_AT) if isinstance(each, str)]
        return hint(self.name, known) if self.name else ""


def text_of(value: Any, budget: Budget) -> str:
    """A value as a template prints it: texts as they are, lists and objects as JSON, the rest as Jinja does."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | dict):
        return to_json(budget, value)
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    raise Fault(f"{kind_of(value)} cannot be printed")


def kind_of(value: Any) -> str:
    """What a value is, for people."""
    for types, said in _KINDS:
        if isinstance(value, types):
            return said
    return "this"


def to_json(budget: Budget, value: Any, indent: int | None = None) -> str:
    """JSON, with all characters as they are."""
    if indent is not None and not 0 <= indent <= 16:
        raise Fault("tojson: indent from 0 to 16")
    if isinstance(value, range):
        value = list(value)
    budget.weigh(value)
    try:
        written = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Fault(f"{kind_of(value)} cannot be written as JSON") from None
    return written_out(budget, written)


def items_of(value: Any) -> list[Any]:
    """What a loop goes through."""
    if isinstance(value, list | tuple | range | dict | str):
        return list(value)
    raise Fault(f"{kind_of(value)} is nothing to go through: a list is")


def member(value: Any, name: Any) -> Any:
    """A member of an object by name, or an element of a list by number; Missing when it is not there."""
    if isinstance(name, str) and isinstance(value, dict):
        return value.get(name, Missing(name))
    if isinstance(name, int) and not isinstance(name, bool) and isinstance(value, list | tuple | str):
        return value[name] if -len(value) <= name < len(value) else Missing(str(name))
    return Missing(str(name)[:60])


def bounded(value: Any) -> Any:
    """A number that a template made.

    Raises:
        Fault: it is too large.
    """
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise Fault(f"makes a number of more than {MOST_BITS} bits")
    if isinstance(value, complex):
        raise Fault("makes no real number")
    return value


def written_out(budget: Budget, text: str) -> str:
    """A text that was made, paid for."""
    budget.text(len(text))
    return text


def as_text(value: Any) -> str:
    """A text.

    Raises:
        Fault: it is something else.
    """
    if not isinstance(value, str):
        raise Fault(f"needs a text, not {kind_of(value)}")
    return value


def as_number(value: Any) -> int | float:
    """A number.

    Raises:
        Fault: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault(f"needs a number, not {kind_of(value)}")
    return value


_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (Missing, "nothing"), (type(None), "null"), (bool, "a boolean"), ((int, float), "a number"), (str, "a text"),
    ((list, tuple), "a list"), (range, "a range"), (dict, "an object"),
)  # fmt: skip
