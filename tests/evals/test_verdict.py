import numpy as np
import pytest

from loopwright.core.errors import BadRequest
from loopwright.evals.verdict import corrected, decide


def test_what_is_better_passes_and_what_is_worse_fails() -> None:
    better = decide([1] * 40 + [0] * 60, [0] * 20 + [1] * 20 + [0] * 60, kind="binary")
    assert better.verdict == "pass"
    assert better.effect == pytest.approx(0.2)
    assert better.p is not None
    assert better.p < 0.05
    assert better.more is None
    worse = decide([0] * 20 + [1] * 20 + [0] * 60, [1] * 40 + [0] * 60, kind="binary")
    assert worse.verdict == "fail"
    random = np.random.default_rng(1)
    base = random.normal(0, 1, 200)
    assert decide(base + random.normal(0.5, 1, 200), base, kind="score").verdict == "pass"
    assert decide(base + random.normal(-0.5, 1, 200), base, kind="score").verdict == "fail"


def test_too_little_is_not_enough_evidence_and_says_how_much_more() -> None:
    few = decide([1, 1, 1], [0, 0, 0], kind="binary")
    assert few.verdict == "not enough evidence"
    assert few.examples_needed is not None
    assert few.examples_needed >= 10
    some = decide([1] * 12 + [0] * 8 + [1] * 30, [0] * 12 + [1] * 8 + [1] * 30, kind="binary")
    assert some.verdict == "not enough evidence"
    assert some.more is not None
    assert some.more + some.n == some.examples_needed
    assert f"{some.more:,} more" in some.reason
    none = decide([], [], kind="score")
    assert (none.verdict, none.effect, none.n, none.more) == ("not enough evidence", None, 0, 10)
    assert none.reason


def test_as_many_examples_as_told_decide_it() -> None:
    """What looks like 4 points is decided with the power that was promised when it is 4 points."""
    random, passed = np.random.default_rng(2), 0
    seen = decide([1] * 14 + [0] * 10 + [1] * 76, [0] * 14 + [1] * 10 + [1] * 76, kind="binary")
    assert seen.examples_needed is not None
    for _ in range(200):
        kinds = random.choice(3, seen.examples_needed, p=[0.14, 0.10, 0.76])
        passed += decide((kinds != 1) * 1.0, (kinds != 0) * 1.0, kind="binary").verdict == "pass"
    assert 0.7 < passed / 200 < 0.92


def test_a_margin_asks_for_more_or_allows_less() -> None:
    candidate, baseline = [1] * 200 + [0] * 20, [0] * 5 + [1] * 195 + [1] * 5 + [0] * 15
    assert decide(candidate, baseline, kind="binary").verdict == "not enough evidence"
    assert decide(candidate, baseline, kind="binary", margin=-0.05).verdict == "pass"
    assert decide(candidate, baseline, kind="binary", margin=0.1).verdict == "fail"


def test_a_bar_needs_no_baseline() -> None:
    assert decide([1] * 90 + [0] * 10, kind="binary", margin=0.8).verdict == "pass"
    assert decide([1] * 70 + [0] * 30, kind="binary", margin=0.9).verdict == "fail"
    middling = decide([1] * 85 + [0] * 15, kind="binary", margin=0.8)
    assert middling.verdict == "not enough evidence"
    assert middling.p == pytest.approx(0.211, abs=1e-3)
    assert decide(np.linspace(3, 5, 50), kind="score", margin=3.5).verdict == "pass"


def test_equal_answers_are_equal_as_far_as_so_many_can_show() -> None:
    few, many = (decide([1.0] * n, [1.0] * n, kind="score", margin=-0.02) for n in (30, 400))
    assert few.verdict == "not enough evidence"
    assert many.verdict == "pass"
    assert many.method == "rule of three"
    same = decide([1.0] * 400, [1.0] * 400, kind="score")
    assert same.verdict == "not enough evidence"
    assert same.more is None
    assert "would not decide" in same.reason
    assert decide([1] * 400, [1] * 400, kind="binary", margin=-0.02).verdict == "pass"


@pytest.mark.parametrize("n", [50, 500])
@pytest.mark.parametrize("kind", ["binary", "score"])
def test_a_variant_seldom_beats_itself(n: int, kind: str) -> None:
    """The bench shows more: bench/evaluation_statistics.py."""
    random, passed, failed = np.random.default_rng(n), 0, 0
    for _ in range(600):
        if kind == "binary":
            first, second = (random.random((2, n)) < 0.7).astype(float)
            found = decide(first, second, kind="binary")
        else:
            first, second = np.clip(np.round(random.normal(3.6, 1, (2, n))), 1, 5)
            found = decide(first, second, kind="score")
        passed += found.verdict == "pass"
        failed += found.verdict == "fail"
    assert passed / 600 <= 0.05
    assert failed / 600 <= 0.05


def test_many_variants_are_held_together() -> None:
    random = np.random.default_rng(3)
    base = random.normal(0, 1, 100)
    alone = {f"v{at}": decide(base + random.normal(0.21, 1, 100), base, kind="score") for at in range(12)}
    held = corrected(alone)
    assert {name for name, each in held.items() if each.verdict == "pass"} < {
        name for name, each in alone.items() if each.verdict == "pass"
    }
    assert all(each.method.endswith("holm") for each in held.values())
    empty = corrected({"none": decide([], [], kind="binary")})
    assert empty["none"].p is None


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ([0.5] * 20, [2.0] * 20):
        with pytest.raises(BadRequest):
            decide(wrong, [1.0] * 20, kind="binary")
    with pytest.raises(BadRequest, match="right or wrong"):
        decide([0.5] * 20, kind="binary")
    with pytest.raises(BadRequest, match="margin"):
        decide([1.0] * 20, [1.0] * 20, kind="binary", margin=1.5)
    with pytest.raises(BadRequest, match="pair"):
        decide([1.0] * 20, [1.0] * 19, kind="score")
