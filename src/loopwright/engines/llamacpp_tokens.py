"""How many tokens a conversation is to a llama.cpp engine: its own template and tokenizer count, nothing is generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest, UpstreamBroke
from loopwright.engines.endpoints import Endpoint
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import Timeouts

_TIMEOUTS: Final = Timeouts(connect=2.0, first_token=30.0, between_tokens=30.0, total=60.0)


class _Count(msgspec.Struct):
    input_tokens: int


_COUNT: Final = msgspec.json.Decoder(_Count)


class LlamaCppTokens:
    """Counts by asking the engine."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"content-type": "application/json", "authorization": f"Bearer {endpoint.secret}"}
        self._name = endpoint.name
        self._http = HttpClient(base_url=endpoint.url, headers=headers, timeouts=_TIMEOUTS)

    async def count(self, body: Mapping[str, Any]) -> int:
        """Tokens of the prompt that a canonical chat body becomes, tools included.

        Raises:
            BadRequest: the engine's template cannot take this conversation.
            UpstreamBroke: the engine does not count.
            Unavailable, UpstreamTimeout: it does not answer.
        """
        reply = await self._http.request("POST", "/chat/completions/input_tokens", msgspec.json.encode(body))
        if reply.status == 400:
            raise BadRequest(f"model {self._name!r} cannot take this conversation", param="messages")
        try:
            return _COUNT.decode(reply.body).input_tokens
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamBroke(f"the engine of {self._name!r} did not count (HTTP {reply.status})") from None

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()
