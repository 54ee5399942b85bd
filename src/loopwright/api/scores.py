"""Management REST of scores: rolled up over time and by what calls have in common, the calls behind them, how scoring stands."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.asking import Asker, House, Owner, Seen, actor
from loopwright.api.filters import Tags, aware, tags_of
from loopwright.app import App
from loopwright.core.errors import Refused
from loopwright.core.who import Principal
from loopwright.feedback.given import Source
from loopwright.laboratory.handing_on import MOST, Handing
from loopwright.laboratory.quality import quality
from loopwright.monitoring.score_question import Dimension, Figure, ScoreFilter
from loopwright.monitoring.scores import Scores
from loopwright.tasks.task import PREFIX, Task

router = APIRouter(prefix="/api", tags=["scores"])
Text = Annotated[str | None, Query(max_length=300)]
TagName = Annotated[str | None, Query(description="With `by=tag`: the name of the tag.", max_length=300)]


def asked(
    project_id: Seen,
    *,
    name: Text = None,
    source: Source | None = None,
    task: Text = None,
    variant: Text = None,
    model: Text = None,
    target: Text = None,
    provider: Text = None,
    operation: Text = None,
    prompt_version: Text = None,
    key: Annotated[int | None, Query(description="Id of a key.", ge=-(2**31), lt=2**31)] = None,
    session: Text = None,
    tag: Tags = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ScoreFilter:
    """The scores a query asks for, within what the asker may see. Times are of the calls; without `since`, the last day."""
    return ScoreFilter(
        project_id=project_id,
        name=name,
        source=source,
        task=task,
        variant=variant,
        model=model,
        target=target,
        provider=provider,
        operation=operation,
        prompt_version=prompt_version,
        key_id=key,
        session=session,
        tags=tags_of(tag),
        since=aware(since),
        until=aware(until),
    )


Asked = Annotated[ScoreFilter, Depends(asked)]
Below = Annotated[float | None, Query(description="Only values below it.", allow_inf_nan=False)]
Label = Annotated[str | None, Query(description="Only scores that say this word.", max_length=200)]
Passed = Annotated[bool | None, Query(description="Only scores that passed, or did not.")]


class HandedOn(BaseModel):
    """Calls that are handed on: to people who rate them, or into a dataset."""

    model_config = ConfigDict(extra="forbid")

    to: Literal["review", "dataset"]
    name: str = Field(
        description="Of a new review, or of a dataset: one that is there gets a next version.", max_length=200
    )
    calls: list[str] = Field(min_length=1, max_length=MOST, description="Their ids.")
    criteria: list[str] = Field(default=[], max_length=20, description="Of a review; by default whether it is ok.")
    raters: int = Field(default=1, ge=1, le=9, description="Of a review: people who rate each call.")
    answers: bool = Field(default=False, description="Of a dataset: keep what was answered as what should be.")


@router.get("/scores")
async def list_scores(
    app: House, which: Asked, *, by: Dimension | None = None, tag_name: TagName = None
) -> dict[str, Any]:
    """Each score by name and source, and with `by` for each value of a dimension: mean, share that passed, words, cost.

    A score that was drawn by lot stands for as many calls as its lot says, so means are those of all calls; `low` and `high`
    are 95 % bounds of the mean.
    """
    scores = Scores(app.db)
    found = await (scores.summary(which) if by is None else scores.by(by, which, tag=tag_name))
    return {
        "scores": [
            {"name": each.name, "source": each.source, "value": each.value, **_figure(each.figure)} for each in found
        ]
    }


@router.get("/scores/series")
async def series(
    app: House,
    which: Asked,
    *,
    by: Dimension | None = None,
    tag_name: TagName = None,
    points: Annotated[int, Query(ge=1, le=1000)] = 60,
) -> dict[str, Any]:
    """Each score over time, oldest first, without gaps."""
    found = await Scores(app.db).series(which, points=points, by=by, tag=tag_name)
    return {
        "series": [
            {
                "name": each.name,
                "source": each.source,
                "value": each.value,
                "step_seconds": each.step_seconds,
                "points": [{"at": point.at, **_figure(point.figure)} for point in each.points],
            }
            for each in found
        ]
    }


@router.get("/scores/names")
async def names(app: House, project_id: Seen, *, task: Text = None) -> dict[str, Any]:
    """Names of the scores of the last month."""
    return {"names": await Scores(app.db).names(project_id, task=task)}


@router.get("/scores/calls")
async def calls(
    app: House,
    which: Asked,
    *,
    below: Below = None,
    label: Label = None,
    passed: Passed = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Scores of single calls: those that failed first, of these the lowest value, then the latest call."""
    found = await Scores(app.db).calls(which, below=below, label=label, passed=passed, limit=limit)
    return {
        "calls": [
            {
                "call_id": each.call_id,
                "name": each.name,
                "source": each.source,
                "value": each.value,
                "label": each.label,
                "passed": each.passed,
            }
            for each in found
        ]
    }


@router.post("/scores/calls", status_code=201)
async def hand_on(app: House, who: Asker, project_id: Owner, new: HandedOn, request: Request) -> dict[str, Any]:
    """Hand calls on, by their ids: to a new review, or into a dataset."""
    handing = Handing(app, project_id, new.calls)
    if new.to == "review":
        review = await handing.to_review(
            who, new.name, criteria=new.criteria, raters=new.raters, source={"scores": len(new.calls)}
        )
        told = {"name": review.name, "items": len(new.calls)}
        await app.audit.note(actor(who, request), "review.create", review.id, told, project_id=project_id)
        return {"review": {"id": review.id, "name": review.name}}
    version = await handing.to_dataset(who, new.name, answers=new.answers)
    noted = {"sha": version.sha, "examples": str(version.count)}
    await app.audit.note(actor(who, request), "dataset.version", version.ref, noted, project_id=project_id)
    return {"version": version.shown()}


@router.get("/tasks/{task}/monitor")
async def monitor(
    app: House,
    who: Asker,
    project_id: Seen,
    task: str,
    *,
    hours: Annotated[int, Query(ge=1, le=9_600)] = 24,
) -> dict[str, Any]:
    """How scoring of a task's calls stands: seen, scored, passed over and why, what it took, how far behind it is."""
    return await quality(app, _task(app, who, project_id, task), project_id, hours=hours)


def _task(app: App, who: Principal, project_id: int | None, name: str) -> Task:
    if not who.may_do(PREFIX + name):
        raise Refused(f"key {who.key_name!r} may not call {PREFIX + name[:80]!r}")
    if project_id is None:
        found = next((each for each in app.workshop.held_tasks.listed(None) if each.name == name), None)
        if found is not None:
            return found
    return app.workshop.held_tasks.find(who.project_id if project_id is None else project_id, name)


def _figure(figure: Figure) -> dict[str, Any]:
    return figure.shown()
