"""OpenAI's moderations: texts in, a judgement on each out; by our own guardrails unless a model is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from loopwright.api.dialect import Asked
from loopwright.core.chat import Operation, Request
from loopwright.core.errors import LoopwrightError
from loopwright.kit import moderating, wire, wire_out

_OPERATION: Final[Operation] = "moderations"


@dataclass(frozen=True, slots=True)
class Moderations:
    """Reads and checks; what judges answers in this very form."""

    @property
    def operation(self) -> Operation:
        """What is asked for on the road."""
        return _OPERATION

    async def request(self, asked: Asked) -> Request:
        """See `kit.moderating.read`."""
        found = moderating.read(asked.raw)
        house = found.loopwright
        model = found.model or moderating.HOUSE_MODEL
        # Written anew: whoever reads this later finds each member once, as it was checked here.
        raw = wire.with_fields(asked.raw if house is None else wire.without(asked.raw, "loopwright"), model=model)
        return asked.plain(_OPERATION, model, raw, house)

    def voice(self, _request: Request) -> None:
        """As it came."""
        return

    def error(self, error: LoopwrightError, _call_id: str) -> bytes:
        """As in OpenAI's dialect."""
        return msgspec.json.encode(wire_out.error_body(error))
