"""Checks an evaluation as far as it can be before anything is asked, and tells what it could show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from loopwright.app import App
from loopwright.core.errors import BadRequest, LoopwrightError, Refused
from loopwright.core.who import Principal
from loopwright.datasets.dataset import DatasetVersion
from loopwright.evals.findings import detectable
from loopwright.evals.measure import Measure
from loopwright.evals.sample import count, first, version_of
from loopwright.evals.spec import Spec, Target, check, check_names
from loopwright.laboratory.road import EvaluationRoad, pinned
from loopwright.tasks.task import PREFIX

_SCORES: Final = 5_000_000
"""Scores of one evaluation."""


async def planned(
    app: App, who: Principal, project_id: int, asked: Spec
) -> tuple[Spec, DatasetVersion, dict[str, Any]]:
    """An evaluation made ready to be kept, the version of its data, and what it would be and could show, as JSON.

    Args:
        app: the house.
        who: asks for it; its questions go in their name.
        project_id: whose it will be.
        asked: as it was asked for: without evaluators the metrics of its task, prompts by label.

    Raises:
        BadRequest, NotFound, Refused: what is wrong with it; `param` names the member.
    """
    road, fitting = EvaluationRoad(app), app.workshop.fitting
    asks = await road.holder(who.key_id, project_id)
    if asks is None:
        raise Refused(f"key {who.key_name!r} may not evaluate in another project")
    if not app.keeps(asks):
        raise Refused(
            f"project {asks.project!r} keeps no texts (privacy, no-store), and evaluations keep them:"
            " use a project that may"
        )
    with _blamed("dataset"):
        version = await version_of(app.workshop.datasets, project_id, asked.dataset)
    prepared = []
    for at, target in enumerate(asked.targets):
        with _blamed(f"targets.{at}"):
            prepared.append(await road.prepare(asks, target))
    spec = replace(asked, evaluators=asked.evaluators or _metrics(app, project_id, asked.targets))
    check(spec)
    measures: list[Measure] = []
    for at, each in enumerate(spec.evaluators):
        with _blamed(f"evaluators.{at}"):
            alone = replace(spec, evaluators=await fitting.resolved(project_id, [each]))
            measures += fitting.measures(alone, road, asks, app.chat)
    names = [measure.name for measure in measures]
    check_names(spec, names, {measure.name: measure.most for measure in measures})
    spec = replace(
        spec,
        targets=tuple(map(pinned, spec.targets, prepared)),
        evaluators=tuple({**measure.spec, "name": measure.name} for measure in measures),
    )
    total = await count(app.workshop.datasets, version, spec)
    _check_size(app, total, spec)
    example = await first(app.workshop.datasets, version, spec)
    for at, question in enumerate(prepared):
        with _blamed(f"targets.{at}"):
            question.body(example.inputs)
    return spec, version, {
        "dataset": version.ref,
        "examples": total,
        "questions": total * len(spec.targets),
        "evaluators": names,
        "detectable": detectable(spec, names, total),
    }  # fmt: skip


@contextmanager
def _blamed(place: str) -> Iterator[None]:
    """Say of what is wrong within which part of the evaluation it is."""
    try:
        yield
    except LoopwrightError as error:
        inner = error.param or ""
        error.param = place if inner in {"", "dataset", "targets", "model"} else f"{place}.{inner}"
        raise


def _check_size(app: App, total: int, spec: Spec) -> None:
    most = app.settings.evaluations.examples
    if total > most:
        raise BadRequest(
            f"dataset: {total:,} examples, and an evaluation may have {most:,} (evaluations.examples): give a `limit`",
            param="limit",
        )
    scores = total * len(spec.targets) * len(spec.evaluators)
    if scores > _SCORES:
        raise BadRequest(
            f"dataset: {scores:,} scores, and an evaluation may have {_SCORES:,}: give a `limit`", param="limit"
        )


def _metrics(app: App, project_id: int, targets: tuple[Target, ...]) -> tuple[dict[str, Any], ...]:
    """What a task says of how it is measured."""
    for target in targets:
        if target.model.startswith(PREFIX):
            task = app.workshop.held_tasks.find(project_id, target.model.removeprefix(PREFIX).partition("@")[0])
            if task.metrics:
                return tuple(dict(each) for each in task.metrics)
    raise BadRequest("evaluators: name at least one; no target is a task with metrics", param="evaluators")
