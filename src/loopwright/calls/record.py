"""What the gateway spools for each call. The request path fills it and knows nothing of what becomes of it.

Answers are kept as the bytes that were sent; reading their text is left to the drain, in another process.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Record(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """One finished call. Encoded as a MessagePack array: append fields only, each with a default."""

    id: str
    started_ns: int
    project_id: int
    key_id: int
    operation: str
    model: str
    target: str
    provider: str
    outcome: str
    status: int
    error_code: str | None
    error: str | None
    stream: bool
    ttft_us: int | None
    """To the first piece that says something; None for a non-streamed answer, which has no first piece."""
    latency_us: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_nano: int | None
    price_source: str | None
    client: str
    session: str | None
    trace_id: str
    span_id: str
    parent_id: str | None
    task: str | None
    variant: str | None
    prompt_version: str | None
    tags: dict[str, str]
    request: bytes
    """The body as the client sent it."""
    answer: bytes
    """What the client was sent: a JSON body, or the SSE events of a stream."""
    finish: str | None = None
    """Left None when only the answer's bytes tell; the drain reads it there."""
    sent: list[dict[str, Any]] | None = None
    """Where its bytes went, as `core.privacy.Departure` shows it; None when no trail is kept."""
    observed: bool = False
    """It did not go through this house: the program that made it told of it as a span. Spent by nobody's budget here."""
    answer_id: str | None = None
    """Of what was observed: how the answer named itself, where the span says it."""
    cache_key: bytes | None = None
    """Of its question, where the answer as it is recorded here may be given again."""
    cache_until_ns: int = 0
    """Unix time until which it may."""


class Opened(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """A stream has begun: if no Record of this id follows, the gateway died while answering."""

    record: Record
    """As it would be if it ended here: outcome `interrupted`, an empty answer."""
