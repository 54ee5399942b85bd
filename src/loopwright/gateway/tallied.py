"""A Chat that notes what each request through it took, at its own price: the inner requests of one call of a task."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from loopwright.core.assignment import Made
from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import InvalidOutput, LoopwrightError
from loopwright.core.money import Price, Usage
from loopwright.core.notes import guessed
from loopwright.gateway.plan import Asked, Plan
from loopwright.kit.wire_read import choice_of, text, whole

_BYTES_A_TOKEN: Final = 4
_BESIDE: Final = frozenset({"stream", "stream_options"})
PriceOf = Callable[[str, str, str], Price | None]
"""From the name that was asked for, the provider and its own name of the model to the price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole answer to one inner request."""

    body: dict[str, Any]
    """In OpenAI's form."""
    text: str
    """Of its first choice."""
    made: Made


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """Over the rest of the road, for one call."""

    inner: Chat
    price: PriceOf
    plan: Plan
    name: str
    """What the requests are called on record."""

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer, and note what it took."""
        made = Made(name=self.name, model=request.model, messages=_messages(request.body))
        self.plan.made.append(made)
        return self.noted(request, made)

    async def noted(self, request: Request, made: Made) -> AsyncGenerator[Delta, None]:
        """As a call, with what it took written into `made`."""
        began = time.perf_counter_ns()
        made.began_us = time.time_ns() // 1000
        price: Price | None = None
        usage: Usage | None = None
        free, came = False, 0
        try:
            async with answering(self.inner, request) as answer:
                async for delta in answer:
                    came += len(delta.raw)
                    if delta.done and not request.stream and request.operation == "chat":
                        made.answer = _text(delta.raw)
                    usage = delta.usage or usage
                    if delta.provider:
                        made.provider, made.target = delta.provider, delta.model
                        free = delta.cache is not None and delta.cache.kind != "miss"
                        price = None if free else self.price(request.model, delta.provider, delta.model)
                    yield delta
        except LoopwrightError as error:
            made.error = f"{error.code}: {error.message}"
            if isinstance(error, InvalidOutput):  # what the attempts took is paid for all the same
                usage, made.provider, made.target = error.usage, error.provider, error.model
                price = self.price(request.model, error.provider, error.model)
            raise
        finally:
            took = time.perf_counter_ns() - began
            made.latency_us = took // 1000
            if usage is None and came:
                usage = guessed(request.raw, came // _BYTES_A_TOKEN)
            if usage is not None:
                made.usage = usage
                made.price_source = "cache" if free else None if price is None else price.source
                made.cost_nano = 0 if free else None if price is None else price.cost(usage, seconds=took / 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Makes the requests of a plan, each answered whole."""

    chat: Chat
    price: PriceOf
    request: Request
    """The call they are made for."""
    plan: Plan

    async def ask(self, asked: Asked, *, name: str = "", number: int = 0, again: bool = False) -> Whole:
        """One answer.

        Args:
            asked: what is asked.
            name: how it is called on record; the step's by default.
            number: which sample it is, so that each has a seed of its own.
            again: the very same was asked before: on record its messages do not stand there twice.

        Raises:
            LoopwrightError: as the road.
        """
        body = {word: value for word, value in asked.body.items() if word not in _BESIDE}
        control = self.request.cache_control
        if number:
            if isinstance(body.get("seed"), int):
                body["seed"] += number
            else:
                control = "no-store"  # an answer given again would be no sample
        request = replace(
            self.request,
            model=asked.model,
            body=body,
            raw=msgspec.json.encode(body),
            stream=False,
            wants_usage=False,
            formed=True,
            cache_control=control,
            adapter=asked.adapter,
            assignment=None,
        )
        made = Made(
            name=name or asked.name,
            model=asked.model,
            prompt=asked.prompt,
            adapter="" if asked.adapter is None else asked.adapter.spoken,
            messages=() if again else _messages(body),
        )
        self.plan.made.append(made)
        tallied = Tallied(inner=self.chat, price=self.price, plan=self.plan, name=made.name)
        raw = b""
        async with answering(lambda one: tallied.noted(one, made), request) as answer:
            async for delta in answer:
                raw = delta.raw or raw
        return Whole(body=whole(raw), text=made.answer, made=made)


def _messages(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found = body.get("messages")
    return found if isinstance(found, list) else ()


def _text(raw: bytes) -> str:
    """What a whole answer says.

    Raises:
        UpstreamBroke: it is no JSON.
    """
    message = (choice_of(whole(raw)) or {}).get("message")
    return text(message.get("content")) if isinstance(message, dict) else ""
