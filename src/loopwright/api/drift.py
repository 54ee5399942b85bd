"""Drift over REST: what is watched, what moved, and what a person says of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from loopwright.api.asking import Acting, Asker, House, Owner, Seen, actor
from loopwright.app import App
from loopwright.laboratory import drifting
from loopwright.monitoring.drift_findings import Act, act
from loopwright.monitoring.drift_shown import finding_shown, watch_shown, whole

router = APIRouter(prefix="/api")
WatchId = Annotated[int, Path(ge=1, le=2**31 - 1)]
State = Literal["open", "accepted", "dismissed", "passed"]


class NewWatch(BaseModel):
    """What is to be watched."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field(max_length=300, description="`task/NAME`, or the name of a model.")
    embedder: str | None = Field(default=None, max_length=200, description="Model that makes the vectors.")
    trailing: bool = Field(default=False, description="Windows in which nothing moved become the reference.")
    reference: int | None = Field(default=None, ge=50, le=5_000, description="Calls that say what is normal.")
    window: int | None = Field(default=None, ge=50, le=5_000, description="Calls that are held against them.")
    per_day: int | None = Field(default=None, ge=10, le=1_000_000, description="Calls embedded on one day.")
    alpha: float | None = Field(default=None, ge=0.00001, le=0.2, description="False alarms of a window.")
    history: bool = Field(default=True, description="Learn what is normal from calls on record.")
    since: AwareDatetime | None = Field(default=None, description="From those since then; else the newest.")


@router.get("/drift", tags=["drift"])
async def list_watches(app: House, project_id: Seen) -> dict[str, Any]:
    """What is watched, each with its open finding."""
    store = drifting.drift(app)
    found = {each.watch_id: each for each in await store.findings(project_id=project_id, state="open", limit=1_000)}
    rows = [watch_shown(each, await store.counts(each), found.get(each.id)) for each in await store.watches(project_id)]
    return {"watches": rows}


@router.post("/drift", tags=["drift"], status_code=201)
async def watch(app: House, who: Asker, project_id: Owner, new: NewWatch, request: Request) -> dict[str, Any]:
    """Watch a task or a model for drift."""
    told = new.model_dump(exclude={"subject"})
    made = await drifting.begin_watch(app, project_id, new.subject, who.key_name, **told)
    await app.audit.note(actor(who, request), "drift.watch", made.subject, {}, project_id=project_id)
    return {"watch": watch_shown(made, {}, None)}


@router.get("/drift/findings", tags=["drift"])
async def list_findings(
    app: House,
    project_id: Seen,
    *,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """What moved, newest first."""
    found = await drifting.drift(app).findings(project_id=project_id, state=state, limit=limit)
    return {"findings": [finding_shown(each) for each in found]}


@router.post("/drift/run", tags=["drift"])
async def look_now(app: House, by: Acting) -> dict[str, Any]:
    """Look at all that is watched, now; `ran` is false while another process is at it. For administrators."""
    await app.audit.note(by, "drift.run", "drift", {})
    return {"ran": await drifting.look_now(app)}


@router.get("/drift/{watch_id}", tags=["drift"])
async def get_watch(app: House, project_id: Seen, watch_id: WatchId) -> dict[str, Any]:
    """One watch: its looks, its findings, distributions of then and now, and example calls of the newest finding."""
    store = drifting.drift(app)
    return await whole(store, await store.get(watch_id, project_id=project_id))


@router.post("/drift/{watch_id}/accept", tags=["drift"])
async def accept(app: House, who: Asker, project_id: Seen, watch_id: WatchId, request: Request) -> dict[str, Any]:
    """What moved is normal from now on: the reference is learnt from it."""
    return await _acted(app, who, project_id, watch_id, request, "accept")


@router.post("/drift/{watch_id}/dismiss", tags=["drift"])
async def dismiss(app: House, who: Asker, project_id: Seen, watch_id: WatchId, request: Request) -> dict[str, Any]:
    """What moved does not matter: the reference stays, and the next window begins."""
    return await _acted(app, who, project_id, watch_id, request, "dismiss")


@router.post("/drift/{watch_id}/pause", tags=["drift"])
async def pause(app: House, who: Asker, project_id: Seen, watch_id: WatchId, request: Request) -> dict[str, Any]:
    """Look no more until it is resumed."""
    return await _acted(app, who, project_id, watch_id, request, "pause")


@router.post("/drift/{watch_id}/resume", tags=["drift"])
async def resume(app: House, who: Asker, project_id: Seen, watch_id: WatchId, request: Request) -> dict[str, Any]:
    """Look again."""
    return await _acted(app, who, project_id, watch_id, request, "resume")


@router.delete("/drift/{watch_id}", tags=["drift"])
async def unwatch(app: House, who: Asker, project_id: Seen, watch_id: WatchId, request: Request) -> dict[str, Any]:
    """Watch no more; what was found goes with it."""
    return await _acted(app, who, project_id, watch_id, request, "delete")


async def _acted(
    app: App, who: Asker, project_id: int | None, watch_id: int, request: Request, what: Act
) -> dict[str, Any]:
    store = drifting.drift(app)
    watch = await store.get(watch_id, project_id=project_id)
    await act(store, watch, what, who.key_name)
    await app.audit.note(actor(who, request), f"drift.{what}", watch.subject, {}, project_id=watch.project_id)
    if what == "delete":
        return {"id": watch.id, "deleted": True}
    now = await store.get(watch_id, project_id=project_id)
    return {"watch": watch_shown(now, await store.counts(now), None)}
