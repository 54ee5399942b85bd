"""The cache of one worker: memory first, the database behind it, written in the background.

Most answers lie there with the calls they answered, which the recorder writes; the others in a table of our own. A
look-up asks the database only for a key it is known to have, so a miss waits for nobody; an outage of the database makes
hits fewer and nothing fail.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from loopwright.cache import shared, tally
from loopwright.cache.entry import Entry, Erasure, Likeness
from loopwright.cache.memory import MOST_KNOWN, Memory, Sent, Wording, short
from loopwright.cache.tally import Tally, Wrong
from loopwright.core.chat import Delta
from loopwright.core.errors import Unavailable
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CacheSettings

_T = TypeVar("_T")
_WAIT: Final = 0.5
"""Seconds a look-up may wait for the database."""
_BATCH: Final = 500
_LINGER: Final = 0.1
"""Seconds in which answers gather, so that many are stored by one statement: one each cost more than all else here."""
_TALLY_EVERY: Final = 1.0
_PAUSE: Final = 1.0
_log = logging.getLogger(__name__)


class OnRecord(Protocol):
    """Answers that lie with the calls they answered. Every method raises `Unavailable` while the database cannot answer."""

    async def find(self, key: bytes) -> Entry | None:
        """The answer to a key, if it is still good."""
        ...

    async def known(self, most: int) -> list[tuple[bytes, int]]:
        """(the beginning of its key, Unix time of expiry) of at most so many, those good for longest."""
        ...

    async def questions_of(self, call_id: str) -> list[bytes]:
        """The key of the question that a call answered."""
        ...

    async def forget(self, erasure: Erasure) -> int:
        """Have what `erasure` names not given again; how many there were."""
        ...


class _Notice(msgspec.Struct):
    """What workers and recorders tell."""

    learn: list[tuple[int, int]] = []
    forget: Erasure | None = None
    thresholds: bool = False


_notice: Final = msgspec.json.Decoder(_Notice)


class Cache:
    """Answers by key, and by likeness."""

    def __init__(
        self, db: Database, settings: CacheSettings, seal: Seal = PLAIN, on_record: OnRecord | None = None
    ) -> None:
        self.settings = settings
        self._on_record = on_record
        self._seal = seal
        self.memory = Memory(settings.memory)
        self.tally = Tally()
        self.started_at = datetime.now(UTC)
        self._db = db
        self._waiting: deque[tuple[Entry, Likeness | None]] = deque()
        self._waiting_bytes = 0
        self._new = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._erasures: deque[Erasure] = deque(maxlen=256)
        self._thresholds: dict[tuple[int, str], float] = {}

    @property
    def waiting(self) -> int:
        """Answers not yet in the database."""
        return len(self._waiting)

    def find(self, key: bytes) -> Entry | None:
        """The answer, if this worker holds it. Never waits."""
        return self.memory.find(key, time.time())

    def recall(self, wording: Wording) -> Delta | None:
        """The answer to a question in these very words, as `note` was told of it. Never waits."""
        return self.memory.recall(wording, time.time())

    def recall_sent(self, sent: Sent) -> Any:
        """What `memory.note_sent` was told of a question sent in these very bytes. Never waits."""
        return self.memory.recall_sent(sent, time.time())

    def elsewhere(self, key: bytes) -> bool:
        """Whether another worker is known to have stored it."""
        return self.settings.shared and self.memory.knows(key, time.time())

    async def fetch(self, key: bytes) -> Entry | None:
        """The answer from the database, then held here; None when it is gone, or the database does not answer soon."""
        entry = await self._soon(self._fetch(key))
        if entry is None or not self._may(entry):
            self.memory.unlearn(short(key))
            return None
        self.memory.hold(entry)
        return entry

    async def _fetch(self, key: bytes) -> Entry | None:
        found = [await shared.fetch(self._db, key, self._seal)]
        if self._on_record is not None:
            found.append(await self._on_record.find(key))
        return max((entry for entry in found if entry is not None), key=lambda entry: entry.call_id, default=None)

    async def nearest(self, likeness: Likeness) -> tuple[Entry, float] | None:
        """The most alike question's answer and how alike; None when there is none, or the database is late."""
        return await self._soon(shared.nearest(self._db, likeness, self._seal)) if self.settings.shared else None

    def threshold(self, project_id: int, model: str, configured: float) -> float:
        """How alike questions must be: as configured, or more after reports of wrong hits."""
        return max(configured, self._thresholds.get((project_id, model), 0.0))

    def put(self, entry: Entry, likeness: Likeness | None = None, *, recorded: bool = False) -> None:
        """Hold an answer now and share it soon, unless it is `recorded` with its call and found by its key there.

        Over `cache.pending` bytes not yet shared, it is only held.
        """
        if not self._may(entry):
            return
        self.memory.hold(entry)
        if recorded:
            return
        if self.settings.shared and self._waiting_bytes + entry.size <= self.settings.pending:
            self._waiting.append((entry, likeness))
            self._waiting_bytes += entry.size
            self._new.set()

    def behind(self, work: Callable[[], None]) -> None:
        """Do `work` behind what is ready now."""
        if self._loop is None:  # to ask each time is a system call
            self._loop = asyncio.get_running_loop()
        self._loop.call_soon(work)

    async def forget(
        self,
        *,
        project_id: int | None,
        call_id: str | None = None,
        key_id: int | None = None,
        session: str | None = None,
        tag: tuple[str, str] | None = None,
        calls_stay: bool = True,
    ) -> int:
        """Forget the answers of calls begun until now, here and in every worker; how many the database had.

        A call takes the other answers to its question along: one of them would take its place. Where the calls are deleted,
        and do not `stay`, what lies with them is left to that, and answers of other calls stay.

        Raises:
            ValueError: not exactly one of call, key, session and tag.
            Unavailable: the database cannot answer now; this worker has forgotten them.
        """
        if sum(named is not None for named in (call_id, key_id, session, tag)) != 1:
            raise ValueError("name exactly one of call_id, key_id, session and tag")
        alike = call_id if calls_stay else None
        erasure = Erasure(
            before_ns=time.time_ns(), project_id=project_id, call_id=call_id, key_id=key_id, session=session, tag=tag,
            questions=[] if alike is None else self.memory.questions_of(alike),
        )  # fmt: skip
        self._forget_here(erasure)
        if alike is not None:
            erasure = replace(erasure, questions=sorted({*erasure.questions, *await self._questions_of(alike)}))
            self._forget_here(erasure)
        on_record = 0 if self._on_record is None or not calls_stay else await self._on_record.forget(erasure)
        return on_record + await shared.forget(self._db, erasure)

    async def _questions_of(self, call_id: str) -> list[bytes]:
        on_record = [] if self._on_record is None else await self._on_record.questions_of(call_id)
        return on_record + await shared.questions_of(self._db, call_id)

    async def report_wrong(self, wrong: Wrong) -> bool:
        """Take a report: a semantic hit tightens its model's threshold, an exact hit's answer is forgotten.

        False when it was reported before. Raises Unavailable.
        """
        async with self._db.transaction() as connection:
            fresh = await tally.note_wrong(connection, wrong)
            if fresh:
                await shared.notify(connection, thresholds=True)
        if wrong.similarity is None:  # also when it is known: the first report may have come to nothing behind that
            await self.forget(project_id=wrong.project_id, call_id=wrong.of_call_id)
        await self._load_thresholds()
        return fresh

    async def expire(self) -> int:
        """Delete what is no longer good from the database, and what is over `cache.storage`."""
        return await shared.expire(self._db, self.settings.storage)

    async def watch(self) -> None:
        """Share what is put, learn what others stored, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            group.create_task(self._db.listen(shared.CHANNEL, self._heard, reconnected=self._load))
            group.create_task(self._share())

    async def flush(self) -> None:
        """Share everything that waits and add up what was counted.

        Raises:
            Unavailable: the database cannot answer now; what waited still waits.
        """
        while self._waiting:
            await self._share_some()
        await self.tally.flush(self._db)

    async def _share(self) -> None:
        while True:
            await self._new.wait()
            if len(self._waiting) < _BATCH:
                await asyncio.sleep(_LINGER)
            try:
                await self._share_some()
            except Unavailable:
                await asyncio.sleep(_PAUSE)
            if not self._waiting:
                self._new.clear()

    async def _share_some(self) -> None:
        batch = [self._waiting[at] for at in range(min(len(self._waiting), _BATCH))]
        fit = {entry.key: (entry, likeness) for entry, likeness in batch if self._may(entry)}
        if fit:
            # In the order of their keys: two workers that store the same answers never wait for each other in a ring.
            await shared.store(self._db, [fit[key] for key in sorted(fit)], self._seal)
        for entry, _ in batch:
            if self._waiting and self._waiting[0][0] is entry:
                self._waiting.popleft()
                self._waiting_bytes -= entry.size
        for entry, _ in fit.values():
            if not self._may(entry):
                # Forgotten while it was being written.
                for erasure in self._erasures:
                    await shared.forget(self._db, erasure, tell=False)
                break

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(_TALLY_EVERY)
            try:
                await self.tally.flush(self._db)
            except Unavailable:
                continue

    async def _heard(self, payload: str) -> None:
        try:
            notice = _notice.decode(payload)
        except msgspec.MsgspecError:
            _log.warning("a notice on %s is not ours", shared.CHANNEL)
            return
        self.memory.learn(notice.learn)
        if notice.forget is not None and self._forget_here(notice.forget):
            # One of these may have been written after the rest were deleted.
            await shared.forget(self._db, notice.forget, tell=False)
        if notice.thresholds:
            await self._load_thresholds()

    async def _load(self) -> None:
        apart = await shared.known(self._db)
        on_record: list[tuple[bytes, int]] = []
        if self._on_record is not None and len(apart) < MOST_KNOWN:
            on_record = await self._on_record.known(MOST_KNOWN - len(apart))
        self.memory.relearn([*((short(key), until) for key, until in reversed(on_record)), *apart])
        await self._load_thresholds()

    async def _load_thresholds(self) -> None:
        rows = await tally.thresholds(self._db)
        self._thresholds = {(row["project_id"], row["model"]): row["threshold"] for row in rows}

    def _forget_here(self, erasure: Erasure) -> bool:
        self._erasures.append(erasure)
        kept = deque(pair for pair in self._waiting if not erasure.covers(pair[0]))
        touched = len(kept) != len(self._waiting)
        self._waiting = kept
        self._waiting_bytes = sum(entry.size for entry, _ in kept)
        return bool(self.memory.drop_where(erasure.covers)) or touched

    def _may(self, entry: Entry) -> bool:
        """Whether nobody has asked to forget it meanwhile."""
        return not (self._erasures and any(erasure.covers(entry) for erasure in self._erasures))

    async def _soon(self, asked: Awaitable[_T | None]) -> _T | None:
        try:
            async with asyncio.timeout(_WAIT):
                return await asked
        except (Unavailable, TimeoutError):
            return None

    def figures(self) -> dict[str, Any]:
        """What this worker holds and did since it started."""
        total = self.tally.total
        return {
            "since": self.started_at,
            "entries": len(self.memory),
            "bytes": self.memory.bytes,
            "limit": self.memory.limit,
            "known": self.memory.known,
            "waiting": self.waiting,
            "hits": total.hits,
            "semantic_hits": total.semantic,
            "misses": total.misses,
            "saved_nano": total.saved_nano,
        }
