"""What a comparison comes to: pass, fail, or not enough evidence and how many more examples it takes.

The verdict is read off one two-sided interval of the effect: above the margin passes, below it fails, across it nothing
is shown. So of variants that are equal at most alpha/2 pass as better, and as many fail as worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from loopwright.core.errors import BadRequest
from loopwright.evals.comparisons import discordant, holm, paired, tango
from loopwright.evals.intervals import Estimate, Floats, finite, mean_interval, wilson
from loopwright.evals.power import ALPHA, POWER, Kind, minimum_detectable_effect, needed, quantiles
from loopwright.kit.postponed import Postponed

special: Final = Postponed("scipy.special")
Verdict = Literal["pass", "fail", "not enough evidence"]
LEAST: Final = 10
"""Examples below which nothing is decided, whatever they say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict and what it rests on."""

    verdict: Verdict
    effect: float | None
    """Candidate minus baseline, or the candidate alone; None without examples."""
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, of an effect that equals the margin."""
    examples_needed: int | None
    """How many examples in all decide it, should the effect be what it looks like; None when no number would, or when
    it is decided."""
    n: int
    margin: float
    detectable: float | None
    """The smallest distance from the margin that so many examples show."""
    alpha: float = ALPHA
    method: str = ""

    @property
    def more(self) -> int | None:
        """How many further examples it needs."""
        return None if self.examples_needed is None else max(1, self.examples_needed - self.n)

    @property
    def reason(self) -> str:
        """One sentence for people."""
        if self.effect is None or self.low is None or self.high is None:
            return f"no example has a finding: at least {LEAST} are needed"
        seen = f"{self.effect:+.4g} ({1 - self.alpha:.0%} interval {self.low:+.4g} to {self.high:+.4g}, n = {self.n:,})"
        if self.verdict == "pass":
            return f"{seen} lies above the margin {self.margin:+.4g}"
        if self.verdict == "fail":
            return f"{seen} lies below the margin {self.margin:+.4g}"
        if self.more is None:
            return f"{seen} is at the margin {self.margin:+.4g} itself: more examples would not decide it"
        return f"{seen} does not tell it from the margin {self.margin:+.4g}: about {self.more:,} more examples would"

    @property
    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "verdict": self.verdict,
            "effect": self.effect,
            "low": self.low,
            "high": self.high,
            "p": self.p,
            "n": self.n,
            "margin": self.margin,
            "alpha": self.alpha,
            "examples_needed": self.examples_needed,
            "more": self.more,
            "detectable": self.detectable,
            "method": self.method,
            "reason": self.reason,
        }


def decide(
    candidate: ArrayLike,
    baseline: ArrayLike | None = None,
    *,
    kind: Kind,
    margin: float = 0.0,
    alpha: float = ALPHA,
    power: float = POWER,
    span: float | None = None,
) -> Decision:
    """Whether a candidate is good enough.

    Right or wrong is decided by Tango's score interval of paired shares (against a bar by Wilson's); scores by
    Student's interval of the differences. Where no two scores differ, their interval is the rule of three: what
    showed on none of n examples happens on at most 1 - (alpha/2)^(1/n) of all (Hanley and Lippman-Hand 1983, JAMA 249:1743).

    Args:
        candidate: findings, higher is better; example by example, missing ones left out in both.
        baseline: those of the incumbent on the same examples; None compares the candidate's mean with the margin.
        kind: `binary` (0 or 1) or `score`.
        margin: by how much the candidate must be better; negative is by how much it may be worse. Without a
            baseline: what it must reach.
        alpha: share of wrong verdicts, both directions together.
        power: how surely the number of examples that is told would decide.
        span: the widest difference two scores may have; None takes the widest seen, at least 1.

    Raises:
        BadRequest: findings that do not pair or are not finite, a binary one that is neither 0 nor 1.
    """
    total = quantiles(alpha, power)
    if not math.isfinite(margin):
        raise BadRequest(f"margin: {margin} is no number", param="margin")
    if kind == "binary" and not -1 < margin < 1:
        raise BadRequest(f"margin: {margin} is no difference of shares", param="margin")
    if np.size(np.asarray(candidate, dtype=np.float64)) == 0 and (baseline is None or np.size(baseline) == 0):
        return Decision(
            verdict="not enough evidence", effect=None, low=None, high=None, p=None, examples_needed=LEAST, n=0,
            margin=margin, detectable=None, alpha=alpha,
        )  # fmt: skip
    found, variance = _found(candidate, baseline, kind, margin, alpha, span)
    verdict = _verdict(found, margin)
    lacking = needed(found.estimate - margin, variance, total)
    if lacking is not None:
        lacking = max(lacking, LEAST, found.n + 1)
    return Decision(
        verdict=verdict,
        effect=found.estimate,
        low=found.low,
        high=found.high,
        p=found.p,
        examples_needed=lacking if verdict == "not enough evidence" else None,
        n=found.n,
        margin=margin,
        detectable=_detectable(found.n, kind, variance, alpha, power),
        alpha=alpha,
        method=found.method,
    )


def _verdict(found: Estimate, margin: float) -> Verdict:
    if found.n < LEAST:
        return "not enough evidence"
    if found.low > margin:
        return "pass"
    return "fail" if found.high < margin else "not enough evidence"


def _found(
    candidate: ArrayLike, baseline: ArrayLike | None, kind: Kind, margin: float, alpha: float, span: float | None
) -> tuple[Estimate, float]:
    """The effect with its interval, and the variance of one example's share in it."""
    level = 1 - alpha
    if baseline is None:
        values = finite(candidate, "candidate")
        if kind == "binary":
            _check_binary(values)
            found = wilson(float(values.sum()), values.size, level=level)
            smoothed = (values.sum() + 1) / (values.size + 2)
            deviation = math.sqrt(margin * (1 - margin) / values.size) if 0 < margin < 1 else 0.0
            return replace(found, p=_normal_p(found.estimate - margin, deviation)), float(smoothed * (1 - smoothed))
        return _student(values, margin, level, span or max(float(np.ptp(values)), 1.0))
    if kind == "binary":
        gained, lost, n = discordant(candidate, baseline)
        found = tango(gained, lost, n, level=level, against=margin)
        # One more example of each kind: where none differed so far, some may
        differ, apart = (gained + lost + 1) / (n + 2), (gained - lost) / (n + 2)
        return found, max(differ - apart * apart, 1e-9)
    differences = paired(candidate, baseline)
    seen = np.concatenate([np.ravel(np.asarray(each, dtype=np.float64)) for each in (candidate, baseline)])
    return _student(differences, margin, level, span or max(float(np.ptp(seen)), 1.0))


def _student(values: Floats, margin: float, level: float, span: float) -> tuple[Estimate, float]:
    """Student's interval; of values that are all the same the rule of three."""
    found = mean_interval(values, level=level)
    if float(np.ptp(values)) > 0:
        variance = float(values.var(ddof=1))
        distance = abs(found.estimate - margin) / math.sqrt(variance / values.size)
        return replace(found, p=2 * float(special.stdtr(values.size - 1, -distance))), variance
    rare = 1 - ((1 - level) / 2) ** (1 / values.size)
    unseen = replace(
        found,
        low=found.estimate - rare * span,
        high=found.estimate + rare * span,
        p=min(1.0, 2 * max(0.0, 1 - abs(found.estimate - margin) / span) ** values.size),
        method="rule of three",
    )
    return unseen, span * span * rare


def _normal_p(distance: float, deviation: float) -> float:
    if deviation == 0:
        return 1.0 if distance == 0 else 0.0
    return 2 * float(special.ndtr(-abs(distance) / deviation))


def _check_binary(values: Floats) -> None:
    if not np.isin(values, (0.0, 1.0)).all():
        raise BadRequest("candidate: only 0 and 1 are right or wrong", param="candidate")


def _detectable(n: int, kind: Kind, variance: float, alpha: float, power: float) -> float:
    if kind == "binary":
        return minimum_detectable_effect(n, discordance=min(1.0, variance), alpha=alpha, power=power)
    return minimum_detectable_effect(n, kind="score", deviation=math.sqrt(variance), alpha=alpha, power=power)


def corrected(decisions: Mapping[str, Decision], *, alpha: float = ALPHA) -> dict[str, Decision]:
    """Decisions of one family, by name, held together by Holm: what passes only on its own has not enough evidence.

    Raises:
        BadRequest: nothing; decisions without a p-value stay as they are.
    """
    tested = [(name, each.p) for name, each in decisions.items() if each.p is not None]
    adjusted = dict(zip((name for name, _ in tested), holm([p for _, p in tested]), strict=True))
    return {name: _held(each, adjusted.get(name), alpha) for name, each in decisions.items()}


def _held(decision: Decision, p: float | None, alpha: float) -> Decision:
    if p is None:
        return decision
    if decision.verdict == "pass" and p >= alpha:
        return replace(decision, verdict="not enough evidence", p=p, method=f"{decision.method}, holm")
    return replace(decision, p=p, method=f"{decision.method}, holm")
