import numpy as np
import pytest

from loopwright.evals.intervals import Estimate
from loopwright.evals.judge_biases import measure
from loopwright.evals.judge_definition import definition_of
from loopwright.evals.observation import Observation

PAIR = definition_of({"judge": "helpful", "model": "own"})
YES_NO = definition_of({"judge": "faithful", "model": "own"})


def measured(observed: list[Observation], *, pair: bool = True) -> tuple[dict[str, Estimate], dict[str, str]]:
    figures: dict[str, Estimate] = {}
    absent: dict[str, str] = {}
    measure(PAIR if pair else YES_NO, observed, figures, absent)
    return figures, absent


def pairs(n: int, first: float, *, seed: int = 1) -> list[Observation]:
    """A judge that takes whichever stands first on so many pairs, else what people take."""
    random, found = np.random.default_rng(seed), []
    for at in range(n):
        truth = "a" if random.random() < 0.5 else "b"
        orders = ("a", "b") if random.random() < first else (truth, truth)
        verdict = truth if orders[0] == orders[1] else "tie"
        found.append(Observation(id=str(at), human=(truth,), verdict=verdict, orders=orders))
    return found


def test_place_is_measured_by_what_flips() -> None:
    fair, _ = measured(pairs(200, 0.0))
    assert fair["flips"].estimate == 0
    assert fair["first_shown"].estimate == 0
    assert fair["first_shown"].p == 1
    drawn, _ = measured(pairs(200, 0.4))
    assert drawn["flips"].low < 0.4 < drawn["flips"].high
    assert drawn["first_shown"].low < 0.2 < drawn["first_shown"].high
    assert drawn["first_shown"].p is not None
    assert drawn["first_shown"].p < 0.001
    second = [
        Observation(id=str(at), human=("a",), verdict="tie", orders=("b", "a") if at % 2 else ("a", "a"))
        for at in range(40)
    ]
    assert measured(second)[0]["first_shown"].estimate == pytest.approx(-0.25)


def test_flips_both_ways_are_noise_and_no_bias() -> None:
    both = [
        Observation(id=str(at), human=("a",), verdict="tie", orders=("a", "b") if at % 2 else ("b", "a"))
        for at in range(60)
    ]
    figures, _ = measured(both)
    assert figures["flips"].estimate == 1
    assert figures["first_shown"].estimate == 0
    assert figures["first_shown"].p == pytest.approx(1, abs=0.15)


def test_length_counts_only_beyond_what_people_prefer() -> None:
    fair = [
        Observation(id=str(at), human=("a",), verdict="a", orders=("a", "a"), lengths=(200, 100)) for at in range(50)
    ]
    assert measured(fair)[0]["verbosity"].estimate == 0  # people, too, took the longer one
    drawn = [
        Observation(id=str(at), human=("b" if at % 2 else "a",), verdict="a", orders=("a", "a"), lengths=(200, 100))
        for at in range(100)
    ]
    found = measured(drawn)[0]["verbosity"]
    assert found.estimate == 0.5
    assert found.low > 0.35
    assert found.p is not None
    assert found.p < 0.001
    even = [Observation(id="1", human=("a",), verdict="a", orders=("a", "a"), lengths=(5, 5))]
    assert "different lengths" in measured(even)[1]["verbosity"]


def test_its_own_answers_are_those_of_its_model() -> None:
    drawn = [
        Observation(
            id=str(at), human=("a" if at % 2 else "b",), verdict="b", orders=("b", "b"), authors=("other", "own")
        )
        for at in range(80)
    ]
    assert measured(drawn)[0]["self_preference"].estimate == 0.5
    strangers = [
        Observation(id=str(at), human=("a",), verdict="b", orders=("b", "b"), authors=("x", "y")) for at in range(9)
    ]
    assert "own model" in measured(strangers)[1]["self_preference"]
    alias = [
        Observation(id=str(at), human=("b",), verdict="a", orders=("a", "a"), authors=("big-1", "y"), model="big-1")
        for at in range(9)
    ]
    assert measured(alias)[0]["self_preference"].estimate == 1


def test_of_single_answers_kindness_is_compared() -> None:
    random = np.random.default_rng(3)
    observed = []
    for at in range(200):
        length, own = int(random.integers(10, 1000)), at % 2 == 0
        kind = length > 500  # passes everything long, whatever people say
        truth = "yes" if random.random() < 0.5 else "no"
        observed.append(
            Observation(
                id=str(at), human=(truth,), verdict="yes" if kind else truth, lengths=(length,),
                authors=("own" if own else "other",),
            )
        )  # fmt: skip
    figures, absent = measured(observed, pair=False)
    assert figures["verbosity"].low > 0.3
    assert figures["self_preference"].low < 0 < figures["self_preference"].high
    assert absent["flips"]


def test_asked_again_it_should_say_the_same() -> None:
    steady = [Observation(id=str(at), human=("yes",), verdict="yes", repeats=("yes",)) for at in range(30)]
    assert measured(steady, pair=False)[0]["consistency"].estimate == 1
    moody = [Observation(id=str(at), human=("yes",), verdict="yes", repeats=("yes", "no", None)) for at in range(30)]
    assert measured(moody, pair=False)[0]["consistency"].estimate == pytest.approx(1 / 3)
    paired = [
        Observation(id=str(at), human=("a",), verdict="tie", orders=("a", "b"), repeats=("a",)) for at in range(30)
    ]
    assert measured(paired)[0]["consistency"].estimate == 1  # the repeats are of the first order
