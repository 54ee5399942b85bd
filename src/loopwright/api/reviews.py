"""Management REST of reviews: queues where people rate answers, blind; how far they agree; what they said as a file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from loopwright.api.asking import Asker, House, Owner, Seen, actor, scope_of
from loopwright.api.review_sources import Input, Sources, found_by
from loopwright.app import App
from loopwright.core.errors import BadRequest
from loopwright.core.who import Principal
from loopwright.evals.raters import agreement, check_done, criterion_named, exported
from loopwright.evals.review_items import forget_gone
from loopwright.feedback.given import NOTE, Author
from loopwright.feedback.review import Review
from loopwright.feedback.rubric import Level, criteria_of

router = APIRouter(prefix="/api")


class CriterionIn(Input):
    """One question to raters."""

    name: str
    about: str = ""
    answers: list[str] = Field(default=[], description="2 to 9, from worst to best; in pairs none: left, right, tie.")
    level: Level = "nominal"


class NewReview(Sources):
    """A queue to make. Exactly one of `items`, `calls`, `dataset` and `evaluation` says what is rated."""

    name: str
    criteria: list[str | CriterionIn] = Field(
        default=[], description="As `helpful:1-5`, `grounded:yes,no`, or members."
    )
    instructions: str = ""
    raters: int = Field(default=2, ge=1, le=9)


class Labels(Input):
    """What a rater says of an item."""

    labels: dict[str, str] = Field(description="By criterion; in pairs left, right or tie.")
    note: str = Field(default="", max_length=NOTE)


@router.get("/reviews", tags=["reviews"])
async def list_reviews(
    app: House,
    who: Asker,
    project_id: Seen,
    *,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """Reviews, newest first, and how far they are."""
    reviews = app.workshop.turns.reviews
    found = await reviews.list(project_id=project_id, before=before, limit=limit + 1)
    shown = found[:limit]
    progress = await reviews.progress(shown, rater_id=who.key_id)
    rows = [{**review.shown(), "progress": progress[review.id].shown()} for review in shown if review.id in progress]
    return {"reviews": rows, "next": shown[-1].id if len(found) > limit else None}


@router.post("/reviews", tags=["reviews"], status_code=201)
async def create_review(app: House, who: Asker, project_id: Owner, new: NewReview, request: Request) -> dict[str, Any]:
    """A queue of items that people rate."""
    criteria = criteria_of([each if isinstance(each, str) else each.model_dump() for each in new.criteria], new.mode)
    found, source = await found_by(app, project_id, new)
    if not found.items:
        raise BadRequest("there is nothing to rate: no answer with a text is among them", param="items")
    review = await app.workshop.turns.reviews.create(
        project_id,
        new.name,
        mode=new.mode,
        criteria=criteria,
        items=found.items,
        source=source,
        author=Author.of(who),
        instructions=new.instructions,
        raters=new.raters,
    )
    await forget_gone(app.calls, app.workshop.feedback, found.items)
    told = {"name": review.name, "items": len(found.items)}
    await app.audit.note(actor(who, request), "review.create", review.id, told, project_id=project_id)
    return {"review": await _shown(app, review, who), "left_out": found.left_out}


@router.get("/reviews/{review_id}", tags=["reviews"])
async def get_review(app: House, who: Asker, review_id: str) -> dict[str, Any]:
    """One review, by id or name."""
    return {"review": await _shown(app, await _review(app, who, review_id), who)}


@router.delete("/reviews/{review_id}", tags=["reviews"])
async def delete_review(app: House, who: Asker, review_id: str, request: Request) -> dict[str, Any]:
    """Forget a review with its items and all that was said in it."""
    review = await _review(app, who, review_id)
    await app.audit.note(
        actor(who, request), "review.delete", review.id, {"name": review.name}, project_id=review.project_id
    )
    await app.workshop.turns.reviews.delete(review)
    return {"deleted": 1}


@router.post("/reviews/{review_id}/next", tags=["reviews"])
async def next_item(app: House, who: Asker, review_id: str) -> dict[str, Any]:
    """The item that is before the asker: the one they took, or another; null when nothing is left for them."""
    review = await _review(app, who, review_id)
    turn = await app.workshop.turns.next(review, who)
    return {"turn": None if turn is None else turn.shown(), "progress": await _progress(app, review, who)}


@router.post("/reviews/{review_id}/items/{item_id}", tags=["reviews"])
async def rate_item(app: House, who: Asker, review_id: str, item_id: int, said: Labels) -> dict[str, Any]:
    """Rate an item that was given to the asker; again takes the place of what they said."""
    review = await _review(app, who, review_id)
    await app.workshop.turns.rate(review, item_id, who, said.labels, said.note)
    return {"progress": await _progress(app, review, who)}


@router.post("/reviews/{review_id}/items/{item_id}/skip", tags=["reviews"])
async def skip_item(app: House, who: Asker, review_id: str, item_id: int) -> dict[str, Any]:
    """Leave an item to others."""
    review = await _review(app, who, review_id)
    await app.workshop.turns.skip(review, item_id, who)
    return {"progress": await _progress(app, review, who)}


@router.post("/reviews/{review_id}/undo", tags=["reviews"])
async def undo(app: House, who: Asker, review_id: str) -> dict[str, Any]:
    """Take back what the asker decided last: that item is before them again."""
    review = await _review(app, who, review_id)
    turn = await app.workshop.turns.undo(review, who)
    return {"turn": turn.shown(), "progress": await _progress(app, review, who)}


@router.get("/reviews/{review_id}/agreement", tags=["reviews"])
async def get_agreement(app: House, who: Asker, review_id: str) -> dict[str, Any]:
    """How far raters agree: Krippendorff's alpha of each criterion, with a 95 % interval.

    For administrators, and for others once every item has its ratings: so raters stay blind.
    """
    review = await _readable(app, who, review_id)
    ratings = [each async for each in app.workshop.turns.reviews.ratings(review)]
    return {"agreement": [each.shown() for each in agreement(review, ratings)]}


@router.get("/reviews/{review_id}/export", tags=["reviews"])
async def export_review(
    app: House,
    who: Asker,
    review_id: str,
    *,
    criterion: Annotated[str | None, Query(description="Only this one, for a judge.", max_length=80)] = None,
    texts: Annotated[bool, Query(description="Also what was asked and answered.")] = False,
) -> StreamingResponse:
    """What was said as JSON lines: one for each rater, item and criterion.

    Of one criterion it is a judge's calibration file: one line an item, with what was asked and answered.
    """
    review = await _readable(app, who, review_id)
    if criterion is not None:
        criterion_named(review, criterion)
    lines = exported(app.workshop.turns.reviews, review, criterion=criterion, texts=texts)
    headers = {"content-disposition": f'attachment; filename="{review.id}.jsonl"'}
    return StreamingResponse(lines, media_type="application/jsonl", headers=headers)


async def _review(app: App, who: Principal, review_id: str) -> Review:
    return await app.workshop.turns.reviews.show(review_id, project_id=scope_of(who))


async def _readable(app: App, who: Principal, review_id: str) -> Review:
    """A review of which the asker may read what others said."""
    review = await _review(app, who, review_id)
    check_done(await app.workshop.turns.reviews.progress_of(review, rater_id=who.key_id), who)
    return review


async def _progress(app: App, review: Review, who: Principal) -> dict[str, Any]:
    return (await app.workshop.turns.reviews.progress_of(review, rater_id=who.key_id)).shown()


async def _shown(app: App, review: Review, who: Principal) -> dict[str, Any]:
    return {**review.shown(), "progress": await _progress(app, review, who)}
