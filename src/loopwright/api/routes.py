"""`GET /api/routes`: what stands behind each name, and how it is; `GET /api/savings`: what cache and cascades saved."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from loopwright.api.asking import Asker, House, scope_of
from loopwright.core.notes import signed_usd

router = APIRouter(prefix="/api")


@router.get("/routes", tags=["models"])
async def list_routes(app: House, who: Asker) -> dict[str, Any]:
    """Strategy, and health, breaker, answers in the making, queue and speed of each target.

    Each gateway process watches for itself; `process` says which one answers here.
    """
    routes = [each.shown() for each in app.routes if who.may_call(each.name)]
    return {"process": os.getpid(), "routes": sorted(routes, key=lambda each: str(each["name"]))}


@router.get("/savings", tags=["models"])
async def list_savings(
    app: House, who: Asker, *, days: Annotated[int, Query(ge=1, le=90)] = 30, model: str | None = None
) -> dict[str, Any]:
    """What was saved and wasted by day (UTC) and name, newest first, and altogether; summed from the calls on record."""
    since = datetime.now(UTC) - timedelta(days=days - 1)
    found = await app.calls.savings(project_id=scope_of(who), since=since, models=None if model is None else [model])
    rows = [
        {
            "day": each.day.isoformat(),
            "model": each.model,
            "hits": each.hits,
            "kept": each.kept,
            "escalated": each.escalated,
            "saved_by_cache_usd": signed_usd(each.cache_nano),
            "saved_by_cascade_usd": signed_usd(each.cascade_nano),
            "wasted_usd": signed_usd(each.wasted_nano),
        }
        for each in found
    ]
    return {
        "days": rows,
        "saved_by_cache_usd": signed_usd(sum(each.cache_nano for each in found)),
        "saved_by_cascade_usd": signed_usd(sum(each.cascade_nano for each in found)),
        "wasted_usd": signed_usd(sum(each.wasted_nano for each in found)),
    }
