"""What one worker holds: the answers used last, bounded by bytes, and which others are in the database."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from loopwright.cache.entry import Entry

MOST_KNOWN: Final = 100_000
"""Answers in the database a worker knows of, about 10 MB; the newest."""


class Memory:
    """Least recently used goes first."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of answers."""
        self.limit = limit
        self.bytes = 0
        self._held: OrderedDict[bytes, Entry] = OrderedDict()
        self._known: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def known(self) -> int:
        """How many answers in the database it knows of."""
        return len(self._known)

    def find(self, key: bytes, now: float) -> Entry | None:
        """The answer, if it is held and good at Unix time `now`."""
        entry = self._held.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self.drop(key)
            return None
        self._held.move_to_end(key)
        return entry

    def knows(self, key: bytes, now: float) -> bool:
        """Whether the database is said to have it. True for another key once in about 10¹⁴ times."""
        expires = self._known.get(short(key))
        return expires is not None and expires > now

    def hold(self, entry: Entry) -> None:
        """Hold an answer, in the place of others when there is no room; one over a tenth of all is not held."""
        self.drop(entry.key)
        if entry.size * 10 > self.limit:
            return
        self._held[entry.key] = entry
        self.bytes += entry.size
        while self.bytes > self.limit:
            _, gone = self._held.popitem(last=False)
            self.bytes -= gone.size

    def drop(self, key: bytes) -> None:
        """Let go of an answer."""
        gone = self._held.pop(key, None)
        if gone is not None:
            self.bytes -= gone.size

    def drop_where(self, covers: Callable[[Entry], bool]) -> list[Entry]:
        """Let go of all that `covers` says; which they were."""
        gone = [entry for entry in self._held.values() if covers(entry)]
        for entry in gone:
            self.drop(entry.key)
            self._known.pop(short(entry.key), None)
        return gone

    def learn(self, keys: Iterable[tuple[int, int]]) -> None:
        """Note (short key, Unix time of expiry) of answers in the database, oldest first."""
        for known, expires in keys:
            self._known.pop(known, None)
            self._known[known] = expires
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def relearn(self, keys: Iterable[tuple[int, int]]) -> None:
        """As `learn`, and forget what was known before."""
        self._known = {}
        self.learn(keys)

    def unlearn(self, known: int) -> None:
        """An answer is no longer in the database."""
        self._known.pop(known, None)


def short(key: bytes) -> int:
    """Eight bytes of a key, enough to know whether it is worth asking for."""
    return int.from_bytes(key[:8])
