from typing import Any

import pytest

from loopwright.core.errors import BadRequest, NotFound
from loopwright.evals.judge_definition import KNOWN, definition_of


def test_the_hash_is_of_all_that_moves_verdicts() -> None:
    first = definition_of({"judge": "faithful", "model": "m"})
    same = definition_of({**KNOWN["faithful"], "model": "m"})
    assert first.sha == same.sha  # by name or in full
    others: list[dict[str, Any]] = [
        {"model": "n"}, {"question": "Is it so?"}, {"parameters": {"temperature": 0.5}}, {"explain": True},
        {"constrained": False}, {"labels": {"yes": 2.0, "no": 0.0}}, {"meanings": {"yes": "so"}}, {"least": 0.0},
    ]  # fmt: skip
    hashes = {definition_of({"judge": "faithful", "model": "m", **other}).sha for other in others}
    assert len(hashes | {first.sha}) == len(others) + 1


def test_verdicts_stand_in_an_order_that_storing_keeps() -> None:
    first = definition_of({"model": "m", "question": "q", "labels": {"no": 0, "yes": 1, "maybe": 0.5}})
    second = definition_of({"model": "m", "question": "q", "labels": {"yes": 1, "maybe": 0.5, "no": 0}})
    assert first.verdicts == second.verdicts == ("yes", "maybe", "no")
    assert first.sha == second.sha


def test_defaults_make_sense() -> None:
    plain = definition_of({"model": "m", "question": "q"})
    assert plain.verdicts == ("pass", "fail")
    assert plain.passed("pass") is True
    assert plain.passed("fail") is False
    scale = definition_of({"model": "m", "question": "q", "labels": {"1": 1, "2": 2}})
    assert scale.passed("2") is None
    assert definition_of({"judge": "helpful", "model": "m", "labels": {"x": 1}}).labels == {}
    for name in KNOWN:
        assert definition_of({"judge": name, "model": "m"}).verdicts


@pytest.mark.parametrize(
    ("args", "param"),
    [
        ({"question": "q"}, "args.model"),
        ({"model": " ", "question": "q"}, "args.model"),
        ({"model": "m", "question": ""}, "args.question"),
        ({"model": "m", "question": "q" * 20_001}, "args.question"),
        ({"model": "m", "question": "q", "form": "oracle"}, "args.form"),
        ({"model": "m", "question": "q", "labels": {"Yes": 1, "yes": 0}}, "args.labels"),
        ({"model": "m", "question": "q", "labels": {"a\nb": 1, "c": 0}}, "args.labels"),
        ({"model": "m", "question": "q", "labels": {"a": 1e300, "b": -1e300}}, "args.labels"),
        ({"model": "m", "question": "q", "labels": {"a": float("nan"), "b": 0}}, "args.labels"),
        ({"model": "m", "question": "q", "labels": {f"l{n}": n for n in range(21)}}, "args.labels"),
        ({"model": "m", "question": "q", "meanings": {"other": "x"}}, "args.meanings"),
        ({"model": "m", "question": "q", "parameters": {"tools": []}}, "args.parameters"),
    ],
    ids=[
        "model",
        "blank",
        "question",
        "long",
        "form",
        "case",
        "newline",
        "far",
        "nan",
        "many",
        "meanings",
        "parameters",
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(args: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        definition_of(args)
    assert refused.value.param == param


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'faithful'"):
        definition_of({"judge": "faithfull", "model": "m"})
