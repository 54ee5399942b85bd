"""Management REST of traces and sessions: what several spans and calls were together."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from loopwright.api.asking import House, Seen
from loopwright.api.filters import aware
from loopwright.app import App
from loopwright.core.errors import NotFound
from loopwright.core.money import NANO
from loopwright.telemetry.sessions import Sessions
from loopwright.telemetry.shown import span_shown, trace_shown
from loopwright.telemetry.traces import TraceFilter, Traces, checked

router = APIRouter(prefix="/api")
_MOST = Decimal(10**9)
_Text = Annotated[str | None, Query(max_length=1000)]


@router.get("/traces", tags=["traces"])
async def list_traces(
    app: House,
    project_id: Seen,
    *,
    service: Annotated[str | None, Query(description="Of the root.", max_length=1000)] = None,
    session: _Text = None,
    name: Annotated[str | None, Query(description="Words of the root's name, or their beginnings.")] = None,
    failed: Annotated[bool | None, Query(description="Whether any step failed.")] = None,
    model: Annotated[str | None, Query(description="One that was asked.", max_length=1000)] = None,
    min_duration_ms: Annotated[float | None, Query(ge=0, le=1e12)] = None,
    min_cost_usd: Annotated[Decimal | None, Query(ge=0, le=_MOST)] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Traces of several steps, newest first. A call that stands alone is under `/api/calls`."""
    asked = TraceFilter(
        project_id=project_id,
        since=aware(since),
        until=aware(until),
        service=service,
        session=session,
        name=name,
        failed=failed,
        min_duration_ms=min_duration_ms,
        min_cost_nano=None if min_cost_usd is None else int(min_cost_usd * NANO),
        model=model,
    )
    page = await traces_of(app).page(asked, before=before, limit=limit)
    return {"traces": [row.shown() for row in page.traces], "next": page.next}


@router.get("/traces/{trace_id}", tags=["traces"])
async def get_trace(
    app: House,
    project_id: Seen,
    trace_id: str,
    *,
    nodes: Annotated[bool, Query(description="False: the sums alone.")] = True,
) -> Response:
    """One trace: spans and calls as a tree, each node after its parent, with what it took in all."""
    trace = await traces_of(app).get(project_id, trace_id)
    return _json({"trace": trace_shown(trace, nodes=nodes)})


@router.get("/traces/{trace_id}/spans/{span_id}", tags=["traces"])
async def get_span(app: House, project_id: Seen, trace_id: str, span_id: str) -> Response:
    """One span with all that it said: input, output, attributes, events, links."""
    digits = checked(trace_id)
    missing = NotFound(f"there is no span {span_id[:80]!r} in trace {digits}")
    try:
        if len(span_id) != 16:
            raise missing
        int(span_id, 16)
    except ValueError:
        raise missing from None
    span = await traces_of(app).spans.get(project_id, digits, span_id)
    if span is None:
        raise missing
    return _json({"span": span_shown(span)})


@router.get("/sessions", tags=["traces"])
async def list_sessions(
    app: House,
    project_id: Seen,
    *,
    since: datetime | None = None,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Sessions, the one that spoke last first."""
    rows, onward = await sessions_of(app).page(project_id, since=aware(since), before=before, limit=limit)
    return {"sessions": [row.shown() for row in rows], "next": onward}


@router.get("/sessions/{session:path}", tags=["traces"])
async def get_session(
    app: House,
    project_id: Seen,
    session: str,
    *,
    before: Annotated[str | None, Query(description="The `earlier` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Response:
    """One session and its latest turns, in the order they were taken."""
    sessions = sessions_of(app)
    row = await sessions.get(project_id, session)
    turns, earlier = await sessions.turns(row, before=before, limit=limit)
    return _json({"session": row.shown(), "turns": [turn.shown() for turn in turns], "earlier": earlier})


def traces_of(app: App) -> Traces:
    """The traces of the house."""
    return Traces.of(app.db, app.calls.seal)


def sessions_of(app: App) -> Sessions:
    """The sessions of the house."""
    return Sessions(app.db, traces_of(app))


def _json(body: Any) -> Response:
    """Without a model of it: spans are as deeply nested as they came."""
    return Response(msgspec.json.encode(body), media_type="application/json")
