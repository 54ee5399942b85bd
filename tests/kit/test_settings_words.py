"""Single words of a configuration: what they may be, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from loopwright.kit.settings import Server, Settings
from loopwright.kit.settings_marks import Hidden, Seconds
from loopwright.kit.settings_words import Unfit, describe, expand, free, kind, read, shown, told, wanted


def word(text: str, hint: Any, *, quoted: bool = False) -> object:
    return read(text, wanted(hint), quoted=quoted)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("12", int, 12),
        ("1_000", int, 1000),
        ("-3", int, -3),
        ("1e3", float, 1000.0),
        (".5", float, 0.5),
        ("2m", Seconds, 120.0),
        ("1.5 s", Seconds, 1.5),
        ("yes", bool, True),
        ("OFF", bool, False),
        ("no", str, "no"),
        ("a/b", Path, Path("a/b")),
        ("b", Literal["a", "b"], "b"),
    ],
)
def test_the_type_decides_how_a_word_is_read(text: str, hint: Any, value: object) -> None:
    got = word(text, hint)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("010", int),
        ("0x1f", int),
        ("1:30", int),
        ("1.0", int),
        ("true", int),
        ("nan", float),
        (".inf", float),
        ("1e999", float),
        ("0s", Seconds),
        ("2 fortnights", Seconds),
        ("2d", Seconds),
        ("1", bool),
        ("", str),
        ("7", str),
        ("a\x00b", str),
        ("\ud800", str),
        ("c", Literal["a", "b"]),
    ],
)
def test_what_does_not_fit_is_unfit(text: str, hint: Any) -> None:
    with pytest.raises(Unfit):
        word(text, hint)


def test_sizes_are_decimal_or_binary() -> None:
    limit = told(Server)["body_limit"][1]
    sizes = [read(text, limit, quoted=False) for text in ("20MB", "20 MiB", "1.5kb", "2000")]
    assert sizes == [20_000_000, 20 * 2**20, 1_500, 2_000]


def test_quotes_make_text() -> None:
    assert word("7", str, quoted=True) == "7"
    with pytest.raises(Unfit):
        word("7", int, quoted=True)


def test_what_is_allowed_is_said_in_words() -> None:
    settings = told(Settings)
    assert describe(settings["log_level"][1]) == "one of debug, info, warning, error"
    assert describe(settings["providers"][1]) == "a mapping of names to sections"
    assert describe(told(Server)["port"][1]) == "a whole number from 0 to 65535"
    assert describe(wanted(Seconds)) == "a number of seconds from 0.001 to 86400, or a duration such as 30s or 2m"
    assert describe(wanted(tuple[Literal["a", "b"], ...])) == "a list of a, b"
    assert "file" not in settings


def test_hints_are_taken_apart() -> None:
    want = wanted(Seconds | None)
    assert want.optional
    assert want.base is float
    assert want.between.unit == "seconds"
    assert not want.hidden
    assert Hidden() == Hidden()


def test_what_was_found_is_shown_without_secrets() -> None:
    assert shown("abc", plain=True, hidden=False) == "the text 'abc'"
    assert shown("12", plain=True, hidden=False) == "the number 12"
    assert shown("12", plain=False, hidden=False) == "the text '12'"
    assert shown("sk-1", plain=True, hidden=True) == "the text (not shown)"
    assert shown("http://me:pw@h/x", plain=True, hidden=False) == "the text 'http://…@h/x'"
    assert len(shown("x" * 999, plain=True, hidden=False)) < 80


def test_references_are_replaced() -> None:
    env = {"A": "1", "EMPTY": ""}
    assert expand("x${A}y${B:-2}z${EMPTY:-3}${EMPTY}$${A}", env) == "x1y2z3${A}"
    assert expand("no dollar $A", env) == "no dollar $A"
    assert expand("${B:-}", env) == ""
    for wrong in ("${", "${A", "${1}", "${A B}", "${B}"):
        with pytest.raises(Unfit):
            expand(wrong, env)


def test_where_anything_is_allowed_words_are_json() -> None:
    assert [free(text, quoted=False) for text in ("~", "true", "1", "1.5", "x")] == [None, True, 1, 1.5, "x"]
    assert free("1", quoted=True) == "1"
    assert kind("no") == "text"
