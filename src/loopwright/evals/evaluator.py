"""What an evaluator is: it reads one answer to one example and tells what it found. Knows no runner and no table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from loopwright.core.chat import Chat, Embedder
from loopwright.core.score import Score
from loopwright.core.who import HOUSE, Principal
from loopwright.datasets.example import Example

Method = Literal["benchmark", "human", "classic", "deterministic", "model-assisted", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a variant answered to an example."""

    text: str = ""
    value: Any = None
    """The text as JSON where the task has an output schema; otherwise None."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """In OpenAI's form."""
    finish: str | None = None
    error: str | None = None
    """Why there is no answer; then everything else is empty."""
    call_id: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = None
    """Nanodollars; None is unpriced."""
    latency_us: int = 0
    model: str = ""
    passages: Sequence[str] = ()
    """What was shown of documents for it, where its variant looks something up; the nearest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What evaluators may use; most use none of it."""

    chat: Chat | None = None
    """The road, for judges."""
    who: Principal = HOUSE
    """In whose name judges ask."""
    embedder: Callable[[str | None], Embedder] | None = None
    """An embedder by the name of its model; None is the house's own."""
    functions: bool = False
    """Whether functions of Python may be named: only where the configuration of the house names them."""


@runtime_checkable
class Evaluator(Protocol):
    """One respect in which answers are measured. Made by `evals.evaluators.make(spec, tools)`."""

    name: str
    """How its scores are called."""
    method: Method
    higher_is_better: bool

    @property
    def spec(self) -> Mapping[str, Any]:
        """`{"kind": …, "name": …, "args": {…}}`: what it can be made from again; its hash is its version."""
        ...

    async def __call__(self, example: Example, output: Output, /) -> Score:
        """What is found. Raises what it likes: the runner marks the example and goes on."""
        ...


@runtime_checkable
class Aggregate(Protocol):
    """An evaluator whose figure for many answers is not the mean of their scores (F1, corpus BLEU)."""

    def aggregate(self, scores: Sequence[Score], /) -> Mapping[str, float]:
        """The figures, by name; `scores` are those of one variant, missing ones included.

        It must be cheap and must not need the answers: the bootstrap calls it a thousand times on resampled scores.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Two answers to one example, compared."""

    preference: Literal["a", "b", "tie"] | None
    """None is missing."""
    missing: str | None = None
    explanation: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    cost_nano: int | None = 0


class PairJudge(Protocol):
    """Says which of two answers is better; both orders are asked."""

    name: str

    @property
    def spec(self) -> Mapping[str, Any]:
        """As an evaluator's."""
        ...

    async def compare(self, example: Example, a: Output, b: Output, /) -> Judged:
        """Which is better."""
        ...
