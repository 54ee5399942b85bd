"""Sessions: conversations over several traces and calls. Nothing is kept of them: each is made of what bears its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from loopwright.calls import pages
from loopwright.calls.payloads import Packer
from loopwright.calls.rows import SELECT as CALL
from loopwright.calls.rows import call_of, clipped
from loopwright.core.call import Call, CallDetail
from loopwright.core.errors import NotFound, Sealed
from loopwright.core.money import usd
from loopwright.kit.db import Database
from loopwright.kit.ids import floor_of
from loopwright.telemetry.spoken import Used, answer_of, question_of, told_of, tools_of
from loopwright.telemetry.traces import Trace, Traces, mark_of
from loopwright.telemetry.tree import Node

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK: Final = 2_000
_CHUNKS: Final = 10
"""Of calls that are walked for one page: one endless session is not read to its beginning."""
_SPANS: Final = 20_000
"""Of the traces of a page together."""
_SLACK: Final = 20
"""Sessions that are summed up beyond a page: who began to speak last need not have ended last."""
_BETWEEN: Final = ("tool", "retrieval", "agent", "guardrail", "memory", "rerank")
_USED: Final = 30
_SUMS: Final = """
    select project_id, session, min(started_at) as started_at, max(started_at + duration_us * interval '1 microsecond') as last_at,
        count(*) as turns, sum(calls) as calls, sum(failed) as failed, sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens, sum(cost_nano) as cost_nano, sum(unpriced) as unpriced, sum(duration_us) as busy_us
    from (
        select project_id, session, started_at, duration_us, calls, failed, input_tokens, output_tokens, cost_nano, unpriced
        from traces where session = any(%(sessions)s) and (%(project)s::int is null or project_id = %(project)s)
        union all
        select c.project_id, c.session, c.started_at, c.latency_us, 1, (c.outcome in (1, 2, 4))::int, c.input_tokens,
            c.output_tokens, coalesce(c.cost_nano, 0), (c.cost_nano is null)::int
        from calls c where c.session = any(%(sessions)s) and (%(project)s::int is null or c.project_id = %(project)s)
          and not exists (select from traces t where t.project_id = c.project_id and t.trace_id = c.trace_id and t.session = c.session)
    ) turn group by project_id, session
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session, summed up."""

    session: str
    project_id: int
    started_at: datetime
    last_at: datetime
    """When its last turn ended."""
    turns: int
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost_nano: int
    unpriced: int
    busy_us: int
    """What its turns took together."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        moments = ("started_at", "last_at")
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "cost_nano" and name not in moments}
        return {**plain, **{name: getattr(self, name).isoformat() for name in moments}, "cost_usd": usd(self.cost_nano)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange of a session: a call, or a trace of several steps."""

    kind: str
    """`call` or `trace`."""
    id: str
    name: str
    started_at: datetime
    latency_us: int
    cost_nano: int | None
    """None when no call of it has a price."""
    unpriced: int
    input_tokens: int
    output_tokens: int
    failed: int
    error: str | None
    question: str | None
    answer: str | None
    used: tuple[Used, ...]
    """What came between question and answer."""
    calls: tuple[tuple[str, str], ...]
    """Id and model of each call in it."""
    sealed: str | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        plain = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("cost_nano", "used", "calls", "started_at")
        }
        return {
            **plain,
            "started_at": self.started_at.isoformat(),
            "cost_usd": None if self.cost_nano is None else usd(self.cost_nano),
            "used": [each.shown() for each in self.used],
            "calls": [{"id": call_id, "model": model} for call_id, model in self.calls],
        }


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions on record. Every method raises `Unavailable` while the database cannot answer."""

    db: Database
    traces: Traces

    async def page(
        self, project_id: int | None, *, since: datetime | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[list[SessionRow], str | None]:
        """Sessions, the one that spoke last first, and the mark of the next page.

        Raises:
            BadRequest: `before` is no such mark, or `limit` is not in 1…1,000.
        """
        pages.checked_limit(limit)
        end = None if before is None else mark_of(before)[0]
        rows: dict[tuple[int, str], SessionRow] = {}
        upto, more = end, True
        for _ in range(_CHUNKS):
            names, upto = await self._named(project_id, since, upto)
            some = limit + _SLACK
            for at in range(0, len(names), some):
                for row in await self._sums(project_id, names[at : at + some]):
                    # One that spoke since the page before was read stood there, or will on the first.
                    if end is None or row.last_at < end:
                        rows[row.project_id, row.session] = row
                if len(rows) > limit:
                    break
            more = upto is not None
            if not more or len(rows) > limit:
                break
        found = sorted(rows.values(), key=lambda row: (row.last_at, row.session), reverse=True)
        onward = found[limit - 1] if len(found) > limit else found[-1] if found and more else None
        mark = None if onward is None else f"{(onward.last_at - _EPOCH) // timedelta(microseconds=1)}-{UUID(int=0).hex}"
        return found[:limit], mark

    async def get(self, project_id: int | None, session: str) -> SessionRow:
        """One, summed up.

        Raises:
            NotFound: nothing bears its name.
        """
        found = await self._sums(project_id, [clipped(session)])
        if not found:
            raise NotFound(f"there is no session {session[:80]!r}: nothing on record bears that name")
        return max(found, key=lambda row: row.turns)

    async def turns(
        self, row: SessionRow, *, before: str | None = None, limit: int = 20
    ) -> tuple[list[Turn], str | None]:
        """The latest turns, in the order they were taken, and the mark of those before.

        Raises:
            BadRequest: `before` is no such mark, or `limit` is not in 1…1,000.
        """
        pages.checked_limit(limit)
        at = None if before is None else mark_of(before)[0]
        traces = await self.traces.db.rows(
            """select trace_id, started_at from traces where project_id = %s and session = %s
               and (%s::timestamptz is null or started_at < %s) order by started_at desc limit %s""",
            (row.project_id, row.session, at, at, limit + 1),
        )
        alone = await self.db.rows(
            f"""select {CALL}, c.block, c.slot from calls c join call_series s on s.id = c.series_id
                where c.session = %s and c.project_id = %s and (%s::timestamptz is null or c.started_at < %s)
                  and not exists (select from traces t
                      where t.project_id = c.project_id and t.trace_id = c.trace_id and t.session = c.session)
                order by c.started_at desc limit %s""",  # noqa: S608
            (row.session, row.project_id, at, at, limit + 1),
        )
        latest = sorted([*traces, *alone], key=lambda each: each["started_at"], reverse=True)
        chosen = latest[:limit][::-1]
        onward = None
        if len(latest) > limit:
            onward = f"{(chosen[0]['started_at'] - _EPOCH) // timedelta(microseconds=1)}-{UUID(int=0).hex}"
        made = await self._turns_of_calls([each for each in chosen if "id" in each])
        made |= await self._turns_of_traces(row.project_id, [each["trace_id"] for each in chosen if "id" not in each])
        names = [each["id"] if "id" in each else each["trace_id"] for each in chosen]
        return [made[name] for name in names if name in made], onward

    async def _named(
        self, project_id: int | None, since: datetime | None, upto: datetime | None
    ) -> tuple[list[str], datetime | None]:
        """Sessions of the newest calls and traces before a moment, newest first, and from when on that is all."""
        calls = await self.db.rows(
            """select project_id, session, started_at from calls where session is not null
               and (%(project)s::int is null or project_id = %(project)s)
               and (%(floor)s::uuid is null or id < %(floor)s::uuid) and (%(since)s::uuid is null or id >= %(since)s::uuid)
               order by id desc limit %(most)s""",
            {
                "project": project_id,
                "floor": None if upto is None else floor_of(upto),
                "since": None if since is None else floor_of(since),
                "most": _CHUNK,
            },
        )
        traces = await self.db.rows(
            """select project_id, session, started_at from traces where session is not null
               and (%(project)s::int is null or project_id = %(project)s)
               and (%(upto)s::timestamptz is null or started_at < %(upto)s)
               and (%(since)s::timestamptz is null or started_at >= %(since)s) order by started_at desc limit %(most)s""",
            {"project": project_id, "upto": upto, "since": since, "most": _CHUNK},
        )
        ends = [rows[-1]["started_at"] for rows in (calls, traces) if len(rows) == _CHUNK]
        reached = max(ends) if ends else None
        near = [each for each in (*calls, *traces) if reached is None or each["started_at"] >= reached]
        near.sort(key=lambda each: each["started_at"], reverse=True)
        return list(dict.fromkeys(each["session"] for each in near)), reached

    async def _sums(self, project_id: int | None, sessions: Sequence[str]) -> list[SessionRow]:
        if not sessions:
            return []
        found = await self.db.rows(_SUMS, {"sessions": list(sessions), "project": project_id})
        whole = ("turns", "calls", "failed", "input_tokens", "output_tokens", "cost_nano", "unpriced", "busy_us")
        return [
            SessionRow(
                session=row["session"],
                project_id=row["project_id"],
                started_at=row["started_at"].astimezone(UTC),
                last_at=row["last_at"].astimezone(UTC),
                **{name: int(row[name]) for name in whole},
            )
            for row in found
        ]

    async def _turns_of_calls(self, rows: Sequence[dict[str, Any]]) -> dict[UUID, Turn]:
        details = await self._details(rows)
        return {row["id"]: _of_call(details[str(row["id"])]) for row in rows}

    async def _details(self, rows: Sequence[dict[str, Any]]) -> dict[str, CallDetail]:
        closed: dict[UUID, str] = {}
        with_texts = [row for row in rows if row["block"] is not None]
        texts = await pages.texts_of(self.db, with_texts, Packer(self.traces.spans.seal), closed)
        return {
            str(row["id"]): pages.detail_of(call_of(row), texts.get(row["id"]), closed.get(row["id"])) for row in rows
        }

    async def _turns_of_traces(self, project_id: int, ids: Sequence[UUID]) -> dict[UUID, Turn]:
        """Those that are still there."""
        traces = await self.traces.several(project_id, [each.hex for each in ids], limit=_SPANS)
        chats = {trace.trace_id: _chats(trace) for trace in traces}
        ends = [call.id for calls in chats.values() for call in (*calls[:1], *calls[-1:])]
        rows = await self.db.rows(
            f"""select {CALL}, c.block, c.slot from calls c join call_series s on s.id = c.series_id
                where c.id = any(%s::uuid[])""",  # noqa: S608
            (list(set(ends)),),
        )
        details = await self._details(rows)
        said = await self._said_by_roots(project_id, traces)
        found = {}
        for trace, told in zip(traces, said, strict=True):
            calls = [details[call.id] for call in chats[trace.trace_id] if call.id in details]
            found[UUID(trace.trace_id)] = _of_trace(trace, told, calls)
        return found

    async def _said_by_roots(self, project_id: int, traces: Sequence[Trace]) -> list[_Said]:
        """What the root of each said."""
        roots = {
            trace.trace_id: (trace.trace_id, node.id)
            for trace in reversed(traces)
            for node in reversed(trace.nodes)
            if node.parent is None and node.told and node.call is None
        }
        spans = await self.traces.spans.several(project_id, list(roots.values())) if roots else {}
        found = []
        for trace in traces:
            span = spans.get(roots.get(trace.trace_id, ("", "")))
            if isinstance(span, Sealed):
                found.append(_Said(sealed=span.message))
            else:
                found.append(
                    _Said() if span is None else _Said(question=told_of(span.input), answer=told_of(span.output))
                )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """By the root of a trace."""

    question: str | None = None
    answer: str | None = None
    sealed: str | None = None


def _chats(trace: Trace) -> list[Call]:
    """Its calls that say something, in their order."""
    calls = [node.call for node in trace.nodes if node.call is not None and not node.twice]
    return [call for call in calls if call.operation in ("chat", "completion")]


def _of_trace(trace: Trace, said: _Said, chats: Sequence[CallDetail]) -> Turn:
    totals = trace.totals
    calls = [node.call for node in trace.nodes if node.call is not None and not node.twice]
    return Turn(
        kind="trace",
        id=trace.trace_id,
        name=trace.name,
        started_at=_EPOCH + timedelta(microseconds=totals.started_ns // 1000),
        latency_us=totals.duration_us,
        cost_nano=totals.cost_nano if totals.calls > totals.unpriced or totals.cost_nano else None,
        unpriced=totals.unpriced,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        failed=totals.failed,
        error=next((node.error for node in trace.nodes if node.failed and node.error), None),
        question=said.question or (question_of(chats[0].request) if chats else None),
        answer=said.answer or (answer_of(chats[-1].response) if chats else None),
        used=tuple(_used(trace.nodes)),
        calls=tuple((call.id, call.model) for call in calls[:_USED]),
        sealed=said.sealed or (chats[0].sealed if chats else None),
    )


def _of_call(detail: CallDetail) -> Turn:
    call: Call = detail.call
    failed = call.outcome in ("error", "refused", "interrupted")
    return Turn(
        kind="call",
        id=call.id,
        name=call.task or call.model,
        started_at=call.started_at,
        latency_us=call.latency_us,
        cost_nano=call.cost_nano,
        unpriced=int(call.cost_nano is None),
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        failed=int(failed),
        error=(call.error or call.error_code or call.outcome) if failed else None,
        question=question_of(detail.request),
        answer=answer_of(detail.response),
        used=tuple(tools_of(detail.request, detail.response)),
        calls=((call.id, call.model),),
        sealed=detail.sealed,
    )


def _used(nodes: Sequence[Node]) -> list[Used]:
    """Steps between question and answer that say what was done, in their order."""
    found = [
        Used(name=node.name, kind=node.kind, failed=node.failed, duration_us=node.duration_us)
        for node in nodes
        if node.kind in _BETWEEN and not node.missing and node.parent is not None
    ]
    return found[:_USED]
