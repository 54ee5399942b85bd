"""An example on its way in: from which row it came, checked and bounded; and what is wrong with rows, all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Example
from loopwright.kit.schema import Schema

SHOWN: Final = 20
"""Problems that are told; of more only how many there are."""
_ID: Final = 200
_TAGS, _TAG = 32, 100
_SLICES, _SLICE = 16, 100
_CLIP: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An example that is not stored yet."""

    row: int
    """Where it stood: the line of a file of lines, or the row of a table."""
    example: Example
    """Its `id` is empty when it came without one."""
    seed: str | None = None
    """The example it is a variation of: it stays on the side of that one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row."""

    row: int
    what: str


class Problems:
    """What is wrong with the rows of one import: the first few in words, and how many."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(problem)

    def check(self, what: str) -> None:
        """Refuse `what` when anything is wrong.

        Raises:
            BadRequest: names the first rows and what is wrong with each, and how many more there are.
        """
        if not self.count:
            return
        lines = [f"row {each.row}: {each.what[:_CLIP]}" for each in sorted(self.first, key=lambda each: each.row)]
        if self.count > len(lines):
            lines.append(f"… and {self.count - len(lines):,} more")
        told = f"{self.count:,} row{'s are' if self.count > 1 else ' is'} wrong, so nothing of it is stored"
        raise BadRequest("\n".join([f"{what}: {told}", *lines]), param="file")


@dataclass(slots=True)
class Checking:
    """What every example of one import must keep."""

    inputs: Schema | None = None
    expected: Schema | None = None
    mixed: bool = False
    """Let an input be a text in one example and a number in the next."""
    _kinds: dict[str, tuple[str, int]] = field(default_factory=dict)

    def problems(self, draft: Draft) -> list[str]:
        """What is wrong with one; empty when nothing is."""
        example = draft.example
        found = [*_bounds(example)]
        if not example.inputs:
            found.append("it has no inputs")
        if self.inputs is not None:
            found += [f"inputs{each[1:]}" for each in self.inputs.problems(example.inputs, most=3)]
        if self.expected is not None and example.expected is not None:
            found += [f"expected{each[1:]}" for each in self.expected.problems(example.expected, most=3)]
        if not self.mixed:
            found += self._mixed(draft)
        return found

    def _mixed(self, draft: Draft) -> Iterable[str]:
        values = {f"inputs.{name}": value for name, value in draft.example.inputs.items()}
        for name, value in [*values.items(), ("expected", draft.example.expected)]:
            kind = _kind(value, several=name == "expected")
            if kind is None:
                continue
            known, row = self._kinds.setdefault(name, (kind, draft.row))
            if known != kind:
                yield f"{name} is {kind}, and {known} in row {row}: make them alike, or allow mixed types"


def _kind(value: Any, *, several: bool) -> str | None:
    if several and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "a text"  # several that are right
    if isinstance(value, bool):
        return "true or false"
    for type_, name in ((str, "a text"), (int | float, "a number"), (list, "a list"), (dict, "an object")):
        if isinstance(value, type_):
            return name
    return None


def _bounds(example: Example) -> Iterable[str]:
    if len(example.id) > _ID or not example.id.isprintable():
        yield f"id {example.id[:40]!r}: up to {_ID} characters that can be printed"
    fit = all(0 < len(tag) <= _TAG and tag.isprintable() and "," not in tag for tag in example.tags)
    if len(example.tags) > _TAGS or not fit:
        yield f"tags: at most {_TAGS}, each of 1 to {_TAG} characters that can be printed and no comma"
    slices = [*example.slices, *example.slices.values()]
    if len(example.slices) > _SLICES or any(not 0 < len(word) <= _SLICE or not word.isprintable() for word in slices):
        yield f"slices: at most {_SLICES}, names and values of 1 to {_SLICE} characters that can be printed"
    if example.call_id is not None and not is_uuid(example.call_id):
        yield f"call_id {example.call_id[:40]!r} is no id of a call"


def is_uuid(text: str) -> bool:
    """Whether it is the text of a UUID."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def tags_of(value: Any) -> tuple[str, ...]:
    """Tags from a list of texts, or from one text with commas between them.

    Raises:
        BadRequest: something else.
    """
    parts: Sequence[Any] = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise BadRequest("tags: a list of texts, or a text with commas between them")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def slices_of(value: Any) -> Mapping[str, str]:
    """Slices from an object; values that are no texts as JSON.

    Raises:
        BadRequest: something else.
    """
    if not isinstance(value, dict):
        raise BadRequest('slices: an object of names and values, like {"language": "de"}')
    return {name: worded(each) for name, each in value.items() if each is not None}


def worded(value: Any) -> str:
    """A value as a text: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
