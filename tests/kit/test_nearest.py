"""The nearest name helps who mistyped, and lists what there is when nothing is near."""

import pytest

from loopwright.kit.nearest import hint, nearest


@pytest.mark.parametrize(
    ("typed", "found"),
    [("smolm2", "smollm2"), ("SMOLLM2", "smollm2"), ("gemma", "gemma3"), ("gpt", None), ("", None)],
)
def test_the_nearest_name_is_found_whatever_its_case(typed: str, found: str | None) -> None:
    assert nearest(typed, ["smollm2", "gemma3"]) == found


def test_the_name_is_given_back_in_its_own_case() -> None:
    assert nearest("llama-3-8b", ["Llama-3-8B"]) == "Llama-3-8B"


def test_a_very_long_name_is_no_burden() -> None:
    assert nearest("x" * 1_000_000, ["smollm2"]) is None


def test_the_hint_names_the_nearest_or_what_there_is_or_nothing() -> None:
    assert hint("smolm2", ["smollm2"]) == "; did you mean 'smollm2'?"
    assert hint("zzz", ["b", "a"]) == "; there are: a, b"
    assert hint("zzz", [f"m{n:02}" for n in range(20)]).endswith("m11 …")
    assert hint("zzz", []) == ""
