"""The providers with a dialect of their own, each before an upstream that speaks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from msgspec.structs import replace

from loopwright.core.chat import Delta, Request
from loopwright.gateway.encoded import Encoded
from loopwright.kit.settings import ProviderSettings, Timeouts
from loopwright.providers.anthropic import anthropic
from loopwright.providers.bedrock import bedrock
from loopwright.providers.gemini import gemini
from loopwright.providers.native import Native
from loopwright.testing import FaultyUpstream
from tests.providers.asking import ask

QUICK: Final = Timeouts(connect=5, first_token=0.5, between_tokens=0.5, total=20)
MAKERS: Final[dict[str, Callable[[str, ProviderSettings], Native]]] = {
    "anthropic": anthropic,
    "gemini": gemini,
    "bedrock": bedrock,
}
MODELS: Final = {
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "bedrock": "us.anthropic.claude-sonnet-4-5-v1:0",
}
_PREFIX: Final = {"anthropic": "", "gemini": "/v1beta", "bedrock": ""}


@asynccontextmanager
async def facing(
    kind: str, *, timeouts: Timeouts = QUICK, args: dict[str, object] | None = None, **upstream: Any
) -> AsyncIterator[tuple[FaultyUpstream, Native]]:
    async with asyncio.timeout(60), FaultyUpstream(**upstream) as server:
        settings = ProviderSettings(
            kind=kind,
            base_url=server.url.removesuffix("/v1") + _PREFIX[kind],
            api_key=None if kind == "bedrock" else "sk-very-secret",
            region="eu-west-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="sk-very-secret",
            timeouts=timeouts,
            args=args or {},
        )
        provider = MAKERS[kind]("far", settings)
        yield server, provider
        await provider.close()


async def answered(provider: Native, model: str, asked: Request) -> bytes:
    """What a client gets: the wire form of the answer."""
    deltas = await ask(Encoded(provider.chat(model)), asked)
    return b"".join(delta.raw for delta in deltas)


def gathered(deltas: list[Delta]) -> dict[str, Any]:
    """What an answer says, whole or in pieces."""
    out: dict[str, Any] = {"text": "", "reasoning": "", "thoughts": [], "calls": {}, "finish": None, "usage": None}
    for delta in deltas:
        extra = delta.extra or {}
        out["text"] += delta.text
        out["reasoning"] += extra.get("reasoning_content") or ""
        out["thoughts"] += extra.get("thinking_blocks") or []
        out["finish"] = delta.finish or out["finish"]
        out["usage"] = delta.usage or out["usage"]
        for call in extra.get("tool_calls") or ():
            held = out["calls"].setdefault(call["index"], {"id": "", "name": "", "arguments": "", "extra": None})
            function = call["function"]
            held["id"] += call.get("id") or ""
            held["name"] += function.get("name") or ""
            held["arguments"] += function["arguments"]
            held["extra"] = call.get("extra_content") or held["extra"]
    return out


def unnamed(delta: Delta) -> Delta:
    return replace(delta, model="", provider="")
