"""An answer that is held, and what a deletion names. Frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from loopwright.core.money import Usage

OVERHEAD: Final = 700
"""Bytes of an entry beside its texts, about."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer. The collector looks at none of the many that are held: they are part of no cycle."""

    key: bytes
    body: bytes
    """OpenAI's non-streamed form."""
    expires: float
    """Unix time in seconds."""
    call_id: str
    """The call that was answered so."""
    project_id: int
    key_id: int
    session: str | None
    tags: Mapping[str, str]
    model: str
    """Its configured name."""
    target: str
    """What the provider that answered calls it."""
    usage: Usage | None
    cost_nano: int | None
    """Nanodollars; None is unpriced."""
    started_ns: int
    """When the call began, Unix time in nanoseconds."""

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.body) + OVERHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """By what an entry is found when another question means the same."""

    partition: bytes
    guard: str
    vector: tuple[float, ...]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What to forget: answers of calls that began before a moment, by exactly one of the four; within a project or everywhere."""

    before_ns: int
    project_id: int | None = None
    call_id: str | None = None
    key_id: int | None = None
    session: str | None = None
    tag: tuple[str, str] | None = None
    questions: list[bytes] = []
    """With a call: keys of the question it answered, whose other answers are forgotten, too."""

    def covers(self, entry: Entry) -> bool:
        """Whether `entry` is to be forgotten."""
        if self.project_id not in (None, entry.project_id) or entry.started_ns > self.before_ns:
            return False
        if self.call_id is not None:
            return entry.call_id == self.call_id or entry.key in self.questions
        if self.key_id is not None:
            return entry.key_id == self.key_id
        if self.session is not None:
            return entry.session == self.session
        return self.tag is not None and entry.tags.get(self.tag[0]) == self.tag[1]
