"""Instructions worded anew by a model that reads what went wrong: GEPA's search (Agrawal et al. 2025), our evaluators.

The library keeps a Pareto front of candidates over the validation examples, takes one of them, shows a model of the
user's choice a few examples with what was answered and why that was wrong, and tries what it writes. It runs in a thread of
its own and asks back into the event loop; every call it causes is paid from the same purse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from gepa.api import optimize
from gepa.core.adapter import EvaluationBatch, GEPAAdapter, ProposalFn
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from loopwright.core.errors import BadRequest, Spent
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.candidate import Candidate, has_placeholders
from loopwright.evals.evaluator import Output
from loopwright.evals.optimised import Board
from loopwright.evals.trials import Trial

T = TypeVar("T")
Reflect = Callable[[str], Awaitable[Output]]
"""Asks the model that writes instructions."""
_PATIENCE: Final = 50
"""Rounds without a candidate that is worth validating, after which it ends."""
_KEEP: Final = """

What stands in double braces, or between {% and %}, is filled in later: keep every such part as it is, and write no new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """Instructions searched for by reflection on answers of the train part."""

    reflect: Reflect
    minibatch: int = 4
    """Examples that are shown in each reflection."""
    seed: int = 0
    name: str = "instructions"

    async def search(self, start: Candidate, board: Board, train: Sequence[Example]) -> None:
        """As `Method` says; it goes on until the budget ends or every validation example is right.

        Raises:
            BadRequest: the prompt has no instructions.
            Spent: the budget does not reach further.
        """
        seed = start.instructions
        if not seed:
            raise BadRequest("the prompt has no text that could be worded anew", param="prompt")
        bridge = _Bridge(loop=asyncio.get_running_loop(), start=start, board=board, reflect=self.reflect)
        template = InstructionProposalSignature.default_prompt_template
        if any(has_placeholders(text) for text in seed.values()):
            template += _KEEP

        adapter: GEPAAdapter[Example, Trial, Trial] = bridge

        def searched() -> None:
            optimize(
                seed_candidate=seed,
                trainset=[*train],
                valset=[*board.validation],
                adapter=adapter,
                reflection_lm=bridge.reflected,
                reflection_minibatch_size=min(self.minibatch, len(train)),
                reflection_prompt_template=template,
                stop_callbacks=[bridge.over],
                logger=_Silent(),
                seed=self.seed,
                raise_on_exception=True,
                track_best_outputs=False,
            )

        try:
            await asyncio.to_thread(searched)
        finally:
            bridge.closed = True
        if bridge.stopped is not None:
            raise Spent(bridge.stopped)


@dataclass(slots=True, kw_only=True)
class _Bridge:
    """What the library asks of us, from its thread."""

    loop: asyncio.AbstractEventLoop
    start: Candidate
    board: Board
    reflect: Reflect
    stopped: str | None = None
    closed: bool = False
    barren: int = 0
    """Rounds since a candidate was last good enough to be validated; in some nobody reflects, for all was right."""
    propose_new_texts: ProposalFn | None = None
    """We leave the words to the library."""
    _seen: dict[tuple[tuple[str, str], ...], Candidate | str] = field(default_factory=dict)

    def over(self, gepa_state: object) -> bool:
        """Whether to stop before another round: out of budget, or nothing is left that could be better."""
        del gepa_state
        self.barren += 1
        board = self.board
        top = bool(board.tried) and board.best.score >= 1.0
        return self.closed or self.stopped is not None or top or self.barren > _PATIENCE

    def evaluate(
        self,
        batch: list[Example],
        candidate: dict[str, str],
        capture_traces: bool = False,  # noqa: FBT001, FBT002 - the library's
    ) -> EvaluationBatch[Trial, Trial]:
        """What a candidate makes of examples; of one that is no prompt nothing, and why."""
        made = self._made(candidate)
        if isinstance(made, str):
            trials = [_failed(example, made) for example in batch]
        else:
            trials = self._awaited(self._tried(made, batch)) or []
        if len(trials) != len(batch):  # the budget ended on the way
            trials = [_failed(example, self.stopped or "") for example in batch]
        return EvaluationBatch(
            outputs=trials,
            scores=[0.0 if trial.value is None else trial.value for trial in trials],
            trajectories=trials if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: dict[str, str],
        eval_batch: EvaluationBatch[Trial, Trial],
        components_to_update: list[str],
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What a reflection reads: inputs, the answer, and what there is to learn from it."""
        del candidate
        rows = [
            {"Inputs": _told(trial.example.inputs), "Generated Outputs": trial.output.text, "Feedback": trial.feedback}
            for trial in eval_batch.trajectories or []
        ]
        return dict.fromkeys(components_to_update, rows)

    def reflected(self, prompt: str | list[dict[str, Any]]) -> str:
        """What the model writes."""
        text = prompt if isinstance(prompt, str) else str(prompt)
        output = self._awaited(self._reflected(text))
        return "" if output is None else output.text

    async def _tried(self, made: Candidate, batch: Sequence[Example]) -> list[Trial]:
        trials = await self.board.trials.of(made, batch)
        if [each.id for each in batch] == [each.id for each in self.board.validation]:
            before = len(self.board.tried)
            self.board.record(made, trials)
            if len(self.board.tried) > before:
                self.barren = 0
        return trials

    async def _reflected(self, text: str) -> Output:
        purse = self.board.trials.purse
        purse.take()
        output = await self.reflect(text)
        purse.pay(output.cost_nano)
        self.board.trials.told(purse)
        return output

    def _made(self, candidate: Mapping[str, str]) -> Candidate | str:
        """The candidate of these instructions, or why there is none."""
        key = tuple(sorted(candidate.items()))
        if key not in self._seen:
            try:
                same = dict(candidate) == self.start.instructions
                made = f"instructions, {len(self._seen)}"
                self._seen[key] = self.start if same else self.start.instructed(candidate, made)
            except BadRequest as error:
                self._seen[key] = f"These instructions are no template: {error.message}"
        return self._seen[key]

    def _awaited(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of work in the loop; None when the budget ended, or nobody waits any more."""
        if self.closed or self.stopped is not None:
            work.close()
            return None
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop).result()
        except Spent as error:
            self.stopped = error.message
            return None


class _Silent:
    """The library tells of its progress; we tell of ours."""

    def log(self, message: str) -> None:
        """Say nothing."""


def _told(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else str(value) for name, value in inputs.items()}


def _failed(example: Example, why: str) -> Trial:
    score = Score(name="", value=None, missing=why)
    return Trial(example=example, output=Output(error=why), scores=(score,), value=None)
