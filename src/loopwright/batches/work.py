"""One batch at work, from whatever status it is found in to its end. Doing it again goes on where it stopped."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from loopwright.batches.batch import Batch, Problem, Tally
from loopwright.batches.files import OUTPUT, NewFile
from loopwright.batches.journal import Answered, Journal
from loopwright.batches.lines import Line, check, lines
from loopwright.batches.road import Reply, Road
from loopwright.batches.store import Batches
from loopwright.core.errors import NotFound, Unavailable
from loopwright.kit.seal import PLAIN, Seal

_GRACE: Final = 10.0
"""Seconds that lines being answered may take to finish when a batch is cancelled or its window is over."""
_NOTE: Final = 1.0
"""Seconds between notes of how far it is."""
_BUSY: Final = 0.25
"""Seconds to wait for an engine that others are using."""
_HELD: Final = 64
"""Lines that may wait for another attempt before further lines are begun: they are held in memory."""
_SPENT: Final = 60.0
"""Seconds to wait at least when a budget is used up."""


class Work:
    """Brings one batch to its end."""

    def __init__(
        self,
        batch: Batch,
        batches: Batches,
        road: Road,
        turns: asyncio.Semaphore,
        folder: Path,
        *,
        longest: int,
        seal: Seal = PLAIN,
    ) -> None:
        """`turns` bounds the lines that are asked at once, of all batches: each batch waits for one turn at a time."""
        self.batch = batch
        self._batches = batches
        self._settings = batches.settings
        self._road = road
        self._turns = turns
        self._folder = folder
        self._longest = longest
        self._seal = seal
        self._ending: Literal["completed", "expired", "cancelled", "failed"] | None = None
        self._problems: list[Problem] = []
        self._broken: BaseException | None = None
        self._dispatching: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._again: list[tuple[float, int, Line, int, int]] = []
        """Heap of (when, number, line, attempts made, refusals met)."""
        self._paused_until = 0.0
        self._ready = asyncio.Event()

    def cancel(self) -> None:
        """End it early; lines being answered have ten seconds."""
        self._end("cancelled")

    async def run(self) -> None:
        """Work to the end of the batch.

        Raises:
            Unavailable: the database cannot answer now; do it again.
        """
        batch = self.batch
        if batch.status == "cancelling":
            self._ending = "cancelled"
        if batch.status == "validating" and not await self._checked():
            return
        if self._ending == "cancelled" and batch.in_progress_at is None:
            await self._batches.finish(batch.id, "cancelled", Tally(), output=None, errors=None)
            return
        journal = await asyncio.to_thread(Journal.open, self._folder, batch.id, self._seal)
        try:
            if batch.status != "finalizing":
                await self._ask_all(journal)
            await self._finish(journal)
        finally:
            journal.close()

    # ---- before ----

    async def _checked(self) -> bool:
        """Whether its lines may be asked."""
        batch = self.batch
        try:
            file = await self._input()
        except NotFound as error:
            await self._batches.fail(batch.id, [Problem(code="input_file_missing", message=error.message)])
            return False
        with file:
            found = await asyncio.to_thread(
                check,
                file,
                batch.endpoint,
                judge=lambda model: self._road.judge(batch, model),
                lines=self._settings.lines,
                longest=self._longest,
            )
        if found.problems:
            await self._batches.fail(batch.id, found.problems)
            return False
        if not await self._batches.began(batch.id, total=found.total, model=found.model):
            self._ending = "cancelled"
            await self._batches.finish(batch.id, "cancelled", Tally(), output=None, errors=None)
            return False
        return True

    async def _input(self) -> BinaryIO:
        return await self._batches.files.open(await self._batches.files.stored(self.batch.input_file_id))

    # ---- asking ----

    async def _ask_all(self, journal: Journal) -> None:
        """Ask every line that is not answered, until all are, or the batch is ended."""
        if self._ending is not None:
            return
        try:
            file = await self._input()
        except NotFound as error:
            self._ending = "failed"
            self._problems = [Problem(code="input_file_missing", message=error.message)]
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._left(), self._end, "expired")
        noting = loop.create_task(self._note(journal))
        with file:
            source = lines(file, self.batch.endpoint, longest=self._longest, skip=journal.done)
            self._dispatching = loop.create_task(self._dispatch(source, journal))
            try:
                await asyncio.wait({self._dispatching})
                if self._asking:
                    await asyncio.wait(self._asking, timeout=_GRACE)
                if self._broken is not None:
                    raise self._broken
                if not self._dispatching.cancelled():
                    self._dispatching.result()
            finally:
                timer.cancel()
                over = {noting, self._dispatching, *self._asking}
                for task in over:
                    task.cancel()
                await asyncio.gather(*over, return_exceptions=True)

    async def _dispatch(self, source: Iterator[Line], journal: Journal) -> None:
        loop = asyncio.get_running_loop()
        fresh = True
        while fresh or self._again or self._asking:
            now = loop.time()
            due = self._again[0][0] if self._again else None
            if now < self._paused_until:
                await self._wait(self._paused_until - now)
            elif due is not None and due <= now:
                _, _, line, attempts, refusals = heapq.heappop(self._again)
                await self._begin(line, attempts, refusals, journal)
            elif fresh and len(self._again) < _HELD:
                begun = next(source, None)
                if begun is None:
                    fresh = False
                else:
                    await self._begin(begun, 0, 0, journal)
            else:
                await self._wait(None if due is None else due - now)

    async def _wait(self, seconds: float | None) -> None:
        """Until a line comes back, or so long."""
        self._ready.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()

    async def _begin(self, line: Line, attempts: int, refusals: int, journal: Journal) -> None:
        """Ask a line once it is this batch's turn and nobody else would have to wait for it."""
        while True:
            await self._turns.acquire()
            try:
                if await self._road.free(line.model):
                    break
            except BaseException:
                self._turns.release()
                raise
            self._turns.release()
            await asyncio.sleep(_BUSY)
        task = asyncio.create_task(self._ask(line, attempts + 1, refusals, journal))
        self._asking.add(task)
        task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._turns.release()
        self._asking.discard(task)
        self._ready.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # What cannot be stored (a full disk) must not be passed over: the batch is tried again from its journal.
            self._broken = error
            if self._dispatching is not None:
                self._dispatching.cancel()

    async def _ask(self, line: Line, attempt: int, refusals: int, journal: Journal) -> None:
        reply = await self._road.ask(self.batch, line, self._left())
        now = asyncio.get_running_loop().time()
        if reply.status == 429:
            pause = self._backoff(refusals + 1)
            if reply.retry_after is not None:
                pause = max(pause, reply.retry_after)
                self._paused_until = max(self._paused_until, now + min(reply.retry_after, self._settings.longest))
            if b'"insufficient_quota"' in reply.body:
                pause = max(pause, _SPENT)
                self._paused_until = max(self._paused_until, now + _SPENT)
            heapq.heappush(self._again, (now + pause, line.number, line, attempt - 1, refusals + 1))
        elif reply.status >= 500 and attempt < self._settings.attempts:
            pause = max(self._backoff(attempt), min(reply.retry_after or 0.0, self._settings.longest))
            heapq.heappush(self._again, (now + pause, line.number, line, attempt, refusals))
        else:
            journal.add(_answered(line, reply))

    def _backoff(self, count: int) -> float:
        settings = self._settings
        return min(settings.base * 2.0 ** min(count - 1, 40), settings.longest) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret

    async def _note(self, journal: Journal) -> None:
        """Write down every now and then how far it is, and have it on the disk."""
        noted = self.batch.tally
        while True:
            await asyncio.sleep(_NOTE)
            if journal.tally != noted:
                await asyncio.to_thread(journal.sync)
                with suppress(Unavailable):
                    await self._batches.note(self.batch.id, tally := journal.tally)
                    noted = tally

    def _end(self, how: Literal["expired", "cancelled"]) -> None:
        if self._ending is None:
            self._ending = how
            if self._dispatching is not None:
                self._dispatching.cancel()

    def _left(self) -> float:
        return max((self.batch.expires_at - datetime.now(UTC)).total_seconds(), 0.0)

    # ---- after ----

    async def _finish(self, journal: Journal) -> None:
        batch, files = self.batch, self._batches.files
        ending = self._ending or "completed"
        if ending in {"expired", "cancelled"}:
            await self._give_up(journal, "batch_expired" if ending == "expired" else "batch_cancelled")
        elif ending == "completed" and not await self._batches.finalizing(batch.id):
            ending = "cancelled"  # in the very moment when nothing was left to cancel
        made: list[NewFile | None] = []
        for failed in (False, True):
            written = await asyncio.to_thread(journal.write, files.blobs, failed=failed)
            made.append(None if written is None else self._new(*written, name="error" if failed else "output"))
        await self._batches.finish(
            batch.id, ending, journal.tally, output=made[0], errors=made[1], problems=self._problems
        )
        await asyncio.to_thread(journal.remove)

    def _new(self, blob: str, size: int, *, name: str) -> NewFile:
        batch = self.batch
        return NewFile(
            project_id=batch.project_id,
            key_id=batch.key_id,
            filename=f"{batch.id}_{name}.jsonl",
            purpose=OUTPUT,
            bytes=size,
            blob=blob,
            seconds=batch.output_seconds,
        )

    async def _give_up(self, journal: Journal, code: str) -> None:
        """Say of every line without an answer why it has none."""
        said = {
            "batch_expired": "This request could not be executed before the completion window expired.",
            "batch_cancelled": "The batch was cancelled before this request was executed.",
        }[code]

        def write(file: BinaryIO) -> None:
            with file:
                for line in lines(file, self.batch.endpoint, longest=self._longest, skip=journal.done):
                    text = _line(line, f"{self.batch.id[6:26]}{line.number:08x}", None, {"code": code, "message": said})
                    journal.add(Answered(number=line.number, failed=True, text=text))

        with suppress(NotFound):  # without its input nobody knows what was not asked
            await asyncio.to_thread(write, await self._input())


def _answered(line: Line, reply: Reply) -> Answered:
    response = {
        "status_code": reply.status,
        "request_id": reply.request_id,
        "body": msgspec.Raw(msgspec.json.format(reply.body, indent=-1)),
    }
    return Answered(
        number=line.number,
        failed=reply.status != 200,
        text=_line(line, reply.request_id.replace("-", ""), response, None),
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cached_tokens=reply.cached_tokens,
        reasoning_tokens=reply.reasoning_tokens,
        cost_nano=reply.cost_nano,
    )


def _line(line: Line, name: str, response: object, error: object) -> bytes:
    """One line of an output or error file."""
    return msgspec.json.encode(
        {"id": f"batch_req_{name}", "custom_id": line.custom_id, "response": response, "error": error}
    )
