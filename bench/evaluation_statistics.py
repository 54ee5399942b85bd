"""Measures whether the statistics hold: how often equal variants pass as better, how often intervals hold the truth.

`python bench/evaluation_statistics.py --runs 4000`

An A/A run compares a variant with itself on fresh answers; the gate may call one of them better in at most 5 % of runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from loopwright.evals.power import Kind
from loopwright.evals.statistics import (
    Estimate,
    bootstrap_interval,
    cohen_kappa,
    krippendorff_alpha,
    mcnemar,
    minimum_detectable_effect,
    paired_bootstrap,
    permutation_test,
    prediction_powered,
    rogan_gladen,
    wilson,
)
from loopwright.evals.verdict import decide

Floats = NDArray[np.float64]
Pair = Callable[[np.random.Generator, int], tuple[Floats, Floats]]
SIZES = (50, 100, 200, 500, 1000, 2000)


def binary(share: float, same: float) -> Pair:
    """Two variants right on `share` of the examples, that share an answer on `same` of them."""

    def drawn(random: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        first = random.random(n) < share
        second = np.where(random.random(n) < same, first, random.random(n) < share)
        return first.astype(float), second.astype(float)

    return drawn


def stars(random: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """A judge's scores from 1 to 5 with an example's own difficulty beneath."""
    easy = random.normal(3.6, 0.8, n)
    first, second = (np.clip(np.round(easy + random.normal(0, 0.7, n)), 1, 5) for _ in range(2))
    return first, second


def skewed(random: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Scores from 0 to 1 that lie near 0 with a long tail, as BLEU does; most answers are the same."""
    first = random.beta(0.4, 2.5, n)
    second = np.where(random.random(n) < 0.7, first, random.beta(0.4, 2.5, n))
    return first, second


CASES: dict[str, tuple[Kind, Pair]] = {
    "binary 0.5, unrelated": ("binary", binary(0.5, 0.0)),
    "binary 0.7, half the same": ("binary", binary(0.7, 0.5)),
    "binary 0.95, nearly all the same": ("binary", binary(0.95, 0.9)),
    "judge's 1 to 5": ("score", stars),
    "skewed 0 to 1": ("score", skewed),
}


def gates(runs: int) -> bool:
    """Share of A/A runs that pass as better; whether each is at most 5 %."""
    print(f"A/A through the gate: share that passes as better, {runs:,} runs each (must be at most 5 %)")
    print(f"{'':34}" + "".join(f"{f'n={n}':>9}" for n in SIZES))
    good = True
    for name, (kind, drawn) in CASES.items():
        shares = []
        for n in SIZES:
            random = np.random.default_rng(n)
            passed = sum(decide(*drawn(random, n), kind=kind).verdict == "pass" for _ in range(runs))
            shares.append(passed / runs)
        good &= max(shares) <= 0.05
        print(f"{name:34}" + "".join(f"{share:9.2%}" for share in shares))
    return good


def tests(runs: int) -> None:
    """Share of A/A runs that each test calls different at 5 %, either way."""
    print("\nA/A through each test: share of p < 0.05, either way (5 % is right, less is careful)")
    asked: dict[str, tuple[str, Callable[[Floats, Floats], Estimate]]] = {
        "McNemar exact": ("binary 0.7, half the same", lambda a, b: mcnemar(a, b, method="exact")),
        "McNemar mid-p": ("binary 0.7, half the same", mcnemar),
        "permutation": ("judge's 1 to 5", lambda a, b: permutation_test(a, b, resamples=1000)),
        "paired bootstrap": ("skewed 0 to 1", lambda a, b: paired_bootstrap(a, b, resamples=1000)),
    }
    for name, (case, test) in asked.items():
        drawn, line = CASES[case][1], f"{name + ', ' + case:46}"
        for n in (50, 200, 500):
            random = np.random.default_rng(n)
            shares = [(test(*drawn(random, n)).p or 0) < 0.05 for _ in range(runs)]
            line += f"{f'n={n}':>7} {np.mean(shares):6.2%}"
        print(line)


def coverage(runs: int) -> None:
    """Share of 95 % intervals that hold the truth."""
    print("\n95 % intervals: share that holds the truth")
    random = np.random.default_rng(7)

    def holds(name: str, truth: float, made: Callable[[], Estimate | None]) -> None:
        found = [each for each in (made() for _ in range(runs)) if each is not None]
        held = np.mean([each.low <= truth <= each.high for each in found])
        width = np.median([each.high - each.low for each in found])
        print(f"{name:62} {held:7.2%}   width {width:.3f}")

    holds("Wilson, 0.9, n = 60", 0.9, lambda: wilson(int(random.binomial(60, 0.9)), 60))
    holds("bootstrap BCa, mean of skewed, n = 100", 0.4 / 2.9, lambda: _skew(random, "bca"))
    holds("bootstrap percentile, the same", 0.4 / 2.9, lambda: _skew(random, "percentile"))
    holds("Cohen's kappa 0.6, n = 100", 0.6, lambda: cohen_kappa(*_raters(random, 100, 0.6)))
    holds(
        "Krippendorff's alpha 0.6, n = 100", 0.6, lambda: krippendorff_alpha(_raters(random, 100, 0.6), resamples=400)
    )
    holds("Rogan-Gladen: 0.3, se 0.9, sp 0.8, 200 labels, n = 500", 0.3, lambda: _corrected(random))
    holds("  without correction", 0.3, lambda: wilson(int(random.binomial(500, 0.3 * 0.9 + 0.7 * 0.2)), 500))
    for kappa in (0.8, 0.1):
        holds(f"PPI++: 100 labels, 2,000 verdicts, judge of kappa {kappa}", 0.6, lambda k=kappa: _powered(random, k))  # type: ignore[misc]
    holds("  the labels alone", 0.6, lambda: wilson(int(random.binomial(100, 0.6)), 100))


def _skew(random: np.random.Generator, method: str) -> Estimate:
    seed = int(random.integers(1 << 30))
    return bootstrap_interval(random.beta(0.4, 2.5, 100), method="bca" if method == "bca" else "percentile", seed=seed)


def _raters(random: np.random.Generator, n: int, kappa: float, share: float = 0.5) -> tuple[list[int], list[int]]:
    """Two raters whose true kappa is known: the second copies the first on `kappa` of the things, else draws anew."""
    first = random.random(n) < share
    second = np.where(random.random(n) < kappa, first, random.random(n) < share)
    return [int(each) for each in first], [int(each) for each in second]


def _corrected(random: np.random.Generator) -> Estimate | None:
    positives = int(random.binomial(200, 0.3))
    sensitivity = random.binomial(positives, 0.9) / positives
    specificity = random.binomial(200 - positives, 0.8) / (200 - positives)
    share = random.binomial(500, 0.3 * 0.9 + 0.7 * 0.2) / 500
    return rogan_gladen(
        share, 500, sensitivity=sensitivity, positives=positives, specificity=specificity, negatives=200 - positives
    )


def _powered(random: np.random.Generator, kappa: float) -> Estimate:
    labels, verdicts = _raters(random, 2100, kappa, 0.6)
    return prediction_powered(labels[:100], verdicts[:100], verdicts[100:])


def power(runs: int) -> None:
    """Whether differences of the size that is told beforehand are seen as often as told."""
    print("\nA true difference of the minimum detectable effect: share that passes (80 % was told)")
    random = np.random.default_rng(11)
    for n in (100, 500, 2000):
        effect = minimum_detectable_effect(n, discordance=0.3)
        gain, loss = (0.3 + effect) / 2, (0.3 - effect) / 2
        passed = 0
        for _ in range(runs):
            kinds = random.choice(3, n, p=[gain, loss, 0.7])
            passed += decide((kinds != 1) * 1.0, (kinds != 0) * 1.0, kind="binary").verdict == "pass"
        small = 2.8016 * 0.5 / sqrt(n)
        scored = sum(
            decide(random.normal(small, 0.5, n), np.zeros(n), kind="score").verdict == "pass" for _ in range(runs)
        )
        print(f"n={n:<6} binary, {effect:.3f}: {passed / runs:6.1%}    score, {small:.3f}: {scored / runs:6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000, help="of each cell; what costs more makes fewer")
    told = parser.parse_args()
    begun = time.perf_counter()
    good = gates(told.runs)
    tests(max(100, told.runs // 10))
    coverage(max(100, told.runs // 5))
    power(max(100, told.runs // 2))
    print(f"\n{time.perf_counter() - begun:.0f} s")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
