"""The gate: pass, fail, or not enough evidence and how many more examples it takes. Knows no table of a database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np

from loopwright.evals.comparing import pair_of
from loopwright.evals.intervals import Floats
from loopwright.evals.measure import Measure
from loopwright.evals.spec import Gate, Spec
from loopwright.evals.table import Table
from loopwright.evals.trust import Trusted
from loopwright.evals.verdict import Decision, Verdict, corrected, decide

UNCERTAIN: Final = "not enough evidence"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One thing a candidate must show."""

    target: int
    which: int
    measure: Measure
    kind: Literal["comparison", "bar"]
    decide: Callable[[float], Decision]
    """The decision at a level."""
    decision: Decision
    missing: float
    """Share of the examples without a finding."""
    because: str = ""
    """Why it does not pass though it would alone."""


def judged(
    spec: Spec, measures: Sequence[Measure], table: Table, trusted: Trusted, *, complete: bool
) -> dict[str, Any] | None:
    """The verdict and each criterion it rests on; None without a gate.

    Every candidate must pass every criterion: to be better than the baseline by the margin, and to reach the bars. One
    that surely does not fails; otherwise there is not enough evidence. All comparisons are one family (Holm), so are
    all bars. An evaluator that may not gate informs: it decides nothing.
    """
    plan = spec.gate
    if plan is None:
        return None
    wanted = [measure for measure in measures if not plan.evaluators or measure.name in {*plan.evaluators, *plan.bars}]
    kept = [measure for measure in wanted if measure.name not in trusted or trusted[measure.name].may_gate]
    informing = [
        {"evaluator": measure.name, "why": trusted[measure.name].why} for measure in wanted if measure not in kept
    ]
    every = [*_comparisons(spec, plan, measures, kept, table), *_bars(spec, plan, measures, kept, table)]
    criteria = [_told(spec, plan, each) for each in every]
    named = [each["evaluator"] for each in informing if each["evaluator"] in {*plan.evaluators, *plan.bars}]
    verdict, reason = _whole(criteria, named, complete=complete)
    lacking = [each["examples_needed"] for each in criteria if each["verdict"] == UNCERTAIN]
    return {
        "verdict": verdict,
        "reason": reason,
        "criteria": criteria,
        "informing": informing,
        "examples_needed": max((each for each in lacking if each is not None), default=None)
        if verdict == UNCERTAIN
        else None,
        "alpha": plan.alpha,
        "power": plan.power,
        "margin": plan.margin,
        "max_missing": plan.max_missing,
    }


def _comparisons(
    spec: Spec, plan: Gate, measures: Sequence[Measure], kept: Sequence[Measure], table: Table
) -> list[_Asked]:
    baseline = spec.baseline_at
    if baseline is None:
        return []
    only = set(plan.evaluators)
    asked: dict[str, _Asked] = {}
    for at in spec.candidates:
        for which, measure in enumerate(measures):
            if measure not in kept or (only and measure.name not in only):
                continue
            mine, other, _ = pair_of(table, measure, at, baseline, which)
            at_level = partial(_compared, plan, measure, mine, other)
            missing = 1 - mine.size / len(table) if len(table) else 1.0
            asked[f"{at} {which}"] = _Asked(at, which, measure, "comparison", at_level, at_level(plan.alpha), missing)
    return _held(asked, plan)


def _bars(spec: Spec, plan: Gate, measures: Sequence[Measure], kept: Sequence[Measure], table: Table) -> list[_Asked]:
    asked: dict[str, _Asked] = {}
    for at in spec.candidates:
        for which, measure in enumerate(measures):
            if measure not in kept or measure.name not in plan.bars:
                continue
            values = table.values(at, which)
            found = values[np.isfinite(values)]
            at_level = partial(_reached, plan, measure, found)
            missing = 1 - found.size / len(table) if len(table) else 1.0
            asked[f"{at} {which}"] = _Asked(at, which, measure, "bar", at_level, at_level(plan.alpha), missing)
    return _held(asked, plan)


def _compared(plan: Gate, measure: Measure, mine: Floats, other: Floats, alpha: float) -> Decision:
    shared: dict[str, Any] = {"alpha": alpha, "power": plan.power}
    if measure.pair:
        return decide(mine, None, kind="score", margin=0.5 + plan.margin, span=1.0, **shared)
    if _binary(mine) and _binary(other) and -1 < plan.margin < 1:
        flip = not measure.higher_is_better
        return decide(
            1 - mine if flip else mine, 1 - other if flip else other, kind="binary", margin=plan.margin, **shared
        )
    sign = 1 if measure.higher_is_better else -1
    return decide(sign * mine, sign * other, kind="score", margin=plan.margin, **shared)


def _reached(plan: Gate, measure: Measure, found: Floats, alpha: float) -> Decision:
    shared: dict[str, Any] = {"alpha": alpha, "power": plan.power}
    bar = plan.bars[measure.name]
    if _binary(found) and -1 < bar < 1:
        flip = not measure.higher_is_better
        return decide(1 - found if flip else found, None, kind="binary", margin=1 - bar if flip else bar, **shared)
    sign = 1 if measure.higher_is_better else -1
    return decide(sign * found, None, kind="score", margin=sign * bar, **shared)


def _held(asked: dict[str, _Asked], plan: Gate) -> list[_Asked]:
    """All of one family held together by Holm."""
    decisions = corrected({name: each.decision for name, each in asked.items()}, alpha=plan.alpha)
    return [_corrected(each, decisions[name], len(asked), plan) for name, each in asked.items()]


def _corrected(asked: _Asked, decision: Decision, family: int, plan: Gate) -> _Asked:
    """With its decision among the others; one that would pass alone says how many examples it needs among them."""
    if asked.decision.verdict != "pass" or decision.verdict == "pass" or decision.p is None:
        return replace(asked, decision=decision)
    among = asked.decide(plan.alpha / family)
    because = (
        f"alone it would pass, but not among {family} criteria at {plan.alpha:g} in all (p by Holm is {decision.p:.3g})"
    )
    return replace(asked, decision=replace(decision, examples_needed=among.examples_needed), because=because)


def _told(spec: Spec, plan: Gate, asked: _Asked) -> dict[str, Any]:
    decision, verdict = asked.decision, asked.decision.verdict
    reason = asked.because or decision.reason
    if verdict == "pass" and asked.missing > plan.max_missing:
        verdict = UNCERTAIN
        reason = f"{asked.missing:.1%} of the examples have no finding, more than {plan.max_missing:.0%}; {reason}"
    return {
        "target": spec.targets[asked.target].name,
        "evaluator": asked.measure.name,
        "kind": asked.kind,
        "against": spec.baseline if asked.kind == "comparison" else plan.bars[asked.measure.name],
        "missing": asked.missing,
        **decision.shown,
        "verdict": verdict,
        "reason": reason,
    }


def _whole(criteria: Sequence[dict[str, Any]], untrusted: Sequence[str], *, complete: bool) -> tuple[Verdict, str]:
    if any(each["verdict"] == "fail" for each in criteria):
        failed = [f"{each['target']} by {each['evaluator']}" for each in criteria if each["verdict"] == "fail"]
        return "fail", f"failed: {', '.join(failed)}"
    if untrusted:
        return UNCERTAIN, f"not trusted enough to gate: {', '.join(untrusted)}"
    if not criteria:
        return UNCERTAIN, "no evaluator here may gate"
    lacking = [each for each in criteria if each["verdict"] == UNCERTAIN]
    if lacking:
        return UNCERTAIN, f"{lacking[0]['target']} by {lacking[0]['evaluator']}: {lacking[0]['reason']}"
    if not complete:
        return UNCERTAIN, "the evaluation did not come to its end"
    return "pass", "every criterion is met"


def _binary(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())
