"""Routes to test: targets that say and fail as they are told, over the shipped pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.money import Price, Usage
from loopwright.core.privacy import Place
from loopwright.gateway.route import Route, route
from loopwright.gateway.routed import Target
from loopwright.kit.settings import ModelSettings, TargetSettings
from loopwright.kit.settings_routes import RetrySettings

QUICK = RetrySettings(base=0.001, longest=0.002, wait=0.2)


class Player:
    """A target that plays one turn a request: an error, or a text; the last turn again and again."""

    def __init__(
        self,
        name: str,
        *turns: str | BaseException,
        delay: float = 0.0,
        price: Price | None = None,
        region: str | None = None,
    ) -> None:
        self.name = name
        self.place = Place(provider=name, model="m", region=region)
        self.turns = list(turns) or [f"from {name}"]
        self.delay = delay
        self.price = price
        self.asked: list[Request] = []
        self.now = 0
        self.most = 0
        self.cancelled = 0

    @property
    def target(self) -> Target:
        return Target(
            chat=self,
            provider=self.name,
            model="m",
            operations=frozenset({"chat"}),
            price=self.price,
            place=self.place,
        )

    async def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        turn = self.turns[min(len(self.asked), len(self.turns) - 1)]
        self.asked.append(request)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield Delta(raw=b"role ", speaks=False, model="m", provider=self.name)
            await asyncio.sleep(self.delay)
            if isinstance(turn, BaseException):
                raise turn
            yield Delta(raw=turn.encode())
            yield Delta(raw=b" end", speaks=False, usage=Usage(input=10, output=10), done=True)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.now -= 1


def made(*players: Player, targets: Sequence[dict[str, Any]] | None = None, **settings: Any) -> Route:
    """A route over `players`, with quick retries unless told otherwise."""
    told = [TargetSettings(provider=each.name, **(targets[at] if targets else {})) for at, each in enumerate(players)]
    settings.setdefault("retries", QUICK)
    return route("m", ModelSettings(targets=tuple(told), **settings), [each.target for each in players])


def quick(**changes: Any) -> RetrySettings:
    return replace(QUICK, **changes)


async def until(true: Callable[[], object]) -> None:
    """Let others run until it holds."""
    while not true():  # noqa: ASYNC110 - whoever is awaited tells nobody
        await asyncio.sleep(0.001)


async def said(chat: Chat, request: Request) -> tuple[str, list[Delta]]:
    """The bytes that came, and the pieces."""
    pieces = [delta async for delta in chat(request)]
    return b"".join(piece.raw for piece in pieces).decode(), pieces
