"""Takes the questions of evaluations down the road of every request, and finds out what their targets are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from loopwright.app import App
from loopwright.core.chat import Chat, Embedder, Request
from loopwright.core.errors import BadRequest, Refused, UnknownModel
from loopwright.core.who import Principal
from loopwright.engines.spare import EngineLoad
from loopwright.evals.asked import plain_messages, task_body
from loopwright.evals.evaluator import Tools
from loopwright.evals.road import Prepared
from loopwright.evals.spec import Target
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.kit import wire
from loopwright.kit.ids import Ids
from loopwright.kit.nearest import hint
from loopwright.laboratory.token_counts import engine_of
from loopwright.prompts.definition import Definition
from loopwright.prompts.fault import Fault
from loopwright.prompts.variables import NAME
from loopwright.prompts.version import Version, read, split
from loopwright.tasks.task import PREFIX, Variant

CLIENT: Final = "loopwright eval"
_OURS: Final = frozenset({"model", "messages", "loopwright", "stream", "stream_options", "n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A task, or one variant of it."""

    target: Target
    definition: Mapping[str, Any]
    formed: bool

    def body(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs as variables."""
        return task_body(self.target.model, self.target.parameters, inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A model with what it is asked."""

    target: Target
    definition: Mapping[str, Any]
    formed: bool
    version: Version | None = None
    templates: dict[frozenset[str], Definition] = field(default_factory=dict)
    """Parsed, by the names of the inputs."""

    def body(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Its prompt or templates filled, or what the inputs say by themselves: messages, and the tools that go with them."""
        body = {**self.target.parameters, "model": self.target.model, "messages": self._messages(inputs)}
        tools = inputs.get("tools")
        if self.version is None and self.target.messages is None and isinstance(tools, list) and tools:
            body.setdefault("tools", tools)
        return body

    def _messages(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self.version is not None:
            return self.version.render({name: inputs[name] for name in self.version.variables if name in inputs})
        if self.target.messages is None:
            return plain_messages(self.target.name, inputs)
        given = {name: value for name, value in inputs.items() if NAME.fullmatch(name)}
        names = frozenset(given)
        template = self.templates.get(names)
        if template is None:
            template = self.templates[names] = _template(self.target, names)
        try:
            return template.render(given)
        except Fault as fault:
            raise fault.refused(_where(self.target)) from None


def pinned(target: Target, prepared: Prepared) -> Target:
    """A target with the version its prompt has now: what it is evaluated with, whatever labels do."""
    if isinstance(prepared, _Model) and prepared.version is not None:
        return replace(target, prompt=prepared.version.spoken)
    return target


class EvaluationRoad:
    """The road for evaluations, over an App of this process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._ids = Ids()
        self._load: EngineLoad | None = None
        self._asks: dict[str, tuple[str, ...]] = {}
        """The models behind each target."""

    @property
    def chat(self) -> Chat:
        """See `evals.road.Road`."""
        return self._app.chat

    async def holder(self, key_id: int, project_id: int) -> Principal | None:
        """See `evals.road.Road`; an administrator's key works in any project."""
        who = self._app.keys.holder(key_id)
        if who is None or who.project_id == project_id:
            return who
        names = {project.id: project.name for project in await self._app.projects.list()}
        if not who.admin or project_id not in names:
            return None
        return replace(who, project_id=project_id, project=names[project_id])

    def request(self, who: Principal, body: Mapping[str, Any]) -> Request:
        """See `evals.road.Road`."""
        try:
            raw = msgspec.json.encode(body)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise BadRequest(f"what is asked is no JSON: {error}") from None
        now = time.time_ns()
        return wire.parse(raw, "chat", call_id=self._ids.new(now), who=who, started_ns=now, client=CLIENT)

    async def prepare(self, who: Principal, target: Target) -> _Task | _Model:
        """See `evals.road.Road`."""
        if taken := sorted(target.parameters.keys() & _OURS):
            raise BadRequest(
                f"targets: parameters of {target.name!r}: {taken[0]!r} is not theirs to say", param="targets"
            )
        if not self._app.keeps(who, target.model):
            raise Refused(f"the texts of {target.model!r} are not kept (privacy, no-store), and evaluations keep them")
        if target.model.startswith(PREFIX):
            return await self._task(who, target)
        return await self._model(who, target)

    async def free(self, model: str) -> bool:
        """See `evals.road.Road`."""
        if self._load is None:
            free = self._app.settings.evaluations.free_slots
            self._load = EngineLoad(self._app.catalog.configured(), self._app.engines(), free)
        for each in self._asks.get(model, (model,)):
            if not await self._load.free(each):
                return False
        return True

    def tools(self, who: Principal, chat: Chat) -> Tools:
        """See `evals.road.Road`."""

        def embedder(model: str | None) -> Embedder:
            return CalledEmbedder(self._app.chat, model or self._embedding_model(), self._ids)

        return Tools(chat=chat, who=who, embedder=embedder)

    async def close(self) -> None:
        """Let go of what the road does not."""
        if self._load is not None:
            await self._load.close()

    # ---- what targets are ----

    async def _task(self, who: Principal, target: Target) -> _Task:
        if target.prompt is not None or target.messages is not None:
            raise BadRequest(f"targets: {target.name!r} is a task, which has prompts of its own", param="targets")
        name, at, which = target.model.removeprefix(PREFIX).partition("@")
        if not who.may_do(target.model):
            raise Refused(f"key {who.key_name!r} may not call {PREFIX + name!r}{hint(name, who.tasks or ())}")
        task = self._app.workshop.held_tasks.find(who.project_id, name)
        ways = [task.variant(which)] if at else list(task.variants.values())
        models = tuple(dict.fromkeys(model for way in ways for model in way.models))
        if not who.may_have_done(task.name, models):
            raise Refused(f"key {who.key_name!r} may not call {PREFIX + name!r}: it asks {', '.join(models)}")
        self._asks[target.model] = models
        definition = {
            "task": task.name,
            "output_schema": task.output_schema,
            "guardrails": task.guardrails,
            "variants": [await self._variant(who, way, mixed=not at) for way in ways],
            "parameters": target.parameters,
            "leads": {model: self._leads(model) for model in models},
            **self._adapters(ways),
        }
        return _Task(target=target, definition=definition, formed=task.output_schema is not None)

    async def _variant(self, who: Principal, way: Variant, *, mixed: bool) -> dict[str, Any]:
        prompts = {}
        for named in way.prompts:
            prompts[named] = (await self._prompt(who, named)).sha
        told = msgspec.to_builtins(
            {"steps": way.steps, "strategy": way.strategy, "examples": way.examples}, enc_hook=dict
        )
        for step in told["steps"]:  # without one as before there were any: what was answered then is an answer still
            if step["adapter"] is None:
                del step["adapter"]
        return {"name": way.name, "weight": way.weight if mixed else None, "prompts": prompts, **told}

    def _adapters(self, ways: Sequence[Variant]) -> dict[str, Any]:
        """The files behind the adapters that are wanted, and the scales that hold; nothing where none is."""
        found: dict[str, Any] = {}
        for model, wanted in ((step.model, step.adapter) for way in ways for step in way.steps):
            if wanted is None:
                continue
            engine = engine_of(self._app, model)
            told = None if engine is None else engine.adapters.get(wanted.name)
            held = self._app.targets[model].adapters if model in self._app.targets else {}
            found[f"{model} {wanted.name}"] = ["" if told is None else told.path, held.get(wanted.name)]
        return {"adapters": found} if found else {}

    async def _model(self, who: Principal, target: Target) -> _Model:
        if target.prompt is not None and target.messages is not None:
            raise BadRequest(f"targets: {target.name!r} has a prompt and a template: give it one", param="targets")
        found = self._app.targets.get(target.model)
        if not who.may_call(target.model):
            raise Refused(f"key {who.key_name!r} may not call {target.model!r}{hint(target.model, who.models or ())}")
        if found is None:
            known = [name for name in self._app.targets if who.may_call(name)]
            raise UnknownModel(f"there is no model {target.model[:80]!r}{hint(target.model, known)}", param="targets")
        if "chat" not in found.operations:
            raise BadRequest(f"targets: model {target.model!r} does not chat", param="targets")
        version = None if target.prompt is None else await self._prompt(who, target.prompt)
        definition = {
            "model": target.model,
            "leads": self._leads(target.model),
            "prompt": None if version is None else version.sha,
            "messages": target.messages,
            "parameters": target.parameters,
        }
        formed = target.parameters.get("response_format") is not None
        return _Model(target=target, definition=definition, formed=formed, version=version)

    async def _prompt(self, who: Principal, named: str) -> Version:
        name, ref = split(named)
        return await self._app.workshop.held_prompts.fetch(who.project_id, name, ref)

    def _leads(self, model: str) -> Sequence[Sequence[str]]:
        """Where the name of a model leads: other weights behind a name are another model."""
        found: dict[str, Sequence[Sequence[str]]] = {
            route.name: [[each.provider, each.model] for each in route.targets] for route in self._app.routes
        }
        settings = self._app.settings.models.get(model)
        engine = None if settings is None else settings.engine
        weights = [] if engine is None else [["engine", engine.kind, engine.source]]
        return [*found.get(model, []), *weights]

    def _embedding_model(self) -> str:
        known = [name for name, each in self._app.targets.items() if "embeddings" in each.operations]
        if not known:
            raise BadRequest("no model here embeds texts: name one in `args.model`, or configure one")
        return known[0]


def _template(target: Target, names: frozenset[str]) -> Definition:
    """The messages of a target as a prompt over inputs of these names."""
    document = {
        "variables": {name: {"type": "any", "required": False} for name in sorted(names)},
        "messages": [dict(each) for each in target.messages or ()],
    }
    return read(document, _where(target))


def _where(target: Target) -> str:
    return f"targets: messages of {target.name[:80]!r}"
