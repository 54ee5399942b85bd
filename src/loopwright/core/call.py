"""One request as it is remembered, answered or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Outcome = Literal["ok", "error", "refused", "cancelled", "interrupted"]
"""ok: answered whole. error: upstream or we failed. refused: the caller's fault or policy (4xx).
cancelled: the client hung up. interrupted: this gateway died while answering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The narrow row of a call: everything but its texts."""

    id: str
    started_at: datetime
    project_id: int
    key_id: int
    operation: str
    model: str
    """The name that was asked for."""
    target: str
    """The name the provider knows, empty when none was reached."""
    provider: str
    outcome: Outcome
    status: int
    """The HTTP status the client got; 499 when it hung up."""
    error_code: str | None
    error: str | None
    finish: str | None
    stream: bool
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_nano: int | None
    """Nanodollars; None is unpriced, which is not zero."""
    price_source: str | None
    ttft_us: int | None
    """Microseconds from arrival to the first piece of the answer; None for a non-streamed one, which comes whole."""
    latency_us: int
    """Microseconds from arrival to the end of the answer."""
    client: str
    session: str | None
    trace_id: str
    span_id: str
    parent_id: str | None
    task: str | None = None
    variant: str | None = None
    prompt_version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def tpot_us(self) -> float | None:
        """Time per output token after the first, in microseconds; None when fewer than two tokens came."""
        if self.ttft_us is None or self.output_tokens < 2:
            return None
        return (self.latency_us - self.ttft_us) / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDetail:
    """A call with its texts."""

    call: Call
    request: Mapping[str, Any] | None
    """The body in OpenAI's form; None when payloads are not stored or the bytes were not JSON."""
    response: Mapping[str, Any] | None
    """The answer in OpenAI's non-streamed form, also when it was streamed."""
    request_raw: str | None = None
    """The request as text when it was not JSON."""
    sealed: str | None = None
    """Why the texts are not here: with which key they are sealed."""
    sent: Sequence[Mapping[str, Any]] | None = None
    """Where the bytes of the call went, in order, as `core.privacy.Departure` shows it; None when no trail is kept."""
