"""Filters on the metadata of documents: JSON from outside to a condition in SQL, with every name and value a parameter.

    {"tenant": "acme"}                              equal; of a list in the metadata: one of its members is
    {"year": {"gte": 2020, "lt": 2024}}             gt, gte, lt, lte: between numbers, or between texts
    {"kind": {"in": ["a", "b"]}}                    one of these
    {"tenant": {"ne": "acme"}}                      not equal, or not there
    {"author": {"exists": true}}                    there, and not null
    {"and": [...]}, {"or": [...]}, {"not": {...}}   of filters; several members of one object are all true

A name with dots is a path: `{"source.kind": "wiki"}`. What a value is not comparable with is not matched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint

_DEEPEST: Final = 8
_MOST: Final = 64
"""Conditions of a filter."""
_VALUES: Final = 1_000
"""Of `in`."""
_LONGEST: Final = 1_000
"""Characters of a name or a text."""
_LARGEST: Final = 1e300
_TESTS: Final = ("eq", "ne", "in", "gt", "gte", "lt", "lte", "exists")
_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on `collection_documents d`, and its parameters."""

    sql: str
    params: Mapping[str, Any]


@dataclass(slots=True)
class _Reader:
    """Reads one filter."""

    params: dict[str, Any] = field(default_factory=dict)
    count: int = 0

    def read(self, told: object, depth: int) -> str:
        if not isinstance(told, Mapping):
            raise BadRequest(f"filter: an object is needed, not {_shown(told)}", param="filter")
        if depth > _DEEPEST:
            raise BadRequest(f"filter: at most {_DEEPEST} levels deep", param="filter")
        parts = [self._member(str(name), value, depth) for name, value in told.items()]
        return f"({' and '.join(parts)})" if parts else "true"

    def _member(self, name: str, value: object, depth: int) -> str:
        if name == "not":
            return f"(not {self.read(value, depth + 1)})"
        if name in ("and", "or"):
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise BadRequest(f"filter: {name!r} needs a list of filters", param="filter")
            parts = [self.read(each, depth + 1) for each in value]
            if not parts:
                return "true" if name == "and" else "false"
            return f"({f' {name} '.join(parts)})"
        path = _path(name)
        if isinstance(value, Mapping):
            unknown = next((test for test in value if test not in _TESTS), None)
            if unknown is not None or not value:
                told = _shown(unknown) if value else "nothing"
                raise BadRequest(
                    f"filter.{name[:80]}: {told} is none of {', '.join(_TESTS)}{hint(str(unknown), _TESTS)}",
                    param="filter",
                )
            return f"({' and '.join(self._test(path, test, wanted) for test, wanted in value.items())})"
        return self._test(path, "eq", value)

    def _test(self, path: Sequence[str], test: str, wanted: object) -> str:
        self.count += 1
        if self.count > _MOST:
            raise BadRequest(f"filter: at most {_MOST} conditions", param="filter")
        if test == "eq":
            return self._equal(path, wanted)
        if test == "ne":
            return f"(not {self._equal(path, wanted)})"
        if test == "in":
            if not isinstance(wanted, Sequence) or isinstance(wanted, str) or len(wanted) > _VALUES:
                raise BadRequest(f"filter: 'in' needs a list of at most {_VALUES:,} values", param="filter")
            return f"({' or '.join(self._equal(path, each) for each in wanted)})" if wanted else "false"
        if test == "exists":
            if not isinstance(wanted, bool):
                raise BadRequest("filter: 'exists' is true or false", param="filter")
            there = f"coalesce(jsonb_typeof(d.metadata #> {self._param(list(path))}::text[]) <> 'null', false)"
            return there if wanted else f"(not {there})"
        return self._compared(path, test, wanted)

    def _equal(self, path: Sequence[str], wanted: object) -> str:
        """By containment, which the index knows: a value, or a list that has it."""
        value = _scalar(wanted)
        if value is None:
            # What is not there is not null: containment says no, as for every other value.
            return f"(d.metadata @> {self._param(Jsonb(_nested(path, None)))})"
        one, several = _nested(path, value), _nested(path, [value])
        return f"(d.metadata @> {self._param(Jsonb(one))} or d.metadata @> {self._param(Jsonb(several))})"

    def _compared(self, path: Sequence[str], test: str, wanted: object) -> str:
        value = _scalar(wanted)
        if value is None or isinstance(value, bool):
            raise BadRequest(f"filter: {test!r} compares numbers and texts, not {_shown(wanted)}", param="filter")
        place, sign = self._param(list(path)), _SIGNS[test]
        if isinstance(value, str):
            # By code points, whatever the database sorts by.
            return (
                f"coalesce(jsonb_typeof(d.metadata #> {place}::text[]) = 'string'"
                f' and (d.metadata #>> {place}::text[]) collate "C" {sign} {self._param(value)}::text, false)'
            )
        # The order of AND is not kept, of CASE it is: a text is never cast to a number.
        return (
            f"case when jsonb_typeof(d.metadata #> {place}::text[]) = 'number'"
            f" then (d.metadata #>> {place}::text[])::numeric {sign} {self._param(repr(value))}::numeric else false end"
        )

    def _param(self, value: object) -> str:
        name = f"filter_{len(self.params)}"
        self.params[name] = value
        return f"%({name})s"


def condition_of(told: object) -> Condition | None:
    """What a filter means; None where there is none.

    Raises:
        BadRequest: it is no filter; the message says where.
    """
    if told is None or told == {}:
        return None
    reader = _Reader()
    return Condition(reader.read(told, 1), reader.params)


def _path(name: str) -> tuple[str, ...]:
    if not name or len(name) > _LONGEST:
        raise BadRequest(f"filter: a name has 1 to {_LONGEST:,} characters", param="filter")
    parts = tuple(_storable(part) for part in name.split("."))
    if not all(parts) or len(parts) > _DEEPEST:
        raise BadRequest(
            f"filter: {name[:80]!r} is no name: at most {_DEEPEST} parts with points between", param="filter"
        )
    return parts


def _scalar(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > _LONGEST:
            raise BadRequest(f"filter: a text of {len(value):,} characters; at most {_LONGEST:,}", param="filter")
        return _storable(value)
    # False of what is no number, too.
    if isinstance(value, int | float) and abs(value) < _LARGEST:
        return value
    raise BadRequest(f"filter: {_shown(value)} is no text, number, true, false or null", param="filter")


def _storable(text: str) -> str:
    """As it is, if PostgreSQL can hold it.

    Raises:
        BadRequest: it has a NUL, or half a character.
    """
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadRequest("filter: a text with NUL or half a character matches nothing", param="filter")
    return text


def _nested(path: Sequence[str], value: object) -> object:
    for name in reversed(path):
        value = {name: value}
    return value


def _shown(value: object) -> str:
    return repr(value)[:60]
