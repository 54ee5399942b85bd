import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.gateway.votes import ballot, count
from loopwright.tasks.task import Strategy

WHOLE, NUMBER, LAST = Strategy(), Strategy(answer="number"), Strategy(answer="last_line")
MARKED = Strategy(answer="number", marker="####")


@pytest.mark.parametrize(
    ("strategy", "one", "other"),
    [
        (WHOLE, "Paris.", '  "paris"'),
        (WHOLE, "42", "42.0"),
        (NUMBER, "so it is $1,234.50", "1234.5 in all"),
        (NUMBER, "7 apples and 3 pears make 10", "ten, that is 10."),
        (MARKED, "6 * 7\n#### 42 apples, all of 3 kinds", "#### 42"),
        (LAST, "Because.\n\nBlue\n", "Since…\nblue."),
    ],
)
def test_answers_that_mean_the_same_are_one(strategy: Strategy, one: str, other: str) -> None:
    first = ballot(one, strategy, as_json=False)
    assert first is not None
    assert first == ballot(other, strategy, as_json=False)


@pytest.mark.parametrize(
    ("strategy", "said"), [(NUMBER, "none at all"), (MARKED, "42"), (WHOLE, "  ...  "), (LAST, "\n\n"), (WHOLE, "")]
)
def test_what_cannot_be_read_casts_no_vote(strategy: Strategy, said: str) -> None:
    assert ballot(said, strategy, as_json=False) is None


def test_objects_are_compared_as_json() -> None:
    vote = count(['{"a": 1.0, "b": "X  y"}', '{"b":"x Y","a":1}', '{"a": 2}', "{"], WHOLE, as_json=True)
    assert (vote.chosen, vote.votes, vote.cast, vote.tied) == (0, 2, 3, False)


def test_of_a_tie_the_first_wins_and_without_votes_too() -> None:
    vote = count(["b", "a", "a", "b"], WHOLE, as_json=False)
    assert (vote.chosen, vote.votes, vote.tied) == (0, 2, True)
    assert count(["", " "], WHOLE, as_json=False).chosen == 0


@given(st.lists(st.text(), min_size=1, max_size=6), st.sampled_from([WHOLE, NUMBER, LAST, MARKED]), st.booleans())
def test_whatever_is_said_is_counted(texts: list[str], strategy: Strategy, as_json: bool) -> None:  # noqa: FBT001
    vote = count(texts, strategy, as_json=as_json)
    assert 0 <= vote.chosen < len(texts)
    assert vote.votes <= vote.cast <= len(texts)
