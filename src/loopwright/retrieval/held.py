"""What a process holds between searches: what restrictions leave, with vectors where that is little; what words are worth.

Whatever can be found changes with a version of its collection, and a search reads in its own snapshot which version that
is: what was read at another one is not used. So nothing has to be told to forget. Only numbers are held, no texts.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from loopwright.kit.db import Connection
from loopwright.retrieval.index import MEMORY
from loopwright.retrieval.layouts import Layout
from loopwright.retrieval.lexical import Worths
from loopwright.retrieval.nearest import Generation, Rows, rows_of
from loopwright.retrieval.postings import Numbers
from loopwright.retrieval.restriction import FEW, Few, Restriction
from loopwright.retrieval.segments import Kept

MOST: Final = 20_000
"""Documents that are listed of what a restriction leaves."""
_GUESSED: Final = 2
"""What the planner guesses to be so many times as much is not listed: to read it in vain costs more than a search."""
_PATIENCE: Final = 4
"""Searches among what is left at one version before its vectors are read, where that is more than `FEW` documents: that
costs as much as some five searches without."""
_HOLDS: Final = 30.0
"""Seconds for which what left much is not counted again."""
_MARKS: Final = 1_000
_SHARE: Final = 2
"""Of the memory for them, what one restriction may take: a part in so many."""
_BESIDE: Final = 500
"""Bytes of an entry beside what is in it."""


@dataclass(slots=True)
class Left:
    """The documents that a restriction leaves in one version of a collection."""

    version: str
    few: Few
    rows: Rows | None = None
    """Their vectors in the generation that is searched, once they were asked for again."""
    asked: int = 0
    """Searches that could have used the vectors."""
    _places: tuple[weakref.ref[Layout], Numbers] | None = None
    """Weak: how many layouts are kept is not decided here."""

    @property
    def size(self) -> int:
        """Bytes in memory."""
        held = 0 if self.rows is None else self.rows.size
        return _BESIDE + 8 * (len(self.few.documents) + self.few.chunks) + held

    def places(self, layout: Layout) -> Numbers:
        """Where their chunks stand in a layout."""
        if self._places is None or self._places[0]() is not layout:
            self._places = weakref.ref(layout), np.flatnonzero(np.isin(layout.documents, self.few.documents))
        return self._places[1]


@dataclass(slots=True)
class _Marks:
    """What left much, and until when that is believed."""

    until: OrderedDict[bytes, float] = field(default_factory=OrderedDict)

    def set(self, key: bytes, until: float) -> None:
        self.until.pop(key, None)
        self.until[key] = until
        if len(self.until) > _MARKS:
            self.until.popitem(last=False)


class Held:
    """For one thread, over all collections, as much as fits into some bytes. What is used least goes first."""

    def __init__(
        self, most: int = MEMORY // 2, clock: Callable[[], float] = time.monotonic, *, listed: int = MOST
    ) -> None:
        """`most`: bytes, half of them for what words are worth; `listed`: documents of what a restriction leaves, at most."""
        self.worths: Worths = Kept(most // 2)
        self._most = most // 2
        self._clock = clock
        self._listed = listed
        self._left: Kept[bytes, Left] = Kept(most // 2)
        self._vast = _Marks()
        self._reading: set[bytes] = set()

    async def left(self, connection: Connection, generation: Generation, restriction: Restriction) -> Left | None:
        """What a restriction leaves of the collection as it is in a snapshot; None where it is more than is listed.

        What left more a moment ago is not counted again.
        """
        key, now = restriction.key(), self._clock()
        found = self._left.get(key)
        if found is not None and found.version == generation.version:
            return found
        if self._vast.until.get(key, 0.0) > now:
            return None
        vast = found is None and await restriction.guessed(connection) > _GUESSED * self._listed
        few = None if vast else await restriction.few(connection, self._listed)
        if few is None:
            self._vast.set(key, now + _HOLDS)
            return None
        made = Left(generation.version, few)
        if found is not None:
            # Most of its vectors may still be needed. Where they are many, to see which are left costs much by itself.
            made.rows, made.asked = found.rows, found.asked if len(few.documents) <= FEW else 0
        self._left.keep(key, made, made.size)
        return made

    async def near(
        self, connection: Connection, generation: Generation, restriction: Restriction, left: Left
    ) -> Rows | None:
        """The vectors of what is left; None where they are too many, or were not asked for often enough."""
        rows = left.rows
        if rows is not None and (rows.embedding_id, rows.version) == (generation.id, generation.version):
            return rows
        left.asked += 1
        key = restriction.key()
        size = left.few.chunks * (4 * (generation.dimensions or 0) + 8)
        patience = 1 if len(left.few.documents) <= FEW else _PATIENCE
        if left.asked <= patience or size > self._most // _SHARE or key in self._reading:
            return None
        self._reading.add(key)
        try:
            before = rows if rows is not None and rows.embedding_id == generation.id else None
            left.rows = await rows_of(connection, generation, left.few, before)
        finally:
            self._reading.discard(key)
        if self._left.get(key) is left:
            self._left.keep(key, left, left.size)
        return left.rows
