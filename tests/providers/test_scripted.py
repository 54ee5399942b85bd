"""The shipped fake does what its script says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loopwright.core.errors import Busy, SettingsError, UpstreamBroke
from loopwright.core.money import Usage
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.scripted import Scripted
from tests.providers.asking import ask, request


def scripted(**args: Any) -> Scripted:
    return Scripted("fake", ProviderSettings(kind="scripted", args=args))


async def said(provider: Scripted, text: str, **fields: Any) -> str:
    asked = request(
        "m", messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": text}], **fields
    )
    return "".join(delta.text for delta in await ask(provider.chat("m"), asked))


@pytest.mark.anyio
async def test_it_echoes_by_default_in_words() -> None:
    deltas = await ask(scripted().chat("up"), request("m", messages=[{"role": "user", "content": "one two  three"}]))
    assert [delta.text for delta in deltas if delta.text] == ["one", " two", "  three"]
    assert (deltas[0].extra, deltas[0].speaks) == ({"role": "assistant"}, False)
    assert (deltas[0].model, deltas[0].provider) == ("up", "fake")
    assert [delta.finish for delta in deltas if delta.finish] == ["stop"]
    assert (deltas[-1].usage, deltas[-1].done) == (Usage(input=3, output=3), True)
    assert all(delta.raw == b"" for delta in deltas)


@pytest.mark.anyio
async def test_tables_rules_and_templates() -> None:
    table = scripted(answers={"2+2?": "4"}, otherwise="ask me sums, not $last")
    assert await said(table, "2+2?") == "4"
    assert await said(table, "2+2?!") == "ask me sums, not 2+2?!"
    rules = scripted(
        answers=[{"match": r"in (?P<city>\w+)", "text": "$city is sunny ($model, $system, $turns, $$5, $unknown)"}]
    )
    assert await said(rules, "weather in Rome?") == "Rome is sunny (m, be brief, 2, $5, $unknown)"
    assert await said(rules, "hello") == "hello"


@pytest.mark.anyio
async def test_chunks_limits_choices_and_delays() -> None:
    provider = scripted(chunk=2, delay=0.001, between=0.001)
    deltas = await ask(provider.chat("m"), request("m", messages=[{"role": "user", "content": "a b c"}], n=2))
    assert [(delta.index, delta.text) for delta in deltas if delta.text] == [
        (0, "a b"),
        (0, " c"),
        (1, "a b"),
        (1, " c"),
    ]
    assert deltas[-1].usage == Usage(input=3, output=6)
    cut = await ask(provider.chat("m"), request("m", messages=[{"role": "user", "content": "a b c"}], max_tokens=1))
    assert [delta.finish for delta in cut if delta.finish] == ["length"]
    assert "".join(delta.text for delta in cut) == "a"


@pytest.mark.anyio
async def test_tool_calls() -> None:
    provider = scripted(answers=[{"tool_calls": [{"name": "look", "arguments": {"at": 1}}]}])
    first, second = [await ask(provider.chat("m"), request("m")) for _ in range(2)]
    assert first == second
    (call,) = [delta.extra["tool_calls"][0] for delta in first if delta.extra and "tool_calls" in delta.extra]
    assert call["function"] == {"name": "look", "arguments": '{"at": 1}'}
    assert [delta.finish for delta in first if delta.finish] == ["tool_calls"]


@pytest.mark.anyio
async def test_errors_on_demand() -> None:
    busy = scripted(answers=[{"error": {"code": "rate_limit_exceeded", "retry_after": 2}}])
    taken: list[Any] = []
    with pytest.raises(Busy) as told:
        await ask(busy.chat("m"), request("m"), taken)
    assert (told.value.retry_after, taken) == (2, [])
    broke = scripted(answers=[{"text": "a b c", "error": {"code": "upstream_broke", "after": 2}}])
    with pytest.raises(UpstreamBroke):
        await ask(broke.chat("m"), request("m"), taken)
    assert [delta.text for delta in taken if delta.text] == ["a", " b"]


@pytest.mark.anyio
async def test_completions_embeddings_and_models() -> None:
    provider = scripted(models=["b", "a"], dimensions=4)
    deltas = await ask(provider.chat("m"), request("m", operation="completion", prompt="x y"))
    assert "".join(delta.text for delta in deltas) == "x y"
    (delta,) = await ask(provider.chat("m"), request("m", operation="embeddings", input=["x", "y"]))
    vectors = [item["embedding"] for item in json.loads(delta.raw)["data"]]
    assert [len(vector) for vector in vectors] == [4, 4]
    assert sum(x * x for x in vectors[0]) == pytest.approx(1)
    assert vectors[0] != vectors[1]
    (packed,) = await ask(
        provider.chat("m"), request("m", operation="embeddings", input="x", encoding_format="base64", dimensions=3)
    )
    assert len(json.loads(packed.raw)["data"][0]["embedding"]) == 16
    assert await provider.models() == ["a", "b"]
    await provider.close()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"anwers": []}, "anwers"),
        ({"answers": [{"match": "("}]}, "regular expression"),
        ({"answers": [{"error": {"code": "upstream_brok"}}]}, "did you mean 'upstream_broke'"),
        ({"delay": "long"}, "delay"),
        ({"chunk": 0}, "1 or more"),
    ],
)
def test_malformed_scripts_are_refused(args: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        scripted(**args)


@pytest.mark.anyio
async def test_a_loop_with_tools_is_scripted_to_its_end() -> None:
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    rules: list[dict[str, Any]] = [{"match": "weather", "results": True, "text": "It is: $result"}]
    rules += [{"match": "weather", "results": False, "reasoning": "I look.", "tool_calls": [call]}]
    chat = scripted(answers=rules).chat("m")
    asked: list[dict[str, Any]] = [{"role": "user", "content": "the weather?"}]
    first = await ask(chat, request("m", messages=asked))
    assert first[1].extra == {"reasoning_content": "I look."}
    assert any((delta.extra or {}).get("tool_calls") for delta in first)
    asked += [{"role": "assistant", "content": None}, {"role": "tool", "tool_call_id": "x", "content": "rain"}]
    then = await ask(chat, request("m", messages=asked))
    assert "".join(delta.text for delta in then) == "It is: rain"
