"""OpenAI's own dialect: the canonical form, so answers go out as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from loopwright.api.dialect import Asked
from loopwright.core.chat import Operation, Request
from loopwright.core.errors import LoopwrightError
from loopwright.kit import wire, wire_out

OPERATIONS: Final[Mapping[str, Operation]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embeddings",
}


@dataclass(frozen=True, slots=True)
class OpenAI:
    """The canonical dialect: nothing to translate."""

    operation: Operation

    async def request(self, asked: Asked) -> Request:
        """See `kit.wire.parse`."""
        return wire.parse(
            asked.raw,
            self.operation,
            call_id=asked.call_id,
            who=asked.who,
            started_ns=asked.started_ns,
            traceparent=asked.traceparent,
            client=asked.client,
        )

    def voice(self, _request: Request) -> None:
        """As it came."""
        return

    def error(self, error: LoopwrightError, _call_id: str) -> bytes:
        """`{"error": {…}}`."""
        return msgspec.json.encode(wire_out.error_body(error))
