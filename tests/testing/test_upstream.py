"""The fault-injecting upstream: answers a real SDK understands, and the faults it promises."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest
from openai import AsyncOpenAI, InternalServerError, RateLimitError

from loopwright.core.errors import SettingsError
from loopwright.kit.http import HttpClient
from loopwright.testing import KINDS, Fault, FaultyUpstream, answer_to
from loopwright.testing.__main__ import main
from loopwright.testing.faults import Fate


def sdk(upstream: FaultyUpstream) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=upstream.url, api_key="any", max_retries=0)


@pytest.mark.anyio
async def test_the_openai_sdk_understands_it() -> None:
    async with FaultyUpstream(models=["x", "y"]) as upstream, sdk(upstream) as client:
        chat = await client.chat.completions.create(
            model="x", messages=[{"role": "user", "content": "hi"}], n=2, logprobs=True, max_tokens=4
        )
        assert [choice.message.content for choice in chat.choices] == [
            answer_to("hi", tokens=4, index=index) for index in range(2)
        ]
        logprobs = chat.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert "".join(token.token for token in logprobs.content) == chat.choices[0].message.content
        stream = await client.chat.completions.create(
            model="x",
            messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer_to("hi")
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 16
        completion = await client.completions.create(model="x", prompt="hi")
        assert completion.choices[0].text == answer_to("hi")
        assert sorted([model.id async for model in client.models.list()]) == ["x", "y"]
        vectors = await client.embeddings.create(model="x", input=["a", "b"], dimensions=3)
        assert [len(item.embedding) for item in vectors.data] == [3, 3]


@pytest.mark.anyio
async def test_tools_and_formats() -> None:
    async with FaultyUpstream() as upstream, sdk(upstream) as client:
        called = await client.chat.completions.create(
            model="x",
            messages=[{"role": "user", "content": "hi"}],
            tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        )
        assert called.choices[0].finish_reason == "tool_calls"
        calls = called.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert calls[0].function.name == "look"
        assert json.loads(calls[0].function.arguments)["digest"] == answer_to("hi", tokens=1)
        shaped = await client.chat.completions.create(
            model="x",
            messages=[{"role": "user", "content": "hi"}],
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "s",
                    "schema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["q"]}}},
                },
            },
        )
        assert json.loads(shaped.choices[0].message.content or "") == {"a": 1, "b": "q"}


@pytest.mark.anyio
async def test_faults_come_by_sequence_by_chance_and_by_model() -> None:
    async with FaultyUpstream(sequence=["status=500", "status=429:3", "ok"]) as upstream, sdk(upstream) as client:

        async def ask(model: str) -> str | None:
            done = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
            return done.choices[0].message.content

        with pytest.raises(InternalServerError):
            await ask("x")
        with pytest.raises(RateLimitError) as limited:
            await ask("x")
        assert limited.value.response.headers["retry-after"] == "3"
        assert await ask("x") == answer_to("hi")
        with pytest.raises(InternalServerError):
            await ask("fault:status=502")
        assert (upstream.requests, upstream.in_flight, upstream.cancelled) == (4, 0, 0)
    fates = [Fate(faults=["stall@0.3"], sequence=(), seed=7) for _ in range(2)]
    struck = [["stall" in fate.choose("x") for _ in range(1000)] for fate in fates]
    assert struck[0] == struck[1]
    assert 200 < sum(struck[0]) < 400


@pytest.mark.anyio
async def test_an_unknown_fault_in_a_model_name_is_told() -> None:
    async with FaultyUpstream() as upstream:
        client = HttpClient(base_url=upstream.url)
        reply = await client.request("POST", "/chat/completions", b'{"model":"fault:stal","messages":[]}')
        assert (reply.status, b"did you mean 'stall'" in reply.body) == (400, True)
        assert (await client.request("POST", "/chat/completions", b"{")).status == 400
        assert (await client.request("POST", "/nothing", b"{}")).status == 404
        assert (await client.request("GET", "/nothing")).status == 404
        await client.close()


@pytest.mark.anyio
async def test_it_leaves_while_a_client_is_being_answered() -> None:
    async with asyncio.timeout(30):
        async with FaultyUpstream(faults=["stall"]) as upstream:
            client = HttpClient(base_url=upstream.url)
            waiting = asyncio.create_task(client.request("POST", "/chat/completions", b'{"model":"x","messages":[]}'))
            await upstream.until(lambda: upstream.in_flight == 1)
        await asyncio.gather(waiting, return_exceptions=True)
        await client.close()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("stall", Fault(kind="stall", value=3)),
        ("stall=0@0.5", Fault(kind="stall", value=0, chance=0.5)),
        ("status=429:2@0.1", Fault(kind="status", value=429, retry_after=2, chance=0.1)),
        ("latency=0.25", Fault(kind="latency", value=0.25)),
        ("crlf", Fault(kind="crlf")),
    ],
)
def test_faults_are_written(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize("text", ["stal", "stall@2", "stall=", "crlf=1", "", "stall@", "sta ll"])
def test_faults_that_are_none(text: str) -> None:
    with pytest.raises(SettingsError):
        Fault.parse(text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written(kind: str) -> None:
    assert Fault.parse(kind).kind == kind


def test_from_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "loopwright.testing", "--fault", "status=503", "--model", "z"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        async def ask() -> int:
            client = HttpClient(base_url=url)
            reply = await client.request("GET", "/models")
            await client.close()
            return reply.status

        assert asyncio.run(ask()) == 503
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert main(["--fault", "stal"]) == 2
    assert "did you mean 'stall'" in capsys.readouterr().err
