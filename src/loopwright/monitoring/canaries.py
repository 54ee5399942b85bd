"""Replays canaries that are due: asks, holds the answers against those of the baseline, and tells what changed.

Its questions take the road of every request, in the name of the key that made the canary: limits, budgets and the record
are everybody's. They keep no one waiting (`evals.paced`), and no answer comes out of the cache.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace

from loopwright.core.errors import BadRequest, InvalidOutput, LoopwrightError, NotFound, Refused, Spent
from loopwright.datasets.example import Example
from loopwright.datasets.reading import Reading, Which
from loopwright.evals import evaluators
from loopwright.evals.asked import output_of
from loopwright.evals.evaluator import Output
from loopwright.evals.paced import Paced
from loopwright.evals.road import Prepared, Road
from loopwright.evals.spec import Target
from loopwright.kit import wire_read
from loopwright.kit.settings_drift import CanarySettings
from loopwright.kit.settings_evals import EvaluationSettings
from loopwright.monitoring.alerts import raise_alert
from loopwright.monitoring.canaries_compared import Test, corrected, meaning_moved, score_moved, words_changed
from loopwright.monitoring.canaries_findings import alert_of, resolve
from loopwright.monitoring.canaries_store import Answer, Canaries, Canary, Kept, Run
from loopwright.monitoring.drift import EmbedderOf

_log = logging.getLogger(__name__)
TAG: Final = "loopwright.canary"
"""Which canary a call belongs to."""
_AGAIN: Final = timedelta(minutes=10)
"""After a run that came to nothing."""
_CLIP: Final = 500
_LONGEST: Final = 20_000
"""Characters of an answer that are kept."""
_EMBEDDED: Final = 1_000
_LEAST: Final = 3
"""Examples that both sides must have answered."""
_TEXTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRound:
    """Goes through all that are due, one after the other."""

    canaries: Canaries
    datasets: Reading
    road: Road
    settings: CanarySettings
    pacing: EvaluationSettings
    embedder_of: EmbedderOf
    embedder: str = ""
    """Model that compares meanings; empty: they are not compared."""
    name: str = "canaries"

    @property
    def every(self) -> float:
        """See `Round`."""
        return self.settings.every

    async def __call__(self) -> None:
        """Ask what is due; what fails at one is told on its page and holds up no other."""
        for canary in await self.canaries.due():
            try:
                await self._go(canary)
            except LoopwrightError as error:
                _log.warning("canary %s: %s", canary.name, error.message)
                await self._later(canary, error.message, soon=True)

    async def _go(self, canary: Canary) -> None:
        learning = canary.state == "learning" or canary.baseline_id is None
        run = await self.canaries.begin(canary, "baseline" if learning else "replay")
        try:
            asking = await self._asking(canary, run)
            if learning:
                await self._learn(canary, run, asking)
            else:
                await self._replay(canary, run, asking)
        except (BadRequest, NotFound, Refused) as error:
            await self.canaries.end(run, "stopped", problem=error.message[:500])
            await self._later(canary, error.message, soon=True)
        await self.canaries.tidy(await self.canaries.get(canary.id, project_id=None), self.settings.runs)

    async def _learn(self, canary: Canary, run: Run, asking: _Asking) -> None:
        for repeat in range(canary.repeats):
            await asking.all(repeat)
        found = _by_position(await self.canaries.answers(run.id))
        whole = [each for each in found.values() if len(_said(each)) == canary.repeats]
        figures = {
            "examples": len(asking.examples),
            "answered": len(whole),
            "unanswered": len(asking.examples) - len(whole),
            "varied": sum(len(set(_said(each))) > 1 for each in whole),
            "models": _models(found.values()),
        }
        if len(whole) < min(_LEAST, len(asking.examples)) or not whole:
            problem = asking.problem or "too few examples were answered to say what is normal"
            await self.canaries.end(run, "stopped", figures=figures, problem=problem)
            await self._later(canary, problem, soon=True)
            return
        await self.canaries.end(run, "learnt", figures=figures, problem=asking.problem)
        await self.canaries.change(canary, baseline_id=run.id, state="quiet")
        await self._later(canary, asking.problem)

    async def _replay(self, canary: Canary, run: Run, asking: _Asking) -> None:
        assert canary.baseline_id is not None
        then = _by_position(await self.canaries.answers(canary.baseline_id))
        await asking.all(0)
        now = _by_position(await self.canaries.answers(run.id))
        compared = await self._compared(canary, run, then, now, 0)
        if compared is None:
            problem = asking.problem or "too few examples were answered to compare"
            await self.canaries.end(run, "stopped", problem=problem, figures={"examples": len(asking.examples)})
            await self._later(canary, problem, soon=True)
            return
        strangers = sorted(set(_models(now.values())) - set(_models(then.values())))
        suspected = compared.moved(canary.alpha)
        confirmed: _Compared | None = None
        if suspected:
            # Nobody is woken by one asking: what changed is still changed when it is asked again.
            await asking.all(1)
            now = _by_position(await self.canaries.answers(run.id))
            confirmed = await self._compared(canary, run, then, now, 1)
        changed = bool(strangers) or (suspected and confirmed is not None and confirmed.moved(canary.alpha))
        figures = {
            "examples": len(asking.examples),
            "answered": compared.examples,
            "unanswered": len(asking.examples) - compared.examples,
            "changed": sum(compared.changed.values()),
            "tests": [each.shown() for each in compared.tests],
            "again": None if confirmed is None else [each.shown() for each in confirmed.tests],
            "models": _models(now.values()),
            "models_before": _models(then.values()),
        }
        await self.canaries.mark(run, compared.changed)
        await self.canaries.end(run, "changed" if changed else "quiet", figures=figures, problem=asking.problem)
        await self.canaries.change(canary, state="changed" if changed else "quiet")
        if changed:
            calls = [each[0].call_id for at, each in now.items() if compared.changed.get(at) and each[0].call_id]
            await raise_alert(self.canaries.db, alert_of(canary, run, figures, strangers, calls))
        else:
            await resolve(self.canaries, canary)
        await self._later(canary, asking.problem)

    async def _compared(
        self,
        canary: Canary,
        run: Run,
        then: Mapping[int, Sequence[Kept]],
        now: Mapping[int, Sequence[Kept]],
        repeat: int,
    ) -> _Compared | None:
        """The tests over the examples that both have answered; None when those are too few."""
        pairs: dict[int, tuple[list[Answer], Answer]] = {}
        for at, kept in now.items():
            new = next((each.answer for each in kept if each.repeat == repeat and each.answer.error is None), None)
            old = [each.answer for each in then.get(at, ()) if each.answer.error is None]
            if new is not None and len(old) == canary.repeats:
                pairs[at] = (old, new)
        if len(pairs) < min(_LEAST, canary.examples) or not pairs:
            return None
        said = [([each.said for each in old], new.said) for old, new in pairs.values()]
        tests = [words_changed([old for old, _ in said], [new for _, new in said])]
        vectors = await self._vectors([text for old, new in said for text in (*old, new)])
        if vectors:
            rows = [np.stack([vectors[text] for text in (*old, new)]) for old, new in said]
            tests.append(meaning_moved(rows, seed=run.id))
        scores = [
            [*[each.score or 0.0 for each in old], new.score]
            for old, new in pairs.values()
            if new.score is not None and all(each.score is not None for each in old)
        ]
        if len(scores) >= _LEAST:
            tests.append(score_moved(scores, seed=run.id))
        changed = {at: new not in old for at, (old, new) in zip(pairs, said, strict=True)}
        return _Compared(tests=corrected(tests), changed=changed)

    async def _vectors(self, texts: Sequence[str]) -> Mapping[str, Any]:
        embedder = self.embedder_of(self.embedder) if self.embedder else None
        if embedder is None:
            return {}
        different = list(dict.fromkeys(texts))
        found: dict[str, Any] = {}
        for begin in range(0, len(different), _TEXTS):
            some = different[begin : begin + _TEXTS]
            try:
                vectors = await embedder([text[:_EMBEDDED] or " " for text in some])
            except LoopwrightError as error:
                _log.warning("meanings of canaries are not compared: %s", error.message)
                return {}
            found |= {text: np.asarray(each, dtype=np.float32) for text, each in zip(some, vectors, strict=True)}
        return found

    async def _asking(self, canary: Canary, run: Run) -> _Asking:
        """All that is needed to ask.

        Raises:
            BadRequest, NotFound, Refused: something is not there any more, or not allowed.
        """
        who = await self.road.holder(canary.key_id, canary.project_id)
        if who is None:
            raise Refused("the key that made the canary has ended or was revoked")
        version = await self.datasets.version(canary.project_id, canary.dataset, str(canary.version))
        page = await self.datasets.page(version, Which(), limit=canary.examples)
        target = Target(name=canary.name, model=canary.model, parameters=canary.parameters)
        paced = Paced(
            self.road.chat,
            self.pacing,
            str(canary.id),
            free=self.road.free,
            budget_nano=canary.budget_nano,
            spent_nano=await self.canaries.spent_today(canary),
            tag=TAG,
        )
        return _Asking(
            canaries=self.canaries,
            run=run,
            examples=page.examples,
            prepared=await self.road.prepare(who, target),
            road=self.road,
            who=who,
            paced=paced,
            at_once=self.settings.concurrency,
        )

    async def _later(self, canary: Canary, problem: str | None, *, soon: bool = False) -> None:
        after = timedelta(seconds=canary.every_s)
        await self.canaries.change(
            canary,
            next_at=datetime.now(UTC) + (min(after, _AGAIN) if soon else after),
            problem=None if problem is None else problem[:500],
        )


@dataclass(slots=True, kw_only=True)
class _Asking:
    """Asks every example of one run."""

    canaries: Canaries
    run: Run
    examples: Sequence[Example]
    prepared: Prepared
    road: Road
    who: Any
    paced: Paced
    at_once: int
    problem: str | None = None
    """Why not all were asked."""

    async def all(self, repeat: int) -> None:
        """Once each; ends early when the money does."""
        turn = asyncio.Semaphore(self.at_once)

        async def one(position: int, example: Example) -> None:
            async with turn:
                if self.problem is None:
                    await self._one(position, repeat, example)

        async with asyncio.TaskGroup() as group:
            for position, example in enumerate(self.examples):
                group.create_task(one(position, example))

    async def _one(self, position: int, repeat: int, example: Example) -> None:
        shown = _shown(example)
        try:
            request = self.road.request(self.who, self.prepared.body(example.inputs))
            request = replace(request, client="loopwright canary", cache_control="no-cache, no-store")
            said = await self.paced.ask(request)
            output = output_of(said, formed=self.prepared.formed)
            named = wire_read.whole(said.delta.raw).get("model")
        except Spent as error:
            self.problem = error.message
            return
        except InvalidOutput as error:
            output, named = Output(text=error.message), error.model
        except LoopwrightError as error:
            failed = Answer(example=example.id, input=shown, error=f"{error.message} ({error.code})"[:_CLIP])
            await self.canaries.keep(self.run, position, repeat, failed, call_id=None, cost_nano=0)
            return
        answer = Answer(
            example=example.id,
            input=shown,
            text=output.text[:_LONGEST],
            tools=_tools(output.tool_calls),
            model=named[:200] if isinstance(named, str) else output.model[:200],
            score=await _score(example, output),
        )
        await self.canaries.keep(
            self.run, position, repeat, answer, call_id=output.call_id, cost_nano=output.cost_nano or 0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """Answers of now against those of then."""

    tests: Sequence[Test]
    changed: Mapping[int, bool]
    """By position: whether the answer is none of those of then."""

    @property
    def examples(self) -> int:
        """That both have answered."""
        return len(self.changed)

    def moved(self, alpha: float) -> bool:
        """Whether any test says so after correction."""
        return any(each.holm <= alpha for each in self.tests)


async def _score(example: Example, output: Output) -> float | None:
    """How near the answer comes to the reference, where there is one."""
    if example.expected is None:
        return None
    return (await evaluators.make("token_f1")(example, output)).value


def _tools(calls: Sequence[Mapping[str, Any]]) -> str:
    """Tool calls without their ids, which are new each time."""
    kept = [each.get("function") for each in calls]
    return msgspec.json.encode(kept, order="sorted").decode()[:_LONGEST] if kept else ""


def _shown(example: Example) -> str:
    texts = [
        value if isinstance(value, str) else msgspec.json.encode(value).decode() for value in example.inputs.values()
    ]
    return " · ".join(texts)[:_CLIP]


def _by_position(answers: Sequence[Kept]) -> dict[int, list[Kept]]:
    found: dict[int, list[Kept]] = {}
    for each in answers:
        found.setdefault(each.position, []).append(each)
    return found


def _said(kept: Sequence[Kept]) -> list[str]:
    return [each.answer.said for each in kept if each.answer.error is None]


def _models(answers: Any) -> list[str]:
    """Who answered, as they say of themselves, the most frequent first."""
    named = Counter(each.answer.model for kept in answers for each in kept if each.answer.model)
    return [name for name, _ in named.most_common(5)]
