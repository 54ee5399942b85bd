"""A fast mock upstream for benchmarks: OpenAI chat completions on one asyncio.Protocol, nothing parsed that need not be.

The model's name chooses what it does: `mock`, `mock-d20` (20 ms before the answer), `mock-c64-i10000` (64 events, 10,000
µs apart), `mock-b4000` (bytes of answer). The answer repeats the number that the prompt carries as `[[N]]`, so that a
gateway that mixes answers up is caught. `python bench/mock_upstream.py PORT`.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Final, cast

import uvloop

_MARK: Final = re.compile(rb"\[\[(\d+)\]\]")
_MODEL: Final = re.compile(rb'"model": ?"(mock[a-z0-9-]*)"')
_STREAM: Final = re.compile(rb'"stream": ?true')
_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE)
_TEXT: Final = b"The quick brown fox jumps over the lazy dog and runs on through the green hills of the north. "
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_BODY: Final = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":1700000000,"model":"%b","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%b"},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":120,"completion_tokens":40,"total_tokens":160}}'
)
_SSE: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK: Final = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":"%b","choices":'
    b'[{"index":0,"delta":{"content":" fox%b"},"logprobs":null,"finish_reason":null}]}\n\n'
)
_LAST: Final = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":"%b","choices":'
    b'[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":1700000000,"model":"%b","choices":[],'
    b'"usage":{"prompt_tokens":120,"completion_tokens":64,"total_tokens":184}}\n\n'
    b"data: [DONE]\n\n"
)


class Mock(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type

    def connection_lost(self, _exc: Exception | None) -> None:
        """A stream in the making stops here."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._buffer, 0, end + 2)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < size:
                return
            request, self._buffer = self._buffer[:size], self._buffer[size:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET"):
            self._write(_HEAD % (26, b'{"object":"list","data":[]}'[:26]))
            return
        named = _MODEL.search(request)
        model = named[1] if named else b"mock"
        mark = _MARK.search(request)
        number = mark[1] if mark else b"0"
        does = {part[:1]: int(part[1:]) for part in model.split(b"-")[1:]}
        loop = asyncio.get_running_loop()
        if _STREAM.search(request):
            pieces, pause = does.get(b"c", 64), does.get(b"i", 0) / 1e6
            loop.call_later(does.get(b"d", 0) / 1e3, self._stream, model, number, pieces, pause)
            return
        text = (_TEXT * (does.get(b"b", 180) // len(_TEXT) + 1))[: does.get(b"b", 180)] + b" #" + number
        body = _BODY % (number, model, text)
        whole = _HEAD % (len(body), body)
        if b"d" in does:
            loop.call_later(does[b"d"] / 1e3, self._write, whole)
        else:
            self._write(whole)

    def _stream(self, model: bytes, number: bytes, pieces: int, pause: float) -> None:
        self._write(_SSE)
        chunk = _CHUNK % (number, model, number)
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        last = _LAST % (number, model, number, model)
        end = b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last)
        loop = asyncio.get_running_loop()
        due = loop.time()

        def step(left: int) -> None:
            nonlocal due
            if self._transport is None:
                return
            if not left:
                self._write(end)
                return
            self._write(framed)
            due += pause
            loop.call_at(due, step, left - 1)

        step(pieces)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
