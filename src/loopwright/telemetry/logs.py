"""Log records and events that programs send: kept, shown with their trace, and what they say of calls taken at its word."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg

from loopwright.calls.rows import clipped, day_of
from loopwright.core.errors import Unavailable
from loopwright.kit.db import Database
from loopwright.kit.ids import floor_of
from loopwright.kit.seal import PLAIN, Seal
from loopwright.telemetry.events import TOLD
from loopwright.telemetry.packing import Packer, Said, about
from loopwright.telemetry.putting import Packed, Putter
from loopwright.telemetry.rows import digits, made_id, signed
from loopwright.telemetry.taking import Terms
from loopwright.telemetry.wire import Decoded, Source, WireLog

SCORE: Final = 1
TEXTS: Final = 2
"""What a record waits to be made of; 0 is nothing."""
_EVENTS: Final[Mapping[str, int]] = {
    "gen_ai.evaluation.result": SCORE,
    **dict.fromkeys(TOLD, TEXTS),
}
MOST: Final = 2_000
"""Records of a trace that are shown."""
_COLUMNS: Final = (
    ("id", "uuid"), ("trace_id", "uuid"), ("span_id", "int8"), ("at_ns", "int8"), ("block", "int8"),
    ("project_id", "int4"), ("key_id", "int4"), ("slot", "int2"), ("severity", "int2"), ("pending", "int2"),
    ("name", "text"), ("service", "text"),
)  # fmt: skip
_COPY: Final = f"copy span_logs ({', '.join(name for name, _ in _COLUMNS)}) from stdin (format binary)"
_FRESH: Final = 60.0
"""Seconds that a count of a project's records holds."""
_TRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One record as it is shown."""

    id: str
    trace_id: str | None
    span_id: str | None
    at_ns: int
    severity: int
    name: str
    service: str
    body: Any
    attributes: Mapping[str, Any]
    clipped: Sequence[str]

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "at_ns": self.at_ns,
            "severity": self.severity,
            "name": self.name,
            "service": self.service,
            "body": self.body,
            "attributes": dict(self.attributes),
            "clipped": list(self.clipped),
        }


@dataclass(frozen=True, slots=True)
class _Line:
    id: str
    source: Source
    log: WireLog
    name: str


@dataclass(slots=True)
class Logs:
    """Logs of all projects."""

    db: Database
    putter: Putter
    seal: Seal = PLAIN
    per_day: int = 200_000
    """Records of one project and day that are kept."""
    _counted: dict[tuple[int, date], tuple[float, int]] = field(default_factory=dict)

    async def put(self, decoded: Decoded[WireLog], terms: Terms) -> int:
        """Store records; how many were new. Those that cannot be kept are refused in `decoded`.

        Raises:
            Unavailable: the database cannot answer now. Sending them again does no harm.
        """
        lines = list({line.id: line for line in self._lines(decoded, terms)}.values())
        lines = await self._within(lines, decoded, terms.who.project_id)
        for _ in range(_TRIES):
            if not lines:
                return 0
            try:
                await self._put(lines, terms)
            except psycopg.errors.UniqueViolation:
                known = await self.db.rows(
                    "select id from span_logs where id = any(%s::uuid[])", ([line.id for line in lines],)
                )
                gone = {str(row["id"]) for row in known}
                lines = [line for line in lines if line.id not in gone]
            else:
                return len(lines)
        raise Unavailable("the same records are being stored by others: send them again", retry_after=1.0)

    async def of_trace(self, project_id: int | None, trace_id: str) -> list[Log]:
        """What was logged within a trace, oldest first.

        Raises:
            Sealed: a text cannot be opened.
        """
        rows = await self.db.rows(
            """select l.*, t.body from span_logs l
               join span_texts t on t.block = l.block and t.day = (to_timestamp(l.at_ns / 1e9) at time zone 'utc')::date
               where l.trace_id = %s::uuid and (%s::int is null or l.project_id = %s) order by l.id limit %s""",
            (trace_id, project_id, project_id, MOST),
        )
        packer = Packer(self.seal)
        opened: dict[int, list[Said | None]] = {}
        found = []
        for row in rows:
            if row["block"] not in opened:
                opened[row["block"]] = packer.unpack(bytes(row["body"]), about(day_of(str(row["id"])), row["block"]))
            said = opened[row["block"]][row["slot"]]
            if said is not None:
                found.append(_log(row, said))
        return found

    def _lines(self, decoded: Decoded[WireLog], terms: Terms) -> Iterable[_Line]:
        now = time.time_ns()
        for source, logs in decoded.groups:
            for log in logs:
                log.at = log.at or now
                if not terms.oldest_ns <= log.at <= terms.latest_ns:
                    decoded.refuse("a record is from the future, or older than calls are kept")
                    continue
                named = log.name or log.attributes.get("event.name")
                name = named if isinstance(named, str) else ""
                said = msgspec.msgpack.encode(
                    (log.trace_id, log.span_id, name, log.body, log.attributes, source.service)
                )
                yield _Line(made_id(log.at, said), source, log, name)

    async def _within(self, lines: list[_Line], decoded: Decoded[WireLog], project_id: int) -> list[_Line]:
        """Those that a project has room for today; events of the GenAI conventions always have."""
        if not lines:
            return []
        key = project_id, datetime.now(UTC).date()
        at, count = self._counted.get(key, (0.0, 0))
        if time.monotonic() - at > _FRESH or not at:
            floor = floor_of(datetime(key[1].year, key[1].month, key[1].day, tzinfo=UTC))
            row = await self.db.row(
                "select count(*) as logs from span_logs where project_id = %s and id >= %s::uuid", (project_id, floor)
            )
            self._counted = {key: (time.monotonic(), row["logs"] if row else 0)}
            at, count = self._counted[key]
        room = self.per_day - count
        if len(lines) > room:
            kept = [line for index, line in enumerate(lines) if index < room or line.name in _EVENTS]
            decoded.refuse(
                f"more than {self.per_day:,} records in a day (monitoring.telemetry.logs_per_day)",
                len(lines) - len(kept),
            )
            lines = kept
        self._counted[key] = at, count + len(lines)
        return lines

    async def _put(self, lines: Sequence[_Line], terms: Terms) -> None:
        keep = terms.keeps("")
        items = [
            (
                day_of(line.id),
                Said(attributes=line.log.attributes, body=line.log.body, clipped=line.log.clipped) if keep else Said(),
            )
            for line in lines
        ]

        def rows_of(packed: Packed) -> Iterable[Sequence[Any]]:
            for line, (block, slot) in zip(lines, packed.places, strict=True):
                log = line.log
                spanned = len(log.trace_id) == _TRACE and any(log.trace_id)
                yield (
                    UUID(line.id),
                    UUID(bytes=log.trace_id) if spanned else None,
                    signed(log.span_id.hex()) if spanned and len(log.span_id) == _SPAN else None,
                    log.at,
                    block,
                    terms.who.project_id,
                    terms.who.key_id,
                    slot,
                    min(max(log.severity, 0), 24),
                    _EVENTS.get(line.name, 0) if keep else 0,
                    clipped(line.name),
                    clipped(line.source.service),
                )

        await self.putter.put_texts(items, _COPY, [kind for _, kind in _COLUMNS], rows_of)


_TRACE: Final = 16
_SPAN: Final = 8


def _log(row: Mapping[str, Any], said: Said) -> Log:
    return Log(
        id=str(row["id"]),
        trace_id=None if row["trace_id"] is None else row["trace_id"].hex,
        span_id=None if row["span_id"] is None else digits(row["span_id"]),
        at_ns=row["at_ns"],
        severity=row["severity"],
        name=row["name"],
        service=row["service"],
        body=said.body,
        attributes=said.attributes,
        clipped=said.clipped,
    )
