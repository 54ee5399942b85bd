"""Pieces of all documents in line before their embedders, embedded in full batches; who does not answer is waited for."""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from loopwright.core.errors import LoopwrightError, Unavailable
from loopwright.retrieval.embedded import Embeds, blames, embeddable
from loopwright.retrieval.shelving import Cut

_LOOK: Final = 0.25
"""Seconds between looks whether somebody may be asked again."""
_LINGER: Final = 0.05
"""Seconds that fewer pieces than a batch wait for more, while documents are being cut."""
_LONGEST: Final = 30.0
"""Seconds between two questions to an embedder that does not answer, at most."""
_log = logging.getLogger(__name__)
Piece = tuple[Cut, int]
"""A document, and which of its pieces."""


@dataclass(slots=True)
class _Line:
    """Pieces that wait for one model, of one project."""

    model: str
    pieces: deque[Piece] = field(default_factory=deque)
    since: float = 0.0
    """When the first of them came, or when some were taken last."""
    rests_until: float = 0.0
    pause: float = 0.0
    troubled: set[int] = field(default_factory=set)
    """Generations that were told why their vectors do not come."""


@dataclass(slots=True, kw_only=True)
class Lining:
    """Has pieces embedded, whatever documents they are of."""

    embed: Embeds
    batch: int
    """Pieces of one question."""
    wanted: Callable[[Cut], bool]
    """Whether a document has not failed meanwhile."""
    ready: Callable[[Cut], None]
    """Hears of documents whose pieces all have their vectors."""
    failed: Callable[[Cut, str], Awaitable[None]]
    """Hears of documents with a piece that nobody embeds, and why."""
    say: Callable[[Sequence[int], str], Awaitable[None]]
    """Tells generations why their vectors do not come; empty when they do."""
    more: bool = False
    """More pieces are about to come."""
    _lines: dict[tuple[str, int], _Line] = field(default_factory=dict)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, cut: Cut) -> None:
        """Stand the pieces of a document in line."""
        key = (cut.collection.embedder, cut.collection.project_id)
        line = self._lines.setdefault(key, _Line(cut.collection.embedder))
        if not line.pieces:
            line.since = asyncio.get_running_loop().time()
        line.pieces.extend((cut, at) for at in range(len(cut.pieces)))
        self._came.set()

    async def run(self) -> None:
        """Embed until cancelled; several may run at once."""
        while True:
            line, batch = self._next(asyncio.get_running_loop().time())
            if line is None:
                self._came.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER if self.more else _LOOK):
                        await self._came.wait()
                continue
            try:
                await self._embedded(line, batch)
            except LoopwrightError as error:
                await self._rest(line, batch, error)
                continue
            line.pause = 0.0
            if line.troubled:
                with suppress(Unavailable):
                    await self.say([*line.troubled], "")
                    line.troubled.clear()

    def _next(self, now: float) -> tuple[_Line | None, list[Piece]]:
        for key, line in self._lines.items():
            full = len(line.pieces) >= self.batch or not self.more or now - line.since > _LINGER
            if line.pieces and full and line.rests_until <= now:
                line.since = now
                batch = [line.pieces.popleft() for _ in range(min(self.batch, len(line.pieces)))]
                self._lines[key] = self._lines.pop(key)  # others have their turn
                return line, batch
        return None, []

    async def _embedded(self, line: _Line, given: Sequence[Piece]) -> None:
        """Give pieces their vectors. A document with one that is refused is failed.

        Raises:
            LoopwrightError: the model does not answer now.
        """
        batch = [(cut, at) for cut, at in given if self.wanted(cut) and cut.vectors[at] is None]
        if not batch:
            return
        texts = [_text(cut, at) for cut, at in batch]
        try:
            vectors = await self.embed(batch[0][0].collection, line.model, texts)
        except LoopwrightError as error:
            if not blames(error):
                raise
            if len(batch) == 1:
                await self.failed(batch[0][0], f"could not be embedded: {error.message}")
            else:
                half = len(batch) // 2
                await self._embedded(line, batch[:half])
                await self._embedded(line, batch[half:])
            return
        for (cut, at), vector in zip(batch, vectors, strict=True):
            cut.vectors[at] = array("f", vector)
            cut.left -= 1
            if not cut.left:
                self.ready(cut)

    async def _rest(self, line: _Line, batch: Sequence[Piece], error: LoopwrightError) -> None:
        """Stand a batch in line again, at its head, and wait: longer each time."""
        line.pieces.extendleft(reversed(batch))
        line.pause = min(max(line.pause * 2, error.retry_after or 0.5), _LONGEST)
        line.rests_until = asyncio.get_running_loop().time() + line.pause
        generations = {cut.collection.embedding_id for cut, _ in batch}
        line.troubled |= generations
        _log.warning("model %r does not embed now, again in %.1f s: %s", line.model, line.pause, error)
        with suppress(Unavailable):
            await self.say([*generations], f"model {line.model!r} does not embed now: {error.message}")


def _text(cut: Cut, at: int) -> str:
    piece = cut.pieces[at]
    return embeddable(cut.waiting.told.title or cut.parsed.title, piece.heading, piece.text)
