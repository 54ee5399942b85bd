"""Pieces say to the letter what stands in the text, all of it, and never count more than they may."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.documents.chunking import cut
from loopwright.documents.document import Page, Parsed, Piece
from loopwright.documents.parting import By

WAYS: tuple[By, ...] = ("recursive", "headings", "sentences")
KINDS = ("text/markdown", "text/plain", "text/x-python", "application/pdf")


def words(text: str) -> int:
    return len(text.split())


def quarters(text: str) -> int:
    """As tokenizers of bytes do: blanks count, and what is put together counts less."""
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4


def word_pieces(text: str) -> int:
    """As BERT's: signs apart, words in bits of four letters, one token for a word that is too long."""
    return sum(1 if len(word) > 40 else (len(word) + 3) // 4 for word in re.findall(r"\w+|[^\w\s]", text))


COUNTS = {"words": words, "quarters": quarters, "word pieces": word_pieces, "characters": len}


def check(text: str, pieces: list[Piece], tokens: int, name: str) -> None:
    covered = 0
    before = -1
    for piece in pieces:
        assert text[piece.start : piece.end] == piece.text
        assert piece.text.strip()
        assert piece.start > before, "in order"
        assert COUNTS[name](piece.text) <= tokens or len(piece.text) == 1
        assert not text[covered : piece.start].strip(), "nothing is left out"
        assert piece.end > covered, "each says something new"
        before, covered = piece.start, piece.end
    assert not text[covered:].strip(), "nothing is left out at the end"


LINES = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60),
    st.sampled_from(
        [
            *("# One", "## Two two", "### Three", "#", "####### no", "Under", "=====", "-----", "---"),
            *("| a | b |", "|---|---|", "| 1 | 2 |", "a | b", "--|--", "```", "~~~", "    code", "\tcode"),
            *(
                "- item",
                "* item",
                "1. item",
                "",
                "",
                " ",
                "def f(x):",
                "    return x",
                "class A:",
                "}",
                "「引用。」次。",
            ),
            *("One. Two. Three!", "Dr. Who is here. E.g. so.", "word " * 30, "x" * 90, "👩‍👩‍👧‍👦" * 9, "a. " * 20),
        ]
    ),
)
TEXTS = st.lists(LINES, max_size=40).map("\n".join)


@settings(max_examples=400, deadline=None)
@given(
    text=TEXTS,
    kind=st.sampled_from(KINDS),
    by=st.sampled_from(WAYS),
    tokens=st.integers(8, 60),
    share=st.floats(0, 0.5),
    name=st.sampled_from(sorted(COUNTS)),
)
@example(
    text="| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 9,
    kind="text/markdown",
    by="recursive",
    tokens=8,
    share=0.5,
    name="characters",
)
@example(text="😀" * 30, kind="text/plain", by="sentences", tokens=8, share=0.0, name="quarters")
def test_any_text_is_cut_to_the_letter(text: str, kind: str, by: By, tokens: int, share: float, name: str) -> None:
    parsed = Parsed(text=text, media_type=kind)
    pieces = cut(parsed, by=by, tokens=tokens, overlap=int(tokens * share), count=COUNTS[name])
    check(text, pieces, tokens, name)


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize(
    "sign", ["a", " ", "\n", "a\n", "a\n\n", "|", "#", "# a\n", "```\n", ". ", "-\n", "漢字。", "[(", "|a|\n", "|-|\n"]
)
def test_a_text_of_one_sign_takes_linear_time(by: By, sign: str) -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return quarters(text)

    text = sign * (60_000 // len(sign))
    check(
        text,
        cut(Parsed(text=text, media_type="text/markdown"), by=by, tokens=200, overlap=20, count=count),
        200,
        "quarters",
    )
    assert counted < 40 * len(text)


GUIDE = """# Guide

What it is for.

## Install

Take the wheel. Put it somewhere.

### Linux

Nothing to do here.

## Use

Call it by its name. It answers. """


def cut_md(
    text: str, *, by: By = "recursive", tokens: int = 20, overlap: int = 0, kind: str = "text/markdown"
) -> list[Piece]:
    return cut(Parsed(text=text, media_type=kind), by=by, tokens=tokens, overlap=overlap, count=words)


def test_small_documents_stay_whole() -> None:
    [piece] = cut_md(GUIDE, tokens=100)
    assert piece.text == GUIDE.strip()
    assert piece.heading == "Guide"


def test_headings_begin_pieces_and_say_what_they_are_under() -> None:
    pieces = cut_md(GUIDE, by="headings", tokens=100)
    assert [piece.heading for piece in pieces] == ["Guide", "Guide > Install", "Guide > Install > Linux", "Guide > Use"]
    assert [piece.text.split("\n")[0] for piece in pieces] == ["# Guide", "## Install", "### Linux", "## Use"]


def test_a_heading_stays_with_what_is_under_it() -> None:
    for tokens in range(10, 40):
        for piece in cut_md(GUIDE, tokens=tokens):
            assert not piece.text.rsplit("\n", 1)[-1].startswith("#")


def test_headings_in_code_are_no_headings() -> None:
    [piece] = cut_md("# One\n\n```sh\n# a comment\n```\n\nUnder it.", by="headings", tokens=50)
    assert piece.heading == "One"


def test_underlined_headings_are_headings() -> None:
    pieces = cut_md("Guide\n=====\n\nOne.\n\nUse\n---\n\nTwo.", by="headings")
    assert [piece.heading for piece in pieces] == ["Guide", "Guide > Use"]


TABLE = "| Part | Price |\n|---|---|\n" + "".join(f"| part {number} | {number} euro |\n" for number in range(12))


def test_a_table_that_fits_stays_whole() -> None:
    text = "Prices of what there is, as of today, in all shops of ours:\n\n" + TABLE + "\nAll of it without tax.\n"
    pieces = cut_md(text, tokens=100)
    assert sum("part 0" in piece.text for piece in pieces) == 1
    assert any(TABLE.strip() in piece.text for piece in pieces)


def test_rows_of_a_long_table_stay_whole_under_the_names_of_its_columns() -> None:
    pieces = cut_md("# Prices\n\n" + TABLE, tokens=30, overlap=10)
    assert len(pieces) > 3
    assert pieces[0].heading == "Prices"
    assert {piece.heading for piece in pieces[1:]} == {"Prices > Part | Price"}
    assert all(line.startswith("|") and line.endswith("|") for piece in pieces[1:] for line in piece.text.split("\n"))
    assert [row for piece in pieces for row in re.findall(r"part \d+", piece.text)] == [f"part {n}" for n in range(12)]


def test_whole_sentences() -> None:
    text = "Dr. Who paid 3.50 euro. He left! Did he? “Yes.” Nobody e.g. Mr. Bond saw it. 「はい。」そう。 J. R. R. Tolkien did."
    pieces = cut_md(text, by="sentences", tokens=8)
    assert all(piece.text[-1] in ".!?”」。" for piece in pieces)
    assert pieces[0].text == "Dr. Who paid 3.50 euro. He left!"


def test_what_is_repeated_begins_with_a_sentence_or_a_word() -> None:
    text = " ".join(f"Sentence number {number} says little." for number in range(40))
    pieces = cut_md(text, tokens=30, overlap=12)
    for before, piece in pairwise(pieces):
        repeated = text[piece.start : before.end]
        assert 0 < words(repeated) <= 12
        assert repeated.startswith("Sentence")
    bare = "".join(f"word{number} " for number in range(300))
    pieces = cut_md(bare, tokens=30, overlap=6)
    assert all(words(bare[piece.start : before.end]) == 6 for before, piece in pairwise(pieces))


def test_nothing_is_repeated_across_a_heading() -> None:
    pieces = cut_md(GUIDE, by="headings", tokens=20, overlap=5)
    assert all(piece.text.startswith("#") for piece in pieces)


def test_a_fence_is_not_looked_into() -> None:
    text = "# One\n\n```yaml\n" + "key: value\n" * 8 + "```\n\n" + "Some words about what that says. " * 4
    pieces = cut_md(text, tokens=30, overlap=10)
    assert all(piece.text.count("```") in (0, 2) for piece in pieces)


def test_long_headings_are_cut_short() -> None:
    text = "".join(f"{'#' * level} {'long ' * 36}{level}\n\n" for level in range(1, 7)) + "Text."
    [*_, last] = cut_md(text, tokens=60)
    assert 300 < len(last.heading) < 430
    assert last.heading.count(" > ") == 5


def test_the_page_is_the_one_a_piece_begins_on() -> None:
    text = "One two three four.\n\nFive six seven eight nine.\n\nTen eleven twelve thirteen.\n\n"
    pages = [Page(number=1, start=0), Page(number=2, start=21), Page(number=3, start=49)]
    parsed = Parsed(text=text, media_type="application/pdf", pages=pages)
    pieces = cut(parsed, by="recursive", tokens=8, overlap=0, count=words)
    assert [piece.page for piece in pieces] == [1, 2, 3]


CODE = '''import os


class Shop:
    """Sells."""

    def open(self):
        self.lights = "on"
        self.door = "open"

    def close(self):
        self.lights = "off"

        self.door = "closed"


def main():
    Shop().open()
'''


def test_code_is_cut_before_functions_and_says_what_it_is_in() -> None:
    pieces = cut_md(CODE, tokens=9, kind="text/x-python")
    assert [(piece.heading, piece.text.strip().split("\n")[0]) for piece in pieces] == [
        ("", "import os"),
        ("class Shop > def open", "def open(self):"),
        ("class Shop > def close", "def close(self):"),
        ("def main", "def main():"),
    ]
    assert all("\n" + piece.text in "\n" + CODE for piece in pieces)
    assert pieces[1].text.startswith("    def")


@pytest.mark.parametrize(("tokens", "overlap", "param"), [(7, 0, "tokens"), (20, 11, "overlap"), (20, -1, "overlap")])
def test_sizes_that_cannot_be(tokens: int, overlap: int, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        cut_md("a", tokens=tokens, overlap=overlap)
    assert caught.value.param == param
