"""Evaluators at work: each asked so that whatever it does becomes a score, and the run goes on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, cast

import msgspec

from loopwright.core.errors import Spent
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Aggregate, Evaluator, Judged, Method, Output, PairJudge

_PAID: Final[frozenset[Method]] = frozenset({"judge", "model-assisted"})
_LONGEST: Final = 8_000
"""Characters of an explanation that are kept."""
_LARGEST: Final = 64_000
"""Bytes of all that one answer's scores say beside their numbers; beyond, their details go."""
RAISED: Final = "raised"
"""Member of the details of a score whose evaluator raised."""


class _Named(Protocol):
    name: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One evaluator of an evaluation."""

    evaluator: Evaluator | PairJudge
    timeout: float
    """Seconds for one score."""
    pair: bool = False
    """It compares each candidate with the baseline."""

    @property
    def name(self) -> str:
        """How its scores are called."""
        return cast("_Named", self.evaluator).name

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it can be made from again."""
        return self.evaluator.spec

    @property
    def paid(self) -> bool:
        """It asks models, so what it found is kept to be used again."""
        return self.pair or self.method in _PAID

    @property
    def method(self) -> Method:
        """Its way of finding out."""
        return getattr(self.evaluator, "method", "judge")

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return bool(getattr(self.evaluator, "higher_is_better", True))

    @property
    def most(self) -> float | None:
        """The highest score there can be; None is not known."""
        labels = getattr(getattr(self.evaluator, "definition", None), "labels", None)
        if self.pair or self.method == "judge":
            return max(labels.values()) if labels and not self.pair else 1.0
        found = getattr(self.evaluator, "most", None)
        return found if isinstance(found, int | float) else None

    @property
    def aggregate(self) -> Aggregate | None:
        """Where its figure is not the mean of its scores."""
        return self.evaluator if isinstance(self.evaluator, Aggregate) else None

    async def score(self, example: Example, output: Output) -> Score:
        """What it finds of an answer; when it raises, that.

        Raises:
            Spent: there is no money left to find out.
        """
        return await self._guarded(self._found(example, output))

    async def compare(self, example: Example, output: Output, baseline: Output) -> Score:
        """Which of two answers is better: 1 the candidate's, 0 the baseline's, 0.5 neither.

        Raises:
            Spent: there is no money left to find out.
        """
        return await self._guarded(self._compared(example, output, baseline))

    async def _found(self, example: Example, output: Output) -> object:
        return await cast("Evaluator", self.evaluator)(example, output)

    async def _compared(self, example: Example, output: Output, baseline: Output) -> object:
        if output.error is not None or baseline.error is not None:
            return Score(name=self.name, value=None, missing="there are no two answers to compare")
        judged: Judged = await cast("PairJudge", self.evaluator).compare(example, output, baseline)
        value = {"a": 1.0, "b": 0.0, "tie": 0.5}.get(judged.preference or "")
        label = {"a": "better", "b": "worse", "tie": "tie"}.get(judged.preference or "")
        return Score(
            name=self.name,
            value=value,
            label=label,
            missing=None if value is not None else judged.missing or "no verdict",
            explanation=judged.explanation,
            details=judged.details,
            cost_nano=judged.cost_nano,
        )

    async def _guarded(self, finding: Any) -> Score:
        try:
            found = await _within(finding, self.timeout)
        except Spent:
            raise
        except TimeoutError as error:
            said = str(error) or f"took longer than {self.timeout:g} s (evaluations.evaluator_timeout)"
            return self._raised("TimeoutError", said)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an edge: evaluators raise what they like, and the run goes on
            return self._raised(type(error).__name__, str(error))
        return self._checked(found)

    def _checked(self, found: object) -> Score:
        if not isinstance(found, Score):
            return self._raised("TypeError", f"it answered {type(found).__name__}, not a Score")
        value: Any = found.value
        if value is not None and (not isinstance(value, int | float) or not math.isfinite(value)):
            return self._raised("ValueError", f"its finding is {value!r}, no finite number")
        if value is None and found.missing is None:
            found = replace(found, missing="no finding")
        if found.name != self.name or len(found.explanation) > _LONGEST:
            found = replace(found, name=self.name, explanation=found.explanation[:_LONGEST])
        return found

    def _raised(self, kind: str, said: str) -> Score:
        text = f"the evaluator raised {kind}: {said}"[:_LONGEST]
        return Score(name=self.name, value=None, missing=text, details={RAISED: kind})


async def _within(finding: Coroutine[Any, Any, object], seconds: float) -> object:
    """The result of a coroutine, within so many seconds. One that never waits, as most, is asked without a timer.

    Raises:
        TimeoutError: it takes longer.
    """
    try:
        waited_for = finding.send(None)
    except StopIteration as end:
        return end.value
    async with asyncio.timeout(seconds):
        return await _Rest(finding, waited_for)


class _Rest:
    """What is left of a coroutine that already waits for something."""

    __slots__ = ("_coroutine", "_waited_for")

    def __init__(self, coroutine: Coroutine[Any, Any, object], waited_for: Any) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, Any, object]:
        wanted = self._waited_for
        while True:
            try:
                answer = yield wanted
            except BaseException as error:  # noqa: BLE001 - a cancellation, too, is the coroutine's to see
                resume = partial(self._coroutine.throw, error)
            else:
                resume = partial(self._coroutine.send, answer)
            try:
                wanted = resume()
            except StopIteration as end:
                return end.value


def compares(evaluator: object) -> bool:
    """Whether it judges pairs: then it compares with the baseline where there is one."""
    form = getattr(getattr(evaluator, "definition", None), "form", "pairwise")
    return hasattr(evaluator, "compare") and form == "pairwise"


def details_of(error: str | None, scores: Sequence[Score]) -> bytes:
    """What scores say beside their numbers, as it is stored: bounded, and JSON whatever evaluators put into it."""
    told: dict[str, Any] = {"scores": [_told(score, whole=True) for score in scores]}
    if error is not None:
        told["error"] = error[:_LONGEST]
    try:
        encoded = msgspec.json.encode(told, enc_hook=str)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        encoded = b""
    if encoded and len(encoded) <= _LARGEST:
        return encoded
    told["scores"] = [_told(score, whole=False) for score in scores]
    return msgspec.json.encode(told)


def scores_read(names: Sequence[str], values: Sequence[float | None], details: Mapping[str, Any]) -> list[Score]:
    """Scores from how they are stored."""
    told = details.get("scores") or [{} for _ in names]
    return [Score(name=name, value=value, **more) for name, value, more in zip(names, values, told, strict=True)]


def _told(score: Score, *, whole: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if score.label is not None:
        found["label"] = _plain(score.label) if not whole else score.label
    if score.passed is not None:
        found["passed"] = bool(score.passed)
    if score.missing is not None:
        found["missing"] = _plain(score.missing)[:_LONGEST]
    if score.explanation:
        found["explanation"] = score.explanation if whole else _plain(score.explanation)[:500]
    if score.details and whole:
        found["details"] = score.details
    if score.cost_nano != 0:
        found["cost_nano"] = score.cost_nano
    return found


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
