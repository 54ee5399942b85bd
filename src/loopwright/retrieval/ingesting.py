"""Reads documents that wait, cuts them, has them embedded, and puts them where they can be found. One a data folder.

Pieces of all documents line up before their embedder, so that it never waits for a short document to end: reading,
cutting and storing go on beside it. A document is put in one transaction; whatever ends the process, the next one finds
it waiting or put, never in between. An embedder that does not answer is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, StartError, Unavailable
from loopwright.documents.chunking import cut as cut_up
from loopwright.documents.document import Parsed, Piece
from loopwright.guardrails.injection import suspicion
from loopwright.kit.blobs import DamagedBlob
from loopwright.kit.ending import end
from loopwright.kit.lock import FolderLock
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.embedded import Embeds, Tokens, TokensOf, by_bytes
from loopwright.retrieval.filling import Filling
from loopwright.retrieval.intake import Intake
from loopwright.retrieval.lining import Lining
from loopwright.retrieval.shelving import TRIES, Cut, Shelving, Waiting

_LOOK: Final = 0.25
"""Seconds between looks for more that waits."""
_RENEW: Final = 15.0
_SETTLE: Final = 30.0
"""Seconds after which an index is settled even while more comes."""
_LEASED: Final = 32
"""Documents leased at once."""
_TOGETHER: Final = 512
"""Pieces from which on no more documents are put in the same transaction."""
_LONGEST: Final = 30.0
"""Seconds between two attempts to embed anew, at most."""
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


class Ingester:
    """Works for the documents that can be read in this data folder."""

    def __init__(self, intake: Intake, reader: Reads, embed: Embeds, tokens_of: TokensOf = by_bytes) -> None:
        self._intake = intake
        self._store = intake.store
        self._settings = intake.settings
        self._shelving = Shelving(intake.store, intake.place)
        self._filling = Filling(intake.store, embed, batch=intake.settings.batch)
        self._reader = reader
        self._tokens_of = tokens_of
        self._flying: dict[int, Waiting] = {}
        """What is being read, embedded or put, by its id."""
        self._pieces = 0
        """That are cut and not yet put."""
        self._ready: asyncio.Queue[Cut] = asyncio.Queue()
        self._touched: set[int] = set()
        """Collections whose index is to be settled."""
        self._lining = Lining(
            embed=embed,
            batch=intake.settings.batch,
            wanted=lambda made: made.waiting.id in self._flying,
            ready=self._ready.put_nowait,
            failed=self._not_embedded,
            say=self._shelving.say,
        )

    async def run(self, *, once: bool = False) -> None:
        """Work until cancelled; with `once`, until nothing waits.

        Raises:
            StartError: another process works in this folder.
        """
        lock = FolderLock.take(self._intake.blobs.folder / "lock")
        try:
            await self._patiently(self._shelving.take_over)
            workers = [self._lining.run() for _ in range(self._settings.at_once)]
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
                await end(tasks)
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
                await asyncio.sleep(0.05)
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
            self._lining.more, known = bool(some), dict[int, Collection]()
            for waiting in some:
                if waiting.id not in self._flying:  # held by us still, after an outage
                    self._flying[waiting.id] = waiting
                    await self._prepared(waiting, known)
            alone = bool(some) and some[0].attempts > 1
            if len(some) < _LEASED and not alone:  # that was all there is
                await asyncio.sleep(_LOOK)
            while alone and some[0].id in self._flying:  # noqa: ASYNC110 - to its end
                await asyncio.sleep(0.02)

    async def _prepared(self, waiting: Waiting, known: dict[int, Collection]) -> None:
        """Read and cut a document, and line its pieces up; one that cannot be is failed."""
        try:
            made = await self._cut(waiting, known)
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
        if made.pieces:
            self._lining.add(made)
        else:
            self._ready.put_nowait(made)

    async def _cut(self, waiting: Waiting, known: dict[int, Collection]) -> Cut | None:
        """A document in pieces; None when nobody wants it any more.

        Raises:
            BadRequest: nothing can be had from it.
            Unavailable, StartError: not now.
        """
        if waiting.attempts > TRIES:
            raise BadRequest(f"ended the process that read it {TRIES} times")
        collection = known.get(waiting.collection_id) or await self._store.of_id(waiting.collection_id)
        if collection is None:
            return None
        known[collection.id] = collection
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

    async def _not_embedded(self, made: Cut, reason: str) -> None:
        self._pieces -= len(made.pieces)
        await self._failed(made.waiting, reason)

    async def _failed(self, waiting: Waiting, reason: str) -> None:
        await self._patiently(lambda: self._shelving.fail(waiting, reason))
        await self._ended(waiting)

    async def _ended(self, waiting: Waiting) -> None:
        self._flying.pop(waiting.id, None)
        if waiting.blob:
            with suppress(Unavailable):  # else it goes a day later
                await self._intake.drop(waiting.blob)

    # ---- putting ----

    async def _put_on(self) -> None:
        """Put documents whose pieces all have their vectors: what came together, together."""
        kept: list[Cut] = []
        while True:
            if not kept:
                kept.append(await self._ready.get())
            while not self._ready.empty():
                kept.append(self._ready.get_nowait())
            group, size = list[Cut](), 0
            for made in kept:
                if made.collection.id == kept[0].collection.id and (not group or size < _TOGETHER):
                    group.append(made)
                    size += len(made.pieces)
            kept = [made for made in kept if made not in group]
            await self._put(group)

    async def _put(self, group: Sequence[Cut]) -> None:
        """Put documents of one collection; those that cannot be are failed, each for itself."""
        moved: list[Cut] = []

        async def put() -> None:
            moved[:] = (await self._shelving.shelve(group)).moved

        try:
            await self._patiently(put)
        except Exception as error:  # noqa: BLE001 - an edge, as above
            if len(group) > 1:
                for made in group:
                    await self._put([made])
                return
            said = (
                error.message if isinstance(error, LoopwrightError) else f"{type(error).__name__}, the log says where"
            )
            _log.exception("document %d could not be put", group[0].waiting.document_id)
            await self._failed(group[0].waiting, f"could not be indexed: {said}")
        else:
            self._touched.add(group[0].collection.id)
            if moved:
                await self._patiently(lambda: self._shelving.release([made.waiting for made in moved]))
            for made in group:
                if made in moved:
                    self._flying.pop(made.waiting.id, None)
                else:
                    await self._ended(made.waiting)
        self._pieces -= sum(len(made.pieces) for made in group)

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
