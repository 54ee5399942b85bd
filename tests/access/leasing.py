"""What tests of limits share: workers on one database, requests, and the calls that end them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from loopwright.access.allowances import Allowances, Sizes
from loopwright.access.spending import charge
from loopwright.core.chat import Request, Trace
from loopwright.core.who import Principal
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.settings import LimitSettings

IDS = Ids()
PATIENT = LimitSettings(wait=20.0)
"""Tests run on loaded machines: what is slow is not away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call on record, as far as limits care."""

    id: str
    started_ns: int
    project_id: int = 1
    key_id: int = 1
    model: str = "m"
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = 0
    observed: bool = False
    latency_us: int = 1000
    tags: dict[str, str] = field(default_factory=dict)


def request(*, key_id: int = 1, now_ns: int | None = None, **fields: Any) -> Request:
    """A request of a key of the default project."""
    call_id = IDS.new(now_ns)
    who = Principal(key_id=key_id, key_name="k", project_id=1, project="default")
    base: dict[str, Any] = {"operation": "chat", "model": "m", "body": {}, "raw": b"{}", "stream": False, "who": who}
    started = time.time_ns() if now_ns is None else now_ns
    trace = Trace(trace_id="0" * 31 + "1", span_id="0" * 15 + "1")
    return Request(**{**base, "id": call_id, "started_ns": started, "trace": trace, **fields})


def ended(asked: Request, *, cost: int = 0, tokens: int = 0) -> Ended:
    """The end of a request."""
    return Ended(
        id=asked.id,
        started_ns=asked.started_ns,
        key_id=asked.who.key_id,
        cost_nano=cost,
        output_tokens=tokens,
        tags=dict(asked.tags),
    )


@asynccontextmanager
async def working(
    db: Database, settings: LimitSettings = PATIENT, holder: uuid.UUID | None = None
) -> AsyncIterator[Allowances]:
    """A worker that renews its leases."""
    worker = Allowances(db, settings, holder or uuid.uuid4())
    await worker.load()
    watching = asyncio.create_task(worker.watch())
    try:
        yield worker
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await worker.close()


async def use(worker: Allowances, asked: Request, sizes: Sizes) -> None:
    """Reserve as the gateway does."""
    pools = worker.of(asked)
    if worker.reserve(asked, pools, sizes) is not None:
        await worker.admit(asked, pools, sizes)


async def drain(db: Database, holder: uuid.UUID, *calls: Ended) -> None:
    """Put calls on record, as the drain does."""
    async with db.transaction() as connection:
        await charge(connection, [(holder.hex, call) for call in calls])
