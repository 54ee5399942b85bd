"""The pages of experiments: what was tried in each, one run whole, and two runs side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, BinaryIO, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.curves import LOOKS, Curve, Plotted, number, plot
from loopwright.console.key_ring import by
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, Unauthenticated
from loopwright.runs.run import STATUSES, Point, Run

_PAGE: Final = 50
_PLOTS: Final = 12
"""Charts of a page."""
_POINTS: Final = 300
_EXAMPLES: Final = 100
_PIECE: Final = 65_536
_LOOK: Final = {"finished": "ok", "failed": "error", "killed": "warn", "running": ""}


class ExperimentPages:
    """Everybody sees, notes and compares the runs of their project."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """Experiments, one of them, a run, two runs; notes, files, and forgetting a run."""
        return [
            *self._shell.page("/experiments", "experiments.html", self._list),
            *self._shell.page("/experiments/{experiment_id:int}", "experiment.html", self._one),
            *self._shell.page("/runs/compare", "runs_compared.html", self._compared),
            self._shell.route("/runs/{run_id}/artifacts/{path:path}", self._file),
            *self._shell.page("/runs/{run_id}", "run.html", self._run),
            self._shell.action("/runs/{run_id}/note", self._note),
            self._shell.action("/runs/{run_id}/delete", self._delete),
        ]

    async def _list(self, visit: Visit) -> View:
        found = await self._app.workshop.runs.experiments.list(project_id=visit.project_id)
        names = {project.id: project.name for project in await self._app.projects.list()}
        rows = [{**each.shown(), "project": names.get(each.project_id)} for each in found]
        for row, each in zip(rows, found, strict=True):
            row |= {"latest": each.latest, "created_at": each.created_at}
        return View(data={"experiments": rows})

    async def _one(self, visit: Visit) -> View:
        experiment = await self._app.workshop.runs.experiments.find(
            visit.request.path_params["experiment_id"], project_id=visit.project_id
        )
        status = next((each for each in STATUSES if each == visit.asked("status")), None)
        if status is None and visit.asked("status") is not None:
            raise BadRequest(f"status is one of {', '.join(STATUSES)}", param="status")
        found = await self._app.workshop.runs.list(
            project_id=visit.project_id,
            experiment=experiment.id,
            status=status,
            before=visit.asked("before"),
            limit=_PAGE + 1,
        )
        shown = found[:_PAGE]
        curved = [run for run in shown if any(metric.points > 1 for metric in run.metrics.values())][: len(LOOKS)]
        data = {
            "experiment": {**experiment.shown(), "created_at": experiment.created_at, "latest": experiment.latest},
            "filter": {"status": status, "before": visit.asked("before")},
            "metrics": columns_of(shown),
            "params": differing(shown),
            "runs": [row_of(run) for run in shown],
            "next": shown[-1].id if len(found) > _PAGE else None,
        }
        drawn = {"looks": _LOOK, "statuses": STATUSES, "charts": await self._plots(curved), "number": number}
        return View(data=data, drawn=drawn)

    async def _run(self, visit: Visit) -> View:
        run = await self._app.workshop.runs.show(visit.request.path_params["run_id"], project_id=visit.project_id)
        detail = await self._app.workshop.tracked.detail(run)
        curves = await self._app.workshop.runs.curves(run, points=_POINTS)
        latest = await self._app.workshop.runs.list(
            project_id=visit.project_id, experiment=run.experiment_id, limit=_PAGE
        )
        data = {
            "run": {**detail, **_moments(run)},
            "curves": {name: [point.shown() for point in curve] for name, curve in curves.items()},
        }
        others = [(each.id, each.name) for each in latest if each.id != run.id]
        drawn = {"looks": _LOOK, "charts": _charts([(run, curves)]), "number": number, "others": others}
        return View(data=data, drawn=drawn)

    async def _compared(self, visit: Visit) -> View:
        a, b = [
            await self._app.workshop.runs.show(visit.asked(side) or "", project_id=visit.project_id) for side in "ab"
        ]
        changed = visit.asked("changed") is not None
        found = await self._app.workshop.tracked.compared(a, b, changed=changed, limit=_EXAMPLES)
        for side, run in (("a", a), ("b", b)):
            found[side] |= _moments(run)
        charts = await self._plots([a, b])
        return View(data={**found, "changed": changed}, drawn={"looks": _LOOK, "charts": charts, "number": number})

    async def _plots(self, runs: Sequence[Run]) -> list[Plotted]:
        found = [(run, await self._app.workshop.runs.curves(run, points=_POINTS)) for run in runs]
        return _charts(found)

    async def _note(self, visit: Visit, form: dict[str, str]) -> Response:
        run_id = visit.request.path_params["run_id"]
        await self._app.workshop.runs.note(
            run_id, form.get("text", ""), project_id=visit.project_id, author=visit.who.key_name
        )
        return RedirectResponse(f"/runs/{run_id}#notes", 303)

    async def _delete(self, visit: Visit, _form: dict[str, str]) -> Response:
        run = await self._app.workshop.runs.show(visit.request.path_params["run_id"], project_id=visit.project_id)
        told = {"name": run.name, "experiment": run.experiment}
        await self._app.audit.note(by(visit), "run.delete", run.id, told, project_id=run.project_id)
        await self._app.workshop.runs.forget(run.id, project_id=visit.project_id)
        return RedirectResponse(f"/experiments/{run.experiment_id}", 303)

    async def _file(self, request: Request) -> Response:
        """A file of a run, as an attachment."""
        visit = self._shell.visit(request)
        if visit is None:
            raise Unauthenticated("sign in at /sign-in")
        run = await self._app.workshop.runs.show(request.path_params["run_id"], project_id=visit.project_id)
        artifact = await self._app.workshop.runs.artifacts.get(run, request.path_params["path"])
        opened = await self._app.workshop.runs.artifacts.open(artifact)
        name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in artifact.path)
        headers = {
            "content-disposition": f'attachment; filename="{name[-100:]}"',
            "content-length": str(artifact.bytes),
        }
        return StreamingResponse(_pieces(opened), media_type="application/octet-stream", headers=headers)


def row_of(run: Run) -> dict[str, Any]:
    """A run as built-in types, for lists."""
    told = run.shown()
    names = ("id", "name", "kind", "status", "author", "params", "prompts", "data", "evaluation_id", "seconds")
    last = {name: metric.last for name, metric in run.metrics.items()}
    return {**{name: told[name] for name in names}, "metrics": last, **_moments(run)}


def columns_of(runs: Sequence[Run], most: int = 5) -> list[str]:
    """The metrics that most of the runs have."""
    counted: dict[str, int] = {}
    for run in runs:
        for name in run.metrics:
            counted[name] = counted.get(name, 0) + 1
    return sorted(counted, key=lambda name: (-counted[name], name))[:most]


def differing(runs: Sequence[Run], most: int = 4) -> list[str]:
    """The parameters in which the runs differ, those that most of them have first."""
    counted: dict[str, int] = {}
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.params.items():
            counted[name] = counted.get(name, 0) + 1
            values.setdefault(name, set()).add(str(value))
    apart = [name for name in counted if len(values[name]) > 1 or counted[name] < len(runs)]
    return sorted(apart, key=lambda name: (-counted[name], name))[:most]


def _charts(found: Sequence[tuple[Run, Mapping[str, Sequence[Point]]]]) -> list[Plotted]:
    """A chart for each metric that has a course, of all runs together."""
    names = dict.fromkeys(name for _, curves in found for name, curve in curves.items() if len(curve) > 1)
    charts = [
        plot(
            f"curve-{at}",
            name,
            [
                Curve(name=run.name, look=LOOKS[place % len(LOOKS)], points=curves[name])
                for place, (run, curves) in enumerate(found)
                if name in curves
            ],
        )
        for at, name in enumerate([*names][:_PLOTS])
    ]
    return [chart for chart in charts if chart is not None]


def _moments(run: Run) -> dict[str, Any]:
    return {"started_at": run.started_at, "updated_at": run.updated_at, "ended_at": run.ended_at}


async def _pieces(file: BinaryIO) -> AsyncGenerator[bytes, None]:
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
