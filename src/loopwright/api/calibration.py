"""Calibration over REST: how much evidence of a collection is enough for an answer. See docs/grounding.md."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.asking import Asker, House, Owner, actor
from loopwright.core.errors import Refused
from loopwright.retrieval.calibration import Asked

router = APIRouter(prefix="/api")


class LabelledQuery(BaseModel):
    """A question of one's own."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=4_000, pattern=r"\S")
    answered: bool = Field(description="Whether the documents hold the answer.")


class Calibrating(BaseModel):
    """What to calibrate with."""

    model_config = ConfigDict(extra="forbid")

    queries: Annotated[list[LabelledQuery], Field(max_length=2_000)] | None = Field(
        default=None, description="Questions with and without an answer; without them some are made of its own texts."
    )
    miss: float = Field(
        default=0.05, ge=0.001, le=0.5, description="Share of the questions with an answer that may be refused."
    )


@router.get("/collections/{name}/calibration", tags=["collections"])
async def get_calibration(app: House, project_id: Owner, name: str) -> dict[str, Any]:
    """How much evidence is enough, and how often that is expected to be wrong; null where nothing is calibrated."""
    found = await app.calibrations.find(await app.workshop.collections.get(project_id, name))
    return {"calibration": None if found is None else found.shown()}


@router.post("/collections/{name}/calibrate", tags=["collections"])
async def calibrate_collection(
    app: House, who: Asker, project_id: Owner, name: str, how: Calibrating, request: Request
) -> dict[str, Any]:
    """Fit the threshold of evidence anew: to questions of one's own, or to some made of the collection's texts."""
    collection = await app.workshop.collections.get(project_id, name)
    if who.labels is not None:
        raise Refused(f"key {who.key_name!r} sees documents by their labels, and may not calibrate a whole collection")
    asked = None if how.queries is None else [Asked(query=each.query, answered=each.answered) for each in how.queries]
    privacy = await app.policy_of(collection.project_id, collection.embedder)
    made = await app.calibrations.calibrate(collection, asked=asked, miss=how.miss, privacy=privacy)
    told = {"source": made.source, "queries": str(made.queries)}
    await app.audit.note(actor(who, request), "collection.calibrate", f"collection {name}", told, project_id=project_id)
    return {"calibration": made.shown()}
