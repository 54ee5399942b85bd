"""Traces as they are asked for: pages of them by filter, and one whole, our calls and the spans that came, as a tree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID

from loopwright.calls import pages
from loopwright.calls.payloads import Packer
from loopwright.calls.rows import SELECT as CALL
from loopwright.calls.rows import call_of, clipped
from loopwright.calls.touching import TRACED
from loopwright.core.call import Call
from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.money import usd
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.wire_read import dicts
from loopwright.telemetry.rows import KINDS, STATUSES, digits
from loopwright.telemetry.spans import MOST, Spans
from loopwright.telemetry.sums import Totals, summed
from loopwright.telemetry.tree import Node, departed, inside, looked_up, tree

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FEW_SERIES: Final = 64
"""Up to here each name is walked by its own index; beyond, they make up so much that the newest traces are walked."""
_READ: Final = 200
"""Calls of tasks whose own requests are shown."""
_WORD: Final = re.compile(r"\w+", re.UNICODE)
_FAILED: Final = STATUSES.index("error")
_SPANS: Final = """
    select trace_id, project_id, span_id, parent_id, call_id, started_ns, duration_us, cost_nano, input_tokens, output_tokens, kind,
        status, name, service, session, model, tool, error
    from spans where trace_id = any(%(traces)s::uuid[]) and (%(project)s::int is null or project_id = %(project)s)
    order by started_ns, id limit %(limit)s
"""
_ROW: Final = """
    t.trace_id, t.project_id, t.started_at, t.duration_us, t.cost_nano, t.input_tokens, t.output_tokens, t.steps, t.calls,
    t.failed, t.unpriced, t.rootless, t.session, t.error, t.models, s.name, s.service
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilter:
    """Which traces; None asks for nothing. Everything given must hold."""

    project_id: int | None = None
    since: datetime | None = None
    """Aware; traces that began then or later."""
    until: datetime | None = None
    """Aware; traces that began before."""
    service: str | None = None
    """Of the root."""
    session: str | None = None
    name: str | None = None
    """Words that all occur in the root's name; each may be the beginning of one."""
    failed: bool | None = None
    """Whether any step failed."""
    min_duration_ms: float | None = None
    min_cost_nano: int | None = None
    model: str | None = None
    """One that was asked, by the name that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """A trace, summed up."""

    trace_id: str
    project_id: int
    name: str
    service: str
    started_at: datetime
    duration_us: int
    steps: int
    """Spans and calls."""
    calls: int
    failed: int
    """Steps that failed."""
    error: str | None
    input_tokens: int
    output_tokens: int
    cost_nano: int
    unpriced: int
    """Calls without a known price: `cost_nano` knows nothing of them."""
    rootless: bool
    """Every step names a parent that never came."""
    session: str | None
    models: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        plain = {
            name: getattr(self, name) for name in self.__slots__ if name not in ("cost_nano", "models", "started_at")
        }
        return {
            **plain,
            "started_at": self.started_at.isoformat(),
            "cost_usd": usd(self.cost_nano),
            "models": list(self.models),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePage:
    """Some traces, newest first."""

    traces: tuple[TraceRow, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One whole."""

    trace_id: str
    project_id: int
    session: str | None
    nodes: tuple[Node, ...]
    totals: Totals
    clipped: bool
    """It has more spans than are read."""

    @property
    def name(self) -> str:
        """Of its root; of a placeholder, of what came first under it."""
        named = next((node for node in self.nodes if not node.missing), None)
        return named.name if named is not None else ""


@dataclass(frozen=True, slots=True)
class Traces:
    """The traces on record. Every method raises `Unavailable` while the database cannot answer."""

    db: Database
    spans: Spans

    @classmethod
    def of(cls, db: Database, seal: Seal = PLAIN) -> Self:
        """Those of a house."""
        return cls(db, Spans(db, seal))

    async def page(self, asked: TraceFilter, *, before: str | None = None, limit: int = 50) -> TracePage:
        """Traces of several steps that pass `asked`, newest first, after the page whose `next` was `before`.

        Raises:
            BadRequest: `before` is no such mark, `limit` is not in 1…1,000, or `name` has no word.
        """
        pages.checked_limit(limit)
        where, params = _condition(asked)
        if before is not None:
            at, trace_id = mark_of(before)
            where.append("(t.started_at, t.trace_id) < (%(at)s, %(before)s::uuid)")
            params |= {"at": at, "before": trace_id}
        series = await self._series(asked)
        params |= {"limit": limit + 1, "series": series}
        order = "order by t.started_at desc, t.trace_id desc limit %(limit)s"
        few = series is not None and len(series) <= _FEW_SERIES
        if series is not None and not few:
            # An expression, so that no index of names is thought of.
            where.append("t.series_id + 0 = any(%(series)s::int[])")
        condition = " and ".join(where) or "true"
        source = f"select t.* from traces t where {condition} {order}"  # noqa: S608
        if few:
            source = f"""select t.* from unnest(%(series)s::int[]) as w (id) cross join lateral (
                select t.* from traces t where t.series_id = w.id and {condition} {order}) t {order}"""  # noqa: S608
        elif asked.project_id is None:
            # Of every project its newest, by the index that begins with the project.
            source = f"""select t.* from (select distinct project_id from trace_series) p cross join lateral (
                select t.* from traces t where t.project_id = p.project_id and {condition} {order}) t {order}"""  # noqa: S608
        rows = await self.db.rows(
            f"select {_ROW} from ({source}) t join trace_series s on s.id = t.series_id {order}",  # noqa: S608
            params,
        )
        found = [row_of(row) for row in rows[:limit]]
        onward = _mark(found[-1]) if len(rows) > limit else None
        return TracePage(traces=tuple(found), next=onward)

    async def services(self, project_id: int | None) -> list[str]:
        """Names of services that traces have, at most a hundred."""
        found = await self.db.rows(
            """select distinct service from trace_series
               where service <> '' and (%s::int is null or project_id = %s) order by service limit 100""",
            (project_id, project_id),
        )
        return [row["service"] for row in found]

    async def get(self, project_id: int | None, trace_id: str, *, limit: int = MOST) -> Trace:
        """One trace: spans without their texts, and calls.

        Raises:
            NotFound: nothing of it is on record, or it is another project's.
        """
        found_id = checked(trace_id)
        told = await self.db.rows(_SPANS, {"traces": [found_id], "project": project_id, "limit": limit})
        rows = await self._calls(project_id, [found_id], told)
        members = Counter(row["project_id"] for row in (*told, *rows))
        if not members:
            raise NotFound(f"there is no trace {trace_id[:80]!r}: it is past its retention, was deleted, or never was")
        # The same id in two projects is two traces; an administrator sees the larger.
        mine = max(members, key=lambda project: (members[project], -project))
        told_of_it = [row for row in told if row["project_id"] == mine]
        rows = [row for row in rows if row["project_id"] == mine]
        return _made(found_id, mine, told_of_it, rows, await self._inner(rows), limit)

    async def several(self, project_id: int, trace_ids: Sequence[str], *, limit: int) -> list[Trace]:
        """As `get`, those of one project at once that are there, in this order; `limit` is of all spans together."""
        ids = [checked(trace_id) for trace_id in trace_ids]
        told = await self.db.rows(_SPANS, {"traces": ids, "project": project_id, "limit": limit})
        rows = await self._calls(project_id, ids, told)
        spans_by: dict[str, list[dict[str, Any]]] = {}
        calls_by: dict[str, list[dict[str, Any]]] = {}
        for row in told:
            spans_by.setdefault(row["trace_id"].hex, []).append(row)
        for row in rows:
            calls_by.setdefault(row["trace_id"].hex, []).append(row)
        there = [each for each in ids if each in spans_by or each in calls_by]
        inner = await self._inner(rows)
        return [_made(each, project_id, spans_by.get(each, []), calls_by.get(each, []), inner, limit) for each in there]

    async def _series(self, asked: TraceFilter) -> list[int] | None:
        if asked.service is None and asked.name is None:
            return None
        found = await self.db.rows(
            """select id from trace_series where (%(project)s::int is null or project_id = %(project)s)
                 and (%(service)s::text is null or service = %(service)s)
                 and (%(words)s::text is null or trace_words(name) @@ to_tsquery('simple', %(words)s)) limit 20000""",
            {"project": asked.project_id, "service": asked.service, "words": words_of(asked.name)},
        )
        return [row["id"] for row in found]

    async def _calls(
        self, project_id: int | None, traces: list[str], told: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Calls of the traces; those that are traces by themselves; and those that spans name."""
        found = await self.db.rows(
            f"""select c.id from calls c where c.trace_id = any(%(traces)s::uuid[]) and {TRACED} limit %(most)s""",  # noqa: S608
            {"traces": traces, "most": MOST},
        )
        ids = {*(row["id"] for row in found), *(UUID(each) for each in traces)}
        ids |= {row["call_id"] for row in told if row["call_id"] is not None}
        return await self.db.rows(
            f"""select {CALL}, c.block, c.slot, c.sent from calls c join call_series s on s.id = c.series_id
                where c.id = any(%s) and (%s::int is null or c.project_id = %s) order by c.id""",  # noqa: S608
            (list(ids), project_id, project_id),
        )

    async def _inner(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Node]]:
        """What is on record of the requests inside calls: of tasks in their texts, of others in their departures."""
        found: dict[str, list[Node]] = {}
        tasks = [dict(row) for row in rows if row["task"] is not None and row["block"] is not None][:_READ]
        # What cannot be opened is not shown; the page of the call says why.
        texts = await pages.texts_of(self.db, tasks, Packer(self.spans.seal), {})
        for row in rows:
            call, payload = call_of(row), texts.get(row["id"])
            made = [] if payload is None else requests_in(call, pages.detail_of(call, payload).request)
            made = made or departed(call, row["sent"])
            if made:
                found[call.id] = made
        return found


def _made(
    trace_id: str,
    project_id: int,
    told: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    inner: Mapping[str, list[Node]],
    limit: int,
) -> Trace:
    spans, calls = [_node(row) for row in told], [call_of(row) for row in rows]
    nodes = tree(spans, calls, inner)
    sessions = [span.session for span in spans if span.session] + [call.session for call in calls if call.session]
    return Trace(
        trace_id=trace_id,
        project_id=project_id,
        session=sessions[0] if sessions else None,
        nodes=tuple(nodes),
        totals=summed(nodes),
        clipped=len(told) >= limit,
    )


def _node(row: Mapping[str, Any]) -> Node:
    """As `of_span` of a row, for thirty thousand at a time."""
    call_id, parent = row["call_id"], row["parent_id"]
    alone = call_id is None
    return Node(
        id=digits(row["span_id"]),
        parent=None if parent is None else digits(parent),
        name=row["name"],
        kind=KINDS[row["kind"]],
        started_ns=row["started_ns"],
        duration_us=row["duration_us"],
        failed=row["status"] == _FAILED,
        error=row["error"],
        told=True,
        call_id=None if alone else str(call_id),
        session=row["session"],
        tool=row["tool"],
        model=row["model"],
        service=row["service"],
        cost_nano=row["cost_nano"] if alone else None,
        input_tokens=row["input_tokens"] if alone else 0,
        output_tokens=row["output_tokens"] if alone else 0,
    )


def requests_in(call: Call, request: Mapping[str, Any] | None) -> list[Node]:
    """What a call of a task did, as its own member of the request tells: what was looked up, then what was asked."""
    aside = None if request is None else request.get("loopwright")
    if not isinstance(aside, Mapping):
        return []
    steps = dicts(aside.get("steps"))
    before = looked_up(call, aside.get("retrieval"))
    after_us = sum(node.duration_us for node in before)
    return [*before, *(inside(call, steps, after_us=after_us) if len(steps) > 1 else [])]


def row_of(row: Mapping[str, Any]) -> TraceRow:
    """A row of `traces` with its name and service."""
    plain = {name: row[name] for name in TraceRow.__slots__ if name not in ("trace_id", "models", "started_at")}
    return TraceRow(
        trace_id=row["trace_id"].hex,
        started_at=row["started_at"].astimezone(UTC),
        models=tuple(row["models"] or ()),
        **plain,
    )


def checked(trace_id: str) -> str:
    """`trace_id` as 32 hexadecimal digits.

    Raises:
        NotFound: it is none, so there is none.
    """
    try:
        return UUID(trace_id).hex
    except ValueError:
        raise NotFound(f"there is no trace {trace_id[:80]!r}: a trace has 32 hexadecimal digits") from None


def words_of(name: str | None) -> str | None:
    """What `to_tsquery` takes for words that all occur, each perhaps cut short.

    Raises:
        BadRequest: there is no word.
    """
    if name is None:
        return None
    words = [word for part in _WORD.findall(name[:300].replace("\x00", " ")) for word in part.split("_") if word]
    if not words:
        raise BadRequest(f"name: {name[:80]!r} has no word to look for", param="name")
    return " & ".join(f"'{word}':*" for word in words[:20])


def mark_of(mark: str) -> tuple[datetime, str]:
    """Where a page ends: a moment and an id.

    Raises:
        BadRequest: it is no such mark.
    """
    moment, _, rest = mark.partition("-")
    try:
        return _EPOCH + timedelta(microseconds=int(moment)), str(UUID(rest))
    except (ValueError, OverflowError):
        raise BadRequest(f"before must be the `next` of a page, not {mark[:80]!r}", param="before") from None


def _mark(row: TraceRow) -> str:
    return f"{(row.started_at - _EPOCH) // timedelta(microseconds=1)}-{row.trace_id}"


def _condition(asked: TraceFilter) -> tuple[list[str], dict[str, Any]]:
    pairs = {
        "project": ("t.project_id = %(project)s", asked.project_id),
        "since": ("t.started_at >= %(since)s", asked.since),
        "until": ("t.started_at < %(until)s", asked.until),
        "session": ("t.session = %(session)s", asked.session and clipped(asked.session)),
        "duration": (
            "t.duration_us >= %(duration)s",
            None if asked.min_duration_ms is None else int(min(asked.min_duration_ms * 1000, 2**62)),
        ),
        "cost": ("t.cost_nano >= %(cost)s and t.cost_nano > 0", asked.min_cost_nano),
        "model": ("t.models @> array[%(model)s::text]", asked.model and clipped(asked.model)),
        "failed": ("t.failed > 0" if asked.failed else "t.failed = 0", asked.failed),
    }
    where = [condition for condition, value in pairs.values() if value is not None]
    return where, {name: value for name, (_, value) in pairs.items() if value is not None}
