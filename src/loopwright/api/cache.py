"""What the cache holds and saved, and reports of hits that were none."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from loopwright.api.asking import Asker, House, scope_of
from loopwright.app import App
from loopwright.cache import tally
from loopwright.core.money import usd
from loopwright.gateway.hits import hit
from loopwright.gateway.hits import report_wrong as report

router = APIRouter(prefix="/api")


@router.get("/cache", tags=["cache"])
async def cache_status(app: House, who: Asker, *, days: Annotated[int, Query(ge=1, le=400)] = 30) -> dict[str, Any]:
    """Hits, misses and money saved by day and model, what is stored, and how the worker that answers stands."""
    scope = scope_of(who)
    rows = await tally.days(app.db, scope, days)
    apart, size = await tally.stored(app.db, scope)
    on_record = await app.calls.answers_held(scope)
    hits = sum(row["hits"] + row["semantic"] for row in rows)
    asked = hits + sum(row["misses"] for row in rows)
    return {
        "hits": hits,
        "misses": asked - hits,
        "hit_rate": hits / asked if asked else None,
        "saved_usd": usd(sum(row["saved_nano"] for row in rows)),
        "entries": on_record + apart,
        "on_record": on_record,
        "bytes": size,
        "days": [_day(row) for row in rows],
        "thresholds": await tally.thresholds(app.db, scope),
        "worker": _worker(app) if who.admin else None,
    }


@router.get("/cache/hits/{call_id}", tags=["cache"])
async def get_hit(app: House, who: Asker, call_id: str) -> dict[str, Any]:
    """A hit: the call whose answer was given again, how alike the questions are, and both; null when deleted."""
    found = await hit(app.calls, call_id, project_id=scope_of(who))
    return {
        "call_id": call_id,
        "kind": found.kind,
        "matched_call_id": found.matched_id,
        "similarity": found.similarity,
        "saved_usd": found.saved_usd,
        "asked": found.detail.request,
        "matched": None if found.matched is None else found.matched.request,
    }


@router.post("/cache/hits/{call_id}/wrong", tags=["cache"])
async def report_wrong(app: House, who: Asker, call_id: str) -> dict[str, Any]:
    """Say that a hit was wrong. By likeness: the project's threshold for the model rises over it. Exact: forgotten."""
    found = await hit(app.calls, call_id, project_id=scope_of(who))
    policy = app.policies.get(found.detail.call.model)
    counted, threshold = await report(found, app.cache, policy, by_key=who.key_id)
    return {"call_id": call_id, "counted": counted, "threshold": threshold}


def _day(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "day": row["day"].isoformat(),
        "model": row["model"],
        "hits": row["hits"],
        "semantic_hits": row["semantic"],
        "misses": row["misses"],
        "saved_usd": usd(row["saved_nano"]),
        "unpriced_hits": row["unpriced"],
    }


def _worker(app: App) -> dict[str, Any]:
    figures = app.cache.figures()
    saved = usd(figures.pop("saved_nano"))
    return {**figures, "saved_usd": saved}
