"""The spans on record: put, found again by trace, forgotten. Every method raises `Unavailable` while there is no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from loopwright.calls.rows import day_of
from loopwright.core.errors import Sealed
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.telemetry.packing import Packer, Said, about
from loopwright.telemetry.rows import SELECT, digits, signed, span_of
from loopwright.telemetry.span import Span, SpanEvent, SpanLink

MOST: Final = 50_000
"""Spans of a trace that are read."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of all projects."""

    db: Database
    seal: Seal = PLAIN

    async def of_trace(self, project_id: int | None, trace_id: str, *, limit: int = MOST) -> list[Span]:
        """The spans of a trace by their start, without their texts: no input, output, attributes, events or links.

        Where texts are sealed `error` is among them. An id that came twice with different starts stands here once.
        """
        rows = await self.db.rows(
            f"""select {SELECT} from spans
                where trace_id = %s::uuid and (%s::int is null or project_id = %s)
                order by started_ns, id limit %s""",  # noqa: S608
            (trace_id, project_id, project_id, limit),
        )
        found: dict[int, Span] = {}
        for row in rows:
            found.setdefault(row["span_id"], span_of(row))
        return list(found.values())

    async def get(self, project_id: int | None, trace_id: str, span_id: str) -> Span | None:
        """One span with all that it said; of one that is a call, its input and output are there.

        Raises:
            Sealed: its texts cannot be opened.
        """
        row = await self.db.row(
            f"""select {SELECT} from spans
                where trace_id = %s::uuid and span_id = %s and (%s::int is null or project_id = %s)
                order by started_ns, id limit 1""",  # noqa: S608
            (trace_id, signed(span_id), project_id, project_id),
        )
        if row is None:
            return None
        said = await self._said(row["id"], row["block"], row["slot"])
        return span_of(row) if said is None else span_of(row, **_texts(said, row))

    async def several(self, project_id: int, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Span | Sealed]:
        """As `get`, many at once, by (trace, span); of those whose texts cannot be opened, why."""
        traces, spans = [trace for trace, _ in places], [signed(span) for _, span in places]
        rows = await self.db.rows(
            f"""select {SELECT} from spans where trace_id = any(%s::uuid[]) and span_id = any(%s) and project_id = %s
                order by started_ns, id""",  # noqa: S608
            (traces, spans, project_id),
        )
        wanted, first = set(places), dict[tuple[str, str], dict[str, Any]]()
        for row in rows:
            place = (row["trace_id"].hex, digits(row["span_id"]))
            if place in wanted:
                first.setdefault(place, row)
        blocks = await self._blocks(list(first.values()))
        found: dict[tuple[str, str], Span | Sealed] = {}
        for place, row in first.items():
            texts = blocks.get((day_of(str(row["id"])), row["block"]), ())
            if isinstance(texts, Sealed):
                found[place] = texts
                continue
            said = texts[row["slot"]] if row["slot"] < len(texts) else None
            found[place] = span_of(row) if said is None else span_of(row, **_texts(said, row))
        return found

    async def _blocks(
        self, rows: Sequence[Mapping[str, Any]]
    ) -> dict[tuple[date, int], Sequence[Said | None] | Sealed]:
        """The blocks in which the texts of rows lie, each opened once, or why it cannot be."""
        places = list({(day_of(str(row["id"])), row["block"]) for row in rows if row["block"] is not None})
        if not places:
            return {}
        stored = await self.db.rows(
            """select p.day, p.block, p.body from unnest(%s::date[], %s::bigint[]) w (day, block)
               join span_texts p on p.day = w.day and p.block = w.block""",
            ([day for day, _ in places], [block for _, block in places]),
        )
        packer, found = Packer(self.seal), dict[tuple[date, int], Sequence[Said | None] | Sealed]()
        for line in stored:
            place = (line["day"], line["block"])
            try:
                found[place] = packer.unpack(bytes(line["body"]), about(*place))
            except Sealed as error:
                found[place] = error
        return found

    async def _said(self, row_id: UUID, block: int | None, slot: int) -> Said | None:
        if block is None:
            return None
        day: date = day_of(str(row_id))
        found = await self.db.row("select body from span_texts where day = %s and block = %s", (day, block))
        if found is None:
            return None
        texts: Sequence[Said | None] = Packer(self.seal).unpack(bytes(found["body"]), about(day, block))
        return texts[slot] if slot < len(texts) else None


def _texts(said: Said, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attributes": said.attributes,
        "input": said.input,
        "output": said.output,
        "error": row["error"] if said.error is None else said.error,
        "scope": said.scope,
        "dialect": said.dialect,
        "provider": said.provider,
        "events": [SpanEvent(at_ns=at, name=name, attributes=told) for at, name, told in said.events],
        "links": [SpanLink(trace_id=trace, span_id=span, attributes=told) for trace, span, told in said.links],
        "clipped": said.clipped,
    }
