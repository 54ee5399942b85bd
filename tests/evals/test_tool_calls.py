from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from loopwright.core.score import Score
from tests.evals.evaluating import found

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "dict",
            "properties": {"town": {"type": "string"}, "days": {"type": "float"}, "unit": {"type": "string"}},
            "required": ["town"],
        },
    },
}


def call(name: str, arguments: Any) -> dict[str, Any]:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": written}}


def of(args: Mapping[str, Any], calls: list[dict[str, Any]], expected: Any) -> Score:
    spec = {"kind": "tool_calls", "args": args}
    return found(spec, expected=expected, inputs={"tools": [WEATHER]}, tool_calls=calls)


ALLOWED = [{"get.weather": {"town": ["Köln", "Cologne"], "days": [2, ""], "unit": ["", "metric"]}}]


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ({"town": "Cologne"}, True),
        ({"town": "COLOGNE ", "days": 2.0, "unit": "metric"}, True),
        ({"town": "Bonn"}, False),
        ({"days": 2}, False),
        ({"town": "Köln", "days": "2"}, False),
        ({"town": "Köln", "days": 3}, False),
        ({"town": "Köln", "country": "DE"}, False),
        ({"town": ["Köln"]}, False),
    ],
)
def test_the_rules_of_the_berkeley_leaderboard(arguments: dict[str, Any], right: bool) -> None:  # noqa: FBT001
    score = of({"form": "bfcl"}, [call("get_weather", arguments)], ALLOWED)
    assert score.passed is right
    assert bool(score.explanation) is not right


def test_names_numbers_and_orders() -> None:
    two = [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}}]
    made = [call("g", ""), call("f", {"x": 1.0})]
    assert of({}, made, two).value == 1.0
    assert of({"order": "given"}, made, two).label == "other name"
    assert of({}, made[1:], two).label == "too few"
    assert of({}, [*made, call("f", {})], two).label == "too many"
    assert of({}, [call("g", {}), call("f", {"x": True})], two).label == "other arguments"
    assert of({"arguments": False}, [call("g", {}), call("f", {"x": 9})], two).value == 1.0
    assert of({}, [], []).value == 1.0
    assert of({}, [call("f", {})], []).label == "too many"


def test_calls_that_are_none() -> None:
    expected = [{"name": "f", "arguments": {}}]
    assert of({}, [call("f", "{")], expected).label == "malformed"
    assert of({}, [call("f", "[1]")], expected).label == "malformed"
    assert of({}, [{"function": None}], expected).label == "malformed"
    assert of({}, [], None).missing == "the example has no expected calls"
    assert "NAME" in (of({"form": "bfcl"}, [], [{"a": {}, "b": {}}]).missing or "")
    assert "values allowed" in (of({"form": "bfcl"}, [], [{"a": {"x": 1}}]).missing or "")
