"""Reads documents that wait, cuts them, has them embedded, and puts them where they can be found. One a data folder.

Pieces of all documents line up before their embedder, so that it never waits for a short document to end: reading,
cutting and storing go on beside it. A document is put in one transaction; whatever ends the process, the next one finds
it waiting or put, never in between. An embedder that does not answer is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, StartError, Unavailable
from loopwright.documents.chunking import cut as cut_up
from loopwright.documents.document import Parsed, Piece
from loopwright.guardrails.injection import suspicion
from loopwright.kit.blobs import DamagedBlob
from loopwright.kit.lock import FolderLock
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.embedded import Embeds, Tokens, TokensOf, blames, by_bytes, embeddable
from loopwright.retrieval.filling import Filling
from loopwright.retrieval.intake import Intake
from loopwright.retrieval.shelving import TRIES, Cut, MovedError, Shelving, Waiting

_LOOK: Final = 0.25
"""Seconds between looks for more that waits."""
_RENEW: Final = 15.0
_SETTLE: Final = 30.0
"""Seconds after which an index is settled even while more comes."""
_LINGER: Final = 0.05
"""Seconds that fewer pieces than a batch wait for more, while documents are being cut."""
_LEASED: Final = 16
"""Documents leased at once."""
_LONGEST: Final = 30.0
"""Seconds between two questions to an embedder that does not answer, at most."""
_log = logging.getLogger(__name__)


class Reads(Protocol):
    """Reads one file; see `documents.sandboxed.Reader`."""

    async def read(self, data: bytes, name: str, /) -> Parsed:
        """What it says.

        Raises:
            BadRequest: nothing can be had from it; says why.
            StartError: nothing can be read now.
        """
        ...


@dataclass(slots=True)
class _Line:
    """Pieces that wait for one model, of one project."""

    model: str
    pieces: deque[tuple[Cut, int]] = field(default_factory=deque)
    since: float = 0.0
    """When the first of them came, or when some were taken last."""
    rests_until: float = 0.0
    pause: float = 0.0
    troubled: set[int] = field(default_factory=set)
    """Generations that were told why their vectors do not come."""


class Ingester:
    """Works for the documents that can be read in this data folder."""

    def __init__(self, intake: Intake, reader: Reads, embed: Embeds, tokens_of: TokensOf = by_bytes) -> None:
        self._intake = intake
        self._store = intake.store
        self._settings = intake.settings
        self._shelving = Shelving(intake.store, intake.place)
        self._filling = Filling(intake.store, embed, batch=intake.settings.batch)
        self._reader = reader
        self._embed = embed
        self._tokens_of = tokens_of
        self._lines: dict[tuple[str, int], _Line] = {}
        self._flying: dict[int, Waiting] = {}
        """What is being read, embedded or put, by its id."""
        self._pieces = 0
        """That are cut and not yet put."""
        self._feeding = False
        """More documents are about to be cut."""
        self._came = asyncio.Event()
        self._ready: asyncio.Queue[Cut] = asyncio.Queue()
        self._touched: set[int] = set()
        """Collections whose index is to be settled."""

    async def run(self, *, once: bool = False) -> None:
        """Work until cancelled; with `once`, until nothing waits.

        Raises:
            StartError: another process works in this folder.
        """
        lock = FolderLock.take(self._intake.blobs.folder / "lock")
        try:
            await self._patiently(self._shelving.take_over)
            workers = [self._embed_on() for _ in range(self._settings.at_once)]
            works = [
                self._feed(once=once),
                self._put_on(),
                self._renew_on(),
                self._fill_on(),
                self._settle_on(),
                *workers,
            ]
            tasks = [asyncio.create_task(work) for work in works]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                with suppress(LoopwrightError):
                    await self._shelving.release([*self._flying.values()])
        finally:
            lock.release()

    # ---- reading ----

    async def _feed(self, *, once: bool) -> None:
        """Keep pieces in line before the embedder."""
        most = 4 * self._settings.batch * self._settings.at_once
        while True:
            if self._pieces >= most:
                await asyncio.sleep(0.01)
                continue
            try:
                some = await self._shelving.lease(_LEASED, alone=False)
                if not some and not self._flying:
                    some = await self._shelving.lease(1, alone=True)
                if not some and once and not self._flying and not await self._shelving.waiting():
                    await self._settle()
                    return
            except Unavailable as error:
                _log.warning("documents wait for the database: %s", error)
                some = []
            self._feeding = bool(some)
            for waiting in some:
                if waiting.id not in self._flying:  # held by us still, after an outage
                    self._flying[waiting.id] = waiting
                    await self._prepared(waiting)
            if not some or some[0].attempts:
                await asyncio.sleep(_LOOK if not self._flying else 0.02)
            while some and some[0].attempts and some[0].id in self._flying:  # noqa: ASYNC110 - alone to its end
                await asyncio.sleep(0.02)

    async def _prepared(self, waiting: Waiting) -> None:
        """Read and cut a document, and line its pieces up; one that cannot be is failed."""
        try:
            made = await self._cut(waiting)
            if made is None:
                self._flying.pop(waiting.id, None)
                return
        except BadRequest as error:
            await self._failed(waiting, error.message)
            return
        except (Unavailable, StartError) as error:
            _log.warning("document %d is read later: %s", waiting.document_id, error)
            self._flying.pop(waiting.id, None)
            with suppress(Unavailable):
                await self._shelving.release([waiting])
            await asyncio.sleep(1.0)
            return
        except Exception as error:  # noqa: BLE001 - an edge: one strange document must not keep all others waiting
            _log.exception("document %d could not be cut", waiting.document_id)
            await self._failed(waiting, f"could not be cut: {type(error).__name__}, the log says where")
            return
        self._pieces += len(made.pieces)
        if not made.pieces:
            self._ready.put_nowait(made)
            return
        key = (made.collection.embedder, made.collection.project_id)
        line = self._lines.setdefault(key, _Line(made.collection.embedder))
        if not line.pieces:
            line.since = asyncio.get_running_loop().time()
        line.pieces.extend((made, at) for at in range(len(made.pieces)))
        self._came.set()

    async def _cut(self, waiting: Waiting) -> Cut | None:
        """A document in pieces; None when nobody wants it any more.

        Raises:
            BadRequest: nothing can be had from it.
            Unavailable, StartError: not now.
        """
        if waiting.attempts >= TRIES:
            raise BadRequest(f"ended the process that read it {TRIES} times")
        if not await self._shelving.begin(waiting):
            return None
        collection = await self._store.of_id(waiting.collection_id)
        if collection is None:
            return None
        parsed = await self._read(waiting)
        tokens = self._tokens_of(collection.embedder)
        pieces, suspicions = await asyncio.to_thread(_pieces, parsed, collection, tokens)
        return Cut(waiting=waiting, collection=collection, parsed=parsed, pieces=pieces, suspicions=suspicions)

    async def _read(self, waiting: Waiting) -> Parsed:
        data = await self._bytes(waiting)
        if waiting.origin == "record":  # a text is a text, whatever it begins with
            return Parsed(text=data.decode("utf-8", "replace"), media_type="text/plain")
        return await self._reader.read(data, waiting.told.file or waiting.name)

    async def _bytes(self, waiting: Waiting) -> bytes:
        if waiting.told.data is not None:
            return waiting.told.data
        try:
            return await asyncio.to_thread(self._intake.blobs.read, waiting.blob or "")
        except (NotFound, DamagedBlob) as error:
            raise BadRequest(f"its bytes are lost: send it again ({error.message[:200]})") from None

    async def _failed(self, waiting: Waiting, reason: str) -> None:
        await self._patiently(lambda: self._shelving.fail(waiting, reason))
        await self._ended(waiting)

    async def _ended(self, waiting: Waiting) -> None:
        self._flying.pop(waiting.id, None)
        if waiting.blob:
            with suppress(Unavailable):  # else it goes a day later
                await self._intake.drop(waiting.blob)

    # ---- embedding ----

    async def _embed_on(self) -> None:
        """Embed what stands in line, whatever documents it is of."""
        while True:
            line, batch = self._next(asyncio.get_running_loop().time())
            if line is None:
                self._came.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER if self._feeding else _LOOK):
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
                    await self._shelving.say([*line.troubled], "")
                    line.troubled.clear()

    def _next(self, now: float) -> tuple[_Line | None, list[tuple[Cut, int]]]:
        for key, line in self._lines.items():
            full = len(line.pieces) >= self._settings.batch or not self._feeding or now - line.since > _LINGER
            if line.pieces and full and line.rests_until <= now:
                line.since = now
                batch = [line.pieces.popleft() for _ in range(min(self._settings.batch, len(line.pieces)))]
                self._lines[key] = self._lines.pop(key)  # others have their turn
                return line, batch
        return None, []

    async def _embedded(self, line: _Line, batch: Sequence[tuple[Cut, int]]) -> None:
        """Give pieces their vectors. A document with one that is refused is failed.

        Raises:
            LoopwrightError: the model does not answer now.
        """
        batch = [(made, at) for made, at in batch if made.waiting.id in self._flying and made.vectors[at] is None]
        if not batch:
            return
        texts = [_text(made, at) for made, at in batch]
        try:
            vectors = await self._embed(batch[0][0].collection, line.model, texts)
        except LoopwrightError as error:
            if not blames(error):
                raise
            if len(batch) == 1:
                made = batch[0][0]
                self._pieces -= len(made.pieces)
                await self._failed(made.waiting, f"could not be embedded: {error.message}")
            else:
                half = len(batch) // 2
                await self._embedded(line, batch[:half])
                await self._embedded(line, batch[half:])
            return
        for (made, at), vector in zip(batch, vectors, strict=True):
            made.vectors[at] = array("f", vector)
            made.left -= 1
            if not made.left:
                self._ready.put_nowait(made)

    async def _rest(self, line: _Line, batch: Sequence[tuple[Cut, int]], error: LoopwrightError) -> None:
        """Stand a batch in line again, at its head, and wait: longer each time."""
        line.pieces.extendleft(reversed(batch))
        line.pause = min(max(line.pause * 2, error.retry_after or 0.5), _LONGEST)
        line.rests_until = asyncio.get_running_loop().time() + line.pause
        generations = {made.collection.embedding_id for made, _ in batch}
        line.troubled |= generations
        _log.warning("model %r does not embed now, again in %.1f s: %s", line.model, line.pause, error)
        with suppress(Unavailable):
            await self._shelving.say([*generations], f"model {line.model!r} does not embed now: {error.message}")

    # ---- putting ----

    async def _put_on(self) -> None:
        """Put documents whose pieces all have their vectors."""
        while True:
            made = await self._ready.get()
            try:
                await self._patiently(lambda made=made: self._shelving.shelve(made))  # type: ignore[misc]
            except MovedError:
                self._flying.pop(made.waiting.id, None)
                await self._patiently(lambda made=made: self._shelving.release([made.waiting]))  # type: ignore[misc]
            except LoopwrightError as error:
                await self._failed(made.waiting, f"could not be indexed: {error.message}")
            except Exception as error:  # noqa: BLE001 - an edge, as above
                _log.exception("document %d could not be put", made.waiting.document_id)
                await self._failed(made.waiting, f"could not be indexed: {type(error).__name__}, the log says where")
            else:
                self._touched.add(made.collection.id)
                await self._ended(made.waiting)
            self._pieces -= len(made.pieces)

    async def _settle_on(self) -> None:
        loop, settled = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(_LOOK)
            if self._touched and (not self._flying or loop.time() - settled > _SETTLE):
                await self._settle()
                settled = loop.time()

    async def _settle(self) -> None:
        touched, self._touched = self._touched, set()
        for collection_id in touched:
            try:
                await self._store.index.settle(collection_id)
            except LoopwrightError as error:
                _log.warning("the index of collection %d is settled later: %s", collection_id, error)
                self._touched.add(collection_id)

    # ---- beside ----

    async def _fill_on(self) -> None:
        """Embed collections anew, beside all else."""
        pause = _LOOK
        while True:
            try:
                generation = await self._filling.next()
                if generation is None:
                    await self._store.discard_retired()
                    await asyncio.sleep(2 * _LOOK)
                    continue
                try:
                    await self._filling.step(generation)
                    pause = _LOOK
                except LoopwrightError as error:
                    said = f"model {generation['model']!r} does not embed now: {error.message}"
                    await self._shelving.say([generation["id"]], said)
                    raise
            except LoopwrightError as error:
                _log.warning("embedding anew goes on in %.1f s: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST)

    async def _renew_on(self) -> None:
        while True:
            await asyncio.sleep(_RENEW)
            with suppress(Unavailable):
                await self._shelving.renew()

    async def _patiently(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do it, as often as the database has to be waited for."""
        while True:
            try:
                await act()
            except Unavailable as error:
                _log.warning("documents wait for the database: %s", error)
                await asyncio.sleep(1.0)
            else:
                return


def _pieces(parsed: Parsed, collection: Collection, tokens: Tokens) -> tuple[list[Piece], list[float]]:
    chunking = collection.chunking
    room = tokens.room(chunking.tokens)
    pieces = cut_up(parsed, by=chunking.by, tokens=room, overlap=min(chunking.overlap, room // 2), count=tokens.count)
    return pieces, [suspicion(piece.text) for piece in pieces]


def _text(made: Cut, at: int) -> str:
    piece = made.pieces[at]
    return embeddable(made.waiting.told.title or made.parsed.title, piece.heading, piece.text)
