"""The dialects on the fast lane and as plain ASGI, over a road of the shipped fake and a record in a list."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from loopwright.api.dialect import Dialect
from loopwright.api.exchange import Exchange
from loopwright.api.hot import HotRoutes
from loopwright.api.messages import Counting, Messages
from loopwright.api.openai import OpenAI
from loopwright.core.who import HOUSE, Principal
from tests.api.serving import Raw, post, served
from tests.gateway.roads import Memory, road, scripted

RULES: dict[str, Any] = {
    "answers": [
        {"match": "break", "text": "one two", "error": {"code": "upstream_broke", "after": 1}},
        {"match": "busy", "error": {"code": "rate_limit_exceeded", "retry_after": 3}},
    ]
}
LIMITED = Principal(key_id=2, key_name="limited", project_id=1, project="p", models=frozenset({"other"}))
KEY = "x-api-key: lw-good\r\n"


class Counter:
    """As an engine that counts: one token for each message."""

    async def count(self, body: Any) -> int:
        return len(body["messages"])


def routes(spool: Memory) -> HotRoutes:
    chat = road({"m": scripted(RULES)}, spool)
    dialects: dict[str, Dialect] = {"/v1/messages": Messages(), "/v1/chat/completions": OpenAI("chat")}
    keys = {"lw-good": HOUSE, "lw-limited": LIMITED}
    return HotRoutes(chat=chat, dialects=dialects, find=keys.get, refusals=chat)


def ask(text: str, **more: Any) -> bytes:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}], **more}
    return json.dumps(body).encode()


def run(main: Callable[[Raw], Awaitable[None]], spool: Memory, *, fast: bool = True) -> None:
    hot = routes(spool)
    counting = Counting(who=hot.who, models=("m", "exact"), counters={"exact": Counter()})
    paths = {path: path for path in (*hot.dialects, "/v1/messages/count_tokens")}

    def answer(exchange: Exchange) -> Awaitable[None]:
        return counting.answer(exchange) if exchange.path.endswith("count_tokens") else hot.answer(exchange)

    async def serve() -> None:
        async with served(answer, paths=paths, body_limit=10_000, fast=fast) as port:
            client = await Raw.open(port)
            await main(client)
            await client.close()

    asyncio.run(serve())


@pytest.mark.parametrize("fast", [True, False])
def test_whole_and_streamed(*, fast: bool) -> None:
    spool = Memory()

    async def main(client: Raw) -> None:
        await client.send(post(ask("hello you"), path="/v1/messages", headers=KEY))
        status, headers, body = await client.answer()
        message = json.loads(body)
        assert status == 200
        assert message["content"] == [{"type": "text", "text": "hello you"}]
        assert message["id"] == "msg_" + headers["x-loopwright-call-id"].replace("-", "")
        assert float(headers["x-loopwright-cost-usd"]) > 0
        await client.send(post(ask("hello you", stream=True), path="/v1/messages", headers=KEY))
        status, headers, body = await client.answer()
        assert headers["content-type"].startswith("text/event-stream")
        assert body.count(b'"text_delta"') == 2
        assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')

    run(main, spool, fast=fast)
    whole, streamed = spool.records
    assert (whole.outcome, streamed.outcome) == ("ok", "ok")
    asked = json.loads(whole.request)
    assert asked["loopwright"] == {"dialect": "messages"}
    assert asked["max_completion_tokens"] == 9
    assert json.loads(whole.answer)["choices"][0]["message"]["content"] == "hello you"


def test_refusals_have_the_shape_of_their_dialect_and_are_on_record() -> None:
    spool = Memory()

    async def main(client: Raw) -> None:
        cases: list[tuple[bytes, str, int, str]] = [
            (ask("x", max_tokens=0), KEY, 400, "invalid_request_error"),
            (b"{", KEY, 400, "invalid_request_error"),
            (ask("x", model="n"), KEY, 404, "not_found_error"),
            (ask("x"), "x-api-key: lw-limited\r\n", 403, "permission_error"),
            (ask("busy"), KEY, 429, "rate_limit_error"),
            (ask("busy", stream=True), KEY, 429, "rate_limit_error"),
            (ask("x"), "", 401, "authentication_error"),
            (ask("x"), "x-api-key: lw-bad\r\n", 401, "authentication_error"),
            (ask("x"), "authorization: Basic lw-good\r\nx-api-key: lw-good\r\n", 401, "authentication_error"),
        ]
        for body, key, expected, kind in cases:
            await client.send(post(body, path="/v1/messages", headers=key))
            status, headers, answer = await client.answer()
            said = json.loads(answer)
            assert (status, said["type"], said["error"]["type"]) == (expected, "error", kind)
            assert said["request_id"] == headers["x-loopwright-call-id"]
        await client.send(post(ask("x", model="n"), path="/v1/chat/completions", headers=KEY))
        assert json.loads((await client.answer())[2])["error"]["code"] == "model_not_found"

    run(main, spool)
    assert [record.status for record in spool.records] == [400, 400, 404, 403, 429, 429, 404]


def test_a_stream_that_breaks_ends_with_an_error_event() -> None:
    spool = Memory()

    async def main(client: Raw) -> None:
        await client.send(post(ask("break", stream=True), path="/v1/messages", headers=KEY))
        _, _, body = await client.answer()
        last = body.rstrip().split(b"\n\n")[-1]
        assert last.startswith(b"event: error\n")
        assert json.loads(last.split(b"data: ")[1])["error"]["type"] == "api_error"

    run(main, spool)
    assert spool.records[-1].outcome == "error"


def test_counting_tokens() -> None:
    async def main(client: Raw) -> None:
        async def count(body: bytes, headers: str = KEY) -> tuple[int, Any]:
            await client.send(post(body, path="/v1/messages/count_tokens", headers=headers))
            status, _, answer = await client.answer()
            return status, json.loads(answer)

        assert await count(ask("x" * 40, model="exact")) == (200, {"input_tokens": 1})
        assert await count(ask("x" * 40)) == (200, {"input_tokens": 14})
        for body, key, status, kind in (
            (ask("x", model="n"), KEY, 404, "not_found_error"),
            (ask("x"), "x-api-key: lw-limited\r\n", 403, "permission_error"),
            (ask("x"), "", 401, "authentication_error"),
            (b"[]", KEY, 400, "invalid_request_error"),
        ):
            found, answer = await count(body, key)
            assert (found, answer["error"]["type"]) == (status, kind)

    run(main, Memory())
