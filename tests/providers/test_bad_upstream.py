"""Upstreams that answer what nobody should: each has one defined end, and none is ours to crash on."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loopwright.core.chat import Delta
from loopwright.core.errors import (
    BadRequest,
    LoopwrightError,
    SettingsError,
    UpstreamBroke,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import ProviderSettings, Timeouts
from loopwright.providers.openai import OpenAICompatible
from loopwright.providers.protocol import Provider
from tests.kit.raw_http import Answering, Raw, saying, serving
from tests.providers.asking import ask, request
from tests.providers.natives import MAKERS, MODELS

pytestmark = pytest.mark.anyio
KINDS = ("openai", *MAKERS)
JSON = b"content-type: application/json\r\n"
EVENTS = b"content-type: text/event-stream\r\n"
FRAMES = b"content-type: application/vnd.amazon.eventstream\r\n"
BOMB = gzip.compress(b" " * 50_000_000)


def provider_at(kind: str, url: str, *, link_local: bool = False, api_key: str | None = "sk-secret") -> Provider:
    settings = ProviderSettings(
        kind=kind,
        base_url=url,
        api_key=None if kind == "bedrock" else api_key,
        region="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="sk-secret",
        timeouts=Timeouts(connect=5, first_token=1, between_tokens=1, total=20),
        link_local=link_local,
    )
    return OpenAICompatible("far", settings) if kind == "openai" else MAKERS[kind]("far", settings)


@asynccontextmanager
async def facing(kind: str, answering: Answering, *, close: bool = False) -> AsyncIterator[tuple[Raw, Provider]]:
    async with asyncio.timeout(20), serving(answering, close=close) as raw:
        provider = provider_at(kind, raw.url)
        yield raw, provider
        await provider.close()


async def end_of(kind: str, provider: Provider, *, stream: bool) -> tuple[list[Delta], LoopwrightError]:
    """What came before the error, and the error."""
    deltas: list[Delta] = []
    with pytest.raises(LoopwrightError) as caught:
        await ask(provider.chat(MODELS.get(kind, "m")), request("near", stream=stream), deltas)
    assert "sk-secret" not in str(caught.value)
    return deltas, caught.value


def whole(body: bytes, head: bytes = JSON, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, head, len(body), body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(whole(b"<html><h1>Sign in</h1></html>", b"content-type: text/html\r\n"), UpstreamBroke, id="html"),
        pytest.param(whole(b"[" * 100_000 + b"]" * 100_000), UpstreamBroke, id="nested"),
        pytest.param(whole(b'{"choices": [{"logprob": NaN}]}'), UpstreamBroke, id="nan"),
        pytest.param(whole(b'{"choices": "\xff\xfe"}'), UpstreamBroke, id="no-utf8"),
        pytest.param(whole(b'{"error": {"message": "out of cheese"}}'), UpstreamError, id="error-under-200"),
        pytest.param(whole(BOMB, JSON + b"content-encoding: gzip\r\n"), UpstreamBroke, id="gzip-bomb"),
        pytest.param(whole(b"", status=b"204 No Content"), UpstreamBroke, id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000_000, UpstreamBroke, id="endless-header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, UpstreamBroke, id="endless-headers"),
        pytest.param(b'HTTP/1.1 200 OK\r\n%bcontent-length: 5\r\n\r\n{"choices": []}' % JSON, UpstreamBroke, id="short"),
        pytest.param(b"HTTP/1.1 200 OK\r\n%bcontent-length: 999\r\n\r\n{}" % JSON, UpstreamTimeout, id="long"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}", UpstreamBroke, id="negative-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: a\r\n\x00b: c\r\n\r\n", UpstreamBroke, id="nul-in-header"),
    ],
)  # fmt: skip
async def test_what_is_no_answer(kind: str, answer: bytes, error: type[LoopwrightError], *, stream: bool) -> None:
    async with facing(kind, saying(answer)) as (_, provider):
        deltas, found = await end_of(kind, provider, stream=stream)
        assert isinstance(found, error), repr(found)
        assert found.status in (502, 504)
        assert not deltas


@pytest.mark.parametrize("kind", KINDS)
async def test_a_redirect_is_not_followed_wherever_it_leads(kind: str) -> None:
    where = b"http://169.254.169.254/latest/meta-data/iam/security-credentials/"
    for location in (where, b"/v1/chat/completions", b"//loop"):
        head = JSON + b"location: " + location + b"\r\n"
        async with facing(kind, saying(whole(b"", head, b"302 Found"))) as (raw, provider):
            for stream in (False, True):
                _, found = await end_of(kind, provider, stream=stream)
                assert isinstance(found, UpstreamRefused)
            assert len(raw.requests) == 2


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
async def test_an_event_without_an_end_breaks_the_stream(kind: str) -> None:
    async def flood(asked: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\n%b\r\ndata: {"choices": [{"delta": {"content": "' % EVENTS)
        for _ in range(40):
            writer.write(b"x" * 1_000_000)
            await writer.drain()

    async with facing(kind, flood) as (raw, provider):
        _, found = await end_of(kind, provider, stream=True)
        assert isinstance(found, UpstreamBroke)
        assert "16777216 bytes" in str(found)
        await raw.hung_up.wait()


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"choices": [{"delta": NaN}]}',
        b'"\xff"',
        b'{"choices": [{"delta": {"content": "\xff"}}]}',
        b"{}{}",
        b"nonsense",
    ],
)
async def test_an_event_that_is_no_json_breaks_the_stream(kind: str, data: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n%b\r\ndata: %b\n\ndata: [DONE]\n\n" % (EVENTS, data)
    async with facing(kind, saying(answer), close=True) as (_, provider):
        _, found = await end_of(kind, provider, stream=True)
        assert isinstance(found, UpstreamBroke)


async def test_a_frame_that_announces_gigabytes_breaks_the_stream() -> None:
    head = b"HTTP/1.1 200 OK\r\n%b\r\n" % FRAMES
    for frame in (
        b"\x7f\xff\xff\xff\x00\x00\x00\x10",
        b"\x00" * 64,
        b"\x00\x00\x00\x10\x7f\xff\xff\xff\x00\x00\x00\x00",
    ):
        async with facing("bedrock", saying(head + frame), close=True) as (_, provider):
            _, found = await end_of("bedrock", provider, stream=True)
            assert isinstance(found, UpstreamBroke)


async def test_headers_of_an_upstream_reach_nobody() -> None:
    body = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]}).encode()
    head = JSON + b"set-cookie: a=b\r\nx-loopwright-call-id: forged\r\nlocation: http://elsewhere\r\n"
    async with facing("openai", saying(whole(body, head))) as (_, provider):
        deltas = await ask(provider.chat("m"), request("near"))
        assert [delta.headers for delta in deltas] == [()]


# ---- where an upstream may be, and where it may look ----


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/v1", "http://[fe80::1]/v1", "http://[::ffff:169.254.169.254]/v1",
            "http://100.100.100.200/v1", "https://[fd00:ec2::254]/v1"],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
async def test_where_clouds_tell_credentials_nobody_is_asked_unless_it_is_allowed(kind: str, url: str) -> None:
    with pytest.raises(SettingsError, match="link_local"):
        provider_at(kind, url)
    await provider_at(kind, url, link_local=True).close()


async def test_a_name_is_resolved_once_and_what_it_leads_to_is_what_is_asked() -> None:
    """Not only when it is read: a name may lead elsewhere by the time it is used."""
    asked: list[str] = []
    answers = iter(["169.254.169.254", "127.0.0.1", "169.254.169.254"])

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return [next(answers)]

    async with serving(saying(whole(b"{}"))) as raw:
        port = raw.url.rpartition(":")[2].partition("/")[0]
        client = HttpClient(base_url=f"http://rebinding.example:{port}/v1", resolve=resolve)
        with pytest.raises(UpstreamRefused, match=r"rebinding\.example.*169\.254\.169\.254"):
            await client.request("GET", "/x")
        assert (await client.request("GET", "/x")).body == b"{}"
        assert asked == ["rebinding.example"] * 2
        assert (await client.request("GET", "/x")).body == b"{}"  # on the same connection
        assert len(asked) == 2
        await client.close()


@pytest.mark.parametrize(
    ("kind", "url", "says"),
    [
        ("image_url", "http://127.0.0.1:1/secret.png", "private"),
        ("image_url", "HTTP://localhost:1/secret.png", "private"),
        ("image_url", "http://169.254.169.254/latest/meta-data/", "private"),
        ("image_url", "http://2130706433/", "private"),
        ("image_url", "http://127.1/", "private"),
        ("image_url", "http://0x7f.1/", "private"),
        ("image_url", " http://[::1]/", "private"),
        ("image_url", "file:///etc/passwd", "data: URL"),
        ("video_url", "http://127.0.0.1:1/film.mp4", "data: URL"),
        ("audio_url", "https://example.org/a.mp3", "data: URL"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_in_the_house_is_not_sent_to_look_around_in_it(
    kind: str, url: str, says: str, *, stream: bool
) -> None:
    async with facing("openai", saying(whole(b"{}"))) as (raw, provider):
        content = [{"type": "text", "text": "what is it?"}, {"type": kind, kind: {"url": url}}]
        asked = request("near", messages=[{"role": "user", "content": content}], stream=stream)
        with pytest.raises(BadRequest, match=says) as caught:
            await ask(provider.chat("m"), asked)
        assert caught.value.param == f"messages[0].content[1].{kind}.url"
        assert not raw.requests


async def test_an_image_by_url_is_left_to_an_upstream_that_may_look_or_is_not_in_the_house() -> None:
    body = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]}).encode()
    content = [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/x.png", "detail": "low"}}]
    async with serving(saying(whole(body))) as raw:
        provider = OpenAICompatible("far", ProviderSettings(base_url=raw.url, args={"private_images": True}))
        await ask(provider.chat("m"), request("m", messages=[{"role": "user", "content": content}]))
        assert json.loads(raw.requests[0].partition(b"\r\n\r\n")[2])["messages"][0]["content"] == content
        await provider.close()
