import pytest
from rouge_score import rouge_scorer

from loopwright.evals.judge_prompt import Material
from loopwright.evals.labelled import Labelled
from loopwright.evals.observation import Observation
from loopwright.evals.pair_procedure import by_words, kept, outcome


def seen(n: int, first: str | None, second: str | None) -> Observation:
    return Observation(id=str(n), human=("a",), verdict=None, orders=(first, second))


def test_every_pair_is_counted_once() -> None:
    kinds = [("a", "a"), ("a", "a"), ("b", "b"), ("a", "b"), ("b", "a"), ("a", "tie"), (None, "a"), ("a", "a")]
    found = outcome([seen(n, *kind) for n, kind in enumerate(kinds)])
    counted = (found.right, found.wrong, found.first, found.second, found.undecided, found.missing)
    assert counted == (3, 1, 1, 1, 1, 1)
    assert sum(counted) == found.pairs == 8
    assert found.accuracy.estimate == 3 / 8
    assert found.order_bias is not None
    assert found.order_bias.estimate == 2 / 6
    assert found.each is not None
    assert found.each.estimate == pytest.approx((1 + 1 + 0 + 0.5 + 0.5 + 0.5 + 1 + 1) / 8)
    silent = outcome([seen(1, None, None)])
    assert silent.order_bias is silent.each is None
    assert silent.shown()["accuracy"]["estimate"] == 0


@pytest.mark.parametrize(
    ("source", "text"),
    [("the cat sat on the mat", "the mat sat"), ("a b c", "c b a"), ("x", "x"), ("x y", "z"), ("Ünder 3.5", "3 5")],
)
def test_the_rule_of_words_is_rouge_l(source: str, text: str) -> None:
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(source, text)["rougeL"].precision
    assert kept(source, text) == pytest.approx(expected)
    assert kept(source, "...") == 0


def test_the_rule_takes_what_the_article_says() -> None:
    material = Material(
        input="five clubs are locked in a scramble", answer="clubs are in a bid", other="clubs in a scramble"
    )
    things = [Labelled(id="1", material=material, human=("b",), pair=True)]
    assert by_words(things).estimate == 1
    even = Labelled(id="2", material=Material(input="x", answer="x", other="x"), human=("a",), pair=True)
    assert by_words([even]).estimate == 0.5
