"""Sends our calls out as spans: noted as they are stored, sent in batches, kept until they are taken.

Calls that came as spans themselves are never sent: so houses that send to each other, or to themselves, send each once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from loopwright.calls.onward import with_texts
from loopwright.calls.record import Record
from loopwright.calls.store import Charge
from loopwright.core.call import CallDetail
from loopwright.kit.db import Connection, Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_metrics import SendingSettings
from loopwright.telemetry.emitted import Form, request_of
from loopwright.telemetry.sending import NotTaken, Sending

_CHUNK: Final = 100
"""Calls that are noted together."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_ROUND_S: Final = 20.0
"""Seconds that one round goes on while there is more."""
_NOTE: Final = b"""
    insert into emission_waiting (receiver, calls, ids)
    select r.receiver, w.calls, w.ids from unnest(%s::text[]) as r (receiver), unnest(%s::int[], %s::bytea[]) as w (calls, ids)
"""
_TAKE: Final = "select id, calls, ids from emission_waiting where receiver = %s order by id limit %s"
_BOUND: Final = """
    with kept as (
        select id, sum(calls) over (order by id desc) as newer from emission_waiting where receiver = %s
    ), gone as (
        delete from emission_waiting e using kept k where e.receiver = %s and e.id = k.id and k.newer > %s returning e.calls
    ) select coalesce(sum(calls), 0)::bigint as dropped from gone
"""
Told = Callable[[CallDetail], CallDetail]
"""What of a call may leave."""
Count = Callable[..., None]
"""Counts an event by words of ours, `amount` times."""
_log = logging.getLogger(__name__)


def noting(charge: Charge, receivers: Mapping[str, SendingSettings]) -> Charge:
    """`charge`, and a note of the calls that are to be sent; itself where nobody is sent any."""
    names = [name for name, each in receivers.items() if each.traces]
    if not names:
        return charge

    async def both(connection: Connection, calls: Sequence[tuple[str, Record]]) -> None:
        await charge(connection, calls)
        await noted(connection, names, [record for _, record in calls])

    return both


async def noted(connection: Connection, receivers: Sequence[str], records: Sequence[Record]) -> None:
    """Note which of `records` are to be sent."""
    ids = [UUID(record.id).bytes for record in records if not record.observed]
    chunks = [ids[at : at + _CHUNK] for at in range(0, len(ids), _CHUNK)]
    if chunks:
        joined = [b"".join(chunk) for chunk in chunks]
        await connection.execute(_NOTE, ([*receivers], [len(chunk) for chunk in chunks], joined))


async def drop_strangers(db: Database, receivers: Mapping[str, SendingSettings]) -> None:
    """Forget what was noted for receivers that the settings no longer name."""
    names = [name for name, each in receivers.items() if each.traces]
    await db.run("delete from emission_waiting where receiver <> all(%s)", (names,))


@dataclass(slots=True, kw_only=True)
class Emission:
    """The round that sends to one receiver."""

    receiver: str
    settings: SendingSettings
    db: Database
    send: Sending
    form: Form
    count: Count
    told: Told
    projects: Callable[[], Any]
    """Names the numbers of the projects whose calls are sent; None is all. Awaited."""
    seal: Seal = PLAIN
    every: float = 1.0
    waiting: int = 0
    """Calls that wait, as of the last round."""
    _pause: float = 0.0
    _until: float = 0.0
    _size: int = 0
    _said: str = field(default="")

    @property
    def name(self) -> str:
        """Its own among the rounds."""
        return f"telemetry.emission {self.receiver}"

    async def __call__(self) -> None:
        """Send what waits, for some seconds at most."""
        await self._bound()
        end = time.monotonic() + _ROUND_S
        while time.monotonic() >= self._until and time.monotonic() < end:
            if not await self.once():
                break
        row = await self.db.row(
            "select coalesce(sum(calls), 0)::bigint as calls from emission_waiting where receiver = %s",
            (self.receiver,),
        )
        self.waiting = row["calls"] if row else 0

    async def once(self) -> bool:
        """Send one batch; whether another one may follow at once."""
        most = max(self._size or self.settings.batch, 1)
        rows = await self.db.rows(_TAKE, (self.receiver, max(-(-most // _CHUNK), 1)))
        if not rows:
            return False
        ids = [str(UUID(bytes=bytes(row["ids"][at : at + 16]))) for row in rows for at in range(0, len(row["ids"]), 16)]
        for at in range(0, len(ids), most):
            if not await self._sent(ids[at : at + most], most):
                return False
        await self.db.run(
            "delete from emission_waiting where receiver = %s and id = any(%s)",
            (self.receiver, [row["id"] for row in rows]),
        )
        return True

    async def _sent(self, ids: Sequence[str], most: int) -> bool:
        """Send some calls; False when they must be sent again."""
        calls = await with_texts(self.db, ids, self.seal)
        only = await self.projects()
        calls = [self.told(each) for each in calls if only is None or each.call.project_id in only]
        if not calls:
            return True
        try:
            await self.send("traces", request_of(calls, self.form).SerializeToString())
        except NotTaken as problem:
            return self._failed(problem, len(calls), most)
        if self._said:
            _log.warning("calls are being sent to %s again", self.receiver)
        self._pause, self._said = 0.0, ""
        self.count("emitted", self.receiver, "sent", amount=len(calls))
        return True

    def _failed(self, problem: NotTaken, calls: int, most: int) -> bool:
        """True when they are given up."""
        if problem.too_large and calls > 1:
            self._size = max(most // 2, 1)
            return False
        if self._said != str(problem):
            self._said = str(problem)
            _log.warning("receiver %s did not take %d calls: %s", self.receiver, calls, problem)
        if not problem.again:
            self.count("emitted", self.receiver, "refused", amount=calls)
            return True
        self.count("emitted", self.receiver, "failed", amount=calls)
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._until = time.monotonic() + max(self._pause, problem.wait or 0.0)
        return False

    async def _bound(self) -> None:
        row = await self.db.row(_BOUND, (self.receiver, self.receiver, self.settings.queue))
        dropped = row["dropped"] if row else 0
        if dropped:
            self.count("emitted", self.receiver, "dropped", amount=dropped)
            _log.warning("%d calls are not sent to %s: more than %d wait", dropped, self.receiver, self.settings.queue)
