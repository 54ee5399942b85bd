"""How busy the local engines behind a model are, so that batches can keep out of the way of everybody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from loopwright.core.errors import LoopwrightError
from loopwright.engines.endpoints import Endpoint
from loopwright.engines.kinds import engine_of
from loopwright.engines.protocol import Load
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import ModelSettings, Timeouts

_FRESH: Final = 0.1
"""Seconds for which what an engine said of itself holds."""
_TIMEOUTS: Final = Timeouts(connect=1.0, first_token=2.0, between_tokens=2.0, total=4.0)


class _Watched:
    """One engine, what it last said, and how many lines of batches it is answering."""

    def __init__(self, endpoint: Endpoint, free_slots: int) -> None:
        self.asking = 0
        self._places = max(endpoint.slots - free_slots, 1)
        self._engine = engine_of(endpoint.kind)
        url = endpoint.url.removesuffix("/v1")
        headers = {"authorization": f"Bearer {endpoint.secret}"}
        self.client = HttpClient(base_url=url, headers=headers, timeouts=_TIMEOUTS)
        self._others = 0
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    async def free(self) -> bool:
        """Whether one more line would leave others the slots that are theirs."""
        async with self._looking:
            if time.monotonic() - self._looked_at > _FRESH:
                load = await self._load()
                # Whoever waits is not one of ours: we never ask for more than there are slots.
                self._others = max(load.running + load.queued - self.asking, 0)
                self._looked_at = time.monotonic()
        return self._others + self.asking < self._places

    async def _load(self) -> Load:
        pages: dict[str, bytes] = {}
        for path in self._engine.load_pages:
            try:
                reply = await self.client.request("GET", path)
            except LoopwrightError:
                return Load()  # not there: the road will say so
            if reply.status == 200:
                pages[path] = reply.body
        return self._engine.load(pages)


class EngineLoad:
    """The engines behind each name that can be called."""

    def __init__(self, models: Mapping[str, ModelSettings], engines: Mapping[str, Endpoint], free_slots: int) -> None:
        """`models` as configured, `engines` as the supervisor wrote of them; names without one are always free."""
        watched = {name: _Watched(endpoint, free_slots) for name, endpoint in engines.items()}
        self._watched = watched
        self._behind: dict[str, tuple[_Watched, ...]] = {}
        for name, model in models.items():
            hosted = {name, *(target.engine_model for target in model.targets)}
            found = tuple(each for engine, each in watched.items() if engine in hosted)
            if found:
                self._behind.update(dict.fromkeys((name, *model.aliases), found))
        for name, each in watched.items():
            self._behind.setdefault(name, (each,))

    async def free(self, model: str) -> bool:
        """Whether every engine behind a name has room that nobody else needs."""
        for each in self._behind.get(model, ()):
            if not await each.free():
                return False
        return True

    def hosts(self, model: str) -> bool:
        """Whether an engine of ours may answer for a name."""
        return bool(self._behind.get(model))

    @contextmanager
    def asking(self, model: str) -> Iterator[None]:
        """A line is asked."""
        behind = self._behind.get(model, ())
        for each in behind:
            each.asking += 1
        try:
            yield
        finally:
            for each in behind:
                each.asking -= 1

    async def close(self) -> None:
        """Close the connections."""
        for each in self._watched.values():
            await each.client.close()
