"""What Jinja calls tests: yes or no of a value, as `x is defined` asks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from loopwright.prompts.budget import Budget
from loopwright.prompts.fault import Fault
from loopwright.prompts.values import Missing, as_number, kind_of

Test = Callable[..., bool]


def _same(_budget: Budget, value: Any, other: Any) -> bool:
    return bool(value == other)


def _in(_budget: Budget, value: Any, other: Any) -> bool:
    return value in _container(other)


def _container(value: Any) -> Iterable[Any]:
    if isinstance(value, str | list | tuple | dict | range):
        return value
    raise Fault(f"{kind_of(value)} holds nothing")


TESTS: Final[Mapping[str, Test]] = {
    "boolean": lambda _budget, value: isinstance(value, bool),
    "defined": lambda _budget, value: not isinstance(value, Missing),
    "divisibleby": lambda _budget, value, by: as_number(value) % as_number(by) == 0,
    "eq": _same,
    "equalto": _same,
    "even": lambda _budget, value: as_number(value) % 2 == 0,
    "false": lambda _budget, value: value is False,
    "ge": lambda _budget, value, other: value >= other,
    "gt": lambda _budget, value, other: value > other,
    "in": _in,
    "integer": lambda _budget, value: isinstance(value, int) and not isinstance(value, bool),
    "iterable": lambda _budget, value: isinstance(value, str | list | tuple | dict | range),
    "le": lambda _budget, value, other: value <= other,
    "lt": lambda _budget, value, other: value < other,
    "mapping": lambda _budget, value: isinstance(value, dict),
    "ne": lambda _budget, value, other: value != other,
    "none": lambda _budget, value: value is None,
    "number": lambda _budget, value: isinstance(value, int | float) and not isinstance(value, bool),
    "odd": lambda _budget, value: as_number(value) % 2 == 1,
    "sequence": lambda _budget, value: isinstance(value, str | list | tuple | range),
    "string": lambda _budget, value: isinstance(value, str),
    "true": lambda _budget, value: value is True,
    "undefined": lambda _budget, value: isinstance(value, Missing),
}
