"""Calls on record for tests of what watches them."""

import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from loopwright.calls.drain import Drain
from loopwright.calls.query import Calls
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.calls.store import Charge
from loopwright.feedback.store import Feedback
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import CallsSettings
from loopwright.kit.settings_json import settings_of
from loopwright.kit.settings_tasks import TaskSettings


def record(asked: str = "hello", said: str = "hi there", **fields: Any) -> Record:
    started = fields.pop("started_ns", time.time_ns())
    body = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
    }
    usual: dict[str, Any] = {
        "id": Ids().new(started), "started_ns": started, "project_id": 1, "key_id": 1, "operation": "chat",
        "model": "task/t", "target": "small-1", "provider": "scripted", "outcome": "ok", "status": 200,
        "error_code": None, "error": None, "stream": False, "ttft_us": 1_000, "latency_us": 21_000,
        "input_tokens": 10, "output_tokens": 11, "cached_tokens": 0, "reasoning_tokens": 0, "usage_estimated": False,
        "cost_nano": 1_500, "price_source": "test", "client": "pytest", "session": None,
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "parent_id": None,
        "task": "t", "variant": "a", "prompt_version": None, "tags": {},
        "request": json.dumps({"model": "task/t", "messages": [{"role": "user", "content": asked}]}).encode(),
        "answer": json.dumps(body).encode(),
    }  # fmt: skip
    return Record(**(usual | fields))


class Kept:
    """Calls and what was said of them, over a database of their own."""

    def __init__(self, db: Database, folder: Path, charge: Charge | None, settings: CallsSettings) -> None:
        self.db = db
        self.spool, self.drain = Spool(folder, 10**9), Drain(db, folder, settings, charge=charge)
        self.calls, self.feedback = Calls(db, settings), Feedback(db)

    async def keep(self, *records: Record) -> None:
        """Spool and drain."""
        for each in records:
            self.spool.write(each)
        while await self.drain.once():
            pass


@asynccontextmanager
async def kept(
    url: str, folder: Path, *, charge: Charge | None = None, settings: CallsSettings | None = None
) -> AsyncIterator[Kept]:
    """The rooms under the monitor."""
    db = await Database.open(url, size=6)
    await migrate(db, ["access", "calls", "tasks", "feedback", "monitoring"])
    house = Kept(db, folder / "spool", charge, settings or CallsSettings())
    try:
        yield house
    finally:
        house.drain.close()
        house.spool.close()
        await db.close()


def watched_task(**monitor: Any) -> TaskSettings:
    variant = {"model": "m", "messages": [{"role": "user", "content": "{{ input }}"}]}
    return settings_of({"variants": {"a": variant}, "monitor": monitor}, TaskSettings)


def drawn_by(call_id: str) -> float:
    """As the drawing is told, in other words."""
    digest = hashlib.blake2b(bytes.fromhex(call_id.replace("-", "")), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
