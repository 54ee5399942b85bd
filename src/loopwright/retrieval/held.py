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
_PATIENCE: Final = 3
"""Searches with one restriction at one version before it is listed what it leaves, where that is more than `FEW`: that
costs, with its vectors, as much as some five searches without."""
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

    def __init__(self, most: int = MEMORY // 2, clock: Callable[[], float] = time.monotonic) -> None:
        """`most`: bytes, half of them for what words are worth."""
        self.worths: Worths = Kept(most // 2)
        self._most = most // 2
        self._clock = clock
        self._left: Kept[bytes, Left] = Kept(most // 2)
        self._wide, self._vast = _Marks(), _Marks()
        self._searches: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._reading: set[bytes] = set()

    async def left(self, connection: Connection, generation: Generation, restriction: Restriction) -> Left | None:
        """What a restriction leaves of the collection as it is in a snapshot; None where it is much, or not known yet.

        Counting to hear that it is much costs as much as a search: what left more than `FEW` a moment ago is not asked
        about again, unless a version is searched with it often: then it is listed up to `MOST`.
        """
        key, now = restriction.key(), self._clock()
        found = self._left.get(key)
        if found is not None and found.version == generation.version:
            return found
        often = self._often(key, generation.version)
        if self._vast.until.get(key, 0.0) > now or (self._wide.until.get(key, 0.0) > now and not often):
            return None
        few = await restriction.few(connection, MOST if often else FEW)
        if few is None:
            (self._vast if often else self._wide).set(key, now + _HOLDS)
            return None
        made = Left(generation.version, few)
        if found is not None:
            # Most of its vectors may still be needed.
            made.rows, made.asked = found.rows, found.asked
        self._left.keep(key, made, made.size)
        return made

    async def near(
        self, connection: Connection, generation: Generation, restriction: Restriction, left: Left
    ) -> Rows | None:
        """The vectors of what is left; None where they are many, or asked for the first time."""
        rows = left.rows
        if rows is not None and (rows.embedding_id, rows.version) == (generation.id, generation.version):
            return rows
        left.asked += 1
        key = restriction.key()
        size = left.few.chunks * (4 * (generation.dimensions or 0) + 8)
        if left.asked < 2 or size > self._most // _SHARE or key in self._reading:
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

    def _often(self, key: bytes, version: str) -> bool:
        """Whether a restriction was searched with often enough at this version; counts this time."""
        at, before = self._searches.pop(key, (version, 0))
        before = before if at == version else 0
        self._searches[key] = version, before + 1
        if len(self._searches) > _MARKS:
            self._searches.popitem(last=False)
        return before >= _PATIENCE
