"""Management REST of feedback: what is said of a call, and what its answer should have been."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Seen, scope_of
from loopwright.feedback.given import NOTE, Author, Source, score_of

router = APIRouter(prefix="/api")
Who = Annotated[str | None, Field(description="In whose name; by default the key's.", max_length=200)]


class NewScore(BaseModel):
    """What is said of a call."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="In which respect: `helpful`.", max_length=80)
    value: float | None = Field(default=None, allow_inf_nan=False)
    label: str | None = Field(default=None, max_length=200)
    passed: bool | None = None
    explanation: str = Field(default="", max_length=NOTE)
    source: Source = "person"
    author: Who = None


class NewCorrection(BaseModel):
    """What the answer should have been."""

    model_config = ConfigDict(extra="forbid")

    output: JsonValue = Field(description="A text, or JSON.")
    note: str = Field(default="", description="Why.", max_length=NOTE)
    author: Who = None


@router.get("/calls/{call_id}/scores", tags=["feedback"])
async def list_scores(app: House, who: Asker, call_id: str) -> dict[str, Any]:
    """What was said of a call, oldest first."""
    call = (await app.calls.get(call_id, project_id=scope_of(who))).call
    return {"scores": [given.shown() for given in await app.workshop.feedback.scores([call.id])]}


@router.post("/calls/{call_id}/scores", tags=["feedback"], status_code=201)
async def score_call(app: House, who: Asker, call_id: str, new: NewScore) -> dict[str, Any]:
    """Say something of a call: a number, a word, whether it is good enough. Finds a call whose answer has just ended.

    The same name by the same author again takes the place of what they said before.
    """
    score = score_of(new.name, value=new.value, label=new.label, passed=new.passed, explanation=new.explanation)
    author = Author.of(who, new.author, new.source)
    return {"score": (await app.speaking.score(call_id, score, author, project_id=scope_of(who))).shown()}


@router.get("/calls/{call_id}/correction", tags=["feedback"])
async def get_correction(app: House, who: Asker, call_id: str) -> dict[str, Any]:
    """What the answer to a call should have been, and all that was said of that, the latest first."""
    call = (await app.calls.get(call_id, project_id=scope_of(who))).call
    found = [each.shown() for each in await app.workshop.feedback.corrections(call.id)]
    return {"correction": found[0] if found else None, "history": found}


@router.post("/calls/{call_id}/correction", tags=["feedback"], status_code=201)
async def correct_call(app: House, who: Asker, call_id: str, new: NewCorrection) -> dict[str, Any]:
    """Say what the answer to a call should have been. The latest correction counts; those before stay on record.

    One of a task's call is remembered: `memory` says whether it is shown to the next request like it from now on.
    """
    author = Author.of(who, new.author)
    made = await app.speaking.correct(call_id, new.output, author, project_id=scope_of(who), note=new.note)
    return {"correction": made.shown(), "memory": made.learnt}


@router.get("/corrections", tags=["feedback"])
async def list_corrections(
    app: House,
    project_id: Seen,
    *,
    since: datetime | None = None,
    before: Annotated[int | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """The corrections that count, newest first; of the asker's project, for administrators of all."""
    found = await app.workshop.feedback.page(project_id=project_id, since=since, before=before, limit=limit + 1)
    shown = [each.shown() for each in found[:limit]]
    return {"corrections": shown, "next": shown[-1]["id"] if len(found) > limit else None}
