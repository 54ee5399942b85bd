"""What one worker holds: the answers used last, bounded by bytes, and which others are in the database."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

from loopwright.cache.entry import Entry
from loopwright.core.chat import Delta, Operation

LONGEST_WORDING: Final = 4_096
"""Bytes of a question that is known by its wording; to look a longer one up would cost the misses too much."""
_NOTED: Final = 900
"""Bytes of a note beside its texts, about."""
_SENT: Final = 1_800
"""Bytes that how it was sent adds to it beside its text, about."""
MOST_KNOWN: Final = 100_000
"""Answers in the database a worker knows of, about 10 MB; the newest."""
_MORE_KNOWN: Final = 10_000
"""So many more may gather before they are let go of, all in one pass: the first of a dict is the slower to find the more of
its firsts have gone."""


class Wording(NamedTuple):
    """A question just as it was put: two that are equal have the same key, and are answered in the same form."""

    project_id: int
    model: str
    """Its configured name."""
    operation: Operation
    stream: bool
    wants_usage: bool
    raw: bytes


class Sent(NamedTuple):
    """A question just as a client sent it."""

    path: str
    raw: bytes


class _Noted:
    """How a held answer was last asked for and given."""

    __slots__ = ("again", "delta", "entry", "sent")

    def __init__(self, entry: Entry, delta: Delta) -> None:
        self.entry = entry
        self.delta = delta
        self.sent: Sent | None = None
        self.again: Any = None


class Memory:
    """Least recently used goes first."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of answers."""
        self.limit = limit
        self.bytes = 0
        self._held: OrderedDict[bytes, Entry] = OrderedDict()
        self._worded: dict[Wording, _Noted] = {}
        self._sent: dict[Sent, _Noted] = {}
        self._wordings: dict[bytes, Wording] = {}
        """By key: how a held answer was last asked for."""
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

    def recall(self, wording: Wording, now: float) -> Delta | None:
        """The answer to a question put in these very words before, as it was given then: nothing is read or made."""
        found = self._worded.get(wording)
        if found is None or self.find(found.entry.key, now) is None:
            return None
        return found.delta

    def recall_sent(self, sent: Sent, now: float) -> Any:
        """What was noted of a question that is sent in these very bytes again, as `note_sent` was told it; None is nothing."""
        found = self._sent.get(sent)
        if found is None or self.find(found.entry.key, now) is None:
            return None
        return found.again

    def note(self, wording: Wording, entry: Entry, delta: Delta) -> None:
        """Note how a held answer was asked for and given; it takes the place of the note before, and goes with the answer."""
        if self._held.get(entry.key) is not entry or len(wording.raw) > LONGEST_WORDING:
            return
        self._forget_wording(entry.key)
        self._wordings[entry.key] = wording
        noted = self._worded[wording] = _Noted(entry, delta)
        self.bytes += _size(wording, noted)
        self._make_room()

    def note_sent(self, wording: Wording, sent: Sent, again: Any) -> None:
        """Note how a client sent a question whose wording is noted, and what whoever answers at the door needs for it."""
        noted = self._worded.get(wording)
        if noted is None or len(sent.raw) > LONGEST_WORDING:
            return
        self.bytes -= _size(wording, noted)
        self._forget_sent(noted)
        other = self._sent.get(sent)
        if other is not None:  # in another project, say: the last one counts
            self.bytes -= _SENT + len(sent.raw)
            self._forget_sent(other)
        noted.sent, noted.again = sent, again
        self._sent[sent] = noted
        self.bytes += _size(wording, noted)
        self._make_room()

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
        self._make_room()

    def drop(self, key: bytes) -> None:
        """Let go of an answer."""
        gone = self._held.pop(key, None)
        if gone is not None:
            self.bytes -= gone.size
            self._forget_wording(key)

    def _make_room(self) -> None:
        while self.bytes > self.limit:
            self.drop(next(iter(self._held)))

    def _forget_wording(self, key: bytes) -> None:
        wording = self._wordings.pop(key, None)
        if wording is not None:
            noted = self._worded.pop(wording)
            self.bytes -= _size(wording, noted)
            self._forget_sent(noted)

    def _forget_sent(self, noted: _Noted) -> None:
        if noted.sent is not None:
            del self._sent[noted.sent]
            noted.sent = noted.again = None

    def drop_where(self, covers: Callable[[Entry], bool]) -> list[Entry]:
        """Let go of all that `covers` says; which they were."""
        gone = [entry for entry in self._held.values() if covers(entry)]
        for entry in gone:
            self.drop(entry.key)
            self._known.pop(short(entry.key), None)
        return gone

    def questions_of(self, call_id: str) -> list[bytes]:
        """The keys of questions that the answer of a call is held for."""
        return [entry.key for entry in self._held.values() if entry.call_id == call_id]

    def learn(self, keys: Iterable[tuple[int, int]]) -> None:
        """Note (short key, Unix time of expiry) of answers in the database, oldest first."""
        for known, expires in keys:
            self._known.pop(known, None)
            self._known[known] = expires
        over = len(self._known) - MOST_KNOWN
        if over > _MORE_KNOWN:
            for known in list(islice(self._known, over)):
                del self._known[known]

    def relearn(self, keys: Iterable[tuple[int, int]]) -> None:
        """As `learn`, and forget what was known before."""
        self._known = {}
        self.learn(keys)

    def unlearn(self, known: int) -> None:
        """An answer is no longer in the database."""
        self._known.pop(known, None)


def _size(wording: Wording, noted: _Noted) -> int:
    sent = 0 if noted.sent is None else _SENT + len(noted.sent.raw)
    return len(wording.raw) + len(noted.delta.raw) + _NOTED + sent


def short(key: bytes) -> int:
    """Eight bytes of a key, enough to know whether it is worth asking for."""
    return int.from_bytes(key[:8])
