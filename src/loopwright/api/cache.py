"""What the cache holds and saved, and reports of hits that were none."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from loopwright.api.asking import Asker, House, scope_of
from loopwright.app import App
from loopwright.cache import tally
from loopwright.cache.tally import Wrong
from loopwright.core.call import CallDetail
from loopwright.core.errors import NotFound
from loopwright.core.money import usd
from loopwright.core.who import Principal
from loopwright.gateway.cached import PROVIDER

router = APIRouter(prefix="/api")


@router.get("/cache", tags=["cache"])
async def cache_status(app: House, who: Asker, *, days: Annotated[int, Query(ge=1, le=400)] = 30) -> dict[str, Any]:
    """Hits, misses and money saved by day and model, what is stored, and how the worker that answers stands."""
    scope = scope_of(who)
    rows = await tally.days(app.db, scope, days)
    entries, size = await tally.stored(app.db, scope)
    hits = sum(row["hits"] + row["semantic"] for row in rows)
    asked = hits + sum(row["misses"] for row in rows)
    return {
        "hits": hits,
        "misses": asked - hits,
        "hit_rate": hits / asked if asked else None,
        "saved_usd": usd(sum(row["saved_nano"] for row in rows)),
        "entries": entries,
        "bytes": size,
        "days": [_day(row) for row in rows],
        "thresholds": await tally.thresholds(app.db, scope),
        "worker": _worker(app) if who.admin else None,
    }


@router.get("/cache/hits/{call_id}", tags=["cache"])
async def get_hit(app: House, who: Asker, call_id: str) -> dict[str, Any]:
    """A hit: the call whose answer was given again, how alike the questions are, and both; null when deleted."""
    hit = await _hit(app, who, call_id)
    tags = hit.call.tags
    try:
        matched = await app.calls.get(tags["loopwright.cache_of"], project_id=hit.call.project_id, wait=0)
    except NotFound:
        matched = None
    similarity = tags.get("loopwright.cache_similarity")
    return {
        "call_id": call_id,
        "kind": tags["loopwright.cache"],
        "matched_call_id": tags["loopwright.cache_of"],
        "similarity": None if similarity is None else float(similarity),
        "saved_usd": tags.get("loopwright.saved_usd"),
        "asked": hit.request,
        "matched": None if matched is None else matched.request,
    }


@router.post("/cache/hits/{call_id}/wrong", tags=["cache"])
async def report_wrong(app: House, who: Asker, call_id: str) -> dict[str, Any]:
    """Say that a hit was wrong. By likeness: the project's threshold for the model rises over it. Exact: forgotten."""
    hit = await _hit(app, who, call_id)
    call, tags = hit.call, hit.call.tags
    policy = app.policies.get(call.model)
    semantic = None if policy is None else policy.settings.semantic
    similarity = tags.get("loopwright.cache_similarity")
    wrong = Wrong(
        call_id=call_id,
        of_call_id=tags["loopwright.cache_of"],
        project_id=call.project_id,
        key_id=who.key_id,
        model=call.model if policy is None else policy.model,
        kind=tags["loopwright.cache"],
        similarity=None if similarity is None else float(similarity),
        threshold=0.0 if semantic is None else semantic.threshold,
    )
    fresh = await app.cache.report_wrong(wrong)
    held = app.cache.threshold(call.project_id, wrong.model, wrong.threshold)
    return {"call_id": call_id, "counted": fresh, "threshold": None if similarity is None else held}


async def _hit(app: App, who: Principal, call_id: str) -> CallDetail:
    detail = await app.calls.get(call_id, project_id=scope_of(who))
    # Tags are also a client's to set, the provider is not.
    if detail.call.provider != PROVIDER or "loopwright.cache_of" not in detail.call.tags:
        raise NotFound(f"call {call_id} was not answered from the cache", param="call_id")
    return detail


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
