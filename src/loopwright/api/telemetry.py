"""Management REST of what programs tell beside their spans: logs of a trace, points of metrics; and deleting a trace's."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request

from loopwright.api.asking import Asker, House, Seen, actor
from loopwright.core.errors import BadRequest

router = APIRouter(prefix="/api/telemetry")
_TRACE: Final = re.compile(r"[0-9a-fA-F]{32}")


@router.get("/logs/{trace_id}", tags=["traces"])
async def list_logs(app: House, scope: Seen, trace_id: str) -> dict[str, Any]:
    """What was logged within a trace, oldest first, events of OpenTelemetry among it."""
    found = await app.telemetry.logged.of_trace(scope, _checked(trace_id))
    return {"logs": [each.shown() for each in found]}


@router.delete("/traces/{trace_id}", tags=["traces"])
async def delete_trace(app: House, who: Asker, scope: Seen, trace_id: str, request: Request) -> dict[str, Any]:
    """Forget the spans and logs of a trace; its calls are deleted as calls are."""
    trace = _checked(trace_id)
    await app.audit.note(actor(who, request), "trace.delete", f"trace {trace}", {}, project_id=who.project_id)
    return {"deleted": await app.telemetry.forget(project_id=scope, trace_id=trace)}


@router.get("/metrics", tags=["metrics"])
async def list_metrics(
    app: House,
    scope: Seen,
    *,
    name: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 500,
) -> dict[str, Any]:
    """Series of points that programs sent, by name, each with its newest point. Nothing of them is counted elsewhere."""
    if name is not None and "\x00" in name:
        raise BadRequest("name: no metric has this name", param="name")
    return {"series": [each.shown() for each in await app.telemetry.metrics.series(scope, name=name, limit=limit)]}


@router.get("/metrics/{series_id}", tags=["metrics"])
async def get_metric(
    app: House,
    scope: Seen,
    series_id: Annotated[int, Path(ge=1, le=2**31 - 1)],
    *,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """The newest points of a series, oldest first."""
    return {"points": await app.telemetry.metrics.points(series_id, scope, limit=limit)}


def _checked(trace_id: str) -> str:
    if not _TRACE.fullmatch(trace_id):
        raise BadRequest("a trace id has 32 hexadecimal digits", param="trace_id")
    return trace_id.lower()
