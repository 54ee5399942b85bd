"""Roads to test, built from what the product ships; and requests to send down them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from loopwright.calls.record import Opened, Record
from loopwright.core.chat import Chat, Delta, Operation, Request, answering
from loopwright.core.money import Price
from loopwright.core.who import HOUSE, Principal
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.encoded import Encoded
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.routed import Routed, Target
from loopwright.kit import wire
from loopwright.kit.ids import Ids
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.scripted import Scripted

PRICE = Price(input=1_000_000, output=2_000_000, source="test")
IDS = Ids()


class Memory:
    """A spool in a list."""

    def __init__(self) -> None:
        self.written: list[Record | Opened] = []

    def write(self, record: Record | Opened) -> None:
        self.written.append(record)

    @property
    def records(self) -> list[Record]:
        return [record for record in self.written if isinstance(record, Record)]


def scripted(args: dict[str, Any] | None = None, *, price: Price | None = PRICE) -> Target:
    provider = Scripted("fake", ProviderSettings(kind="scripted", args=args or {}))
    operations: frozenset[Operation] = frozenset({"chat", "completion"})
    return Target(chat=Encoded(provider.chat("m")), provider="fake", model="m", operations=operations, price=price)


def road(targets: dict[str, Target], spool: Memory) -> Recorded:
    prices = {(name, target.provider, target.model): target.price for name, target in targets.items()}
    return Recorded(Admitted(Routed(targets)), spool, lambda *served: prices.get(served))


def recorded(chat: Chat, spool: Memory, *, payloads: bool = True) -> Recorded:
    return Recorded(chat, spool, lambda *_served: PRICE, payloads=payloads)


def ask(text: str = "hi", *, model: str = "m", stream: bool = False, who: Principal = HOUSE, **body: Any) -> Request:
    whole = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **body}
    raw = json.dumps(whole).encode()
    return wire.parse(raw, "chat", call_id=IDS.new(), who=who, started_ns=1_700_000_000_000_000_000)


async def deltas(chat: Chat, request: Request) -> list[Delta]:
    async with answering(chat, request) as answer:
        return [delta async for delta in answer]


def events(raw: bytes) -> list[dict[str, Any]]:
    """The JSON of each event of a stream that ends as it should."""
    lines = [line[6:] for line in raw.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def saying(*pieces: Delta, error: BaseException | None = None) -> Chat:
    """A Chat that says `pieces`, then raises `error`."""

    async def chat(_request: Request, /) -> AsyncGenerator[Delta, None]:
        for piece in pieces:
            yield piece
        if error is not None:
            raise error

    return chat
