"""The form that begins an evaluation, or tells what one would be; what is wrong stands beside its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import RedirectResponse, Response

from loopwright.app import App
from loopwright.console.asking import nano_of, whole_of
from loopwright.console.key_ring import by
from loopwright.console.shell import Build, Shell, View, Visit
from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.datasets.dataset import SPLITS, side_of
from loopwright.evals.evaluators import names
from loopwright.evals.spec import MOST_EVALUATORS, Spec, Target
from loopwright.evals.words import evaluator_of, target_of
from loopwright.laboratory.planning import planned
from loopwright.tasks.task import PREFIX, Task

TARGETS: Final = 4
"""Fields for targets; more by the command line."""
FIELDS: Final = (
    *(f"target{number}" for number in range(1, TARGETS + 1)),
    "baseline", "template", "dataset", "split", "limit", "evaluators", "budget", "name",
)  # fmt: skip
_LONGEST: Final = 100_000
_OFFERED: Final = 500
"""Names that are offered at most."""


class EvaluationForm:
    """Begins evaluations in the visitor's project, as by the key they signed in with."""

    def __init__(self, shell: Shell, page: Build) -> None:
        """`page` builds what the form stands on."""
        self._shell = shell
        self._app: App = shell.app
        self._page = page

    async def drawn(self, visit: Visit) -> dict[str, Any]:
        """What the form offers, nothing typed yet."""
        workshop, who = self._app.workshop, visit.who
        tasks = [task for task in workshop.held_tasks.listed(who.project_id) if who.may_do(PREFIX + task.name)]
        models = sorted(
            name for name, each in self._app.targets.items() if "chat" in each.operations and who.may_call(name)
        )
        datasets = await workshop.datasets.list(who.project_id, after="", limit=_OFFERED)
        return {
            "offered": [*(name for task in tasks for name in _variants(task)), *models][:_OFFERED],
            "datasets": [each.name for each in datasets],
            "kinds": names(),
            "splits": SPLITS,
            "typed": {},
            "wrong": {},
            "plan": None,
            "problem": None,
        }

    async def send(self, visit: Visit, form: dict[str, str]) -> Response:
        """Begin it, or show what it would be."""
        project_id = visit.who.project_id
        filled: list[str] = []
        try:
            spec = _spec(form, filled)
            spec, version, plan = await planned(self._app, visit.who, project_id, spec)
            if form.get("act") == "plan":
                return await self._again(visit, form, {"plan": plan})
            made = await self._app.workshop.evaluations.create(
                visit.who,
                spec,
                dataset=version.ref,
                dataset_sha=version.sha,
                total=plan["examples"],
                name=form.get("name", "")[:200],
            )
        except LoopwrightError as error:
            return await self._again(visit, form, _blamed(error, filled), status=error.status)
        told = {"dataset": version.ref, "targets": [target.name for target in spec.targets]}
        await self._app.audit.note(by(visit), "evaluation.create", f"evaluation {made.id}", told, project_id=project_id)
        return RedirectResponse(f"/evaluations/{made.id}", 303)

    async def _again(
        self, visit: Visit, form: Mapping[str, str], more: Mapping[str, Any], *, status: int = 200
    ) -> Response:
        view = await self._page(visit)
        drawn = {**view.drawn, "typed": form, **more}
        return self._shell.html(visit, "evaluations.html", View(data=view.data, drawn=drawn, status=status))


def _variants(task: Task) -> list[str]:
    return [f"{PREFIX}{task.name}@{name}" for name in task.variants]


def _spec(form: Mapping[str, str], filled: list[str]) -> Spec:
    """An evaluation as it was typed; the fields of its targets come to stand in `filled`.

    Raises:
        BadRequest: `param` names the field.
    """
    template = form.get("template", "").strip()
    if len(template) > _LONGEST:
        raise BadRequest(f"the template has {len(template):,} characters; the limit is {_LONGEST:,}", param="template")
    messages = [{"role": "user", "content": template}] if template else None
    targets = []
    for field in FIELDS[:TARGETS]:
        if text := form.get(field, "").strip():
            targets.append(_target(target_of(text[:1_000], messages=messages, where=field)))
            filled.append(field)
    if not targets:
        raise BadRequest("name what is to be evaluated", param="target1")
    if not form.get("dataset", "").strip():
        raise BadRequest("name a dataset", param="dataset")
    lines = [line for line in form.get("evaluators", "").splitlines() if line.strip()]
    if len(lines) > MOST_EVALUATORS:
        raise BadRequest(f"{len(lines)} evaluators, and {MOST_EVALUATORS} are the most", param="evaluators")
    return Spec(
        targets=tuple(targets),
        dataset=form["dataset"].strip(),
        evaluators=tuple(evaluator_of(line.strip(), "evaluators") for line in lines),
        baseline=_baseline(form, targets, filled),
        split=side_of(form.get("split", "").strip() or None),
        limit=whole_of(form, "limit") or None,
        budget_nano=nano_of(form, "budget") or None,
    )


def _target(told: Mapping[str, Any]) -> Target:
    messages = told.get("messages")
    return Target(
        name=told["name"],
        model=told["model"],
        prompt=told.get("prompt"),
        messages=None if messages is None else tuple(messages),
    )


def _baseline(form: Mapping[str, str], targets: list[Target], filled: list[str]) -> str | None:
    chosen = form.get("baseline", "").strip()
    if not chosen:
        return None
    if f"target{chosen}" not in filled:
        raise BadRequest("the target that was chosen as baseline is not named", param="baseline")
    return targets[filled.index(f"target{chosen}")].name


def _blamed(error: LoopwrightError, filled: list[str]) -> dict[str, Any]:
    """What is wrong beside the field that it is wrong with, or over the form."""
    first, *rest = (error.param or "").split(".")
    field = {"budget_usd": "budget", "targets": filled[0] if filled else "target1"}.get(first, first)
    if first == "targets" and rest and rest[0].isdigit():
        field = filled[int(rest[0])]
        if len(rest) > 1 and rest[1].startswith("messages"):
            field = "template"
    said = error.message.partition("\n")[0]
    return {"wrong": {field: said}, "problem": None} if field in FIELDS else {"problem": error}
