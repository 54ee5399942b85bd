"""The pages of drift: what is watched, what moved in one of them, and canaries with what became of their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.asking import float_of, whole_of
from loopwright.console.curves import LOOKS, Curve, Plotted, plot
from loopwright.console.key_ring import by
from loopwright.console.prompt_pages import project_of
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound
from loopwright.datasets.made import of_call as example_of
from loopwright.evals.review_items import of_call as item_of
from loopwright.feedback.given import Author
from loopwright.feedback.rubric import criteria_of
from loopwright.laboratory import drifting
from loopwright.monitoring import canaries_findings, drift_findings
from loopwright.monitoring.canaries_shown import answers_shown, canary_shown, run_shown
from loopwright.monitoring.drift_findings import spoken
from loopwright.monitoring.drift_shown import watch_shown, whole
from loopwright.monitoring.drift_store import PREFIX, Watch
from loopwright.runs.run import Point

_CURVES: Final = 4
_STEEPEST: Final = 6.0
"""Beyond a corrected p of 10 to the minus this, a curve is flat: it is sure enough."""
_HOURS: Final = 3_600.0
_CRITERIA: Final = ("good:yes,no=Is this a good answer?",)


class DriftPages:
    """Everybody sees what is watched in their project, and says what is normal; administrators in all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one watch, one canary, and what is done with them."""
        return [
            *self._shell.page("/drift", "drift.html", self._list),
            self._shell.action("/drift", self._watch),
            self._shell.action("/drift/canaries", self._create),
            *self._shell.page("/drift/canaries/{canary_id:int}", "canary.html", self._canary),
            self._shell.action("/drift/canaries/{canary_id:int}/{act}", self._on_canary),
            *self._shell.page("/drift/{watch_id:int}", "drift_watch.html", self._one),
            self._shell.action("/drift/{watch_id:int}/dataset", self._dataset),
            self._shell.action("/drift/{watch_id:int}/review", self._review),
            self._shell.action("/drift/{watch_id:int}/{act}", self._on_watch),
        ]

    # ---- what is watched ----

    async def _list(self, visit: Visit) -> View:
        return await self._listed(visit, {}, None)

    async def _listed(self, visit: Visit, typed: Mapping[str, str], problem: LoopwrightError | None) -> View:
        app, store = self._app, drifting.drift(self._app)
        names = {project.id: project.name for project in await app.projects.list()}
        found = await store.findings(project_id=visit.project_id, state="open", limit=1_000)
        opened = {each.watch_id: each for each in found}
        watches = [
            {**watch_shown(each, await store.counts(each), opened.get(each.id)), "project": names.get(each.project_id)}
            for each in await store.watches(visit.project_id)
        ]
        kept = await drifting.canaries(app).list(visit.project_id)
        canaries = [{**canary_shown(each), "project": names.get(each.project_id)} for each in kept]
        tasks = [PREFIX + each.name for each in app.workshop.held_tasks.listed(visit.who.project_id)]
        models = sorted(name for name, each in app.targets.items() if "chat" in each.operations)
        drawn = {
            "typed": typed,
            "problem": problem,
            "subjects": [*dict.fromkeys(tasks), *models],
            "datasets": await app.workshop.datasets.names(visit.who.project_id),
            "embedder": drifting.embedder_of(app),
        }
        status = 200 if problem is None else problem.status
        return View(data={"watches": watches, "canaries": canaries}, drawn=drawn, status=status)

    async def _watch(self, visit: Visit, form: dict[str, str]) -> Response:
        project = await project_of(self._app, visit)
        try:
            told = {name: whole_of(form, name, high=10**6) for name in ("reference", "window", "per_day")}
            _bounded(told)
            made = await drifting.begin_watch(
                self._app,
                project.id,
                form.get("subject", ""),
                visit.who.key_name,
                trailing=form.get("trailing") == "yes",
                **told,
            )
        except LoopwrightError as error:
            return self._shell.html(visit, "drift.html", await self._listed(visit, form, error))
        await self._app.audit.note(by(visit), "drift.watch", made.subject, {}, project_id=project.id)
        return RedirectResponse(f"/drift/{made.id}", 303)

    # ---- one of them ----

    async def _one(self, visit: Visit) -> View:
        store = drifting.drift(self._app)
        watch = await self._watched(visit)
        data = await whole(store, watch, whole_of(visit.request.query_params, "finding", high=2**31 - 1))
        return View(data=data, drawn={"charts": _charts(watch, data["looks"]), "alpha": watch.alpha})

    async def _on_watch(self, visit: Visit, form: dict[str, str]) -> Response:
        del form
        watch, act = await self._watched(visit), visit.request.path_params["act"]
        named = next((each for each in drift_findings.ACTS if each == act), None)
        if named is None:
            raise NotFound(f"there is nothing to do by {act[:40]!r}")
        await drift_findings.act(drifting.drift(self._app), watch, named, visit.who.key_name)
        await self._app.audit.note(by(visit), f"drift.{named}", watch.subject, {}, project_id=watch.project_id)
        return RedirectResponse("/drift" if named == "delete" else f"/drift/{watch.id}", 303)

    async def _dataset(self, visit: Visit, form: dict[str, str]) -> Response:
        """The example calls of now become examples."""
        watch = await self._watched(visit)
        name = form.get("name", "").strip()
        details = [
            await self._app.calls.get(each, project_id=watch.project_id, wait=0.0)
            for each in await self._fresh(watch, form)
        ]
        made = [each for detail in details if (each := example_of(detail, answers=False)) is not None]
        if not made:
            raise BadRequest("there is no call of now whose texts are still on record", param="finding")
        version = await self._app.workshop.datasets.append(
            watch.project_id, name, made, author=visit.who.key_name, source="calls", note=f"drift of {watch.subject}"
        )
        told = {"version": version.number, "from": f"drift of {watch.subject}"}
        await self._app.audit.note(by(visit), "dataset.append", name, told, project_id=watch.project_id)
        return RedirectResponse(f"/datasets/{quote(name, safe='')}", 303)

    async def _review(self, visit: Visit, form: dict[str, str]) -> Response:
        """The example calls of now are rated by people."""
        watch = await self._watched(visit)
        details = [
            await self._app.calls.get(each, project_id=watch.project_id, wait=0.0)
            for each in await self._fresh(watch, form)
        ]
        items = [item for detail in details if (item := item_of(detail)) is not None]
        if not items:
            raise BadRequest("there is no call of now with an answer that is still on record", param="finding")
        review = await self._app.workshop.turns.reviews.create(
            watch.project_id,
            form.get("name", "").strip(),
            mode="rubric",
            criteria=criteria_of(list(_CRITERIA), "rubric"),
            items=items,
            source={"drift": watch.subject},
            author=Author.of(visit.who),
            instructions=f"Calls of {watch.subject} that are not like those before.",
            raters=1,
        )
        told = {"name": review.name, "items": len(items)}
        await self._app.audit.note(by(visit), "review.create", review.id, told, project_id=watch.project_id)
        return RedirectResponse(f"/reviews/{review.id}", 303)

    async def _fresh(self, watch: Watch, form: Mapping[str, str]) -> Sequence[str]:
        """The example calls of the finding that is meant, as far as they are on record."""
        wanted = whole_of(form, "finding", high=2**31 - 1)
        store = drifting.drift(self._app)
        found = await store.findings(project_id=watch.project_id, watch_id=watch.id, limit=50)
        chosen = next((each for each in found if each.id == wanted), None)
        if chosen is None:
            raise NotFound(f"there is no finding {wanted} of {watch.subject}")
        rows = await self._app.db.rows(
            "select id::text from calls where id = any(%s::uuid[]) order by id", (list(chosen.fresh),)
        )
        return [row["id"] for row in rows]

    async def _watched(self, visit: Visit) -> Watch:
        return await drifting.drift(self._app).get(
            _id(visit.request.path_params["watch_id"]), project_id=visit.project_id
        )

    # ---- canaries ----

    async def _create(self, visit: Visit, form: dict[str, str]) -> Response:
        project = await project_of(self._app, visit)
        try:
            hours = float_of(form, "hours")
            budget = float_of(form, "budget")
            if (hours is not None and not 0 < hours <= 8_760) or (budget is not None and budget <= 0):
                raise BadRequest("hours and budget are above 0, and a canary is replayed within a year", param="hours")
            made = await drifting.begin_canary(
                self._app,
                visit.who,
                project.id,
                form.get("name", ""),
                dataset=form.get("dataset", ""),
                model=form.get("model", ""),
                examples=whole_of(form, "examples", high=10_000),
                every=None if hours is None else hours * _HOURS,
                budget=budget,
            )
        except LoopwrightError as error:
            return self._shell.html(visit, "drift.html", await self._listed(visit, form, error))
        await self._app.audit.note(by(visit), "canary.create", made.name, {}, project_id=project.id)
        return RedirectResponse(f"/drift/canaries/{made.id}", 303)

    async def _canary(self, visit: Visit) -> View:
        store = drifting.canaries(self._app)
        canary = await store.get(_id(visit.request.path_params["canary_id"]), project_id=visit.project_id)
        runs = await store.runs(canary)
        wanted = whole_of(visit.request.query_params, "run", high=2**31 - 1)
        chosen = next((each for each in runs if each.id == wanted), None) or next(
            (each for each in runs if each.state != "running"), None
        )
        data = {
            "canary": canary_shown(canary),
            "runs": [run_shown(each) for each in runs],
            "run": None if chosen is None else run_shown(chosen),
            "examples": [] if chosen is None else await answers_shown(store, canary, chosen),
        }
        return View(data=data)

    async def _on_canary(self, visit: Visit, form: dict[str, str]) -> Response:
        del form
        store, act = drifting.canaries(self._app), visit.request.path_params["act"]
        canary = await store.get(_id(visit.request.path_params["canary_id"]), project_id=visit.project_id)
        named = next((each for each in canaries_findings.ACTS if each == act), None)
        if named is None:
            raise NotFound(f"there is nothing to do by {act[:40]!r}")
        await canaries_findings.act(store, canary, named)
        await self._app.audit.note(by(visit), f"canary.{named}", canary.name, {}, project_id=canary.project_id)
        return RedirectResponse("/drift" if named == "delete" else f"/drift/canaries/{canary.id}", 303)


def _charts(watch: Watch, looks: Sequence[Mapping[str, Any]]) -> list[Plotted]:
    """How sure it was of what, over the looks; and the effects of the same features."""
    if not looks:
        return []
    lowest: dict[str, float] = {}
    for look in looks:
        for name, told in look["features"].items():
            lowest[name] = min(lowest.get(name, 1.0), told.get("holm", 1.0))
    chosen = sorted(lowest, key=lambda name: (lowest[name], name))[:_CURVES]

    def curve(at: int, name: str, value: str) -> Curve:
        points = []
        for look in looks:
            told = look["features"].get(name)
            step = (look["number"] - 1) * watch.window_size + look["calls"]
            found = None if told is None else told.get(value, 1.0)
            if value == "holm" and found is not None:
                found = min(-math.log10(max(found, 1e-12)), _STEEPEST)
            points.append(Point(name=name, value=found, step=step))
        return Curve(name=spoken(name), look=LOOKS[at], points=points)

    charts = [
        plot("evidence", "Evidence by call: minus the logarithm of the corrected p", [curve(at, name, "holm") for at, name in enumerate(chosen)]),
        plot("effects", "Effect by call", [curve(at, name, "effect") for at, name in enumerate(chosen)]),
    ]  # fmt: skip
    return [each for each in charts if each is not None]


def _bounded(told: Mapping[str, int | None]) -> None:
    for name, (low, high) in {"reference": (50, 5_000), "window": (50, 5_000), "per_day": (10, 10**6)}.items():
        value = told.get(name)
        if value is not None and not low <= value <= high:
            raise BadRequest(f"{name} is from {low:,} to {high:,}, not {value:,}", param=name)


def _id(number: int) -> int:
    if number > 2**31 - 1:
        raise NotFound(f"there is nothing of number {number}")
    return number
