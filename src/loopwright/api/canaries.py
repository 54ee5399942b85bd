"""Canaries over REST: datasets that are asked again and again, and what changed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, Seen, actor
from loopwright.api.datasets import stored
from loopwright.app import App
from loopwright.laboratory import drifting
from loopwright.monitoring.canaries_findings import Act, act
from loopwright.monitoring.canaries_shown import answers_shown, canary_shown, run_shown

router = APIRouter(prefix="/api")
CanaryId = Annotated[int, Path(ge=1, le=2**31 - 1)]
RunId = Annotated[int, Path(ge=1, le=2**31 - 1)]


class NewCanary(BaseModel):
    """What is to be asked again and again."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    dataset: str = Field(max_length=300, description="`NAME@NUMBER`; without a number, the version that is latest now.")
    model: str = Field(max_length=300, description="A model, or `task/NAME@VARIANT`.")
    parameters: dict[str, JsonValue] | None = Field(
        default=None, description="Further members of each request; temperature is 0 unless it is here."
    )
    examples: int | None = Field(default=None, ge=1, le=10_000, description="The first so many of the version.")
    repeats: int | None = Field(default=None, ge=2, le=20, description="Answers to each at the time of the baseline.")
    every: float | None = Field(default=None, ge=60, le=31_536_000, description="Seconds between two replays.")
    budget: float | None = Field(default=None, gt=0, le=1_000_000, description="US dollars of one day (UTC).")
    alpha: float | None = Field(default=None, ge=0.00001, le=0.2, description="False alarms of one replay.")


@router.get("/canaries", tags=["drift"])
async def list_canaries(app: House, project_id: Seen) -> dict[str, Any]:
    """Canaries by name."""
    return {"canaries": [canary_shown(each) for each in await drifting.canaries(app).list(project_id)]}


@router.post("/canaries", tags=["drift"], status_code=201)
async def create_canary(app: House, who: Asker, project_id: Owner, new: NewCanary, request: Request) -> dict[str, Any]:
    """Ask a dataset version again and again, in the name of this key; the first time makes the baseline."""
    told = new.model_dump(exclude={"name"})
    told["parameters"] = stored(new.parameters, "parameters")
    made = await drifting.begin_canary(app, who, project_id, new.name, **told)
    await app.audit.note(actor(who, request), "canary.create", made.name, {}, project_id=project_id)
    return {"canary": canary_shown(made)}


@router.get("/canaries/{canary_id}", tags=["drift"])
async def get_canary(app: House, project_id: Seen, canary_id: CanaryId) -> dict[str, Any]:
    """One canary with its runs, newest first."""
    store = drifting.canaries(app)
    canary = await store.get(canary_id, project_id=project_id)
    return {"canary": canary_shown(canary), "runs": [run_shown(each) for each in await store.runs(canary)]}


@router.get("/canaries/{canary_id}/runs/{run_id}", tags=["drift"])
async def get_run(app: House, project_id: Seen, canary_id: CanaryId, run_id: RunId) -> dict[str, Any]:
    """One run: each example with its answers of then and now; those that changed come first, with their difference."""
    store = drifting.canaries(app)
    canary = await store.get(canary_id, project_id=project_id)
    run = await store.run(canary, run_id)
    return {"run": run_shown(run), "examples": await answers_shown(store, canary, run)}


@router.post("/canaries/{canary_id}/run", tags=["drift"])
async def run_now(app: House, who: Asker, project_id: Seen, canary_id: CanaryId, request: Request) -> dict[str, Any]:
    """Let it be due now; the process that watches asks it within its next round."""
    return await _acted(app, who, project_id, canary_id, request, "run")


@router.post("/canaries/{canary_id}/accept", tags=["drift"])
async def accept(app: House, who: Asker, project_id: Seen, canary_id: CanaryId, request: Request) -> dict[str, Any]:
    """What is answered now is normal: a new baseline is asked for at once."""
    return await _acted(app, who, project_id, canary_id, request, "accept")


@router.post("/canaries/{canary_id}/pause", tags=["drift"])
async def pause(app: House, who: Asker, project_id: Seen, canary_id: CanaryId, request: Request) -> dict[str, Any]:
    """Ask no more until it is resumed."""
    return await _acted(app, who, project_id, canary_id, request, "pause")


@router.post("/canaries/{canary_id}/resume", tags=["drift"])
async def resume(app: House, who: Asker, project_id: Seen, canary_id: CanaryId, request: Request) -> dict[str, Any]:
    """Ask again."""
    return await _acted(app, who, project_id, canary_id, request, "resume")


@router.delete("/canaries/{canary_id}", tags=["drift"])
async def delete_canary(
    app: House, who: Asker, project_id: Seen, canary_id: CanaryId, request: Request
) -> dict[str, Any]:
    """Remove it with all its answers."""
    return await _acted(app, who, project_id, canary_id, request, "delete")


async def _acted(
    app: App, who: Asker, project_id: int | None, canary_id: int, request: Request, what: Act
) -> dict[str, Any]:
    store = drifting.canaries(app)
    canary = await store.get(canary_id, project_id=project_id)
    await act(store, canary, what)
    await app.audit.note(actor(who, request), f"canary.{what}", canary.name, {}, project_id=canary.project_id)
    if what == "delete":
        return {"id": canary.id, "deleted": True}
    return {"canary": canary_shown(await store.get(canary_id, project_id=project_id))}
