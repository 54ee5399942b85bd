"""Citations: unknown ones go, known ones stay, and it does not matter how the text was cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.gateway.citations import Citations

KNOWN = (1, 2, 3)


def whole(text: str) -> tuple[str, Citations]:
    """All of a text at once."""
    citations = Citations(KNOWN)
    said = citations.feed(text)
    return said + citations.end(), citations


@pytest.mark.parametrize(
    ("text", "said", "cited", "removed"),
    [
        ("The sky is blue [1].", "The sky is blue [1].", [1], []),
        ("The sky is blue [9].", "The sky is blue.", [], [9]),
        (
            "Blue[1][9], green [2, 7] and red [1-4].",
            "Blue[1], green [2] and red [1, 2, 3].",
            [1, 2, 1, 2, 3],
            [9, 7, 4],
        ),
        ("Blue [source 2] [Source 5]", "Blue [source 2]", [2], [5]),
        ("[9] Blue.\n[8] Red", "Blue.\nRed", [], [9, 8]),
        ("In [2023] and [note 5] [see below]", "In [2023] and [note 5] [see below]", [], []),
        ("Call `a[0]` or ``b[7]`` [1]", "Call `a[0]` or ``b[7]`` [1]", [1], []),
        ("```py\nx[9]\n```\nDone [9]", "```py\nx[9]\n```\nDone", [], [9]),
        ("A stray ` here [9]\nand [9] there", "A stray ` here [9]\nand there", [], [9]),
        ("[0] [100-8]", "", [], [0, 100, 8]),
        ("open [1", "open [1", [], []),
        ("a [ b", "a [ b", [], []),
        ("", "", [], []),
    ],
)
def test_what_stays_and_what_goes(text: str, said: str, cited: list[int], removed: list[int]) -> None:
    found, citations = whole(text)
    assert (found.rstrip(), [mark.number for mark in citations.marks]) == (said, cited)
    assert sorted(citations.removed) == sorted(removed)


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "[1]",
                "[9]",
                " [9]",
                "[1, 9]",
                "[",
                "]",
                " ",
                "  ",
                "`",
                "``",
                "```",
                "\n",
                "[source 2]",
                "[^3]",
                "[2-5]",
                "a",
            ]
        ),
        st.text(alphabet="ab[]1239 ,`-\n^", max_size=6),
    ),
    max_size=14,
).map("".join)


@given(PIECES, st.lists(st.integers(0, 80), max_size=8))
def test_how_a_text_is_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    expected, once = whole(text)
    citations, said = Citations(KNOWN), ""
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    for start, end in pairwise(places):
        said += citations.feed(text[start:end])
    said += citations.end()
    assert said == expected
    assert (citations.marks, citations.removed) == (once.marks, once.removed)
    for mark in citations.marks:
        assert expected[mark.start] == "["
        assert expected[mark.end - 1] == "]"


@given(PIECES)
def test_a_text_without_citations_is_left_alone(text: str) -> None:
    plain = text.replace("[", "(")
    assert whole(plain)[0] == plain


def test_what_may_be_a_citation_is_held_back_and_nothing_else() -> None:
    citations = Citations(KNOWN)
    assert citations.feed("Blue") == "Blue"
    assert citations.feed(" [") == ""
    assert citations.feed("1") == ""
    assert citations.feed("] sky") == " [1] sky"
    assert citations.feed(" [n") == ""
    assert citations.feed("o, not this]") == " [no, not this]"
    assert citations.holds is False
