"""What is evaluated, on what, by what: the part of an evaluation that it can be run again from. Knows no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint

MOST_TARGETS: Final = 16
MOST_EVALUATORS: Final = 32
ALPHA: Final = 0.05
POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that answers: a variant of a task, or a model with what it is asked."""

    name: str
    """How it is called in this evaluation; unique in it."""
    model: str
    """`task/NAME@VARIANT`, or a model."""
    prompt: str | None = None
    """Of a model: the prompt it is asked with, `NAME@REF`."""
    messages: tuple[Mapping[str, Any], ...] | None = None
    """Of a model: messages in OpenAI's form, whose texts are templates over the inputs."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the request: `temperature`, `max_tokens`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a candidate must show to pass."""

    evaluators: tuple[str, ...] = ()
    """Names of the scores that decide; none is every one that may."""
    margin: float = 0.0
    """How much worse than the baseline a candidate may be, in units of the score."""
    bars: Mapping[str, float] = field(default_factory=dict)
    """Lowest mean by name of a score (highest, where lower is better), whatever the baseline does."""
    alpha: float = ALPHA
    """How often all comparisons together may be wrong."""
    power: float = POWER
    """How surely an effect that is there is to be found: for the number of examples that are needed."""
    max_missing: float = 0.1
    """Share of examples without a finding beyond which there is not enough evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """An evaluation as it was asked for."""

    targets: tuple[Target, ...]
    dataset: str
    """`NAME`, `NAME@NUMBER`."""
    evaluators: tuple[Mapping[str, Any], ...]
    """`{"kind": …, "name": …, "args": {…}}` each."""
    baseline: str | None = None
    """Name of the target the others are compared with."""
    gate: Gate | None = None
    split: str | None = None
    tag: str | None = None
    slice: Mapping[str, str] = field(default_factory=dict)
    """Only examples of these slices."""
    limit: int | None = None
    """At most so many examples: a sample that stays the same for one seed, whatever the order of the dataset."""
    seed: int = 0
    budget_nano: int | None = None
    """Nanodollars it may spend; then it stops."""
    fresh: bool = False
    """Ask everything again, also what was answered and paid for before."""
    experiment: str | None = None
    """The experiment it is a run of; None is one named like the dataset."""

    def as_json(self) -> dict[str, Any]:
        """What `spec_of` reads."""
        return asdict(self)

    @property
    def candidates(self) -> tuple[int, ...]:
        """Which targets are compared with the baseline; all of them without one."""
        return tuple(at for at, target in enumerate(self.targets) if target.name != self.baseline)

    @property
    def baseline_at(self) -> int | None:
        """Which target the others are compared with."""
        return next((at for at, target in enumerate(self.targets) if target.name == self.baseline), None)


def spec_of(row: Mapping[str, Any]) -> Spec:
    """A Spec from its JSON."""
    return msgspec.convert(row, Spec)


def check(spec: Spec) -> None:
    """See that an evaluation makes sense in itself.

    Raises:
        BadRequest: `param` names what does not.
    """
    if not 1 <= len(spec.targets) <= MOST_TARGETS:
        raise BadRequest(f"targets: 1 to {MOST_TARGETS}, not {len(spec.targets)}", param="targets")
    if not 1 <= len(spec.evaluators) <= MOST_EVALUATORS:
        raise BadRequest(f"evaluators: 1 to {MOST_EVALUATORS}, not {len(spec.evaluators)}", param="evaluators")
    names = [target.name for target in spec.targets]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"targets: {twice!r} is there twice; give one a `name` of its own", param="targets")
    if spec.baseline is not None and spec.baseline not in names:
        raise BadRequest(
            f"baseline: {spec.baseline[:80]!r} is none of the targets{hint(spec.baseline, names)}", param="baseline"
        )
    if spec.baseline is not None and len(names) == 1:
        raise BadRequest("baseline: name another target to compare with it", param="baseline")
    if spec.gate is not None and spec.baseline is None and not spec.gate.bars:
        raise BadRequest("gate: it needs a baseline to compare with, or bars to reach", param="gate")


def check_names(spec: Spec, evaluators: Sequence[str], most: Mapping[str, float | None]) -> None:
    """See that the gate and its bars name scores that there are and can be reached, and that no two are called alike.

    Args:
        spec: with the gate.
        evaluators: what the scores are called.
        most: by that name the highest that a score can be; None is not known.

    Raises:
        BadRequest: `param` names what does not.
    """
    if len({*evaluators}) < len(evaluators):
        twice = next(name for name in evaluators if evaluators.count(name) > 1)
        raise BadRequest(f"evaluators: two are called {twice!r}; give one a `name`", param="evaluators")
    gate = spec.gate or Gate()
    for name in (*gate.evaluators, *gate.bars):
        if name not in evaluators:
            raise BadRequest(f"gate: {name[:80]!r} is no evaluator here{hint(name, evaluators)}", param="gate")
    for name, bar in gate.bars.items():
        highest = most[name]
        if highest is not None and bar > highest:
            raise BadRequest(f"gate: no mean of {name!r} is above {highest:g}, and its bar is {bar:g}", param="gate")
