"""Anthropic, Gemini and Bedrock through the real providers, against an upstream that does everything wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loopwright.core.chat import Delta, Request, answering
from loopwright.core.errors import (
    BadRequest,
    Busy,
    LoopwrightError,
    SettingsError,
    Unavailable,
    UpstreamBroke,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from loopwright.core.money import Usage
from loopwright.kit.settings import ProviderSettings
from loopwright.testing import answer_to
from loopwright.testing.spoken import SIGNATURE, THOUGHT
from tests.providers.asking import ask, request, text_in
from tests.providers.natives import MAKERS, MODELS, answered, facing, gathered, unnamed

PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
USAGE = {
    "anthropic": Usage(input=13, output=16, cached=5, cache_written=7),
    "gemini": Usage(input=6, output=16, cached=5),
    "bedrock": Usage(input=13, output=16, cached=5, cache_written=7),
}
each = pytest.mark.parametrize("kind", MAKERS)


@pytest.mark.anyio
@each
@pytest.mark.parametrize("stream", [False, True])
async def test_a_text(kind: str, *, stream: bool) -> None:
    async with facing(kind) as (upstream, provider):
        deltas = await ask(provider.chat(MODELS[kind]), request("near", stream=stream))
        said = gathered(deltas)
        assert (said["text"], said["finish"], said["usage"]) == (answer_to("hello"), "stop", USAGE[kind])
        assert (deltas[0].model, deltas[0].provider) == (MODELS[kind], "far")
        assert [delta.done for delta in deltas] == [False] * (len(deltas) - 1) + [True]
        assert not any(delta.raw for delta in deltas)
        assert upstream.cancelled == 0


@pytest.mark.anyio
@each
async def test_what_a_client_gets(kind: str) -> None:
    async with facing(kind) as (_, provider):
        whole = json.loads(await answered(provider, MODELS[kind], request("near")))
        assert whole["choices"][0]["message"] == {"role": "assistant", "content": answer_to("hello")}
        assert whole["usage"]["prompt_tokens_details"]["cached_tokens"] == 5
        stream = await answered(
            provider, MODELS[kind], request("near", stream=True, stream_options={"include_usage": True})
        )
        assert text_in(stream) == answer_to("hello")
        assert stream.endswith(b"data: [DONE]\n\n")
        assert b'"total_tokens"' in stream
        called = json.loads(await answered(provider, MODELS[kind], request("near", tools=[TOOL])))
        assert called["choices"][0]["message"]["content"] is None
        assert called["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.anyio
@each
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_is_called_and_its_result_goes_back(kind: str, *, stream: bool) -> None:
    async with facing(kind) as (upstream, provider):
        chat = provider.chat(MODELS[kind])
        body: dict[str, Any] = {"tools": [TOOL], "reasoning_effort": "low", "stream": stream}
        said = gathered(await ask(chat, request("near", **body)))
        assert (said["finish"], said["reasoning"]) == ("tool_calls", THOUGHT * 2)
        (call,) = said["calls"].values()
        assert json.loads(call["arguments"]) == {"digest": answer_to("hello", tokens=1)}
        function = {"name": call["name"], "arguments": call["arguments"]}
        made: dict[str, Any] = {"id": call["id"], "type": "function", "function": function}
        if kind == "gemini":
            assert call["extra"] == {"google": {"thought_signature": SIGNATURE}}
            made["extra_content"] = call["extra"]
        else:
            assert said["thoughts"] == [{"type": "thinking", "thinking": THOUGHT * 2, "signature": SIGNATURE}]
        messages = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": None, "tool_calls": [made], "thinking_blocks": said["thoughts"]},
            {"role": "tool", "tool_call_id": call["id"], "content": "a result"},
        ]
        after = gathered(await ask(chat, request("near", **body, messages=messages)))
        assert (after["text"], after["finish"]) == (answer_to("hello"), "stop")
        sent = upstream.seen[-1].body
        assert sent.count(SIGNATURE.encode()) == 1
        assert b"a result" in sent


@pytest.mark.anyio
@each
async def test_an_image_goes_as_bytes(kind: str) -> None:
    content = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    async with facing(kind) as (upstream, provider):
        await ask(provider.chat(MODELS[kind]), request("near", messages=[{"role": "user", "content": content}]))
        assert b'"iVBORw0KGgo="' in upstream.seen[-1].body


@pytest.mark.anyio
@each
async def test_a_form_is_kept_to(kind: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    async with facing(kind) as (_, provider):
        said = gathered(await ask(provider.chat(MODELS[kind]), request("near", response_format=form)))
        assert json.loads(said["text"]) == {"a": 1}


FAILURES: list[tuple[str, type[LoopwrightError], str]] = [
    ("status=500", UpstreamError, "HTTP|fault"),
    ("status=503", Unavailable, "overloaded"),
    ("status=400", BadRequest, "a fault of status 400"),
    ("status=404", LoopwrightError, "404"),
    ("html", UpstreamBroke, "HTML|html"),
    ("html=502", UpstreamError, "HTML|html"),
    ("error-body", UpstreamBroke, "error|stream"),
    ("drop", UpstreamBroke, "."),
    ("reset", UpstreamBroke, "."),
    ("malformed-http", UpstreamBroke, "."),
    ("gzip", UpstreamBroke, "gzip"),
]


@pytest.mark.anyio
@each
@pytest.mark.parametrize(("fault", "error", "says"), FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_failures_before_a_word(
    kind: str, fault: str, error: type[LoopwrightError], says: str, *, stream: bool
) -> None:
    async with facing(kind, faults=[fault]) as (upstream, provider):
        taken: list[Delta] = []
        with pytest.raises(error, match=says) as caught:
            await ask(provider.chat(MODELS[kind]), request("near", stream=stream), taken)
        assert not taken
        assert "very-secret" not in str(caught.value)
        await upstream.until(lambda: upstream.in_flight == 0)


@pytest.mark.anyio
@each
async def test_a_limit_says_when_to_come_back(kind: str) -> None:
    async with facing(kind, faults=["status=429:7"]) as (_, provider):
        with pytest.raises(Busy, match="'far'") as caught:
            await ask(provider.chat(MODELS[kind]), request("near"))
        assert caught.value.retry_after == 7


@pytest.mark.anyio
@each
@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_are_refused_are_ours_to_mend(kind: str, status: int) -> None:
    async with facing(kind, faults=[f"status={status}"]) as (_, provider):
        with pytest.raises(UpstreamRefused, match="far"):
            await ask(provider.chat(MODELS[kind]), request("near"))


@pytest.mark.anyio
async def test_anthropic_overloaded() -> None:
    async with facing("anthropic", faults=["status=529"]) as (_, provider):
        with pytest.raises(Unavailable, match="overloaded"):
            await ask(provider.chat("claude-x"), request("near", stream=True))


@pytest.mark.anyio
@each
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("truncate", UpstreamBroke),
        ("reset-midstream", UpstreamBroke),
        ("stall", UpstreamTimeout),
        ("malformed-json", UpstreamBroke),
        ("error-event", LoopwrightError),
    ],
)
async def test_streams_that_break_off_are_told(kind: str, fault: str, error: type[LoopwrightError]) -> None:
    async with facing(kind, faults=[fault]) as (upstream, provider):
        taken: list[Delta] = []
        with pytest.raises(error) as caught:
            await ask(provider.chat(MODELS[kind]), request("near", stream=True), taken)
        assert caught.value.status >= 500
        assert taken
        assert answer_to("hello").startswith(gathered(taken)["text"])
        assert not any(delta.done for delta in taken)
        await upstream.until(lambda: upstream.in_flight == 0)


@pytest.mark.anyio
@each
@pytest.mark.parametrize("fault", ["split-utf8", "crlf", "ping", "until-close", "connection-close", "no-usage"])
async def test_streams_that_are_odd_but_whole(kind: str, fault: str) -> None:
    async with facing(kind, faults=[fault]) as (_, provider):
        said = gathered(await ask(provider.chat(MODELS[kind]), request("near", stream=True)))
        assert (said["text"], said["finish"]) == (answer_to("hello"), "stop")


@pytest.mark.anyio
@each
async def test_a_hang_up_cancels_upstream(kind: str) -> None:
    async with facing(kind, faults=["between-tokens=0.2"]) as (upstream, provider):
        async with answering(provider.chat(MODELS[kind]), request("near", stream=True)) as answer:
            async for delta in answer:
                if delta.text:
                    break
        await upstream.until(lambda: upstream.cancelled == 1)
        waiting = asyncio.ensure_future(ask(provider.chat("fault:stall"), request("near")))
        await upstream.until(lambda: upstream.in_flight == 1)
        waiting.cancel()
        await upstream.until(lambda: upstream.cancelled == 2)


@pytest.mark.anyio
@each
async def test_a_connection_is_used_again(kind: str) -> None:
    async with facing(kind) as (upstream, provider):
        for stream in (True, False, True):
            await ask(provider.chat(MODELS[kind]), request("near", stream=stream))
        assert upstream.accepted == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "model"), [("gemini", "gemini-embedding-001"), ("bedrock", "amazon.titan-embed-text-v2:0")]
)
async def test_embeddings(kind: str, model: str) -> None:
    async with facing(kind) as (upstream, provider):
        asked = request("near", operation="embeddings", input=["a", "b"])
        (delta,) = await ask(provider.chat(model), asked)
        body = json.loads(delta.raw)
        assert [len(each["embedding"]) for each in body["data"]] == [8, 8]
        assert [each["index"] for each in body["data"]] == [0, 1]
        assert delta.usage is not None
        assert delta.usage.estimated is (kind == "gemini")
        packed = request("near", operation="embeddings", input="a", encoding_format="base64")
        (delta,) = await ask(provider.chat(model), packed)
        vector = struct.unpack("<8f", base64.b64decode(json.loads(delta.raw)["data"][0]["embedding"]))
        assert vector == pytest.approx(body["data"][0]["embedding"], abs=1e-6)
        assert upstream.requests == (2 if kind == "gemini" else 3)


@pytest.mark.anyio
async def test_anthropic_has_no_embeddings() -> None:
    async with facing("anthropic") as (_, provider):
        with pytest.raises(BadRequest):
            await ask(provider.chat("m"), request("near", operation="embeddings", input="a"))


@pytest.mark.anyio
async def test_images_inside_the_house_are_not_fetched() -> None:
    async with facing("gemini") as (upstream, provider):
        for url in (upstream.url, "http://localhost:1/x.png", "http://[::ffff:127.0.0.1]/x.png", "http://10.0.0.1/"):
            content = [{"type": "image_url", "image_url": {"url": url}}]
            with pytest.raises(BadRequest, match="private") as caught:
                await ask(provider.chat("m"), request("near", messages=[{"role": "user", "content": content}]))
            assert caught.value.param == "messages[0].content[0].image_url.url"
        assert upstream.requests == 0


@pytest.mark.anyio
@each
async def test_models_are_listed(kind: str) -> None:
    async with facing(kind, models=["b", "a"]) as (_, provider):
        assert await provider.models() == ["a", "b"]


@pytest.mark.anyio
async def test_an_image_that_is_pointed_at_is_fetched() -> None:
    async def serve(asked: web.Request) -> web.Response:
        kind = "text/html" if asked.path == "/page" else "image/png"
        return web.Response(body=b"\x89PNG", content_type=kind, status=302 if asked.path == "/moved" else 200)

    app = web.Application()
    app.router.add_get("/{name}", serve)
    async with facing("bedrock", args={"private_images": True}) as (upstream, provider), TestServer(app) as server:

        def asked(path: str) -> Request:
            content = [{"type": "image_url", "image_url": {"url": str(server.make_url(path))}}]
            return request("near", messages=[{"role": "user", "content": content}])

        await ask(provider.chat(MODELS["bedrock"]), asked("/a.png"))
        image = json.loads(upstream.seen[0].body)["messages"][0]["content"][0]["image"]
        assert image == {"format": "png", "source": {"bytes": base64.b64encode(b"\x89PNG").decode()}}
        for path, says in (("/page", "no image"), ("/moved", "HTTP 302")):
            with pytest.raises(BadRequest, match=says):
                await ask(provider.chat("m"), asked(path))


@pytest.mark.anyio
@each
async def test_a_completion_is_a_chat(kind: str) -> None:
    async with facing(kind) as (_, provider):
        asked = request("near", operation="completion", prompt="hello", stream=True)
        assert text_in(await answered(provider, MODELS[kind], asked)) == answer_to("hello")
        with pytest.raises(BadRequest):
            await ask(provider.chat("m"), request("near", operation="completion", prompt=[1, 2]))


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("anthropic", {}, "api_key"),
        ("gemini", {}, "api_key"),
        ("bedrock", {}, "region"),
        ("bedrock", {"region": "eu-west-1", "aws_access_key_id": "x"}, "together"),
        ("anthropic", {"api_key": "k", "args": {"versoin": "x"}}, "versoin"),
        ("anthropic", {"api_key": "k", "args": {"max_tokens": "x"}}, "max_tokens"),
        ("gemini", {"api_key": "k", "args": {"body": 1}}, "body"),
        ("gemini", {"api_key": "k", "args": {"verify": "no"}}, "verify"),
    ],
)
def test_settings_that_do_not_suffice(kind: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        MAKERS[kind]("far", ProviderSettings(kind=kind, **settings))


def test_deltas_are_values() -> None:
    assert unnamed(Delta(text="a", model="m", provider="p")) == Delta(text="a")
