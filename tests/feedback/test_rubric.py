import pytest

from loopwright.core.errors import BadRequest
from loopwright.feedback.rubric import checked, criteria_of, criterion_of


def test_a_scale_is_written_in_a_line() -> None:
    helpful = criterion_of("helpful:1-5=Does it help, or = not?", "rubric")
    assert (helpful.answers, helpful.level) == (("1", "2", "3", "4", "5"), "ordinal")
    assert helpful.about == "Does it help, or = not?"
    assert [helpful.value(label) for label in helpful.answers] == [1, 2, 3, 4, 5]
    tone = criterion_of("tone:rude<curt<kind", "rubric")
    assert (tone.level, tone.value("kind")) == ("ordinal", 2)
    assert criterion_of("true:yes,no", "rubric").level == "nominal"


def test_in_pairs_the_answers_are_sides() -> None:
    [preference] = criteria_of([], "pairwise")
    assert preference.answers == ("a", "b", "tie")
    assert criterion_of("shorter", "pairwise").answers == ("a", "b", "tie")
    with pytest.raises(BadRequest, match="name none"):
        criterion_of("shorter:1-5", "pairwise")


@pytest.mark.parametrize(
    "said",
    ["", ":", "x", "x:", "x:a", "x:a,a", "x:5-1", "x:0-9", "x:a,\n", "two words:a,b", "x" * 41 + ":a,b", "x:" + "a" * 61 + ",b"],
)  # fmt: skip
def test_what_is_no_criterion_is_refused(said: str) -> None:
    with pytest.raises(BadRequest):
        criterion_of(said, "rubric")


def test_every_criterion_is_answered_by_one_of_its_answers() -> None:
    criteria = criteria_of(["a:1-3", "b:yes,no"], "rubric")
    assert checked({"b": "no", "a": "2"}, criteria) == {"a": "2", "b": "no"}
    for labels, about in (
        ({"a": "1"}, "b is not answered"),
        ({"a": "4", "b": "no"}, "no answer to a"),
        ({"a": "1", "b": "no", "c": "x"}, "no criterion 'c'"),
    ):
        with pytest.raises(BadRequest, match=about):
            checked(labels, criteria)
