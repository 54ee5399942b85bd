"""Requests as the gateway makes them, and answers taken apart."""

from __future__ import annotations

import json
import time
from typing import Any

from loopwright.core.chat import Chat, Delta, Operation, Request, Trace, answering
from loopwright.core.who import HOUSE


def request(model: str, *, operation: Operation = "chat", raw: bool = True, **fields: Any) -> Request:
    if operation == "chat":
        fields.setdefault("messages", [{"role": "user", "content": "hello"}])
    body = {"model": model, **fields}
    return Request(
        id="0",
        operation=operation,
        model=model,
        body=body,
        raw=json.dumps(body, ensure_ascii=False).encode() if raw else None,
        stream=bool(fields.get("stream")),
        who=HOUSE,
        started_ns=time.time_ns(),
        trace=Trace(trace_id="0" * 32, span_id="0" * 16),
        wants_usage=bool((fields.get("stream_options") or {}).get("include_usage")),
    )


async def ask(chat: Chat, asked: Request, taken: list[Delta] | None = None) -> list[Delta]:
    """Every Delta; those before a failure are in `taken`."""
    deltas = [] if taken is None else taken
    async with answering(chat, asked) as answer:
        async for delta in answer:
            deltas.append(delta)
    return deltas


def sent(deltas: list[Delta]) -> bytes:
    return b"".join(delta.raw for delta in deltas)


def text_in(stream: bytes) -> str:
    """What a client reads out of a stream."""
    lines = [line[6:] for line in stream.decode().splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice.get("delta", choice).get("content") or choice.get("text") or "" for choice in choices)
