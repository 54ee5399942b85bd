"""Lets through only what the key may use."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import Refused
from loopwright.kit.nearest import hint


@dataclass(frozen=True, slots=True)
class Admitted:
    """The model that is checked here is the model that is dispatched: nobody below renames it."""

    inner: Chat

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer, or refuse at once."""
        if not request.who.may_call(request.model):
            allowed = hint(request.model, request.who.models or ())
            raise Refused(f"key {request.who.key_name!r} may not call {request.model!r}{allowed}", param="model")
        return self.inner(request)
