"""Reranking in the shape of Cohere, Jina and vLLM: documents in, their order by relevance out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from loopwright.api.dialect import Asked
from loopwright.core.chat import Operation, Request
from loopwright.core.errors import LoopwrightError
from loopwright.kit import reranking, wire, wire_out

_OPERATION: Final[Operation] = "rerank"


@dataclass(frozen=True, slots=True)
class Rerank:
    """Reads and checks; providers and engines answer in this very form."""

    most: int
    """Documents of one question."""

    @property
    def operation(self) -> Operation:
        """What is asked for on the road."""
        return _OPERATION

    async def request(self, asked: Asked) -> Request:
        """See `kit.reranking.read`."""
        found = reranking.read(asked.raw, most=self.most)
        house = found.loopwright
        # Written anew: whoever reads this later finds each member once, as it was checked here.
        raw = wire.with_fields(asked.raw) if house is None else wire.without(asked.raw, "loopwright")
        return asked.plain(_OPERATION, found.model, raw, house)

    def voice(self, _request: Request) -> None:
        """As it came."""
        return

    def error(self, error: LoopwrightError, _call_id: str) -> bytes:
        """As in OpenAI's dialect."""
        return msgspec.json.encode(wire_out.error_body(error))
