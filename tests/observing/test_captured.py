import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.observing.captured import MASK, TEXT, WHOLE, arguments, captured, masked, secret


@pytest.mark.parametrize(
    "name",
    ["key", "api_key", "apiKey", "X-API-Key", "password", "db.password", "authorization", "accessToken", "Cookie"],
)
def test_names_of_secrets(name: str) -> None:
    assert secret(name)


@pytest.mark.parametrize("name", ["monkey", "max_tokens", "tokenizer", "keyboard", "author", "passage", "question"])
def test_names_that_only_sound_so(name: str) -> None:
    assert not secret(name)


def test_secrets_are_masked_by_name_and_by_look() -> None:
    said = captured(
        {
            "q": "hi",
            "headers": {"Authorization": "Bearer abc123def456"},
            "items": [{"password": "hunter2", "none": None}],
        }
    )
    assert json.loads(said) == {
        "q": "hi",
        "headers": {"Authorization": MASK},
        "items": [{"password": MASK, "none": None}],
    }
    text = masked("use sk-abcdefghijklmnop1234 or lw-" + "a" * 43 + " with Bearer abcdefghijkl, thanks")
    assert text == f"use {MASK} or {MASK} with {MASK}, thanks"


class Rude:
    """Whoever asks it anything regrets it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


@dataclasses.dataclass
class Order:
    item: str
    api_key: str
    rude: Rude


def test_objects_are_named_not_printed() -> None:
    said = json.loads(captured({"rude": Rude(), "order": Order("tea", "k", Rude()), "bytes": b"12345", "set": {1}}))
    assert said["rude"].startswith("<")
    assert said["rude"].endswith("Rude>")
    assert said["order"]["item"] == "tea"
    assert said["order"]["api_key"] == MASK
    assert said["bytes"] == "<5 bytes>"
    assert said["set"] == [1]


def test_what_is_huge_or_holds_itself_is_bounded() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert len(captured(ring)) < 200
    assert len(captured("x" * 10**7)) < TEXT + 20
    assert len(captured([["y" * 10_000] * 1000] * 1000)) <= WHOLE + 20
    assert json.loads(captured(list(range(1000))))[-1] == "… 900 more"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=30,
)


@given(json_values)
def test_whatever_it_is_it_is_json_of_a_bounded_size(value: Any) -> None:
    said = captured(value)
    assert len(said) <= WHOLE + 20
    if not isinstance(value, str):
        json.loads(said)


def test_arguments_go_by_their_names() -> None:
    def ask(self: Any, question: str, *rest: int, deep: bool = False, **more: int) -> None: ...

    assert arguments(ask, (object(), "why", 1, 2), {"deep": True, "extra": 3}) == {
        "question": "why",
        "rest": (1, 2),
        "deep": True,
        "more": {"extra": 3},
    }
    assert arguments(ask, (), {"nonsense": 1})  # the call itself fails, not what watches it
