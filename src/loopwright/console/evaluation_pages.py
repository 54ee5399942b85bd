"""The pages of evaluations: all of them, one with its figures and its examples, and two beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.curves import number
from loopwright.console.evaluation_form import EvaluationForm
from loopwright.console.key_ring import by
from loopwright.console.scatter import scattered
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest
from loopwright.datasets.reading import slice_of
from loopwright.evals import results
from loopwright.evals.across import across
from loopwright.evals.answers import answers, beside
from loopwright.evals.evaluation import STATUSES, Evaluation
from loopwright.evals.results import SORTS, Sort
from loopwright.kit.nearest import hint

_PAGE: Final = 50
_EXAMPLES: Final = 20
_MOST: Final = 10_000_000
_LOOKS: Final[Mapping[str, str]] = {
    "completed": "ok", "failed": "error", "stopped": "warn", "cancelling": "warn", "cancelled": "warn",
}  # fmt: skip
_VERDICTS: Final[Mapping[str, str]] = {"pass": "ok", "fail": "error"}
"""Not enough evidence is neither."""
_SAID: Final[Mapping[Sort, str]] = {
    "position": "as in the dataset",
    "regression": "regressions first",
    "disagreement": "disagreement first",
    "worst": "worst first",
    "missing": "missing first",
}


class EvaluationPages:
    """Everybody sees, begins, cancels and forgets the evaluations of their project."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._form = EvaluationForm(shell, self._list)

    def routes(self) -> list[Route]:
        """The list, two compared, one of them; cancelling and forgetting it."""
        return [
            *self._shell.page("/evaluations", "evaluations.html", self._list),
            self._shell.action("/evaluations", self._form.send),
            *self._shell.page("/evaluations/compare", "evaluations_compared.html", self._compared),
            *self._shell.page("/evaluations/{evaluation_id}", "evaluation.html", self._one),
            self._shell.action("/evaluations/{evaluation_id}/cancel", self._cancel),
            self._shell.action("/evaluations/{evaluation_id}/delete", self._delete),
        ]

    async def _list(self, visit: Visit) -> View:
        status = next((each for each in STATUSES if each == visit.asked("status")), None)
        if status is None and visit.asked("status") is not None:
            raise BadRequest(f"status is one of {', '.join(STATUSES)}", param="status")
        found = await self._app.workshop.evaluations.list(
            project_id=visit.project_id,
            status=status,
            dataset=visit.asked("dataset"),
            after=visit.asked("after"),
            limit=_PAGE + 1,
        )
        data = {
            "filter": {"status": status, "dataset": visit.asked("dataset"), "after": visit.asked("after")},
            "evaluations": [_row(each) for each in found[:_PAGE]],
            "next": found[_PAGE - 1].id if len(found) > _PAGE else None,
        }
        looks = {"statuses": STATUSES, "looks": _LOOKS, "verdicts": _VERDICTS, "number": number}
        return View(data=data, drawn={**looks, **await self._form.drawn(visit)})

    async def _one(self, visit: Visit) -> View:
        evaluation = await self._found(visit)
        names = results.evaluator_names(evaluation)
        baseline = evaluation.spec.baseline is not None
        asked = visit.asked("sort") or ("regression" if baseline else "position")
        sort = next((each for each in SORTS if each == asked), None)
        if sort is None or (sort == "regression" and not baseline):
            raise BadRequest(f"sort: {asked[:40]!r} cannot be had here{hint(asked[:40], SORTS)}", param="sort")
        offset = _offset(visit.asked("offset"))
        rows = await results.page(
            self._app.workshop.evaluations,
            evaluation,
            sort=sort,
            evaluator=visit.asked("evaluator"),
            target=visit.asked("target"),
            slice=slice_of(visit.asked("slice")),
            offset=offset,
            limit=_EXAMPLES + 1,
        )
        shown = await answers(self._app.workshop.datasets, evaluation, rows[:_EXAMPLES])
        data = {
            "evaluation": {**_row(evaluation), "spec": evaluation.spec.as_json(), "findings": evaluation.findings},
            "filter": {
                "sort": sort,
                "evaluator": visit.asked("evaluator") or names[0],
                "target": visit.asked("target"),
                "slice": visit.asked("slice"),
                "offset": offset,
            },
            "results": shown,
            "next": offset + _EXAMPLES if len(rows) > _EXAMPLES else None,
        }
        latest = await self._app.workshop.evaluations.list(
            project_id=evaluation.project_id, dataset=evaluation.dataset.partition("@")[0], limit=_PAGE
        )
        findings = evaluation.findings or {}
        drawn = {
            "looks": _LOOKS,
            "verdicts": _VERDICTS,
            "number": number,
            "plain": plain,
            "names": names,
            "sorts": [(each, _SAID[each]) for each in SORTS if baseline or each != "regression"],
            "plot": scattered(findings.get("pareto")),
            "others": [(each.id, each.name) for each in latest if each.id != evaluation.id],
            "bars": _bars(findings),
        }
        return View(data=data, drawn=drawn)

    async def _compared(self, visit: Visit) -> View:
        store = self._app.workshop.evaluations
        sides = [visit.asked(side) for side in "ab"]
        if None in sides:
            raise BadRequest("name two evaluations: ?a=eval_…&b=eval_…", param="a" if sides[0] is None else "b")
        a, b = [await store.show(each or "", project_id=visit.project_id) for each in sides]
        found = await across(store, a, b, target_a=visit.asked("target_a"), target_b=visit.asked("target_b"))
        found = await beside(store, self._app.workshop.datasets, a, b, found)
        drawn = {
            "number": number,
            "plain": plain,
            "targets": {"a": [each.name for each in a.spec.targets], "b": [each.name for each in b.spec.targets]},
        }
        return View(data=found, drawn=drawn)

    async def _cancel(self, visit: Visit, _form: dict[str, str]) -> Response:
        evaluation = await self._found(visit)
        await self._noted(visit, "evaluation.cancel", evaluation)
        await self._app.workshop.evaluations.cancel(evaluation.id, project_id=visit.project_id)
        return RedirectResponse(f"/evaluations/{evaluation.id}", 303)

    async def _delete(self, visit: Visit, _form: dict[str, str]) -> Response:
        evaluation = await self._found(visit)
        await self._app.workshop.evaluations.delete(evaluation.id, project_id=visit.project_id)
        await self._noted(visit, "evaluation.delete", evaluation)
        return RedirectResponse("/evaluations", 303)

    async def _found(self, visit: Visit) -> Evaluation:
        evaluation_id = visit.request.path_params["evaluation_id"]
        return await self._app.workshop.evaluations.show(evaluation_id, project_id=visit.project_id)

    async def _noted(self, visit: Visit, what: str, evaluation: Evaluation) -> None:
        told = {"name": evaluation.name, "dataset": evaluation.dataset}
        await self._app.audit.note(
            by(visit), what, f"evaluation {evaluation.id}", told, project_id=evaluation.project_id
        )


def _row(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation with its first figures, for lists."""
    told = evaluation.brief()
    findings = evaluation.findings or {}
    moments: dict[str, datetime | None] = {
        "created_at": evaluation.created_at,
        "started_at": evaluation.started_at,
        "ended_at": evaluation.ended_at,
    }
    evaluators = [each["name"] for each in findings.get("evaluators", ())][:1]
    figures = [
        {"target": target["name"], "evaluator": name, **target["scores"][name]}
        for name in evaluators
        for target in findings.get("targets", ())
        if name in target["scores"]
    ]
    return {**told, **moments, "figures": figures}


def _bars(findings: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """By evaluator the ends of the scale on which its intervals are drawn."""
    found: dict[str, tuple[float, float]] = {}
    for each in findings.get("evaluators", ()):
        figures = [target["scores"].get(each["name"]) or {} for target in findings["targets"]]
        values = [value for one in figures for end in ("low", "high", "mean") if (value := one.get(end)) is not None]
        if values:
            low, high = min(values), max(values)
            within = low >= 0 and high <= 1
            found[each["name"]] = (0.0, 1.0) if within else (low, high if high > low else low + 1.0)
    return found


def plain(value: Any) -> str | None:
    """Inputs or a reference as people read them: a text alone as it is, everything else as JSON."""
    if isinstance(value, Mapping) and len(value) == 1:
        [value] = value.values()
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _offset(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 8 or int(text) > _MOST:
        raise BadRequest("offset is a number of rows", param="offset")
    return int(text)
