"""An upstream that keeps the very bytes it is sent and says back the last message, three characters at a time."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from aiohttp import web


class Echoing:
    """An async context manager. The model decides how it fares: `slow`, `broken`, `quoting` (400 with the prompt)."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._port = 0
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_post("/v1/embeddings", self._embeddings)
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def url(self) -> str:
        """The base URL, with `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def heard(self) -> str:
        """Everything it was sent."""
        return b"\n".join(self.bodies).decode()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.bodies.append(raw)
        body = json.loads(raw)
        text, model = str(body["messages"][-1]["content"]), body["model"]
        if model == "slow":
            await asyncio.sleep(1.5)
        if model == "broken":
            return web.json_response({"error": {"message": "out of order", "type": "server_error"}}, status=500)
        if model == "quoting":
            return web.json_response({"error": {"message": f"cannot take {text}", "type": "x"}}, status=400)
        head = {"id": "chatcmpl-1", "created": 1, "model": model}
        usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        pieces += [{"content": text[at : at + 3]} for at in range(0, len(text), 3)]
        for piece in pieces:
            await answer.write(_event(head, choices=[{"index": 0, "delta": piece, "finish_reason": None}]))
        await answer.write(_event(head, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        await answer.write(_event(head, choices=[], usage=usage) + b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer

    async def _embeddings(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.bodies.append(raw)
        given = json.loads(raw)["input"]
        data = [{"index": at, "object": "embedding", "embedding": [0.6, 0.8]} for at in range(len(given))]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return web.json_response({"object": "list", "data": data, "model": "v", "usage": usage})


def _event(head: dict[str, Any], **members: Any) -> bytes:
    body = {**head, "object": "chat.completion.chunk", **members}
    return b"data: " + json.dumps(body).encode() + b"\n\n"
