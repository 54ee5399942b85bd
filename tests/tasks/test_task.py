from collections import Counter
from typing import Any

import pytest

from loopwright.core.errors import BadRequest, UnknownModel
from loopwright.tasks.definition import checked, from_text, to_text
from loopwright.tasks.task import Task, task_of

SAY = {"messages": [{"role": "user", "content": "{{ input }}"}]}


def made(**told: Any) -> Task:
    return task_of("t", checked("t", {"model": "m", "variants": {"base": SAY}, **told}))


def test_a_definition_comes_back_as_it_went() -> None:
    told = {
        "description": "d",
        "input": {
            "type": "object",
            "required": ["b"],
            "properties": {"b": {"type": "string"}, "a": {"type": "string"}},
        },
        "output": {"enum": ["x", "y"]},
        "model": "m",
        "metrics": ["exact_match"],
        "guardrails": {"moderation": {"output": True}},
        "variants": {
            "z": {"weight": 2.0, "messages": [{"role": "user", "content": "{{ b }}\nand {{ a }}"}]},
            "a": {"prompt": "p@3", "strategy": {"kind": "self_consistency", "samples": 7}},
        },
    }
    task = task_of("t", checked("t", told))
    assert task.definition == told
    assert list(task.definition["variants"]) == ["z", "a"]
    assert from_text(to_text(told)) == told
    assert task.values == ("x", "y")
    assert task.text_input == "b"
    assert task.share(task.variants["z"]) == pytest.approx(2 / 3)
    assert task.variants["a"].strategy.samples == 7
    assert task.variants["a"].prompts == ("p@3",)


def test_sessions_are_split_by_weight_and_stay() -> None:
    task = made(variants={"a": {**SAY, "weight": 3}, "b": SAY, "c": {**SAY, "weight": 0}})
    drawn = {f"s{number}": task.chosen(f"s{number}").name for number in range(4000)}
    share = Counter(drawn.values())
    assert share["c"] == 0
    assert share["a"] / 4000 == pytest.approx(0.75, abs=0.03)
    assert all(task.chosen(session).name == name for session, name in drawn.items())
    heavier = made(variants={"a": {**SAY, "weight": 4}, "b": SAY, "c": {**SAY, "weight": 0}})
    moved = [(name, heavier.chosen(session).name) for session, name in drawn.items()]
    assert not [pair for pair in moved if pair == ("a", "b")]


def test_without_a_session_chance_decides_by_weight() -> None:
    task = made(variants={"a": SAY, "b": SAY})
    assert {task.chosen(None).name for _ in range(200)} == {"a", "b"}


def test_an_unknown_variant_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="did you mean 'base'"):
        made().variant("bsae")


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ([], None),
        ({"variants": {"base": SAY}}, "variants.base"),
        ({"model": "m", "variants": {"base": {**SAY, "wieght": 1}}}, "variants.base.wieght"),
        ({"model": "m", "variants": {"base": {**SAY, "weight": -1}}}, "variants.base.weight"),
        ({"model": "m", "variants": {"base": {**SAY, "weight": True}}}, "variants.base.weight"),
        ({"model": 3, "variants": {"base": SAY}}, "model"),
        ({"model": "m\x00", "variants": {"base": SAY}}, None),
        ({"model": "m", "bar": 10**30, "variants": {"base": SAY}}, None),
        ({"model": "m", "metrics": {}, "variants": {"base": SAY}}, "metrics"),
        ({"model": "m", "variants": {"base": {**SAY, "strategy": {"kind": "x"}}}}, "variants.base.strategy.kind"),
        ({"model": "m", "variants": {"base": {**SAY, "memory": 1}}}, "variants.base.memory"),
        ({"model": "m", "variants": None}, "variants"),
        ({"model": "m", "input": {1: 2}, "variants": {"base": SAY}}, None),
    ],
)
def test_what_comes_by_rest_is_refused_with_its_place(told: Any, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        checked("t", told)
    assert caught.value.param == param


def test_nothing_is_expanded_in_what_a_client_sends() -> None:
    task = made(variants={"base": {"messages": [{"role": "user", "content": "${HOME} {{ input }}"}]}})
    assert task.variants["base"].messages[0]["content"] == "${HOME} {{ input }}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: *x\n", "line 2: an alias"),
        ("a: [", "line 1"),
        ("a: !!python/object/apply:os.system ['x']", "line 1"),
        ("\x07", "no YAML"),
        ("a: " * 100_000, "line 1"),
        ("x" * 1_000_001, "the limit is"),
    ],
)
def test_bad_yaml_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        from_text(text)


def test_a_date_is_a_text() -> None:
    assert from_text("a: 2026-11-21\nb: [1, 1.5, true, null]") == {"a": "2026-11-21", "b": [1, 1.5, True, None]}
