"""Has a local engine answer with the adapter that a request wants, and with none of the others.

Stands directly before a llama.cpp engine that holds adapters, and says of every one how much it counts, in every request:
one that says nothing is answered from whatever the slot's last request was read with (measured; see docs/adr).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import BadRequest

_MEMBER: Final = "lora"


@dataclass(frozen=True, slots=True)
class Adapted:
    """Composed only where an engine holds adapters."""

    inner: Chat
    held: tuple[str, ...]
    """Their names, in the engine's order."""

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer.

        Raises:
            BadRequest: the client says itself which adapters are to count, or the engine does not hold the one wanted.
        """
        if _MEMBER in request.body:
            raise BadRequest(
                "lora: which adapter answers is for a variant of a task to say: call task/NAME@VARIANT", param=_MEMBER
            )
        wanted = request.adapter
        if wanted is not None and wanted.name not in self.held:
            raise BadRequest(f"model {request.model!r} has no adapter {wanted.name!r}", param="model")
        scales = [wanted.scale if wanted is not None and name == wanted.name else 0.0 for name in self.held]
        body = {**request.body, _MEMBER: [{"id": at, "scale": scale} for at, scale in enumerate(scales)]}
        return self.inner(replace(request, body=body, raw=msgspec.json.encode(body)))
