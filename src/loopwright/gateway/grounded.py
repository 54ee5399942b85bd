"""Stands an answer on documents: searches, shows passages as data, checks what the answer cites, says so when there is none.

Stands where a request has been admitted, before what is performed: so passages are confined, redacted and cached as all
that is asked. Knows no table: what it searches by and weighs evidence with is given to it. What was looked up, what went
into the prompt and what became of it is on record in `beside["retrieval"]`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from msgspec import structs

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.money import Price, Usage
from loopwright.core.notes import Note
from loopwright.core.passage import Evidence, Found, Query, Search, Weighing
from loopwright.gateway import voiced
from loopwright.gateway.cited import Cited
from loopwright.gateway.passages import Chosen, choose, context, recorded
from loopwright.gateway.performed import VARIANT
from loopwright.gateway.plan import Asked, Plan
from loopwright.gateway.worded import free_text
from loopwright.kit import wire_out
from loopwright.kit.settings_tasks import RetrievalSettings
from loopwright.prompts.definition import Definition, definition
from loopwright.prompts.fault import Fault
from loopwright.tasks.task import Shot

HEADER: Final = "x-loopwright-retrieval"
TAG: Final = "loopwright.retrieval"
"""`grounded`, `weak` (asked all the same) or `refused` (weak, and the model was not asked)."""
REMOVED: Final = "loopwright.removed_citations"
PROVIDER: Final = "retrieval"
"""Of an answer that the documents do not say it."""
UNASKED: Final = Price(input=0, output=0, source="retrieval")
"""What such an answer costs."""
_QUESTION: Final = 4_000
"""Characters that are searched for."""
_SPARE: Final = 4
"""Passages that are found beyond those wanted, in the place of some that may not be shown."""
_MOST: Final = 1_000
"""Parsed templates of queries that are remembered."""
Sizes = Callable[[str, Sequence[str]], Awaitable[Sequence[int]]]
"""Tokens of texts to a model."""


@dataclass(slots=True, kw_only=True)
class _Looked:
    """What was found for one call."""

    question: str
    found: Found
    evidence: Evidence
    threshold: float | None
    weak: bool
    chosen: Sequence[Chosen]
    took_us: int

    @property
    def shown(self) -> list[Chosen]:
        return [each for each in self.chosen if each.number is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """What looks nothing up passes with a look at its assignment."""

    inner: Chat
    search: Search
    weigh: Weighing
    sizes: Sizes
    _templates: dict[str, Definition] = field(default_factory=dict)

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer.

        Raises:
            NotFound: a collection is not there.
            Refused: the policy does not let the question reach the embedder.
            Unavailable: the search cannot answer now.
        """
        plan = request.assignment
        if not isinstance(plan, Plan) or plan.way.retrieval is None:
            return self.inner(request)
        return self._ground(request, plan, plan.way.retrieval)

    async def _ground(self, request: Request, plan: Plan, told: RetrievalSettings) -> AsyncGenerator[Delta, None]:
        looked = await self._look(request, plan, told)
        spoken = _spoken(plan)
        refused = looked.weak and told.weak == "refuse" and spoken
        outcome = "refused" if refused else "weak" if looked.weak else "grounded"
        kept = plan.beside["retrieval"] = _record(looked, told, outcome)
        request.notes.append(Note(tags={TAG: outcome}))
        if refused:
            answers = _refusal(request, plan, told)
        else:
            with_context = _with(plan, looked, told, spoken=spoken)
            if not plan.several:
                plan.beside["messages"] = with_context.messages
            answers = self.inner(structs.replace(request, assignment=with_context))
        about = {name: kept[name] for name in ("outcome", "evidence", "threshold")}
        cited = Cited(() if refused else looked.shown, about, checks=told.cite and spoken, texts=request.passages)
        began = False
        async with answering(lambda _request: answers, request) as answer:
            async for delta in answer:
                said = _checked(delta, cited, stream=request.stream)
                if said.done:
                    _settle(kept, cited, request)
                if not began or not request.stream:
                    began = True
                    said = structs.replace(said, headers=(*said.headers, (HEADER, outcome)))
                yield said

    async def _look(self, request: Request, plan: Plan, told: RetrievalSettings) -> _Looked:
        began = time.perf_counter_ns()
        question = self._question(plan, told)[:_QUESTION]
        query = Query(
            text=question,
            collections=told.collections,
            who=request.who,
            k=min(told.k + _SPARE, 100),
            options=_options(told),
            labels=request.labels,
            privacy=request.privacy,
        )
        found = await self.search(query) if question.strip() else Found(passages=())
        evidence = await self.weigh(query, found)
        told_threshold = told.threshold
        fixed = isinstance(told_threshold, int | float)
        threshold = float(told_threshold) if isinstance(told_threshold, int | float) else evidence.threshold
        model = plan.way.steps[_step(plan, told)].model
        tokens = await self.sizes(model, [passage.text for passage in found.passages])
        chosen = choose(found.passages, tokens, told)
        low = evidence.value is not None and threshold is not None and evidence.value < threshold
        return _Looked(
            question=question,
            found=found,
            evidence=evidence,
            threshold=threshold if fixed or evidence.value is not None else None,
            weak=low or not any(each.number is not None for each in chosen),
            chosen=chosen,
            took_us=(time.perf_counter_ns() - began) // 1000,
        )

    def _question(self, plan: Plan, told: RetrievalSettings) -> str:
        """What is searched for."""
        inputs = plan.inputs
        if told.query is None:
            if plan.of.text_input is not None:
                return str(inputs.get(plan.of.text_input, ""))
            return "\n".join(value for value in inputs.values() if isinstance(value, str))
        if "{" not in told.query:
            return _text(inputs.get(told.query, ""))
        where = f"task {plan.task!r}, retrieval.query"
        try:
            parsed = self._templates.get(told.query)
            if parsed is None:
                names = {name: {"type": "any", "required": False} for name in _inputs(plan)}
                message = {"role": "user", "content": told.query}
                if len(self._templates) >= _MOST:
                    self._templates.clear()
                parsed = self._templates[told.query] = definition({"variables": names, "messages": [message]})
            known = parsed.variables
            rendered = parsed.render({name: value for name, value in inputs.items() if name in known})
        except Fault as fault:
            raise fault.refused(where) from None
        return _text(rendered[0]["content"])


def _options(told: RetrievalSettings) -> dict[str, Any]:
    """How to search; what is not said is as the collection says."""
    said = {name: getattr(told, name) for name in ("mode", "candidates", "diversity", "rerank", "rewrite")}
    said["filter"] = dict(told.filter) or None
    return {name: value for name, value in said.items() if value is not None}


def _inputs(plan: Plan) -> list[str]:
    properties = plan.of.inputs.document.get("properties")
    return [*dict.fromkeys([*(properties if isinstance(properties, Mapping) else ()), *plan.inputs])]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _step(plan: Plan, told: RetrievalSettings) -> int:
    """The number of the step that is shown the passages."""
    steps = plan.way.steps
    return next((at for at, step in enumerate(steps) if step.name == told.step), len(steps) - 1)


def _spoken(plan: Plan) -> bool:
    """Whether the answer is a text, which can cite and can say that the documents do not say it."""
    output = plan.way.steps[-1].output
    if output is not None and not free_text(output):
        return False
    form = plan.first.body.get("response_format") if len(plan.way.steps) == 1 else None
    return not isinstance(form, Mapping) or form.get("type") == "text"


def _with(plan: Plan, looked: _Looked, told: RetrievalSettings, *, spoken: bool) -> Plan:
    """The plan with passages before its question, whoever words it after."""
    inner, step = plan.word, _step(plan, told)
    mine = context(looked.question, looked.shown, told, cite=told.cite and spoken)

    def word(
        number: int, values: Mapping[str, Any], /, *, shots: Sequence[Shot] = (), context: str | None = None
    ) -> Asked:
        return inner(number, values, shots=shots, context=mine if number == step else context or "")

    first = word(0, plan.inputs) if step == 0 else plan.first
    return replace(plan, first=first, word=word, messages=() if plan.several else first.body["messages"])


def _record(looked: _Looked, told: RetrievalSettings, outcome: str) -> dict[str, Any]:
    """As it is kept on record: JSON."""
    evidence, threshold = looked.evidence.value, looked.threshold
    return {
        "outcome": outcome,
        "collections": [*told.collections],
        "question": looked.question,
        "queries": [*looked.found.queries] or [looked.question],
        "options": _options(told),
        "evidence": None if evidence is None else round(evidence, 4),
        "threshold": None if threshold is None else round(threshold, 4),
        "weak": looked.weak,
        "candidates": recorded(looked.chosen, looked.found.candidates),
        "cited": [],
        "removed_citations": [],
        **({"warnings": [*looked.found.warnings]} if looked.found.warnings else {}),
        "took_us": {**looked.found.took_us, "all": looked.took_us},
    }


def _checked(delta: Delta, cited: Cited, *, stream: bool) -> Delta:
    if not stream:
        return structs.replace(delta, raw=cited.whole(delta.raw)) if delta.raw else delta
    raw = cited.events(delta.raw)
    if delta.done and not raw.endswith(wire_out.DONE):
        raw += cited.rest()
    return delta if raw is delta.raw else structs.replace(delta, raw=raw)


def _settle(kept: dict[str, Any], cited: Cited, request: Request) -> None:
    """What became of the answer's citations, for the record."""
    kept["cited"], kept["removed_citations"] = cited.cited, cited.removed
    if cited.removed:
        request.notes.append(Note(tags={REMOVED: str(len(cited.removed))}))


async def _refusal(request: Request, plan: Plan, told: RetrievalSettings) -> AsyncGenerator[Delta, None]:
    """That the documents do not say it, without asking anybody."""
    message = {"role": "assistant", "content": told.refusal}
    count = request.body.get("n")
    choices: list[dict[str, Any]] = [
        {"index": index, "message": message, "finish_reason": "stop", "logprobs": None}
        for index in range(count if isinstance(count, int) else 1)
    ]
    headers = ((VARIANT, plan.variant),)
    if request.stream:
        first, *more = voiced.events(choices, Usage(), request)
        yield structs.replace(first, provider=PROVIDER, headers=headers)
        for delta in more:
            yield delta
        return
    body = {
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion",
        "created": request.started_ns // 1_000_000_000,
        "model": request.model,
        "choices": choices,
        "usage": wire_out.usage_body(Usage()),
    }
    yield Delta(raw=msgspec.json.encode(body), usage=Usage(), done=True, provider=PROVIDER, headers=headers)
