"""Targets, evaluators, slices and bars as people write them."""

from pathlib import Path
from typing import Any

import pytest

from loopwright.cli.evals_words import numbers_of, slices_of, target_of
from loopwright.core.errors import BadRequest
from loopwright.evals.words import evaluator_of, parameters_of


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("task/a@b", {"name": "task/a@b", "model": "task/a@b"}),
        ("gpt#p@3", {"name": "gpt#p@3", "model": "gpt", "prompt": "p@3"}),
        ("new=gpt#p", {"name": "new", "model": "gpt", "prompt": "p"}),
    ],
)
def test_targets(text: str, told: dict[str, Any]) -> None:
    assert target_of(text) == told


def test_what_is_said_for_all_models(tmp_path: Path) -> None:
    assert target_of("gpt", prompt="p@1", parameters={"n": 1}) == {
        "name": "gpt",
        "model": "gpt",
        "prompt": "p@1",
        "parameters": {"n": 1},
    }
    assert target_of("gpt", template="{{ q }}")["messages"] == [{"role": "user", "content": "{{ q }}"}]
    assert "prompt" not in target_of("task/a", prompt="p")
    file = tmp_path / "messages.yaml"
    file.write_text("- {role: system, content: be brief}\n- {role: user, content: '{{ q }}'}\n")
    assert [each["role"] for each in target_of("gpt", template=f"@{file}")["messages"]] == ["system", "user"]
    file.write_text("just: a mapping\n")
    with pytest.raises(BadRequest, match="no list of messages"):
        target_of("gpt", template=f"@{file}")
    for wrong in ("=gpt", "name=", "task/a#p"):
        with pytest.raises(BadRequest, match="TARGET"):
            target_of(wrong)


def test_evaluators_and_values() -> None:
    assert evaluator_of("exact_match") == {"kind": "exact_match"}
    assert evaluator_of('contains:texts=["a"],case=true') == {
        "kind": "contains",
        "args": {"texts": ["a"], "case": True},
    }
    assert evaluator_of('{"kind": "regex", "args": {"pattern": "a,b"}}')["args"] == {"pattern": "a,b"}
    assert parameters_of(["temperature=0", "stop=END"], "-p") == {"temperature": 0, "stop": "END"}
    assert numbers_of(["exact_match=0.9"], "--bar") == {"exact_match": 0.9}
    assert slices_of(["language:de", "url:http://x"]) == {"language": "de", "url": "http://x"}
    for wrong in (lambda: evaluator_of("{no"), lambda: numbers_of(["a=b"], "--bar"), lambda: slices_of(["x"])):
        with pytest.raises(BadRequest):
            wrong()
    with pytest.raises(BadRequest, match="NAME=VALUE"):
        parameters_of(["alone"], "-p")
