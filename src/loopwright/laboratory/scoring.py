"""What online evaluation needs of the house: plans of tasks, evaluators that ask at low priority, in whose name, under what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from loopwright.app import App
from loopwright.core.chat import Embedder
from loopwright.core.errors import BadRequest, UnknownModel
from loopwright.core.privacy import Privacy
from loopwright.core.who import HOUSE, Principal
from loopwright.engines.spare import EngineLoad
from loopwright.evals.evaluator import Evaluator, Tools
from loopwright.evals.evaluators import make
from loopwright.kit.nearest import hint
from loopwright.monitoring.metered import Meter, Metered, MeteredEmbedder, Place
from loopwright.monitoring.watched import Plan, Watch, allowed, plan_of
from loopwright.tasks.task import Task

_NAME: Final = "monitor"


class Scoring:
    """Of one house; `close` it."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._load: EngineLoad | None = None
        self._plans: dict[int, tuple[Task, Plan | None]] = {}
        self._computed: dict[int, tuple[Plan, Mapping[str, Evaluator]]] = {}
        self._projects: dict[int, str] = {}
        self.place = Place(free=self._free, ours=self._ours)

    def plan_of(self, project_id: int, name: str) -> Plan | None:
        """How a task is watched now; None when it is not, or is not there."""
        try:
            task = self._app.workshop.held_tasks.find(project_id, name)
        except UnknownModel:
            return None
        known = self._plans.get(id(task))
        if known is None or known[0] is not task:
            if len(self._plans) > 1_000:
                self._plans.clear()
            known = self._plans[id(task)] = (task, plan_of(task, may=self._may))
        return known[1]

    async def computed(self, plan: Plan, project_id: int) -> Mapping[str, Evaluator]:
        """See `monitoring.online.Makes`."""
        del project_id
        known = self._computed.get(id(plan))
        if known is None or known[0] is not plan:
            if len(self._computed) > 1_000:
                self._computed.clear()
            made = {each.name: make(each.spec) for each in plan.computed}
            known = self._computed[id(plan)] = (plan, made)
        return known[1]

    async def asked(self, plan: Plan, watch: Watch, project_id: int, meter: Meter) -> Evaluator:
        """See `monitoring.online.Makes`."""
        app = self._app
        privacy = await app.workshop.memory.policy_of(project_id, plan.task)
        chat = Metered(
            inner=app.chat,
            place=self.place,
            meter=meter,
            task=plan.task,
            privacy=privacy,
            seconds=app.settings.evaluations.timeout,
        )
        tools = Tools(
            chat=chat,
            who=await self._who(project_id),
            embedder=lambda model: self._embedder(model, meter, privacy),
            functions=allowed(watch.spec, app.workshop.held_tasks.find(project_id, plan.task), self._may),
        )
        [spec] = await app.workshop.fitting.resolved(project_id, [watch.spec])
        return make(spec, tools)

    def costs(self, evaluator: Evaluator) -> bool:
        """See `monitoring.online.Makes`."""
        model = getattr(getattr(evaluator, "definition", None), "model", None)
        if not isinstance(model, str):
            return False
        target = self._app.targets.get(model)
        return target is None or target.price is not None or not self._ours(model)

    async def close(self) -> None:
        """Let go of the engines."""
        if self._load is not None:
            await self._load.close()

    def _embedder(self, model: str | None, meter: Meter, privacy: Privacy | None) -> Embedder:
        known = [name for name, each in self._app.targets.items() if "embeddings" in each.operations]
        name = model or next(iter(known), "")
        inner = self._app.workshop.memory.embedder_of(name) if name in known else None
        if inner is None:
            said = f"no model {name[:80]!r} embeds texts here{hint(name, known)}" if name else "no model here embeds"
            raise BadRequest(said, param="args.model")
        return MeteredEmbedder(inner=inner, name=name, place=self.place, meter=meter, privacy=privacy)

    async def _who(self, project_id: int) -> Principal:
        """In whose name judges ask: the house, for the project, whose limits and policies hold."""
        if project_id not in self._projects:
            self._projects = {project.id: project.name for project in await self._app.projects.list()}
        name = self._projects.get(project_id, "")
        return replace(HOUSE, key_name=_NAME, project_id=project_id, project=name)

    def _may(self, function: object) -> bool:
        return function in self._app.settings.evaluations.functions

    def _engines(self) -> EngineLoad:
        if self._load is None:
            free = self._app.settings.evaluations.free_slots
            self._load = EngineLoad(self._app.catalog.configured(), self._app.engines(), free)
        return self._load

    async def _free(self, model: str) -> bool:
        return await self._engines().free(model)

    def _ours(self, model: str) -> bool:
        return self._engines().hosts(model)
