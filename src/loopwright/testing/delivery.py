"""How an answer goes out, and what goes wrong with it on the way."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from loopwright.core.errors import SettingsError
from loopwright.testing.answers import Answer, answer
from loopwright.testing.faults import Fault, Faults
from loopwright.testing.voices import Voice, model_in_path, thinks, voice_of

_PAGE: Final = b"<!doctype html>\n\n<html><body><h1>502 Bad Gateway</h1></body></html>\n\n"
_LEAD: Final = re.compile(rb"[\xc0-\xf7]")
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}


class Wire(Protocol):
    """The connection an answer goes out on."""

    async def send(self, data: bytes) -> None:
        """Write, and wait while the client does not read."""
        ...

    def close(self) -> None:
        """Close once everything is written."""
        ...

    def reset(self) -> None:
        """Close at once with a TCP reset."""
        ...


class Delivery:
    """One answer to one request."""

    def __init__(self, wire: Wire, faults: Faults, models: tuple[str, ...]) -> None:
        self._wire = wire
        self._faults = faults
        self._models = models
        self._voice: Voice | None = None
        self._pause = faults["between-tokens"].value if "between-tokens" in faults else 0.0

    async def respond(self, method: str, path: str, body: bytes) -> None:
        """Answer, faults and all."""
        faults = self._faults
        self._voice = voice_of(path) if method == "POST" else None
        if "latency" in faults:
            await asyncio.sleep(faults["latency"].value)
        if await self._fail_at_once():
            return
        if method == "GET":
            await self._get(path)
            return
        try:
            request = json.loads(body)
        except ValueError:
            await self.error(400, "the body is not JSON")
            return
        if self._voice is not None and isinstance(request, dict):
            await self._native(self._voice, request)
            return
        found = answer(path, request) if isinstance(request, dict) else None
        if found is None:
            await self.error(404, f"there is no {path}")
        elif request.get("stream"):
            await self._stream(found, bool((request.get("stream_options") or {}).get("include_usage")))
        else:
            await self._whole(found)

    async def _native(self, voice: Voice, request: dict[str, Any]) -> None:
        """Answer in a dialect other than OpenAI's."""
        question = voice.question(request)
        question.setdefault("model", request.get("model", ""))
        found = answer("/embeddings" if "input" in question else "/chat/completions", question)
        assert found is not None
        counted = "no-usage" not in self._faults
        if not question.get("stream"):
            body = voice.whole(found, thinks=thinks(request), counted=counted)
            await self._whole(Answer(body=body, events=(), first=0, usage={}))
            return
        await self._begin_stream(voice.content_type)
        events = list(voice.events(found, thinks=thinks(request), counted=counted))
        if "truncate" in self._faults:
            ends = {"message_stop", "messageStop", "metadata"}
            events = [event for event in events[:-1] if event[0] not in ends]
        for number, (kind, payload) in enumerate(events):
            if number > 2 and self._pause:
                await asyncio.sleep(self._pause)
            if not await self._misbehave(number - 2):
                return
            await self._event(_json(payload), kind)
        await self._end_stream()

    async def _fail_at_once(self) -> bool:
        faults = self._faults
        if "reset" in faults:
            self._wire.reset()
        elif "drop" in faults:
            self._wire.close()
        elif "malformed-http" in faults:
            await self._wire.send(b"220 mail.example ESMTP ready\r\n\r\n")
        elif "status" in faults:
            await self._status(faults["status"])
        elif "html" in faults:
            await self._reply(int(faults["html"].value), "text/html", _PAGE)
        elif "error-body" in faults:
            await self._complain(200, "the upstream failed quietly", "server_error")
        else:
            return False
        return True

    async def _status(self, fault: Fault) -> None:
        status = int(fault.value)
        extra = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
        kind = {429: "rate_limit_error", 401: "authentication_error"}.get(
            status, "server_error" if status >= 500 else "invalid_request_error"
        )
        await self._complain(status, f"a fault of status {status}", kind, extra)

    async def _complain(self, status: int, message: str, kind: str, extra: Mapping[str, str] | None = None) -> None:
        """An error in the dialect that was asked in."""
        if self._voice is None:
            await self._reply(status, "application/json", _error_body(message, kind), extra)
            return
        body, headers = self._voice.error(status, message)
        await self._reply(status, "application/json", _json(body), {**headers, **(extra or {})})

    async def _get(self, path: str) -> None:
        if path.endswith("/v1beta/models"):
            listed = [{"name": f"models/{name}"} for name in self._models]
            await self._reply(200, "application/json", _json({"models": listed}))
        elif path.endswith("/foundation-models"):
            listed = [{"modelId": name} for name in self._models]
            await self._reply(200, "application/json", _json({"modelSummaries": listed}))
        elif path.endswith("/models"):
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "faulty"} for name in self._models]
            await self._reply(200, "application/json", _json({"object": "list", "data": data}))
        elif path.endswith("/health"):
            await self._reply(200, "application/json", b'{"status":"ok"}')
        else:
            await self.error(404, f"there is no {path}")

    async def error(self, status: int, message: str) -> None:
        """Answer with an error of our own."""
        await self._reply(status, "application/json", _error_body(message, "invalid_request_error"))

    async def _whole(self, found: Answer) -> None:
        faults = self._faults
        counted = found.usage and "no-usage" not in faults
        body = _json({**found.body, "usage": found.usage} if counted else found.body)
        if "malformed-json" in faults:
            body = body[: len(body) // 2]
        elif "malformed-sse" in faults:
            body = b"\x00\x01 not an answer"
        if "stall" in faults or "truncate" in faults or "reset-midstream" in faults:
            head = self._head(200, "application/json", {"content-length": str(len(body))})
            await self._wire.send(head + body[: len(body) // 2])
            await self._break_off()
            return
        await self._reply(200, "application/json", body)

    async def _break_off(self) -> None:
        if "stall" in self._faults:
            await asyncio.Event().wait()
        elif "reset-midstream" in self._faults:
            await asyncio.sleep(0.01)  # a reset would overtake what was just written
            self._wire.reset()
        else:
            self._wire.close()

    async def _stream(self, found: Answer, include_usage: bool) -> None:  # noqa: FBT001 - as the wire has it
        faults = self._faults
        await self._begin_stream("text/event-stream; charset=utf-8")
        with_usage = include_usage and "no-usage" not in faults
        for number, event in enumerate(found.events):
            tokens = number - found.first
            if tokens > 0 and self._pause:
                await asyncio.sleep(self._pause)
            if not await self._misbehave(tokens):
                return
            last = number == len(found.events) - 1
            in_choices = last and with_usage and "usage-in-choices" in faults
            await self._event(_json({**event, "usage": found.usage} if in_choices else event))
        if with_usage and "usage-in-choices" not in faults:
            await self._event(_json({**found.events[0], "choices": [], "usage": found.usage}))
        if "truncate" not in faults:
            await self._event(b"[DONE]")
        await self._end_stream()

    async def _begin_stream(self, kind: str) -> None:
        sized: dict[str, str] = {} if "until-close" in self._faults else {"transfer-encoding": "chunked"}
        await self._wire.send(self._head(200, kind, sized))
        if "first-token" in self._faults:
            await asyncio.sleep(self._faults["first-token"].value)

    async def _misbehave(self, tokens: int) -> bool:
        """What strikes after `tokens` tokens; False when the stream is over by it."""
        faults = self._faults
        for kind in ("stall", "reset-midstream"):
            if kind in faults and tokens >= faults[kind].value:
                await self._break_off()
                return False
        if "error-event" in faults and tokens >= faults["error-event"].value:
            kind, payload = "", _error_body("the model ran out of luck", "server_error")
            if self._voice is not None:
                kind, body = self._voice.error_event("the model ran out of luck")
                payload = _json(body)
            await self._event(payload, kind)
            await self._end_stream()
            return False
        if tokens == 3 and "malformed-json" in faults:
            await self._event(b'{"id":"chatcmpl-1","choices":[{"delta":{"content":"bro')
        elif tokens == 3 and "malformed-sse" in faults:
            await self._piece(b'}}{"garbage\x00": no field here\n\n')
        return True

    async def _event(self, data: bytes, kind: str = "") -> None:
        end = b"\r\n" if "crlf" in self._faults else b"\n"
        framed = self._voice is not None and "eventstream" in self._voice.content_type
        ping = b": ping" + end + end if "ping" in self._faults and not framed else b""
        event = ping + (b"data: " + data + end + end if self._voice is None else self._voice.wrap(kind, data, end))
        if "split-utf8" not in self._faults:
            await self._piece(event)
            return
        start = 0
        for lead in _LEAD.finditer(event):
            await self._piece(event[start : lead.end()])
            await asyncio.sleep(0)
            start = lead.end()
        await self._piece(event[start:])

    async def _piece(self, data: bytes) -> None:
        if not data:  # an empty chunk would end the body
            return
        if "gzip" in self._faults:
            data = gzip.compress(data)
        await self._wire.send(data if "until-close" in self._faults else b"%x\r\n%b\r\n" % (len(data), data))

    async def _end_stream(self) -> None:
        if "until-close" not in self._faults:
            await self._wire.send(b"0\r\n\r\n")
        self._hang_up()

    async def _reply(self, status: int, kind: str, body: bytes, extra: Mapping[str, str] | None = None) -> None:
        if "gzip" in self._faults:
            body = gzip.compress(body)
        sized = {} if "until-close" in self._faults else {"content-length": str(len(body))}
        await self._wire.send(self._head(status, kind, {**sized, **(extra or {})}) + body)
        self._hang_up()

    def _hang_up(self) -> None:
        if {"until-close", "connection-close", "hang-up-after"} & self._faults.keys():
            self._wire.close()

    def _head(self, status: int, kind: str, extra: Mapping[str, str]) -> bytes:
        headers = {"content-type": kind, **extra}
        if "gzip" in self._faults:
            headers["content-encoding"] = "gzip"
        if "connection-close" in self._faults:
            headers["connection"] = "close"
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def model_in(body: bytes, path: str = "") -> str:
    """The model a request names, in its path or its body; empty when it names none."""
    named = model_in_path(path)
    if named:
        return named
    try:
        request = json.loads(body)
    except ValueError:
        return ""
    model = request.get("model") if isinstance(request, dict) else None
    return model if isinstance(model, str) else ""


async def refuse(wire: Wire, problem: SettingsError) -> None:
    """Answer a request whose model names an unknown fault."""
    await Delivery(wire, {}, ()).error(400, str(problem))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _error_body(message: str, kind: str) -> bytes:
    return _json({"error": {"message": message, "type": kind, "code": kind, "param": None}})
