"""A bound on the bodies of what is no hot route: management and console read theirs whole."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from loopwright.core.errors import TooLarge

_Asgi = Callable[[Any, Any, Any], Awaitable[None]]
_STREAMED: Final = re.compile(
    r"/api/datasets/[^/]+/import|/api/collections/[^/]+/documents|/datasets/import|/api/runs/[^/]+/artifacts/.+|/api/2\.0/mlflow-artifacts/artifacts/.+"
)
"""Addresses of uploads that are read piece by piece, each with a bound of its own."""


@dataclass(frozen=True, slots=True)
class Limited:
    """An ASGI application whose requests have at most `limit` bytes of body; beyond, reading one raises TooLarge."""

    inner: _Asgi
    limit: int

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if _STREAMED.fullmatch(scope.get("path", "")):
            await self.inner(scope, receive, send)
            return
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                raise TooLarge(f"the request body is over the limit of {self.limit} bytes (server.body_limit)")
            return message

        await self.inner(scope, counted, send)
