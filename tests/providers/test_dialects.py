"""Particulars of the translations: what is refused, what is changed, what errors mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import transform_schema
from botocore.awsrequest import AWSRequest

from loopwright.core.errors import BadRequest, Busy, ContextOverflow, Unavailable, UpstreamRefused
from loopwright.providers import anthropic_answer, bedrock_answer, gemini_answer
from loopwright.providers.anthropic_request import messages
from loopwright.providers.bedrock_request import converse
from loopwright.providers.conversation import OPENING, safe_id
from loopwright.providers.gemini_request import content
from loopwright.providers.schema import closed

CLAUDE = "claude-sonnet-4-5"


def one(text: str = "q", **body: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **body}


def test_turns_begin_with_the_user_and_instructions_alone_are_asked() -> None:
    talk = [{"role": "assistant", "content": "Hello! "}]
    sent = messages({"messages": talk}, CLAUDE)["messages"]
    assert [turn["content"][0]["text"] for turn in sent] == [OPENING, "Hello!"]
    sent = messages({"messages": [{"role": "system", "content": "be"}]}, CLAUDE)
    assert "system" not in sent
    assert sent["messages"][0]["content"][0]["text"] == "be"
    with pytest.raises(BadRequest):
        messages(one(""), CLAUDE)


@pytest.mark.parametrize("translate", [messages, content, converse])
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]"),
        ({"tool_choice": {"function": {"name": "x"}}, "tools": [{"type": "function", "function": {"name": "a"}}]}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"reasoning_effort": "lots"}, "reasoning_effort"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}]}, "messages[0].content[0].image_url.url"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,#"}}]}]}, "messages[0].content[0].image_url.url"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}]}, "messages[0].tool_calls[0].function.arguments"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_by_name(translate: Any, more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        translate(one(**more), CLAUDE)
    assert caught.value.param == param


def test_several_answers() -> None:
    assert content(one(n=2), "gemini-2.5-pro")["generationConfig"]["candidateCount"] == 2
    for translate in (messages, converse):
        with pytest.raises(BadRequest):
            translate(one(n=2), CLAUDE)


def test_newer_claudes_take_no_sampling_and_think_by_effort() -> None:
    sent = messages(one(temperature=0.5, top_p=0.9, reasoning_effort="high"), "claude-opus-5")
    assert not {"temperature", "top_p", "top_k"} & set(sent)
    assert (sent["thinking"]["type"], sent["output_config"]) == ("adaptive", {"effort": "high"})
    assert messages(one(temperature=2, top_p=0.9), CLAUDE) | {"top_p": 0} == messages(one(temperature=1), CLAUDE) | {
        "top_p": 0
    }
    assert "temperature" not in messages(one(temperature=0.5), CLAUDE, plain=False)


def test_a_schema_is_closed_as_anthropics_own_package_does() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"$ref": "#/$defs/B"}, "c": {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 1}},
        "required": ["a"],
        "$defs": {"B": {"type": "object", "properties": {"d": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}},
    }  # fmt: skip
    assert closed(schema) == transform_schema(schema)
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    with pytest.raises(BadRequest):
        closed(deep)


def test_marks_of_the_cache_are_kept() -> None:
    mark = {"type": "ephemeral"}
    body = one()
    body["messages"] = [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark}]},
        {"role": "user", "content": [{"type": "text", "text": "u", "cache_control": mark}]},
    ]
    sent = messages(body, CLAUDE)
    assert sent["system"] == [{"type": "text", "text": "s", "cache_control": mark}]
    assert sent["messages"][0]["content"][0]["cache_control"] == mark
    assert json.dumps(converse(body, "claude")).count("cachePoint") == 2


def test_ids_of_other_houses_are_made_fit() -> None:
    assert safe_id("call_1") == "call_1"
    assert safe_id("a.b") != safe_id("a:b")
    assert len(safe_id("x" * 500)) <= 64


def test_errors_have_their_place() -> None:
    assert isinstance(anthropic_answer.complaint("overloaded_error", "x"), Unavailable)
    assert isinstance(
        anthropic_answer.complaint("invalid_request_error", "prompt is too long: 3 > 2", status=400), ContextOverflow
    )
    assert isinstance(bedrock_answer.complaint("ThrottlingException:http://x/", "x", status=429), Busy)
    assert isinstance(bedrock_answer.complaint("ValidationException", "Input is too long", status=400), ContextOverflow)
    error = {"code": 429, "message": "q", "details": [{"@type": "RetryInfo", "retryDelay": "34.5s"}]}
    assert gemini_answer.complaint(error).retry_after == 34.5
    wrong = {"code": 400, "message": "q", "details": [{"reason": "API_KEY_INVALID"}]}
    assert isinstance(gemini_answer.complaint(wrong), UpstreamRefused)
    overflow = {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}
    assert isinstance(gemini_answer.complaint(overflow), ContextOverflow)


def test_a_blocked_prompt_is_the_callers() -> None:
    with pytest.raises(BadRequest, match="SAFETY"):
        gemini_answer.whole({"promptFeedback": {"blockReason": "SAFETY"}})


def test_requests_of_aws_are_what_the_signer_takes() -> None:
    assert AWSRequest(method="POST", url="https://x/model/a%3A0/converse", data=b"").prepare().url.endswith("converse")
