"""From `task/NAME[@VARIANT]` to a plan: which variant, with which inputs, rendered. Stands before the call is recorded.

So the record, limits and scopes see what the call is for; what is asked of models, and how often, is below them in
`performed.py`. What is no task passes with one look at its name.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import msgspec
from msgspec import structs

from loopwright.core.adapter import Adapter
from loopwright.core.assignment import Assignment, Need
from loopwright.core.chat import Delta, Request, Trace, answering
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, Refused, UnknownModel
from loopwright.core.who import Principal
from loopwright.gateway.inputs import inputs_of
from loopwright.gateway.plan import Asked, Plan, Word
from loopwright.gateway.routed import Target
from loopwright.gateway.worded import Worder
from loopwright.kit.nearest import hint
from loopwright.kit.settings_adapters_check import lacking
from loopwright.tasks.task import PREFIX, Shot, Step, Task, Variant

_BYTES_A_TOKEN: Final = 3
"""As `Admitted` counts: rather too many."""
_STREAM: Final = frozenset({"stream", "stream_options"})


class Entrance(Protocol):
    """The road below, which also takes what is refused here."""

    def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        """Answer."""
        ...

    def refuse(self, request: Request, error: LoopwrightError) -> None:
        """Record a request that was refused before it could take the road."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """Assigns calls of tasks."""

    inner: Entrance
    find: Callable[[int, str], Task]
    """A task by project and name; raises UnknownModel."""
    worder: Worder
    models: Mapping[str, Target]
    """Every name that can be called."""
    output_tokens: int = 1_024
    """Tokens an answer is taken to have where nothing limits it."""

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer; a task that cannot be done as it is asked is refused, on record."""
        if not request.model.startswith(PREFIX):
            return self.inner(request)
        try:
            task, variant = self.named(request)
        except LoopwrightError as error:
            self.inner.refuse(request, error)
            raise
        try:
            plan = self.plan(task, variant, request)
        except LoopwrightError as error:
            if type(error) is NotFound:  # a prompt that is seldom used is not at hand
                return self._fetched(task, variant, request)
            self.inner.refuse(_meant(task, variant, request), error)
            raise
        return self.inner(structs.replace(request, assignment=plan))

    async def _fetched(self, task: Task, variant: Variant, request: Request) -> AsyncGenerator[Delta, None]:
        try:
            await self.worder.fetch(variant, request.who.project_id)
            plan = self.plan(task, variant, request)
        except LoopwrightError as error:
            self.inner.refuse(_meant(task, variant, request), error)
            raise
        async with answering(self.inner, structs.replace(request, assignment=plan)) as answer:
            async for delta in answer:
                yield delta

    def plan(self, task: Task, variant: Variant, request: Request) -> Plan:
        """What becomes of a call.

        Raises:
            NotFound: there is no such prompt or model.
            BadRequest: the inputs are not what the task takes, or a model has not the adapter of the variant; `param`
                names the one to blame.
        """
        if request.operation != "chat":
            raise BadRequest(f"task {task.name!r} does not do {request.operation}; it does: chat", param="model")
        guarded = bool(task.guardrails.get("moderation", {}).get("output"))
        several = variant.strategy.kind != "single" or guarded
        inputs = inputs_of(task, request)
        if several:
            _check_plain(task, variant, request.body)
        word = self._word(task, variant, request, keep=not several)
        first = word(0, inputs, context=None if variant.retrieval is None else "")
        self._check_models(task, variant)
        return Plan(
            task=task.name,
            variant=variant.name,
            prompt_version=self._versions(task, variant, request.who.project_id),
            inputs=inputs,
            needs=self._needs(variant, first, inputs),
            messages=() if several else first.body["messages"],
            several=several,
            of=task,
            way=variant,
            adapters=tuple(dict.fromkeys(each for step in variant.steps if (each := self._adapter(step)) is not None)),
            first=first,
            word=word,
        )

    def preview(
        self,
        who: Principal,
        model: str,
        variables: Mapping[str, Any],
        *,
        text: str | None = None,
        session: str | None = None,
    ) -> Plan:
        """What would become of a call, with the inputs as `variables` or as the `text` of a message. Asks nobody.

        Raises:
            As `named` and `plan`.
        """
        request = Request(
            id="",
            operation="chat",
            model=model,
            body={"messages": [] if text is None else [{"role": "user", "content": text}]},
            raw=None,
            stream=False,
            who=who,
            started_ns=time.time_ns(),
            trace=Trace(trace_id="", span_id=""),
            session=session,
            variables=variables,
        )
        return self.plan(*self.named(request), request)

    async def first(
        self, who: Principal, model: str, variables: Mapping[str, Any], *, text: str | None, session: str | None
    ) -> Asked:
        """The first request of a call, as `preview`; prompts that are seldom used are fetched."""
        try:
            return self.preview(who, model, variables, text=text, session=session).first
        except NotFound as error:
            if type(error) is not NotFound:
                raise
        for variant in self.find(who.project_id, model.removeprefix(PREFIX).partition("@")[0]).variants.values():
            await self.worder.fetch(variant, who.project_id)
        return self.preview(who, model, variables, text=text, session=session).first

    def named(self, request: Request) -> tuple[Task, Variant]:
        """The task and variant that a request names, or that its session has.

        Raises:
            Refused: the key may not call the task.
            UnknownModel: there is none of this name.
        """
        name, at, which = request.model.removeprefix(PREFIX).partition("@")
        who = request.who
        if not who.may_do(request.model):
            allowed = hint(name, who.tasks or ())
            raise Refused(f"key {who.key_name!r} may not call {PREFIX + name!r}{allowed}", param="model")
        task = self.find(who.project_id, name)
        if at:
            return task, task.variant(which)
        user = request.body.get("user")
        return task, task.chosen(request.session or (user if isinstance(user, str) and user else None))

    def _word(self, task: Task, variant: Variant, request: Request, *, keep: bool) -> Word:
        """How each step is worded; `keep`: what a stream needs is handed on."""
        said = request.body if keep else {name: value for name, value in request.body.items() if name not in _STREAM}
        last = len(variant.steps) - 1

        def word(
            number: int, values: Mapping[str, Any], /, *, shots: Sequence[Shot] = (), context: str | None = None
        ) -> Asked:
            step = variant.steps[number]
            asked = self.worder.asked(
                task,
                step,
                values,
                project_id=request.who.project_id,
                shots=(*variant.examples, *shots) if shots else variant.examples,
                context=context,
                beside=said if number == last else None,
            )
            adapter = self._adapter(step)
            return asked if adapter is None else replace(asked, adapter=adapter)

        return word

    def _adapter(self, step: Step) -> Adapter | None:
        """What a step wants, with the scale that counts where it says none."""
        wanted = step.adapter
        if wanted is None:
            return None
        known = self.models[step.model].adapters if step.model in self.models else {}
        scale = known.get(wanted.name, 1.0) if wanted.scale is None else wanted.scale
        return Adapter(name=wanted.name, scale=scale)

    def _versions(self, task: Task, variant: Variant, project_id: int) -> str:
        found = [self.worder.version(task, step, project_id) for step in variant.steps]
        return "+".join(dict.fromkeys(found))

    def _check_models(self, task: Task, variant: Variant) -> None:
        for model in variant.models:
            if model not in self.models:
                raise UnknownModel(
                    f"task {task.name!r}, variant {variant.name!r}: there is no model {model!r}"
                    f"{hint(model, self.models)}",
                    param="model",
                )
        for step in variant.steps:
            if step.adapter is not None:
                problem = lacking(step.adapter.name, step.model, self.models[step.model].adapters)
                if problem is not None:
                    raise BadRequest(f"task {task.name!r}, variant {variant.name!r}: {problem}", param="model")

    def _needs(self, variant: Variant, first: Asked, inputs: Mapping[str, Any]) -> tuple[Need, ...]:
        """What all its requests are taken to need: what a later step is asked is as long as all that came before."""
        prompt = len(msgspec.json.encode(first.body)) // _BYTES_A_TOKEN + 1
        # What will be looked up for it is added where it has been admitted.
        prompt += 0 if variant.retrieval is None else variant.retrieval.tokens
        prompt += 0 if variant.memory is None else variant.memory.tokens
        if variant.strategy.kind != "chain":
            need = Need(model=first.model, input=prompt, output=self._longest(first.body))
            return (need,) * variant.strategy.samples
        needs = [Need(model=first.model, input=prompt, output=self._longest(first.body))]
        given = len(msgspec.json.encode(inputs)) // _BYTES_A_TOKEN
        for step in variant.steps[1:]:
            own = len(msgspec.json.encode([step.messages, step.output])) // _BYTES_A_TOKEN + 1
            before = sum(need.output for need in needs)
            needs.append(Need(model=step.model, input=own + given + before, output=self._longest(step.parameters)))
        return tuple(needs)

    def _longest(self, body: Mapping[str, Any]) -> int:
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        several = body.get("n")
        one = most if isinstance(most, int) else self.output_tokens
        return one * (several if isinstance(several, int) else 1)


def _meant(task: Task, variant: Variant, request: Request) -> Request:
    """A request that is refused, as the record and policies are to see it."""
    needs = tuple(Need(model=model, input=0, output=0) for model in variant.models)
    meant = Assignment(
        task=task.name, variant=variant.name, prompt_version=None, inputs=request.variables or {}, needs=needs
    )
    return structs.replace(request, assignment=meant)


def _check_plain(task: Task, variant: Variant, body: Mapping[str, Any]) -> None:
    """Where several requests make one answer, it is one, and of words."""
    for member in ("tools", "logprobs"):
        if body.get(member):
            raise BadRequest(
                f"{member}: variant {variant.name!r} of task {task.name!r} makes its answer of several: it takes none",
                param=member,
            )
    if (body.get("n") or 1) != 1:
        raise BadRequest(f"n: variant {variant.name!r} of task {task.name!r} gives one answer", param="n")
