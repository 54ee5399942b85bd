"""Keeps an answer to the form its question demands: a JSON schema, one of some values, tool calls.

Enforced where the model's decoder can, checked always: what does not fit is mended, then asked for again with the
error shown, within the deadline; what still does not fit is an InvalidOutput that names the failing path.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import BadRequest, InvalidOutput
from loopwright.core.money import Usage
from loopwright.gateway import emulated, framed, voiced
from loopwright.gateway.demanded import Demand, Settled, demand
from loopwright.gateway.framed import Frame
from loopwright.kit import wire_out, wire_read

ATTEMPTS = 3
"""How often a model is asked for one answer."""
_REFUSALS = ("response_format", "json_schema", "json schema", "grammar", "structured output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured:
    """Round the Chat of one target. A question that demands no form is not touched."""

    inner: Chat
    """Answers with `raw`."""
    schemas: Literal["grammar", "native", "asked"] = "native"
    """`grammar`: an engine of ours decodes by the schema. `native`: upstream says it does. `asked`: only in words."""
    tools: Literal["native", "emulated"] = "native"

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer in the form demanded.

        Raises:
            BadRequest: a schema or a tool cannot be used.
            InvalidOutput: no attempt gave a valid answer.
        """
        if not request.formed or request.operation != "chat":
            return self.inner(request)
        want = demand(request.body)
        plain = self.tools == "emulated" and ("tools" in request.body or emulated.names_tools(request.body))
        if want is None:
            return self.inner(_changed(request, emulated.body_of(request.body, None)) if plain else request)
        frame = framed.frame(request.body, want, self.schemas, emulate=plain)
        return self._framed(request, frame, want, emulate=plain)

    async def _framed(
        self, request: Request, frame: Frame, want: Demand, *, emulate: bool
    ) -> AsyncGenerator[Delta, None]:
        begun = False
        try:
            async with answering(self._attempt(frame), request) as answer:
                async for delta in answer:
                    begun = True
                    yield delta
        except BadRequest as error:
            if begun or self.schemas == "asked" or not _refuses_schemas(error):
                raise
        else:
            return
        # This upstream, or its grammar, cannot take the schema: then in words.
        asked = framed.frame(request.body, want, "asked", emulate=emulate)
        async with answering(self._attempt(asked), request) as answer:
            async for delta in answer:
                yield delta

    def _attempt(self, frame: Frame) -> Chat:
        def chat(request: Request, /) -> AsyncGenerator[Delta, None]:
            if request.stream and frame.live and int(request.body.get("n") or 1) == 1:
                return self._streamed(request, frame)
            return self._whole(request, frame)

        return chat

    async def _whole(self, request: Request, frame: Frame) -> AsyncGenerator[Delta, None]:
        """The whole answer, once it is valid: as one body, or as events all at once."""
        tries = _Tries(self.inner, request, frame)
        body = await tries.ask(frame.body)
        choices = []
        for choice in wire_read.dicts(body.get("choices")):
            settled = await tries.settle(choice)
            finish = settled.finish or choice.get("finish_reason")
            choices.append({**choice, "message": settled.message, "finish_reason": finish})
        if request.stream:
            for delta in voiced.events(choices, tries.usage, request):
                yield replace(delta, model=tries.model, provider=tries.provider)
            return
        usage = {} if tries.usage is None else {"usage": wire_out.usage_body(tries.usage)}
        whole = {**body, "choices": choices, **usage}
        raw = msgspec.json.encode(whole)
        yield Delta(raw=raw, usage=tries.usage, done=True, model=tries.model, provider=tries.provider)

    async def _streamed(self, request: Request, frame: Frame) -> AsyncGenerator[Delta, None]:
        """Text as it comes; calls, and the end, once they are valid."""
        voice = voiced.Voice(request, frame)
        asked = request if frame.body is request.body else _changed(request, frame.body)
        async with answering(self.inner, asked) as answer:
            async for delta in answer:
                for piece in voice.take(delta):
                    yield piece
        settled = voice.settled()
        if settled.problems and not voice.spoke:
            tries = _Tries(self.inner, request, frame)
            tries.count(voice.usage, voice.model, voice.provider)
            settled = await tries.settle(voice.choice())
            voice.usage = tries.usage
        if settled.problems:
            raise _invalid(settled.problems, voice.usage, voice.model, voice.provider)
        for piece in voice.end(settled):
            yield piece


class _Tries:
    """Asks until the answer is valid, and counts what that takes."""

    __slots__ = ("_end", "_frame", "_inner", "_request", "model", "provider", "usage")

    def __init__(self, inner: Chat, request: Request, frame: Frame) -> None:
        self._inner = inner
        self._request = request
        self._frame = frame
        self._end = request.deadline
        self.usage: Usage | None = None
        self.model = ""
        self.provider = ""

    async def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One whole answer."""
        plain = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        request = replace(_changed(self._request, plain), stream=False, wants_usage=False)
        raw = b""
        async with answering(self._inner, request) as answer:
            async for delta in answer:
                raw = delta.raw or raw
                self.count(delta.usage, delta.model, delta.provider)
        return wire_read.whole(raw)

    async def settle(self, choice: Mapping[str, Any]) -> Settled:
        """The choice made valid, by asking again if need be.

        Raises:
            InvalidOutput: it cannot be had.
        """
        settled = self._frame.settle(_message(choice), choice.get("finish_reason"))
        for _ in range(ATTEMPTS - 1):
            if not settled.problems:
                return settled
            body = framed.again(self._frame, settled)
            if body is None or (self._end is not None and time.monotonic() >= self._end):
                break
            try:
                async with asyncio.timeout(None if self._end is None else self._end - time.monotonic()):
                    answer = await self.ask(body)
            except TimeoutError:
                break
            choice = wire_read.choice_of(answer) or {}
            settled = self._frame.settle(_message(choice), choice.get("finish_reason"))
        if settled.problems:
            raise _invalid(settled.problems, self.usage, self.model, self.provider)
        return settled

    def count(self, usage: Usage | None, model: str, provider: str) -> None:
        """Add what an attempt took."""
        self.model, self.provider = model or self.model, provider or self.provider
        if usage is not None:
            self.usage = usage if self.usage is None else _sum(self.usage, usage)


def _message(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, dict) else {}


def _changed(request: Request, body: Mapping[str, Any]) -> Request:
    return replace(request, body=body, raw=msgspec.json.encode(body))


def _sum(one: Usage, two: Usage) -> Usage:
    return Usage(
        input=one.input + two.input,
        output=one.output + two.output,
        cached=one.cached + two.cached,
        cache_written=one.cache_written + two.cache_written,
        reasoning=one.reasoning + two.reasoning,
        estimated=one.estimated or two.estimated,
    )


def _invalid(problems: tuple[str, ...], usage: Usage | None, model: str, provider: str) -> InvalidOutput:
    said = "; ".join(problems)
    return InvalidOutput(f"the model's answer does not fit: {said}", usage=usage, model=model, provider=provider)


def _refuses_schemas(error: BadRequest) -> bool:
    said = f"{error.param or ''} {error.message}".lower()
    return any(word in said for word in _REFUSALS)
