"""Shows a variant what people corrected of its task: the corrections most like the question, as examples before it.

Stands where a request has been admitted, before what is performed: so corrections are confined, redacted and cached as all
that is asked. One project's corrections never reach another. What was shown is on record in `beside["memory"]`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import structs

from loopwright.core.chat import Chat, Delta, Embedder, Request, answering
from loopwright.core.errors import BadRequest, LoopwrightError, Refused, Sealed
from loopwright.core.money import Price, Usage
from loopwright.core.notes import Note
from loopwright.gateway import replayed
from loopwright.gateway.performed import VARIANT
from loopwright.gateway.plan import Asked, Plan
from loopwright.kit import wire_out
from loopwright.kit.settings_tasks import MemorySettings
from loopwright.memory.choosing import Fit, Near, choose, newest_of
from loopwright.memory.effect import EVALUATED
from loopwright.memory.entry import Entry, Lesson, text_of
from loopwright.memory.form import Form
from loopwright.memory.held import Held, Key
from loopwright.memory.tally import TAG, Outcome, Tally
from loopwright.tasks.task import Shot, Task

PROVIDER: Final = "memory"
FREE: Final = Price(input=0, output=0, source="memory")
"""What an answer costs that memory gave."""
_BYTES_A_TOKEN: Final = 3
_ROUND_TOKENS: Final = 12
"""What the turns of an example take beside its texts."""
_LOOKED: Final = 24
"""Entries that are looked at, at least, to show some of."""
_MOST: Final = 20_000
"""Lessons that are known to fit their task."""
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Found:
    """What memory has for one call."""

    outcome: Outcome
    fits: Sequence[Fit] = ()
    answer: tuple[Entry, Lesson] | None = None
    why: str = ""
    embed_us: int = 0
    search_us: int = 0


@dataclass(slots=True, kw_only=True)
class Remembered:
    """What has no memory passes with a look at its assignment."""

    inner: Chat
    held: Held
    tally: Tally
    form_of: Callable[[Task], Form]
    embedder_of: Callable[[str], Embedder | None]
    _known: dict[tuple[str, int, int], tuple[Task, Lesson | None]] = field(default_factory=dict)

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer."""
        plan = request.assignment
        if not isinstance(plan, Plan) or plan.way.memory is None:
            return self.inner(request)
        return self._remember(request, plan, plan.way.memory)

    async def _remember(self, request: Request, plan: Plan, told: MemorySettings) -> AsyncGenerator[Delta, None]:
        found = await self._look(request, plan, told)
        evaluated = EVALUATED in request.tags
        something = bool(found.fits) or found.answer is not None
        if something and not evaluated and drawn(request.id) < told.holdout:
            found.outcome = "held-out"
        went, plan = self._put(request, plan, told, found)
        task = (request.who.project_id, plan.task, plan.variant)
        self.tally.add(task, request.started_ns, found.outcome, _ids(found), counted=not evaluated)
        request.notes.append(Note(tags={TAG: found.outcome}))
        plan.beside["memory"] = _shown(found, told)
        async with answering(lambda _request: went, request) as answer:
            async for delta in answer:
                yield delta

    def _put(
        self, request: Request, plan: Plan, told: MemorySettings, found: _Found
    ) -> tuple[AsyncGenerator[Delta, None], Plan]:
        """The answer, and the plan it is of."""
        if found.outcome == "answered" and found.answer is not None:
            return _said(request, plan, found.answer[1]), plan
        if found.outcome == "shown":
            try:
                plan = _with(plan, found.fits, told)
            except BadRequest as error:  # a template that cannot show it is no reason to refuse the question
                _log.warning("corrections cannot be shown to task %s: %s", plan.task, error.message)
                found.outcome, found.fits, found.why = "none", (), "a template cannot show it"
        return self.inner(request if plan is request.assignment else structs.replace(request, assignment=plan)), plan

    async def _look(self, request: Request, plan: Plan, told: MemorySettings) -> _Found:
        """What there is for a call, before chance has its say."""
        key: Key = (request.who.project_id, plan.task)
        if not self.held.any(key):
            return _Found(outcome="none")
        began = time.perf_counter_ns()
        found = _Found(outcome="none")
        try:
            same = await self._repeated(request, plan, told, key)
            found.search_us = (time.perf_counter_ns() - began) // 1000
            if same is not None and told.exact == "answer" and _may_answer(plan, request):
                found.outcome, found.answer = "answered", same
                return found
            vector = await self._vector(request, plan, told, found)
            if vector is not None:
                began = time.perf_counter_ns()
                near = await self.held.nearest(key, told.embedder, vector, max(4 * told.k, _LOOKED))
                found.fits = self._chosen(request, plan, told, near)
                found.search_us += (time.perf_counter_ns() - began) // 1000
                found.outcome = "shown" if found.fits else "none"
        except LoopwrightError as error:  # the database, where a memory is too large to be held
            found.outcome, found.why = "late", error.code
        return found

    async def _vector(
        self, request: Request, plan: Plan, told: MemorySettings, found: _Found
    ) -> Sequence[float] | None:
        """Of the question; None when it may not be embedded, or that takes too long."""
        began = time.perf_counter_ns()
        embedder = self.embedder_of(told.embedder)
        try:
            if embedder is None:
                found.outcome, found.why = "late", "no embedder"
                return None
            async with asyncio.timeout(told.timeout):
                [vector] = await embedder([text_of(plan.inputs, plan.of.text_input)], privacy=request.privacy)
        except Refused:
            found.why = "the policy keeps the question from the embedder"
            return None
        except (LoopwrightError, TimeoutError) as error:
            found.outcome, found.why = "late", error.code if isinstance(error, LoopwrightError) else "timeout"
            return None
        finally:
            found.embed_us = (time.perf_counter_ns() - began) // 1000
        return vector

    async def _repeated(
        self, request: Request, plan: Plan, told: MemorySettings, key: Key
    ) -> tuple[Entry, Lesson] | None:
        """The correction of the very same inputs that counts."""
        if told.exact != "answer":
            return None
        now = datetime.now(UTC)
        known: dict[str, Lesson] = {}
        entries = []
        for entry in await self.held.repeats(key, plan.inputs):
            lesson = self._lesson(entry, plan.of) if _current(entry, told, now, request.tags) else None
            if lesson is not None and lesson.inputs == plan.inputs:
                known[entry.id] = lesson
                entries.append(entry)
        newest = newest_of(entries)
        return None if newest is None else (newest, known[newest.id])

    def _chosen(self, request: Request, plan: Plan, told: MemorySettings, near: Sequence[Near]) -> list[Fit]:
        now = datetime.now(UTC)
        fits = []
        for each in near:
            if each.similarity < told.threshold:
                break
            if _current(each.entry, told, now, request.tags):
                lesson = self._lesson(each.entry, plan.of)
                if lesson is not None:
                    fits.append(Fit(near=each, lesson=lesson, tokens=_tokens(lesson)))
        return choose(fits, k=told.k, tokens=told.tokens, diversity=told.diversity)

    def _lesson(self, entry: Entry, task: Task) -> Lesson | None:
        """What an entry says; None when the task cannot be shown it any more."""
        at = (entry.id, entry.changed, id(task))
        known = self._known.get(at)
        if known is not None and known[0] is task:
            return known[1]
        lesson: Lesson | None = None
        try:
            lesson = self.form_of(task).lesson(entry.lesson(self.held.seal))
        except BadRequest:
            lesson = None
        except Sealed as error:
            _log.warning("a correction of task %s cannot be opened: %s", task.name, error.message)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[at] = (task, lesson)
        return lesson


def drawn(call_id: str) -> float:
    """The lot of a call: the same again for the same id, even in 0 to 1."""
    return int.from_bytes(blake2b(call_id.encode(), digest_size=8).digest(), "big") / 2**64


def _current(entry: Entry, told: MemorySettings, now: datetime, tags: Mapping[str, str]) -> bool:
    young = told.days is None or entry.created_at > now - timedelta(days=told.days)
    return young and entry.holds(now, tags)


def _tokens(lesson: Lesson) -> int:
    said = msgspec.json.encode([*lesson.inputs.values(), lesson.output])
    return len(said) // _BYTES_A_TOKEN + _ROUND_TOKENS


def _with(plan: Plan, fits: Sequence[Fit], told: MemorySettings) -> Plan:
    """The plan with corrections before its question, whoever words it after."""
    mine = tuple(Shot(input=fit.lesson.inputs, output=fit.lesson.output) for fit in fits)
    inner = plan.word
    values = _narrowed(plan, mine) if told.near == "narrow" else None

    def word(
        number: int, inputs: Mapping[str, Any], /, *, shots: Sequence[Shot] = (), context: str | None = None
    ) -> Asked:
        asked = inner(number, inputs, shots=(*shots, *mine), context=context)
        if values is None:
            return asked
        return replace(asked, body={**asked.body, "response_format": {"type": "enum", "enum": values}})

    first = word(0, plan.inputs)
    return replace(plan, first=first, word=word, messages=() if plan.several else first.body["messages"])


def _narrowed(plan: Plan, shots: Sequence[Shot]) -> list[str] | None:
    """The values that corrections name, in the order of the task; None when it has none."""
    named = {shot.output for shot in shots if isinstance(shot.output, str)}
    return [value for value in plan.of.values if value in named] or None


def _may_answer(plan: Plan, request: Request) -> bool:
    """Whether an answer may come without a model: a guardrail must hear every one, and these ask for more than a text."""
    body = request.body
    return not plan.of.guardrails and (body.get("n") or 1) == 1 and not body.get("tools") and not body.get("logprobs")


async def _said(request: Request, plan: Plan, lesson: Lesson) -> AsyncGenerator[Delta, None]:
    """A correction as the answer."""
    output = lesson.output
    text = output if isinstance(output, str) else msgspec.json.encode(output).decode()
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = msgspec.json.encode({
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion",
        "created": request.started_ns // 1_000_000_000,
        "model": plan.first.model,
        "choices": [choice],
        "usage": wire_out.usage_body(Usage()),
    })  # fmt: skip
    yield Delta(
        raw=replayed.events(body, request) if request.stream else body,
        usage=Usage(),
        done=True,
        model=plan.first.model,
        provider=PROVIDER,
        headers=((VARIANT, plan.variant),),
    )


def _ids(found: _Found) -> list[str]:
    if found.answer is not None:
        return [found.answer[0].id]
    return [fit.near.entry.id for fit in found.fits]


def _shown(found: _Found, told: MemorySettings) -> dict[str, Any]:
    """As it is kept on record."""
    rows = [_row(fit.near.entry, fit.near.similarity) for fit in reversed(found.fits)]
    if found.answer is not None:
        rows = [_row(found.answer[0], 1.0)]
    out: dict[str, Any] = {
        "outcome": found.outcome,
        "embedder": told.embedder,
        "took_us": {"embed": found.embed_us, "search": found.search_us},
        "corrections": rows,
    }
    return {**out, "why": found.why} if found.why else out


def _row(entry: Entry, similarity: float) -> dict[str, Any]:
    return {"id": entry.id, "call_id": entry.call_id, "author": entry.author, "similarity": round(similarity, 4)}
