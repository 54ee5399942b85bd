"""Batches of all projects, under `/api/batches`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from loopwright.api.asking import Asker, House, actor, scope_of
from loopwright.batches.batch import Batch, Status

router = APIRouter(prefix="/api")


@router.get("/batches", tags=["batches"])
async def list_batches(
    app: House,
    who: Asker,
    *,
    status: Status | None = None,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Batches, newest first; of the asker's project, for administrators of all."""
    found = await app.batches.list(project_id=scope_of(who), status=status, after=before, limit=limit + 1)
    shown = found[:limit]
    return {"batches": [_detail(batch) for batch in shown], "next": shown[-1].id if len(found) > limit else None}


@router.get("/batches/{batch_id}", tags=["batches"])
async def get_batch(app: House, who: Asker, batch_id: str) -> dict[str, Any]:
    """One batch, with what it cost."""
    return _detail(await app.batches.show(batch_id, project_id=scope_of(who)))


@router.post("/batches/{batch_id}/cancel", tags=["batches"])
async def cancel_batch(app: House, who: Asker, batch_id: str, request: Request) -> dict[str, Any]:
    """End a batch early; what is answered by then is in its files."""
    batch = await app.batches.show(batch_id, project_id=scope_of(who))
    await app.audit.note(actor(who, request), "batch.cancel", batch.id, {}, project_id=batch.project_id)
    return _detail(await app.batches.cancel(batch.id, project_id=scope_of(who)))


def _detail(batch: Batch) -> dict[str, Any]:
    return batch.detailed()
