"""What the hot routes need of a dialect: a question read, an answer said, an error shaped. The road knows one form only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from loopwright.core.chat import Delta, Operation, Request
from loopwright.core.errors import LoopwrightError
from loopwright.core.who import Principal
from loopwright.kit import wire


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What came in with one exchange."""

    raw: bytes
    """The body."""
    call_id: str
    who: Principal
    started_ns: int
    """Unix time in nanoseconds."""
    traceparent: str | None
    client: str

    def request(self, body: dict[str, Any], aside: Mapping[str, Any], house: wire.House | None) -> Request:
        """A Request of a canonical chat body; `aside` is what only its dialect knew, `house` our own member."""
        return Request(
            id=self.call_id,
            operation="chat",
            model=body["model"],
            body=body,
            raw=msgspec.json.encode(body),
            stream=bool(body.get("stream")),
            who=self.who,
            started_ns=self.started_ns,
            trace=wire.new_trace(self.traceparent, self.call_id),
            client=self.client,
            session=None if house is None else house.session,
            tags={} if house is None else house.tags,
            variables=None if house is None else house.variables,
            labels=None if house is None else house.narrowed,
            passages=house is not None and house.passages,
            aside=aside,
        )

    def plain(self, operation: Operation, model: str, raw: bytes, house: wire.House | None) -> Request:
        """A Request that is answered in the very form it is asked in, whole; `raw` is what may leave."""
        return Request(
            id=self.call_id,
            operation=operation,
            model=model,
            body=wire.Body(raw),
            raw=raw,
            stream=False,
            who=self.who,
            started_ns=self.started_ns,
            trace=wire.new_trace(self.traceparent, self.call_id),
            client=self.client,
            session=None if house is None else house.session,
            tags={} if house is None else house.tags,
            formed=False,
        )


class Voice(Protocol):
    """Says one answer in a dialect. Made for one request, so it may remember what it said."""

    def whole(self, delta: Delta) -> bytes:
        """The body of a non-streamed answer."""
        ...

    def piece(self, delta: Delta) -> bytes:
        """The events that a Delta of a stream becomes; none is nothing to write."""
        ...

    def failed(self, error: LoopwrightError) -> bytes:
        """The events that end a stream which has begun and cannot go on."""
        ...


class Dialect(Protocol):
    """One way to ask."""

    @property
    def operation(self) -> Operation:
        """What is asked for on the road."""
        ...

    async def request(self, asked: Asked) -> Request:
        """The question in canonical form.

        Raises:
            LoopwrightError: it cannot be used; `param` names the field in this dialect.
        """
        ...

    def voice(self, request: Request) -> Voice | None:
        """How to answer `request`; None when the answer goes out as it came."""
        ...

    def error(self, error: LoopwrightError, call_id: str) -> bytes:
        """The body of a refusal."""
        ...
