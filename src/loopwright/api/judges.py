"""Management REST of judges: their definitions, their cards, and whether they may gate."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, actor
from loopwright.core.errors import Conflict, NotFound
from loopwright.evals.judge_card import KAPPA, calibrated
from loopwright.evals.observation import MOST, Observation
from loopwright.evals.standing import newest, standing

router = APIRouter(prefix="/api")
_COUNT: Final = 2**53
_Label = Annotated[str, Field(max_length=60)] | None
_Count = Annotated[int, Field(ge=0, le=_COUNT)]
_Bar = Annotated[
    float, Query(ge=-1, le=1, description="Kappa that the low end of the interval must reach for the judge to gate.")
]


class Input(BaseModel):
    """What a body may say, and nothing else."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class NewJudge(Input):
    """A judge, or the next version of one."""

    definition: dict[str, JsonValue] = Field(
        description="Arguments of an evaluator of kind `judge`: `form`, `question`, `labels`, `model` and so on."
    )


class ObservationIn(Input):
    """What the judge said of one thing that people labelled."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    human: Annotated[list[_Label], Field(max_length=20)] = Field(
        description="One label a rater, in the same order of raters; null did not rate. Of pairs `a`, `b` or `tie`."
    )
    verdict: _Label = Field(description="null is missing.")
    orders: tuple[_Label, _Label] | None = Field(
        default=None, description="Of pairs: what was preferred with `a` shown first, and with `b` shown first."
    )
    repeats: Annotated[list[_Label], Field(max_length=50)] = []
    missing: Annotated[str, Field(max_length=500)] | None = None
    lengths: Annotated[list[_Count], Field(max_length=2)] = []
    authors: Annotated[list[Annotated[str, Field(max_length=200)] | None], Field(max_length=2)] = []
    model: Annotated[str, Field(max_length=300)] = ""
    call_ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=110)] = []
    calls: _Count = 0
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cost_nano: _Count | None = 0


class NewCard(Input):
    """What a card is made from."""

    model: Annotated[str, Field(max_length=300)] | None = Field(
        default=None, description="The model that judged; by default the judge's own."
    )
    sha: Annotated[str, Field(max_length=64)] = Field(
        description="Of the definition that was asked; when the judge has changed since, the card is refused."
    )
    observations: Annotated[list[ObservationIn], Field(min_length=1, max_length=MOST)]


@router.get("/judges", tags=["judges"])
async def list_judges(app: House, project_id: Owner, bar: _Bar = KAPPA) -> dict[str, Any]:
    """The judges of a project by name, each with its newest card for every model."""
    judges = await app.workshop.cards.judges(project_id)
    found = newest(judges, await app.workshop.cards.versions(project_id), leads_to=app.leads_to, bar=bar)
    return {"judges": [{**judge.shown(), "cards": [each.brief() for each in found[judge.name]]} for judge in judges]}


@router.get("/judges/{judge}", tags=["judges"])
async def get_judge(
    app: House,
    project_id: Owner,
    judge: str,
    model: Annotated[str | None, Query(description="With this model instead of its own.")] = None,
) -> dict[str, Any]:
    """One judge; with a model also the hash that its card is pinned to."""
    found = await app.workshop.cards.judge(project_id, judge)
    chosen = model or found.args.get("model")
    sha = found.definition(str(chosen)).sha if chosen else None
    return {**found.shown(), "model": chosen, "sha": sha}


@router.put("/judges/{judge}", tags=["judges"])
async def put_judge(
    app: House, who: Asker, project_id: Owner, judge: str, new: NewJudge, request: Request
) -> dict[str, Any]:
    """A judge of this name, or its next version: its cards are stale then."""
    made = await app.workshop.cards.put(project_id, judge, new.definition, author=who.key_name)
    told = {"number": made.number}
    await app.audit.note(actor(who, request), "judge.put", f"judge {made.name}", told, project_id=project_id)
    return made.shown()


@router.get("/judges/{judge}/cards", tags=["judges"])
async def list_cards(
    app: House,
    project_id: Owner,
    judge: str,
    *,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    bar: _Bar = KAPPA,
) -> dict[str, Any]:
    """The cards of a judge, newest first, each with whether it is stale and whether it is trusted."""
    found = await app.workshop.cards.judge(project_id, judge)
    kept = await app.workshop.cards.page(project_id, judge, before=before, limit=limit + 1)
    shown = kept[:limit]
    return {
        "cards": [standing(found, each, leads_to=app.leads_to, bar=bar).whole() for each in shown],
        "next": shown[-1].id if len(kept) > limit else None,
    }


@router.post("/judges/{judge}/cards", tags=["judges"], status_code=201)
async def add_card(
    app: House, who: Asker, project_id: Owner, judge: str, new: NewCard, request: Request, bar: _Bar = KAPPA
) -> dict[str, Any]:
    """Make the card of a judge from what it said of things that people labelled, and keep it."""
    found = await app.workshop.cards.judge(project_id, judge)
    definition = found.definition(new.model)
    if definition.sha != new.sha:
        raise Conflict(
            f"judge {found.name!r} is {definition.sha[:12]} now, the observations are of {new.sha[:12]}: ask it again",
            param="sha",
        )
    observed = [_observation(each) for each in new.observations]
    card = await asyncio.to_thread(calibrated, found.name, definition, observed)
    kept = await app.workshop.cards.add(
        project_id, card, observed, author=who.key_name, behind=app.leads_to(definition.model) or ""
    )
    told = {"card": kept.id, "model": card.model, "sha": card.sha}
    await app.audit.note(actor(who, request), "judge.calibrate", f"judge {found.name}", told, project_id=project_id)
    return standing(found, kept, leads_to=app.leads_to, bar=bar).whole()


@router.get("/judges/{judge}/cards/{card_id}/observations", tags=["judges"])
async def list_observations(app: House, project_id: Owner, judge: str, card_id: int) -> dict[str, Any]:
    """What a card was made from: labels, verdicts and the ids of the calls."""
    if not 0 < card_id < 2**62:
        raise NotFound(f"there is no card {str(card_id)[:30]}", param="card_id")
    await app.workshop.cards.judge(project_id, judge)
    return {"observations": list(await app.workshop.cards.observations(project_id, card_id))}


def _observation(given: ObservationIn) -> Observation:
    return Observation(
        id=given.id,
        human=tuple(given.human),
        verdict=given.verdict,
        orders=given.orders,
        repeats=tuple(given.repeats),
        missing=given.missing,
        lengths=tuple(given.lengths),
        authors=tuple(given.authors),
        model=given.model,
        call_ids=tuple(given.call_ids),
        calls=given.calls,
        input_tokens=given.input_tokens,
        output_tokens=given.output_tokens,
        cost_nano=given.cost_nano,
    )
