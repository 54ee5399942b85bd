"""A gateway worker without HTTP: the real road over a scripted model, asked everything at once. Run by test_budgets.py.

Arguments: database URL, spool folder, how many requests, and after how many of its own calls it kills itself (0: never).
Says `ready`, waits for a line, prints what became of its requests as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from loopwright.access.allowances import Allowances
from loopwright.calls.record import Opened, Record
from loopwright.calls.spool import Spool
from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import LoopwrightError
from loopwright.core.money import Price, Usage
from loopwright.core.who import Principal
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.encoded import Encoded
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.settled import Settled
from loopwright.kit import wire
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.settings import LimitSettings, ProviderSettings
from loopwright.providers.scripted import Scripted

PRICE = Price(input=1_000_000, output=2_000_000, source="test")
TAKEN = Price(input=100_000, output=1_400_000, source="test")
"""What estimates go by: too little for long answers, too much for short ones."""
SETTINGS = LimitSettings(wait=60.0, lease=8.0)
"""What is slow here is the machine; no grace is wanted for it."""
WHO = Principal(key_id=1, key_name="k", project_id=1, project="default")
SAID = 12
"""Tokens a request allows itself; every third is answered with so many, the others with half."""
IDS = Ids()


@dataclass
class Watched:
    """Notes who was in flight when the last request was let in: only their estimates can be wrong after it."""

    inner: Chat
    flying: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.flying.add(request.id)
        self.last = set(self.flying)
        async with answering(self.inner, request) as answer:
            async for delta in answer:
                yield delta


@dataclass
class Tee:
    """A spool that remembers, and dies when told."""

    inner: Spool
    watched: Watched
    dies_after: int = 0
    records: list[Record] = field(default_factory=list)

    def write(self, record: Record | Opened) -> None:
        self.inner.write(record)
        if isinstance(record, Record):
            self.watched.flying.discard(record.id)
            self.records.append(record)
            if self.dies_after and sum(each.outcome == "ok" for each in self.records) >= self.dies_after:
                os.kill(os.getpid(), signal.SIGKILL)


def estimate(asked: Request) -> int:
    """Nanodollars that the gateway takes a request to need."""
    return TAKEN.cost(Usage(input=len(asked.raw or b"") // 3 + 1, output=SAID))


def ask(number: int) -> Request:
    """A request; the number decides how long its answer is."""
    said = "long" if number % 3 == 0 else "short"
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": said}],
        "stream": number % 2 == 0,
        "max_tokens": SAID,
    }
    call_id = IDS.new()
    started = int(call_id.replace("-", "")[:12], 16) * 1_000_000
    return wire.parse(json.dumps(body).encode(), "chat", call_id=call_id, who=WHO, started_ns=started)


def road(allowances: Allowances, spool: Spool, dies_after: int = 0) -> tuple[Chat, Tee, Watched]:
    """The road of app.py over one scripted model."""
    answers = [{"match": "^long$", "text": "word " * SAID}, {"text": "word " * (SAID // 2)}]
    provider = Scripted("fake", ProviderSettings(kind="scripted", args={"answers": answers, "between": 0.01}))
    watched = Watched(Encoded(provider.chat("m")))
    tee = Tee(spool, watched, dies_after)
    admitted = Admitted(watched, allowances, lambda _model: TAKEN, SETTINGS)
    return Recorded(admitted, Settled(tee, allowances), lambda *_served: PRICE), tee, watched


async def answer(chat: Chat, asked: Request) -> str:
    """`ok`, or the code of the refusal."""
    try:
        async with answering(chat, asked) as pieces:
            async for _ in pieces:
                pass
    except LoopwrightError as error:
        return error.code
    return "ok"


async def main(url: str, folder: str, requests: int, dies_after: int) -> None:
    """Ask everything at once, then report and go."""
    db = await Database.open(url, size=4)
    spool = Spool(Path(folder), 10**9)
    allowances = Allowances(db, SETTINGS, UUID(spool.worker))
    await allowances.load()
    watching = asyncio.create_task(allowances.watch())
    chat, tee, watched = road(allowances, spool, dies_after)
    print("ready", flush=True)  # noqa: T201 - the parent reads it
    await asyncio.to_thread(sys.stdin.readline)
    asked = [ask(number) for number in range(requests)]
    codes = Counter(await asyncio.gather(*(answer(chat, each) for each in asked)))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await allowances.close()
    spool.close()
    await db.close()
    estimates = {each.id: estimate(each) for each in asked}
    wrong = [
        max((record.cost_nano or 0) - estimates[record.id], 0) for record in tee.records if record.id in watched.last
    ]
    print(json.dumps({"codes": codes, "bound": sum(wrong), "rounds": allowances.rounds}), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
