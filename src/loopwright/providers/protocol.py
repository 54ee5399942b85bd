"""What a provider is. Plug-ins of group `loopwright.providers` are callables `(name, settings) -> Provider`."""

from __future__ import annotations

from typing import Protocol

from loopwright.core.chat import Chat
from loopwright.kit.settings import ProviderSettings


class Provider(Protocol):
    """A connection to models elsewhere."""

    name: str

    def chat(self, upstream_model: str, /) -> Chat:
        """A Chat that asks `upstream_model` (the name it has upstream), whatever the request's operation.

        It raises before its first Delta:
            BadRequest, ContextOverflow, TooLarge: upstream says the caller's request cannot be used.
            Busy: upstream limits our rate; `retry_after` when it said so.
            UpstreamRefused: our credentials or the model's name are wrong there.
            UpstreamError, UpstreamBroke, UpstreamTimeout, Unavailable: upstream failed.
        Later it raises only the last four.
        """
        ...

    async def models(self) -> list[str]:
        """The names upstream offers, sorted. Raises as a Chat does."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class MakeProvider(Protocol):
    """What a plug-in registers."""

    def __call__(self, name: str, settings: ProviderSettings, /) -> Provider:
        """A provider called `name`. Raises SettingsError when `settings` do not suffice."""
        ...
