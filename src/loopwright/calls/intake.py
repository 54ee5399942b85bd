"""Takes records out of a spool folder in order and knows where it stands. Only files: no database, no event loop.

What it says was taken counts only once the positions are committed; `reset` goes back to what was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from loopwright.calls import rows
from loopwright.calls.frames import OPENED, Frame
from loopwright.calls.record import Record
from loopwright.calls.segments import Segment, names_in
from loopwright.core.errors import Changed
from loopwright.kit.seal import PLAIN, Seal, key_of

MOST_RECORDS: Final = 8000
MOST_BYTES: Final = 16_000_000
"""Of one batch: under load large ones share the cost of the roll-ups."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and where the reader stands once it is stored."""

    record: Record
    segment: str
    end: int


@dataclass(slots=True)
class Batch:
    """What is stored in one transaction."""

    entries: list[Entry] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    """Files that hold nothing more and never will."""
    carried: list[tuple[str, str, bytes]] = field(default_factory=list)
    """(call id, worker, record) of streams whose file is finished but whose end may come in a later one."""
    closed: list[str] = field(default_factory=list)
    """Call ids carried before whose end is in this batch."""
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.positions)

    @property
    def full(self) -> bool:
        """Whether there is enough in it."""
        return len(self.entries) >= MOST_RECORDS or self.size >= MOST_BYTES


@dataclass(slots=True)
class _Stream:
    """A stream that has begun."""

    record: Record
    segment: str | None
    """The file it began in; None once carried."""


class Intake:
    """Reads the spool of one machine."""

    def __init__(self, folder: Path, seal: Seal = PLAIN) -> None:
        self._folder = folder
        self._seal = seal
        self._bad = folder / "bad"
        self._segments: dict[str, Segment] = {}
        self._positions: dict[str, int] = {}
        self._done: set[str] = set()
        self._streams: dict[str, dict[str, _Stream]] = {}
        self._turn = 0
        self.set_aside = 0
        """Records and ranges that could not be read, since this process began."""

    def reset(
        self, positions: Mapping[str, int], finished: Iterable[str], carried: Iterable[tuple[str, str, bytes]]
    ) -> None:
        """Stand where the database says; streams begun before that point are read again from the files.

        Raises:
            Sealed: with a key that is not here.
        """
        self._positions = dict(positions)
        self._done = set(finished)
        self._streams = {}
        for call_id, worker, data in carried:
            record = msgspec.msgpack.decode(self._seal.open(data, carried_about(call_id)), type=Record)
            self._streams.setdefault(worker, {})[call_id] = _Stream(record, None)
        for name in names_in(self._folder):
            segment = self._open(name)
            if segment is not None and name not in self._done:
                self._recall(segment)

    def names(self) -> list[str]:
        """The spool files there are."""
        return names_in(self._folder)

    def backlog(self) -> int:
        """Bytes that are spooled and not taken."""
        total = 0
        for name in names_in(self._folder):
            segment = self._open(name)
            if segment is not None and name not in self._done:
                total += max(segment.size - self._positions.get(name, 0), 0)
        return total

    def take(self) -> Batch:
        """The next records, of all workers in turn; falsy when there is nothing new.

        Raises:
            Sealed: with a key that is not here; nothing is passed over.
        """
        batch = Batch()
        workers: dict[str, list[str]] = {}
        for name in names_in(self._folder):
            workers.setdefault(name[:32], []).append(name)
        order = sorted(workers)
        for step in range(len(order)):
            if batch.full:
                break
            self._take_worker(batch, workers[order[(self._turn + step) % len(order)]])
        self._turn += 1
        return batch

    def forget(self, names: Iterable[str]) -> None:
        """Remove files that are finished, now that the database knows it."""
        for name in names:
            self._done.add(name)
            segment = self._segments.pop(name, None)
            if segment is not None:
                segment.remove()
            else:
                (self._folder / name).unlink(missing_ok=True)
            self._positions.pop(name, None)

    def put_aside(self, segment: str, end: int, data: bytes, reason: str) -> None:
        """Keep what cannot be stored in a file of its own, for people to look at; the same one again is the same file."""
        self._bad.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._bad / f"{segment.partition('.')[0]}-{end}.bad"
        path.write_bytes(self._seal.seal(data, b"spool bad") if self._seal and key_of(data) is None else data)
        self.set_aside += 1
        _log.error("a spooled call cannot be recorded and was set aside in %s: %s", path, reason)

    def close(self) -> None:
        """Close every file."""
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()

    def _open(self, name: str) -> Segment | None:
        segment = self._segments.get(name)
        if segment is None:
            with suppress(FileNotFoundError):
                segment = self._segments[name] = Segment.open(self._folder / name)
        return segment

    def _take_worker(self, batch: Batch, names: list[str]) -> None:
        for name in names:
            if name in self._done:
                self.forget([name])
                continue
            segment = self._open(name)
            if segment is None:
                continue
            while not batch.full:
                more = self._take_piece(batch, segment)
                if name in batch.finished:
                    break
                if not more:
                    return
            else:
                return
            self._finish(batch, segment)

    def _take_piece(self, batch: Batch, segment: Segment) -> bool:
        """Take some frames; whether there may be more at once."""
        name = segment.path.name
        position = self._positions.get(name, 0)
        found, ended = segment.read(position)
        for start, end in found.damaged:
            data = segment.bytes_at(position + start, end - start)
            self.put_aside(name, position + end, data, f"bytes {position + start}…{position + end} are no record")
        if found.torn:
            _log.warning("%s ends in a record that was cut off while it was written (%d bytes)", name, found.torn)
        for frame in found.frames:
            self._take_frame(batch, segment, frame, position)
        if found.used:
            self._positions[name] = batch.positions[name] = position + found.used
            batch.size += found.used
        if ended:
            batch.finished.add(name)
            batch.positions[name] = position + found.used
        return bool(found.used)

    def _take_frame(self, batch: Batch, segment: Segment, frame: Frame, position: int) -> None:
        name, end = segment.path.name, position + frame.end
        try:
            record = frame.record(self._seal, segment.worker)
            rows.check(record)
        except (msgspec.MsgspecError, ValueError, OverflowError, Changed) as error:
            self.put_aside(name, end, frame.body, str(error))
            return
        streams = self._streams.setdefault(segment.worker, {})
        if frame.kind == OPENED:
            streams[record.id] = _Stream(record, name)
            return
        stream = streams.pop(record.id, None)
        if stream is not None and stream.segment is None:
            batch.closed.append(record.id)
        batch.entries.append(Entry(record, name, end))

    def _finish(self, batch: Batch, segment: Segment) -> None:
        """A file is finished: its open streams live on in the worker's next one, or were interrupted with it."""
        name = segment.path.name
        streams = self._streams.get(segment.worker, {})
        # Listed anew: a living owner has made its next file before it let go of this one.
        later = [other for other in names_in(self._folder) if other[:32] == segment.worker and other > name]
        if later:
            for call_id, stream in streams.items():
                if stream.segment == name:
                    data = self._seal.seal(msgspec.msgpack.encode(stream.record), carried_about(call_id))
                    batch.carried.append((call_id, segment.worker, data))
                    stream.segment = None
            return
        for call_id, stream in streams.items():
            if stream.segment is None:
                batch.closed.append(call_id)
            batch.entries.append(Entry(stream.record, name, batch.positions[name]))
        self._streams.pop(segment.worker, None)

    def _recall(self, segment: Segment) -> None:
        """Find the streams begun in what is drained already and not ended there."""
        name, position = segment.path.name, 0
        until = self._positions.get(name, 0)
        streams = self._streams.setdefault(segment.worker, {})
        while position < until:
            found, _ = segment.read(position, most=min(until - position, 4_000_000))
            for frame in found.frames:
                with suppress(msgspec.MsgspecError, Changed):
                    record = frame.record(self._seal, segment.worker)
                    if frame.kind == OPENED:
                        streams.setdefault(record.id, _Stream(record, name))
                    else:
                        streams.pop(record.id, None)
            if not found.used:
                return
            position += found.used


def carried_about(call_id: str) -> bytes:
    """What the record of a stream is sealed for that is carried from one file to the next."""
    return b"spool_opened.record " + call_id.encode()
