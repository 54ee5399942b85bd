"""Evaluations over REST: planned, made, watched, read by pages, compared, cancelled, deleted. They run elsewhere."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, Seen, actor
from loopwright.app import App
from loopwright.core.money import NANO
from loopwright.core.who import Principal
from loopwright.datasets.dataset import DatasetVersion
from loopwright.datasets.reading import slice_of
from loopwright.evals import reports, results
from loopwright.evals.across import across
from loopwright.evals.answers import answers, beside
from loopwright.evals.evaluation import Status
from loopwright.evals.results import Sort
from loopwright.evals.spec import MOST_EVALUATORS, MOST_TARGETS, Gate, Spec, Target
from loopwright.laboratory.planning import planned

router = APIRouter(prefix="/api")
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Count = Annotated[int, Field(ge=1, le=10_000_000)]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Number = Annotated[float, Field(ge=-1e9, le=1e9)]


class Input(BaseModel):
    """What a body may say, and nothing else."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class TargetIn(Input):
    """Something that answers."""

    name: _Name | None = Field(default=None, description="How it is called here; by default its model.")
    model: _Name = Field(description="`task/NAME@VARIANT`, or a model.")
    prompt: _Name | None = Field(default=None, description="Of a model: a stored prompt, `NAME@REF`.")
    messages: Annotated[list[dict[str, JsonValue]], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Of a model: messages whose texts are templates over the inputs."
    )
    parameters: dict[str, JsonValue] = Field(default={}, description="Further members of the request.")


class EvaluatorIn(Input):
    """An evaluator; see `GET /api/evaluators`."""

    kind: _Name
    name: _Name | None = None
    args: dict[str, JsonValue] | None = None


class GateIn(Input):
    """What a candidate must show to pass."""

    evaluators: Annotated[list[_Name], Field(max_length=MOST_EVALUATORS)] = Field(
        default=[], description="Names of the scores that decide; by default every one that may."
    )
    margin: _Number = Field(
        default=0.0, description="By how much a candidate must be better; negative is by how much it may be worse."
    )
    bars: dict[_Name, _Number] = Field(default={}, description="What the mean of a score must surely reach.")
    alpha: _Share = 0.05
    power: _Share = 0.8
    max_missing: Annotated[float, Field(ge=0, le=1)] = 0.1


class NewEvaluation(Input):
    """What is to be evaluated."""

    targets: Annotated[list[TargetIn | _Name], Field(min_length=1, max_length=MOST_TARGETS)]
    dataset: _Name = Field(description="`NAME`, `NAME@NUMBER`.")
    evaluators: Annotated[list[EvaluatorIn | _Name], Field(max_length=MOST_EVALUATORS)] = Field(
        default=[], description="Specs, or kinds; by default the metrics of the task that is evaluated."
    )
    baseline: _Name | None = Field(default=None, description="Name of the target the others are compared with.")
    gate: GateIn | None = None
    split: Literal["train", "validation", "test"] | None = None
    tag: _Name | None = None
    slice: Annotated[dict[_Name, _Name], Field(max_length=5)] = Field(default={}, description="Only of these slices.")
    limit: _Count | None = Field(default=None, description="A sample of so many examples, always the same.")
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    budget_usd: Annotated[Decimal, Field(gt=0, le=1_000_000, max_digits=18, decimal_places=9)] | None = None
    fresh: bool = Field(default=False, description="Ask also what was answered and paid for before.")
    name: Annotated[str, Field(max_length=200)] = ""
    experiment: _Name | None = Field(default=None, description="Of which it is a run; by default the dataset's name.")


@router.post("/evaluations", tags=["evaluations"], status_code=201)
async def create_evaluation(
    app: House, who: Asker, project_id: Owner, new: NewEvaluation, request: Request
) -> dict[str, Any]:
    """Evaluate targets on a dataset; `plan` says what so many examples can show."""
    spec, version, plan = await _planned(app, who, project_id, new)
    made = await app.workshop.evaluations.create(
        replace(who, project_id=project_id),
        spec,
        dataset=version.ref,
        dataset_sha=version.sha,
        total=plan["examples"],
        name=new.name,
    )
    told = {"dataset": version.ref, "targets": [target.name for target in spec.targets]}
    await app.audit.note(actor(who, request), "evaluation.create", f"evaluation {made.id}", told, project_id=project_id)
    return {**made.shown(), "plan": plan}


@router.post("/evaluations/plan", tags=["evaluations"])
async def plan_evaluation(app: House, who: Asker, project_id: Owner, new: NewEvaluation) -> dict[str, Any]:
    """What an evaluation would be, checked; nothing is asked."""
    _, _, plan = await _planned(app, who, project_id, new)
    return plan


@router.get("/evaluations", tags=["evaluations"])
async def list_evaluations(
    app: House,
    project_id: Seen,
    *,
    status: Status | None = None,
    dataset: Annotated[str | None, Query(max_length=200)] = None,
    before: Annotated[str | None, Query(description="The `next` of the page before.", max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Evaluations, newest first."""
    found = await app.workshop.evaluations.list(
        project_id=project_id, status=status, dataset=dataset, after=before, limit=limit + 1
    )
    shown = found[:limit]
    return {"evaluations": [each.brief() for each in shown], "next": shown[-1].id if len(found) > limit else None}


@router.get("/evaluations/compare", tags=["evaluations"])
async def compare_evaluations(
    app: House,
    project_id: Seen,
    a: Annotated[str, Query(max_length=200)],
    b: Annotated[str, Query(max_length=200)],
    *,
    target_a: Annotated[str | None, Query(max_length=200)] = None,
    target_b: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, Any]:
    """Two evaluations: what changed from `a` to `b` on the examples both have, those that became worse first."""
    store = app.workshop.evaluations
    first_one, second = [await store.show(each, project_id=project_id) for each in (a, b)]
    told = await across(store, first_one, second, target_a=target_a, target_b=target_b)
    return await beside(store, app.workshop.datasets, first_one, second, told)


@router.get("/evaluations/{evaluation_id}", tags=["evaluations"])
async def get_evaluation(app: House, project_id: Seen, evaluation_id: str) -> dict[str, Any]:
    """One evaluation, with its findings; partial while it runs."""
    return (await app.workshop.evaluations.show(evaluation_id, project_id=project_id)).shown()


@router.get("/evaluations/{evaluation_id}/results", tags=["evaluations"])
async def get_results(
    app: House,
    project_id: Seen,
    evaluation_id: str,
    *,
    sort: Annotated[Sort, Query(description="`regression`: furthest behind the baseline first.")] = "position",
    evaluator: Annotated[str | None, Query(max_length=200, description="Whose scores decide the order.")] = None,
    target: Annotated[str | None, Query(max_length=200, description="Which target that is about.")] = None,
    slice: Annotated[str | None, Query(description="name:value", max_length=300)] = None,  # noqa: A002 - the word of the field
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """Examples with what each target answered and what was found of it."""
    store = app.workshop.evaluations
    evaluation = await store.show(evaluation_id, project_id=project_id)
    rows = await results.page(
        store,
        evaluation,
        sort=sort,
        evaluator=evaluator,
        target=target,
        slice=slice_of(slice),
        offset=offset,
        limit=limit + 1,
    )
    shown = rows[:limit]
    return {
        "results": await answers(app.workshop.datasets, evaluation, shown),
        "next": offset + limit if len(rows) > limit else None,
    }


@router.get("/evaluations/{evaluation_id}/report", tags=["evaluations"])
async def get_report(
    app: House,
    project_id: Seen,
    evaluation_id: str,
    *,
    format: Annotated[Literal["markdown", "junit", "json"], Query()] = "markdown",  # noqa: A002 - as people call it
    allow_uncertain: Annotated[
        bool, Query(description="Of JUnit: what lacks evidence is skipped, not failed.")
    ] = False,
) -> Response:
    """An evaluation as a report for people or CI."""
    told = (await app.workshop.evaluations.show(evaluation_id, project_id=project_id)).shown()
    if format == "junit":
        return Response(reports.junit(told, allow_uncertain=allow_uncertain), media_type="application/xml")
    if format == "markdown":
        return Response(reports.markdown(told), media_type="text/markdown; charset=utf-8")
    return Response(reports.as_json(told), media_type="application/json")


@router.post("/evaluations/{evaluation_id}/cancel", tags=["evaluations"])
async def cancel_evaluation(
    app: House, who: Asker, project_id: Seen, evaluation_id: str, request: Request
) -> dict[str, Any]:
    """End an evaluation early; what was found by then stays."""
    found = await app.workshop.evaluations.cancel(evaluation_id, project_id=project_id)
    await app.audit.note(
        actor(who, request), "evaluation.cancel", f"evaluation {found.id}", {}, project_id=found.project_id
    )
    return found.brief()


@router.delete("/evaluations/{evaluation_id}", tags=["evaluations"])
async def delete_evaluation(
    app: House, who: Asker, project_id: Seen, evaluation_id: str, request: Request
) -> dict[str, Any]:
    """Forget an evaluation that is at its end, and its results."""
    found = await app.workshop.evaluations.show(evaluation_id, project_id=project_id)
    await app.workshop.evaluations.delete(found.id, project_id=project_id)
    await app.audit.note(
        actor(who, request), "evaluation.delete", f"evaluation {found.id}", {}, project_id=found.project_id
    )
    return {"deleted": found.id}


async def _planned(
    app: App, who: Principal, project_id: int, new: NewEvaluation
) -> tuple[Spec, DatasetVersion, dict[str, Any]]:
    """What a body asks for, checked. Raises what `planned` raises."""
    return await planned(
        app,
        who,
        project_id,
        Spec(
            targets=tuple(_target(each) for each in new.targets),
            dataset=new.dataset,
            evaluators=tuple({"kind": each} if isinstance(each, str) else _spoken(each) for each in new.evaluators),
            baseline=new.baseline,
            gate=None if new.gate is None else _gate(new.gate),
            split=new.split,
            tag=new.tag,
            slice=new.slice,
            limit=new.limit,
            seed=new.seed,
            budget_nano=None if new.budget_usd is None else int(new.budget_usd * NANO),
            fresh=new.fresh,
            experiment=new.experiment,
        ),
    )


def _target(given: TargetIn | str) -> Target:
    if isinstance(given, str):
        return Target(name=given, model=given)
    return Target(
        name=given.name or given.model,
        model=given.model,
        prompt=given.prompt,
        messages=None if given.messages is None else tuple(given.messages),
        parameters=given.parameters,
    )


def _spoken(given: EvaluatorIn) -> dict[str, Any]:
    return {name: value for name, value in given.model_dump().items() if value is not None}


def _gate(given: GateIn) -> Gate:
    return Gate(**{**given.model_dump(), "evaluators": tuple(given.evaluators)})
