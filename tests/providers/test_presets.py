"""Presets: data that is complete, put under what the user says, and sent as it says."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from loopwright.core.errors import BadRequest, SettingsError
from loopwright.kit.dialects.foreign import PARTICULAR
from loopwright.kit.settings import PresetName, ProviderSettings
from loopwright.providers.openai import OpenAICompatible
from loopwright.providers.presets import PLAIN, PRESETS, changes_for, completed, preset_of
from loopwright.testing import FaultyUpstream
from tests.providers.asking import ask, request


def test_the_settings_know_every_preset() -> None:
    assert set(get_args(PresetName)) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_each_is_a_place_that_can_be_called(name: str) -> None:
    preset = PRESETS[name]
    assert preset.base_url is None or preset.base_url.startswith(("https://", "http://127.0.0.1:"))
    assert preset.base_url is not None or name.startswith("azure")
    assert "{key}" in preset.key
    assert not set(preset.drop) & set(preset.refuse)
    assert not set(preset.rename) & {*preset.drop, *preset.refuse}
    assert set(preset.accepts) <= PARTICULAR
    assert preset.include_usage or preset.kind != "openai" or "stream_options" in preset.drop


def test_the_name_the_kind_or_the_word_says_which() -> None:
    groq = completed("groq", ProviderSettings(api_key="k"))
    assert (groq.base_url, groq.kind, groq.preset) == ("https://api.groq.com/openai/v1", "openai", "groq")
    assert preset_of("groq", groq) is PRESETS["groq"]
    assert completed("groq", groq) == groq
    assert completed("mine", ProviderSettings(preset="groq")).base_url == "https://api.groq.com/openai/v1"
    assert completed("anthropic", ProviderSettings()).kind == "anthropic"
    assert completed("mine", ProviderSettings(kind="gemini")).preset == "gemini"
    own = ProviderSettings(base_url="http://127.0.0.1:1/v1")
    assert completed("groq", own) == own
    assert preset_of("groq", own) is PLAIN
    aws = completed("aws", ProviderSettings(preset="bedrock", region="eu-west-1"))
    assert (aws.kind, aws.base_url) == ("bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com")
    with pytest.raises(SettingsError, match="region"):
        completed("aws", ProviderSettings(preset="bedrock"))
    with pytest.raises(SettingsError, match="base_url"):
        OpenAICompatible("azure", ProviderSettings())


async def sent(preset: str, **body: Any) -> tuple[FaultyUpstream, dict[str, Any]]:
    async with FaultyUpstream() as upstream:
        settings = ProviderSettings(preset=preset, base_url=upstream.url, api_key="k")  # type: ignore[arg-type]
        provider = OpenAICompatible("far", settings)
        await ask(provider.chat("up"), request("near", **body))
        await provider.close()
        return upstream, json.loads(upstream.seen[0].body)


@pytest.mark.anyio
@pytest.mark.parametrize("raw", [True, False])
async def test_members_are_renamed_and_dropped(*, raw: bool) -> None:
    _, body = await sent("mistral", raw=raw, max_completion_tokens=5, seed=7, user="u", logit_bias={"1": 1.0})
    assert (body["max_tokens"], body["random_seed"], body["model"]) == (5, 7, "up")
    assert not {"max_completion_tokens", "seed", "user", "logit_bias"} & set(body)
    _, body = await sent("openai", raw=raw, max_tokens=5)
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


@pytest.mark.anyio
async def test_usage_is_not_asked_for_where_that_is_refused() -> None:
    _, body = await sent("mistral", stream=True, stream_options={"include_usage": True})
    assert "stream_options" not in body
    _, body = await sent("groq", stream=True)
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.anyio
async def test_what_cannot_be_left_out_silently_is_told() -> None:
    with pytest.raises(BadRequest, match="logprobs"):
        await sent("groq", logprobs=True)
    _, body = await sent("groq", logprobs=False, n=1)
    assert not {"logprobs", "n"} & set(body)


@pytest.mark.anyio
async def test_marks_of_other_dialects_stay_behind() -> None:
    content = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
    _, body = await sent("openai", messages=[{"role": "user", "content": content}])
    assert "cache_control" not in body["messages"][0]["content"][0]
    _, body = await sent("openrouter", messages=[{"role": "user", "content": content}])
    assert "cache_control" in body["messages"][0]["content"][0]


THOUGHTFUL: list[Any] = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Hm.",
        "reasoning": "Hm.",
        "annotations": [],
        "audio": None,
        "refusal": None,
        "extra_content": {"google": {"thought_signature": "x"}},
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "f", "arguments": '{"reasoning": "stays"}'},
                "extra_content": {"google": {"thought_signature": "y"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "reasoning_content"},
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("preset", "kept"),
    [
        ("mistral", set()),
        ("groq", set()),
        ("cerebras", {"reasoning"}),
        ("deepseek", {"reasoning_content"}),
        ("vllm", {"reasoning", "reasoning_content", "refusal"}),
        ("openai", {"annotations", "audio", "refusal"}),
        ("openrouter", {"reasoning", "reasoning_content", "annotations", "audio", "refusal", "extra_content"}),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
async def test_only_what_is_accepted_of_an_answer_goes_back(preset: str, kept: set[str], *, raw: bool) -> None:
    _, body = await sent(preset, raw=raw, messages=THOUGHTFUL)
    user, assistant, tool = body["messages"]
    assert (user, tool) == (THOUGHTFUL[0], THOUGHTFUL[2])
    assert assistant.keys() == {"role", "content", "tool_calls"} | kept
    (call,) = assistant["tool_calls"]
    assert call["function"] == THOUGHTFUL[1]["tool_calls"][0]["function"]
    assert ("extra_content" in call) == ("extra_content" in kept)


@pytest.mark.anyio
async def test_a_refusal_becomes_text_where_there_is_no_such_member() -> None:
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "refusal": "I cannot."}]
    _, body = await sent("mistral", messages=said)
    assert body["messages"][1] == {"role": "assistant", "content": "I cannot."}


@pytest.mark.anyio
async def test_settings_of_reasoning_are_no_history() -> None:
    _, body = await sent("groq", messages=THOUGHTFUL, reasoning={"effort": "low"})
    assert body["reasoning"] == {"effort": "low"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("args", "kept"), [({}, True), ({"accepts": []}, False), ({"accepts": ["reasoning_content"]}, True)]
)
async def test_a_place_without_a_preset_can_be_told_to_be_strict(args: dict[str, Any], *, kept: bool) -> None:
    async with FaultyUpstream() as upstream:
        provider = OpenAICompatible("far", ProviderSettings(base_url=upstream.url, args=args))
        await ask(provider.chat("up"), request("up", messages=THOUGHTFUL))
        await provider.close()
        assert ("reasoning_content" in json.loads(upstream.seen[0].body)["messages"][1]) == kept


def test_what_only_some_accept_is_told() -> None:
    with pytest.raises(SettingsError, match="thinking_blocks"):
        OpenAICompatible("far", ProviderSettings(base_url="http://127.0.0.1:9", args={"accepts": ["thoughts"]}))


@pytest.mark.anyio
async def test_azure_has_its_own_key_path_and_version() -> None:
    upstream, _ = await sent("azure")
    seen = upstream.seen[0]
    assert seen.path == "/v1/openai/deployments/up/chat/completions"
    assert (seen.headers["api-key"], "authorization" in seen.headers) == ("k", False)


def test_what_is_not_concerned_is_not_touched() -> None:
    change = changes_for(PRESETS["groq"], "far")
    assert change is not None
    asked = request("near")
    assert change(asked.raw, asked.body) is None
    assert changes_for(PLAIN, "far") is None
