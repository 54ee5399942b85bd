"""Records to make and rooms to open, for the tests of the calls' room."""

import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loopwright.calls.drain import Drain
from loopwright.calls.indexer import Indexer
from loopwright.calls.query import Calls
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import CallsSettings

Making = Callable[..., Record]


@pytest.fixture
def make() -> Making:
    """`make(prompt, said, **fields)` is a Record."""
    ids = Ids()

    def record(prompt: str = "hello", said: str = "hi there", **fields: Any) -> Record:
        started = fields.pop("started_ns", time.time_ns())
        message = {"role": "assistant", "content": said}
        body = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        usual: dict[str, Any] = {
            "id": ids.new(started), "started_ns": started, "project_id": 1, "key_id": 1, "operation": "chat",
            "model": "small", "target": "small-1", "provider": "scripted", "outcome": "ok", "status": 200,
            "error_code": None, "error": None, "stream": False, "ttft_us": 1_000, "latency_us": 21_000,
            "input_tokens": 10, "output_tokens": 11, "cached_tokens": 0, "reasoning_tokens": 0,
            "usage_estimated": False, "cost_nano": 1_500, "price_source": "test", "client": "pytest", "session": None,
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "parent_id": None,
            "task": None, "variant": None, "prompt_version": None, "tags": {},
            "request": json.dumps({"model": "small", "messages": [{"role": "user", "content": prompt}]}).encode(),
            "answer": json.dumps(body).encode(),
        }  # fmt: skip
        return Record(**(usual | fields))

    return record


@dataclass
class House:
    """The calls' room over a database of its own."""

    db: Database
    folder: Path
    settings: CallsSettings
    spool: Spool
    drain: Drain
    indexer: Indexer
    calls: Calls

    async def keep(self, *records: Record) -> None:
        """Spool and drain."""
        for record in records:
            self.spool.write(record)
        while await self.drain.once():
            pass


Opening = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def opening(database_url: str, tmp_path: Path) -> Opening:
    """`async with opening() as house`."""

    @asynccontextmanager
    async def opened(settings: CallsSettings | None = None) -> AsyncIterator[House]:
        settings = settings or CallsSettings()
        db = await Database.open(database_url, size=4)
        await migrate(db, ["calls"])
        folder = tmp_path / "spool"
        spool, drain = Spool(folder, 10**9), Drain(db, folder, settings)
        try:
            yield House(db, folder, settings, spool, drain, Indexer(db), Calls(db, settings))
        finally:
            drain.close()
            spool.close()
            await db.close()

    return opened


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        yield Path(folder)
