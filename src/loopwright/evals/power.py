"""How much a number of examples can show, and how many are needed: told before a run is paid for.

All for two variants on the same examples and a two-sided test; the normal approximation of Cohen 1988, ch. 2 and 11.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from loopwright.core.errors import BadRequest
from loopwright.evals.intervals import normal
from loopwright.kit.postponed import Postponed

special: Final = Postponed("scipy.special")
Kind = Literal["binary", "score"]
"""What an evaluator finds: right or wrong, or a number."""
ALPHA: Final = 0.05
"""Share of equal variants that are taken for different, both sides together."""
POWER: Final = 0.8
"""Share of real differences that are to be seen."""
UNRELATED: Final = 0.5
"""Share of examples on which one of two variants is right and the other wrong, when nothing is known: both are right
half the time and know nothing of each other. Variants of one prompt differ on far fewer."""
WIDEST: Final = math.sqrt(0.5)
"""Deviation of the difference of two unrelated scores from 0 to 1 at the most."""
ENDLESS: Final = 10_000_000
"""Examples beyond which no number is told: more will not decide it."""


def minimum_detectable_effect(
    n: int,
    *,
    kind: Kind = "binary",
    discordance: float = UNRELATED,
    deviation: float = WIDEST,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float:
    """The smallest true difference that `n` examples show with `power`.

    For scores d = Z·s/√n, with s the deviation of the differences and Z the two quantiles together. For right or
    wrong s² = ψ - d² with ψ the share of examples on which the two differ (Connor 1987, Biometrics 43:207-211), so d = Z·√(ψ/(n + Z²)).

    Args:
        n: examples.
        kind: what the evaluator finds.
        discordance: ψ, for binary.
        deviation: s, for scores.
        alpha: level of the two-sided test.
        power: how surely it is to be seen.

    Returns:
        In the unit of the scores; for binary a difference of shares.

    Raises:
        BadRequest: a number out of its range.
    """
    total = quantiles(alpha, power)
    if n < 1:
        raise BadRequest(f"n: {n} is no number of examples", param="n")
    if kind == "binary":
        _share(discordance)
        return min(discordance, total * math.sqrt(discordance / (n + total * total)))
    return total * _deviation(deviation) / math.sqrt(n)


def widest_half_width(n: int, *, alpha: float = ALPHA) -> float:
    """Half of Wilson's interval of a share of `n` examples where it is widest, at one half: all that is known before.

    Args:
        n: examples.
        alpha: what the interval may miss, both sides together.

    Raises:
        BadRequest: a number out of its range.
    """
    if n < 1:
        raise BadRequest(f"n: {n} is no number of examples", param="n")
    z = normal(1 - alpha)
    return z * math.sqrt(n + z * z) / (2 * (n + z * z))


def examples_needed(
    effect: float,
    *,
    kind: Kind = "binary",
    discordance: float = UNRELATED,
    deviation: float = WIDEST,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int | None:
    """How many examples in all show a true difference of `effect` with `power`; the inverse of the above.

    Returns:
        None beyond ten million, and for an effect of zero: no number does.

    Raises:
        BadRequest: a number out of its range.
    """
    total = quantiles(alpha, power)
    if kind == "binary":
        _share(discordance)
        variance = max(discordance - effect * effect, 0.0)
    else:
        variance = _deviation(deviation) ** 2
    return needed(effect, variance, total)


def needed(effect: float, variance: float, total: float) -> int | None:
    """(Z·s/d)², rounded up, at least 2; None beyond ten million."""
    if not math.isfinite(effect) or abs(effect) * math.sqrt(ENDLESS) <= total * math.sqrt(variance):
        return None
    return max(2, math.ceil(total * total * variance / (effect * effect) - 1e-9))


def quantiles(alpha: float, power: float) -> float:
    """Z, the two quantiles of the normal distribution together."""
    if not 0 < power < 1:
        raise BadRequest(f"power: {power} is not between 0 and 1", param="power")
    return normal(1 - alpha) + float(special.ndtri(power))


def _share(discordance: float) -> None:
    if not 0 < discordance <= 1:
        raise BadRequest(f"discordance: {discordance} is not a share above 0", param="discordance")


def _deviation(deviation: float) -> float:
    if not math.isfinite(deviation) or deviation < 0:
        raise BadRequest(f"deviation: {deviation} is none", param="deviation")
    return deviation
