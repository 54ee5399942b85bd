"""Questions written of a collection's passages, over REST: for measuring its search before people ask."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.asking import Asker, House, Owner, actor
from loopwright.api.progress import Told, acted
from loopwright.api.retrieval_evaluations import opened
from loopwright.core.errors import Conflict, Refused, Unavailable, UnknownModel
from loopwright.core.money import NANO
from loopwright.datasets.dataset import check_name
from loopwright.datasets.example import Example
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.kit.ids import Ids
from loopwright.kit.nearest import hint
from loopwright.kit.seal import Seal
from loopwright.retrieval.questions import MOST, Question, Questioning, Wanted

router = APIRouter(prefix="/api")
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class NewQuestions(BaseModel):
    """Which model writes how many, and which are kept."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=256)
    count: int = Field(default=50, ge=1, le=MOST)
    alike: Share = Field(default=0.92, description="Cosine of two questions from which on the second is dropped.")
    overlap: Share = Field(default=0.3, description="Share of its words that its passage must have, or")
    near: Share = Field(default=0.45, description="the cosine that it must have with it.")
    depth: int = Field(
        default=50, ge=1, le=200, description="How far down its passage may be found, by words or meaning."
    )
    seed: int = Field(default=0, ge=0, le=2**31, description="Another one draws other passages.")
    budget_usd: Decimal | None = Field(default=None, ge=0, le=1_000_000)
    dataset: str | None = Field(default=None, max_length=100, description="Append them to this dataset, too.")


@router.post("/collections/{name}/questions", tags=["collections"], status_code=201)
async def write_questions(
    app: House, who: Asker, project_id: Owner, name: str, new: NewQuestions, request: Request
) -> Response:
    """Have a model write questions that passages answer; near-duplicates and what cannot be answered are dropped."""
    collection = await opened(app, who, project_id, name)
    if not collection.chunks:
        raise Conflict(f"collection {name!r} has nothing that could be asked about: ingest documents first")
    if new.model not in app.targets:
        raise UnknownModel(f"there is no model {new.model[:80]!r}{hint(new.model, app.targets)}", param="model")
    if not who.may_call(new.model):
        raise Refused(f"key {who.key_name!r} may not call {new.model[:80]!r}", param="model")
    if new.dataset is not None:
        check_name(new.dataset)
    target = app.targets.get(collection.embedder)
    if target is None:
        raise Unavailable(f"model {collection.embedder!r}, whose vectors the collection has, is not configured here")
    said = new.model_dump(exclude={"dataset", "budget_usd"})
    budget = None if new.budget_usd is None else int(new.budget_usd * NANO)
    making = Questioning(
        db=app.db,
        seal=Seal.of(app.settings.encryption),
        chat=app.chat,
        search=app.search,
        embedder=CalledEmbedder(target.chat, collection.embedder, Ids()),
        collection=collection,
        who=replace(who, project_id=project_id),
        wanted=Wanted(**said, budget_nano=budget),
        privacy=await app.policy_of(project_id, collection.embedder),
    )

    async def act(told: Told) -> dict[str, Any]:
        found = [each async for each in making.run(lambda done, of: told("writing", done, of))]
        answer: dict[str, Any] = {"questions": [each.shown() for each in found], "made": making.told.shown()}
        if new.dataset is not None and found:
            version = await app.workshop.datasets.append(
                project_id,
                new.dataset,
                [_example(each, collection.name) for each in found],
                author=who.key_name,
                source=f"questions of collection {collection.name} by {new.model}",
            )
            answer["dataset"] = version.ref
        return answer

    noted = {"model": new.model, "count": str(new.count)}
    await app.audit.note(
        actor(who, request), "collection.questions", f"collection {name}", noted, project_id=project_id
    )
    return await acted(request, act)


def _example(question: Question, collection: str) -> Example:
    return Example(
        id=f"{collection}-{question.id}",
        inputs={"input": question.text},
        metadata={
            "collection": collection,
            "relevant": [question.document],
            "chunk": question.chunk_id,
            "model": question.model,
        },
        origin="synthetic",
    )
