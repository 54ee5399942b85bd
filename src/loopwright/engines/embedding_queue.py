"""Texts of many requests wait here and are encoded together, off the event loop. Bounded by tokens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Unavailable

Encode = Callable[[Sequence[Sequence[int]]], NDArray[np.float32]]


@dataclass(slots=True, kw_only=True)
class _Waiting:
    tokens: Sequence[int]
    vector: asyncio.Future[NDArray[np.float32]]


class EmbeddingQueue:
    """First come, first served, but what waits is encoded in batches."""

    def __init__(self, encode: Encode, *, limit: int = 2_000_000, together: int = 32) -> None:
        """`limit`: tokens that may wait. `together`: texts taken at once; fewer let newcomers in sooner."""
        self._encode = encode
        self._limit = limit
        self._together = together
        self._waiting: deque[_Waiting] = deque()
        self._held = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self.running = 0
        """Texts being encoded now."""
        self.prompt_tokens_total = 0

    @property
    def queued(self) -> int:
        """Texts that wait."""
        return len(self._waiting)

    async def encode(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors of one request's texts, in order. Cancelling it takes its texts out of the line.

        Raises:
            Unavailable: too much waits already.
        """
        size = sum(len(tokens) for tokens in texts)
        if self._held and self._held + size > self._limit:
            raise Unavailable(
                f"{self._held:,} tokens wait to be embedded, the limit is {self._limit:,}: try again later",
                retry_after=5,
            )
        loop = asyncio.get_running_loop()
        mine = [_Waiting(tokens=tokens, vector=loop.create_future()) for tokens in texts]
        self._held += size
        self._waiting.extend(mine)
        self._arrived.set()
        try:
            return np.stack(await asyncio.gather(*(item.vector for item in mine)))
        finally:
            self._held -= size

    async def run(self) -> None:
        """Encode what comes until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take()
            if not batch:
                self._arrived.clear()
                continue
            tokens = [item.tokens for item in batch]
            self.running = len(batch)
            try:
                vectors = await loop.run_in_executor(self._thread, self._encode, tokens)
            except Exception as error:  # noqa: BLE001 - an edge: whatever the runtime raises belongs to these requests
                for item in batch:
                    if not item.vector.done():
                        item.vector.set_exception(error)
                continue
            finally:
                self.running = 0
            self.prompt_tokens_total += sum(map(len, tokens))
            for item, vector in zip(batch, vectors, strict=True):
                if not item.vector.done():
                    item.vector.set_result(vector)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._together:
            item = self._waiting.popleft()
            if not item.vector.done():  # cancelled: the client is gone
                batch.append(item)
        return batch
