import dataclasses
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loopwright.cache.guard import guard, language
from loopwright.cache.question import question, repeats_a_member
from loopwright.core.who import HOUSE
from tests.gateway.roads import ask

leaf = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
value = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


def shuffled(found: Any, seed: random.Random) -> Any:
    if isinstance(found, dict):
        names = list(found)
        seed.shuffle(names)
        return {name: shuffled(found[name], seed) for name in names}
    return [shuffled(one, seed) for one in found] if isinstance(found, list) else found


def key(raw: dict[str, Any]) -> bytes:
    found = question(replace(ask(), raw=json.dumps(raw).encode()), "m")
    assert found is not None
    return found.key


def repeats(raw: bytes) -> bool:
    found = question(replace(ask(), raw=raw), "m")
    return found is None or repeats_a_member(raw, found.quotes)


@given(st.dictionaries(st.text(max_size=6), value, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_members_and_what_is_left_out_change_nothing(body: dict[str, Any], seed: random.Random) -> None:
    asked = {"temperature": 0, **body}
    other = shuffled({**asked, "stream": True, "stream_options": {"x": 1}, "user": "u", "metadata": {"a": "b"}}, seed)
    assert key(
        {name: one for name, one in asked.items() if name not in ("stream", "stream_options", "user", "metadata")}
    ) == key(other)
    assert key({**asked, "messages": [body, 1]}) != key({**asked, "messages": [body, 2]})


def test_project_model_and_operation_are_part_of_it() -> None:
    request = ask()
    found = [
        question(replace(request, who=dataclasses.replace(HOUSE, project_id=1)), "m"),
        question(replace(request, who=dataclasses.replace(HOUSE, project_id=2)), "m"),
        question(request, "n"),
        question(replace(request, operation="completion"), "m"),
    ]
    assert len({one.key for one in found if one is not None}) == 4


def test_a_member_twice_is_seen_however_deep() -> None:
    assert repeats(b'{"a": [{"b": 1, "b": 2}]}')
    assert not repeats(b'{"a": [{"b": 1}, {"b": 2}]}')
    assert repeats(b'{"a": "\\u0022\\u0022", "a": "x"}')
    assert repeats(b'{"a": "one", "a": "say \\"x\\""}')


@given(st.dictionaries(st.text(max_size=5), value, max_size=4), st.data())
def test_a_member_that_is_there_twice_is_seen_wherever_it_is(body: dict[str, Any], data: st.DataObject) -> None:
    escaped = data.draw(st.booleans())
    whole = json.dumps({"x": 1, "body": body}, ensure_ascii=escaped)
    assert not repeats(whole.encode())
    twice = json.dumps(data.draw(st.text(max_size=5)), ensure_ascii=escaped)
    inner = json.dumps(data.draw(value), ensure_ascii=escaped)
    assert repeats(whole.replace('"x": 1', f'"x": {{{twice}: {inner}, {twice}: {inner}}}', 1).encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("refund within 14 days", "refund within 30 days"),
        ("two apples of mine", "three apples of mine"),
        ("can I return it", "can't I return it"),
        ("how do I pay the bill", "wie zahle ich die Rechnung"),
        ("where is it", "где это"),
        ("5 minus 3", "3 minus 5"),
    ],
)
def test_the_guard_tells_apart(one: str, other: str) -> None:
    assert guard(one) != guard(other)


def test_the_guard_lets_another_wording_pass() -> None:
    assert guard("How do I reset my password?") == guard("what is the way to reset my password")
    assert language("где это") == "cyrillic"
