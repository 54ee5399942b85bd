from __future__ import annotations

from typing import Any

import pytest

from loopwright.prompts.definition import Definition, definition
from loopwright.prompts.fault import Fault

USER = {"role": "user", "content": "{{ q }}"}


def made(**members: Any) -> Definition:
    return definition({"variables": {"q": "string"}, "messages": [USER], **members})


@pytest.mark.parametrize(
    ("members", "place", "said"),
    [
        ({"messages": []}, "messages", "1 to 200"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "messages[0]", "role 'usr'"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0]", "content must be"),
        ({"messages": [{"role": "user", "contents": "x"}]}, "messages[0]", "did you mean 'content'?"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0]", "a type"),
        ({"messages": [{"insert": "history"}]}, "messages[0]", "insert names one variable"),
        ({"messages": [{"insert": "q"}]}, "messages[0]", "of type string"),
        ({"variables": {"q": "text"}}, "variables.q", "type 'text' is none"),
        ({"variables": {"q": {"tpye": "string"}}}, "variables.q", "did you mean 'type'?"),
        ({"variables": {"q": {"default": 3}}}, "variables.q", "default must be a text"),
        ({"variables": {"q": {"enum": ["a"], "example": "b"}}}, "variables.q", "must be one of 'a'"),
        ({"variables": {"loop": "any"}}, "variables", "no name of a variable"),
        ({"variables": {"a-b": "any"}}, "variables", "no name of a variable"),
        ({"partials": {"../x": "y"}}, "partials", "a name with a text"),
        ({"partials": {"x": "{% if %}"}}, "partials.x", "Expected an expression"),
        ({"metadata": {"a": float("nan")}}, "definition", "JSON"),
        ({"description": "\ud800"}, "definition", "UTF-8"),
        ({"description": "a\0b"}, "definition", "NUL"),
        ({"metadata": {"a": "x" * 1_000_001}}, "definition", "bytes"),
        ({"mesages": []}, "mesages", "did you mean 'messages'?"),
    ],
)
def test_what_is_wrong_is_placed(members: dict[str, Any], place: str, said: str) -> None:
    with pytest.raises(Fault) as caught:
        made(**members)
    assert caught.value.place == place
    assert said in caught.value.message


@pytest.mark.parametrize("given", [None, [], "x", 3, {}])
def test_what_is_no_prompt_is_refused(given: Any) -> None:
    with pytest.raises(Fault):
        definition(given)


def test_the_same_has_the_same_hash_however_it_was_written() -> None:
    one = made(description="d")
    two = definition(
        {
            "messages": [{"content": "{{ q }}", "role": "user"}],
            "variables": {"q": {"type": "string"}},
            "description": "d",
        }
    )
    assert one.sha == two.sha
    assert one.sha == definition(one.document).sha
    assert one.sha != made(description="e").sha
    assert made(description="\\u0000 is an escape").sha


def test_messages_of_variables_parts_and_empty_ones() -> None:
    prompt = definition(
        {
            "variables": {
                "history": {"type": "messages", "default": []},
                "url": "string",
                "hint": {"type": "string", "required": False},
            },
            "messages": [
                {"role": "system", "content": "{% if hint %}Hint: {{ hint }}{% endif %}"},
                {"insert": "history"},
                {
                    "role": "user",
                    "name": "ada",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": "{{ url }}"}},
                    ],
                },
            ],
        }
    )
    before = [{"role": "user", "content": "{{ not a template }}"}, {"role": "assistant", "content": "Yes."}]
    said = prompt.render({"url": "https://a/b.png", "history": before})
    assert said[:2] == before
    assert said[2]["name"] == "ada"
    assert said[2]["content"][1] == {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    assert prompt.render({"url": "u", "hint": "h"})[0] == {"role": "system", "content": "Hint: h"}
    assert [each["role"] for each in prompt.render({"url": "u", "hint": None})] == ["user"]


@pytest.mark.parametrize(
    ("given", "variable", "said"),
    [
        ({}, "q", "required"),
        ({"q": 3}, "q", "must be a text, not a number"),
        ({"q": None}, "q", "not null"),
        ({"q": "x", "Q": "y"}, "Q", "did you mean 'q'?"),
    ],
)
def test_variables_that_do_not_fit(given: dict[str, Any], variable: str, said: str) -> None:
    with pytest.raises(Fault) as caught:
        made().render(given)
    assert caught.value.variable == variable
    assert said in caught.value.message


def test_a_prompt_that_says_nothing_is_no_request() -> None:
    with pytest.raises(Fault, match="no message at all"):
        made().render({"q": "  "})


def test_samples_come_from_examples_then_defaults_and_the_rest_is_invented() -> None:
    prompt = definition(
        {
            "variables": {"a": {"example": "A"}, "b": {"default": "B"}, "c": "integer", "d": {"required": False}},
            "messages": [{"role": "user", "content": "{{ a }}{{ b }}{{ c }}"}],
        }
    )
    assert prompt.sample() == ({"a": "A", "b": "B", "c": 0}, ("c",))
