"""The filters and methods a template may use: those of Jinja that need nothing but values, each bounded.

All take the budget first. Values are JSON: None, booleans, numbers, texts, lists and objects.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from loopwright.prompts.budget import Budget
from loopwright.prompts.fault import Fault
from loopwright.prompts.questions import TESTS
from loopwright.prompts.values import (
    Missing,
    as_number,
    as_text,
    bounded,
    items_of,
    kind_of,
    member,
    text_of,
    to_json,
    written_out,
)

Filter = Callable[..., Any]
_WIDEST: Final = 10_000
"""Characters that an indent or a cut may ask for."""


def _default(_budget: Budget, value: Any, other: Any = "", boolean: Any = False) -> Any:  # noqa: FBT002 - Jinja's
    return other if isinstance(value, Missing) or (boolean and not value) else value


def _length(_budget: Budget, value: Any) -> int:
    if isinstance(value, str | list | tuple | dict | range):
        return len(value)
    raise Fault(f"{kind_of(value)} has no length")


def _first(_budget: Budget, value: Any) -> Any:
    if isinstance(value, dict):
        return next(iter(value), Missing("first"))
    return _ordered(value)[0] if value else Missing("first")


def _last(_budget: Budget, value: Any) -> Any:
    if isinstance(value, dict):
        return next(reversed(value), Missing("last"))
    return _ordered(value)[-1] if value else Missing("last")


def _ordered(value: Any) -> Any:
    if isinstance(value, str | list | tuple | range):
        return value
    raise Fault(f"{kind_of(value)} has no first and last")


def _join(budget: Budget, value: Any, between: Any = "", attribute: Any = None) -> str:
    each = items_of(value) if attribute is None else [_attribute(one, attribute) for one in items_of(value)]
    texts = [text_of(_there(one), budget) for one in each]
    glue = text_of(between, budget)
    budget.text(sum(map(len, texts)) + len(glue) * len(texts))
    return glue.join(texts)


def _attribute(value: Any, path: Any) -> Any:
    for name in path.split(".") if isinstance(path, str) else [path]:
        value = member(value, int(name) if isinstance(name, str) and name.isascii() and name.isdigit() else name)
    return value


def _there(value: Any) -> Any:
    if isinstance(value, Missing):
        raise Fault(f"there is no {value.path!r}")
    return value


def _replace(budget: Budget, value: Any, old: Any, new: Any, count: int | None = None) -> str:
    whole, gone, come = as_text(value), text_of(old, budget), text_of(new, budget)
    times = whole.count(gone) if count is None else min(whole.count(gone), max(count, 0))
    budget.text(len(whole) + times * len(come))
    return whole.replace(gone, come, times)


def _trim(_budget: Budget, value: Any, chars: Any = None) -> str:
    return as_text(value).strip(None if chars is None else as_text(chars))


def _truncate(budget: Budget, value: Any, length: int = 255, killwords: Any = False, end: str = "...") -> str:  # noqa: FBT002 - Jinja's
    text, most = as_text(value), _wide(length)
    if len(text) <= most:
        return text
    cut = text[: max(most - len(as_text(end)), 0)]
    kept = cut if killwords else cut.rsplit(" ", 1)[0]
    return written_out(budget, kept + end)


def _wide(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _WIDEST:
        raise Fault(f"needs a whole number from 0 to {_WIDEST:,}")
    return value


def _indent(budget: Budget, value: Any, width: int = 4, first: Any = False, blank: Any = False) -> str:  # noqa: FBT002 - Jinja's
    lines, margin = as_text(value).split("\n"), " " * _wide(width)
    budget.text(len(value) + len(lines) * len(margin))
    rest = [margin + line if line or blank else line for line in lines[1:]]
    return "\n".join([(margin if first else "") + lines[0], *rest])


def _sort(_budget: Budget, value: Any, reverse: Any = False, case_sensitive: Any = False, attribute: Any = None) -> Any:  # noqa: FBT002 - Jinja's
    def key(one: Any) -> Any:
        found = one if attribute is None else _there(_attribute(one, attribute))
        return found.casefold() if isinstance(found, str) and not case_sensitive else found

    return sorted(items_of(value), key=key, reverse=bool(reverse))


def _unique(budget: Budget, value: Any) -> list[Any]:
    found: dict[str, Any] = {}
    for one in items_of(value):
        found.setdefault(to_json(budget, one.casefold() if isinstance(one, str) else one), one)
    return list(found.values())


def _map(budget: Budget, value: Any, name: Any = None, *args: Any, attribute: Any = None, default: Any = None) -> Any:
    if attribute is not None:
        found = [_attribute(one, attribute) for one in items_of(value)]
        return [default if isinstance(one, Missing) and default is not None else _there(one) for one in found]
    if name not in FILTERS or name in {"map", "select", "reject", "selectattr", "rejectattr"}:
        raise Fault("needs attribute=… or the name of a filter")
    return [FILTERS[name](budget, one, *args) for one in items_of(value)]


def _picking(*, wanted: bool, by_member: bool) -> Filter:
    def pick(budget: Budget, value: Any, *args: Any) -> list[Any]:
        if by_member and not args:
            raise Fault("needs the name of a member")
        path, rest = (args[0], args[1:]) if by_member else (None, args)
        name = rest[0] if rest else None
        if name is not None and name not in TESTS:
            raise Fault(f"there is no test {str(name)[:40]!r}")
        kept = []
        for one in items_of(value):
            found = _attribute(one, path) if by_member else one
            passed = bool(found) if name is None else bool(TESTS[name](budget, found, *rest[1:]))
            if passed == wanted:
                kept.append(one)
        return kept

    return pick


def _round(_budget: Budget, value: Any, precision: int = 0, method: str = "common") -> float:
    if method not in {"common", "ceil", "floor"} or not -20 <= precision <= 20:
        raise Fault("round: precision from -20 to 20, and common, ceil or floor")
    if method == "common":
        return round(as_number(value), precision)
    scaled = (math.ceil if method == "ceil" else math.floor)(as_number(value) * 10**precision)
    return float(scaled / 10**precision)


def _int(_budget: Budget, value: Any, default: Any = 0) -> Any:
    try:
        return int(_short(value)) if isinstance(value, str) else int(as_number(value))
    except (ValueError, OverflowError):
        return default


def _float(_budget: Budget, value: Any, default: Any = 0.0) -> Any:
    try:
        return float(_short(value)) if isinstance(value, str) else float(as_number(value))
    except (ValueError, OverflowError):
        return default


def _short(text: str) -> str:
    return text if len(text) <= 60 else "none"


def _sum(budget: Budget, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    total = as_number(start)
    for one in items_of(value):
        budget.pay()
        total += as_number(one if attribute is None else _there(_attribute(one, attribute)))
    return bounded(total)


def _casing(change: Callable[[str], str]) -> Filter:
    return lambda budget, value: written_out(budget, change(as_text(value)))


def _method(name: str, most: int) -> Filter:
    """A method of texts that cannot make more than it was given."""

    def call(budget: Budget, value: Any, *args: Any) -> Any:
        if len(args) > most or not all(isinstance(one, str | int) for one in args):
            raise Fault("takes texts and whole numbers, and not so many")
        return budget.weigh(getattr(as_text(value), name)(*args))

    return call


def _of_object(read: Callable[[dict[str, Any]], Any]) -> Filter:
    def call(_budget: Budget, value: Any) -> list[Any]:
        if not isinstance(value, dict):
            raise Fault(f"needs an object, not {kind_of(value)}")
        return list(read(value))

    return call


def _get(_budget: Budget, value: Any, name: Any, other: Any = None) -> Any:
    if not isinstance(value, dict) or not isinstance(name, str):
        raise Fault("get takes a name and is of objects")
    return value.get(name, other)


FILTERS: Final[Mapping[str, Filter]] = {
    "abs": lambda _budget, value: abs(as_number(value)),
    "capitalize": _casing(str.capitalize),
    "count": _length,
    "d": _default,
    "default": _default,
    "dictsort": lambda budget, value: sorted(_of_object(dict.items)(budget, value), key=lambda pair: pair[0].casefold()),
    "e": lambda budget, value: written_out(budget, html.escape(text_of(value, budget))),
    "escape": lambda budget, value: written_out(budget, html.escape(text_of(value, budget))),
    "first": _first,
    "float": _float,
    "indent": _indent,
    "int": _int,
    "items": _of_object(dict.items),
    "join": _join,
    "last": _last,
    "length": _length,
    "list": lambda _budget, value: items_of(value),
    "lower": _casing(str.lower),
    "map": _map,
    "max": lambda _budget, value: max(items_of(value), default=Missing("max")),
    "min": lambda _budget, value: min(items_of(value), default=Missing("min")),
    "reject": _picking(wanted=False, by_member=False),
    "rejectattr": _picking(wanted=False, by_member=True),
    "replace": _replace,
    "reverse": lambda _budget, value: value[::-1] if isinstance(value, str) else items_of(value)[::-1],
    "round": _round,
    "select": _picking(wanted=True, by_member=False),
    "selectattr": _picking(wanted=True, by_member=True),
    "sort": _sort,
    "string": lambda budget, value: text_of(value, budget),
    "sum": _sum,
    "title": _casing(str.title),
    "tojson": to_json,
    "trim": _trim,
    "truncate": _truncate,
    "unique": _unique,
    "upper": _casing(str.upper),
    "wordcount": lambda _budget, value: len(as_text(value).split()),
}  # fmt: skip
UNWEIGHED: Final = frozenset({"d", "default", "length", "count", "first", "last"})
"""Those whose work is the same however much they are given."""
METHODS: Final[Mapping[str, Filter]] = {
    "endswith": _method("endswith", 1),
    "get": _get,
    "items": _of_object(dict.items),
    "keys": _of_object(dict.keys),
    "lower": _method("lower", 0),
    "lstrip": _method("lstrip", 1),
    "replace": _replace,
    "rstrip": _method("rstrip", 1),
    "split": _method("split", 2),
    "startswith": _method("startswith", 1),
    "strip": _method("strip", 1),
    "title": _method("title", 0),
    "upper": _method("upper", 0),
    "values": _of_object(dict.values),
}
"""Called on a value: `name.upper()`, `doc.items()`."""
