"""Calls on record for tests of what takes them out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from loopwright.calls.drain import Drain
from loopwright.calls.query import Calls
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.calls.store import Charge
from loopwright.core.score import Score
from loopwright.exports.outgoing import Source
from loopwright.feedback.given import Author
from loopwright.feedback.store import Feedback
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings

ROOMS = ("access", "catalog", "calls", "feedback", "exports")
PERSON = Author(name="anna", source="person", key_id=1)


class Kept:
    """Calls, what was said of them, and a source of both."""

    def __init__(self, db: Database, folder: Path, seal: Seal, charge: Charge | None) -> None:
        self.db, self.seal = db, seal
        self.spool = Spool(folder, 10**9, seal)
        self.drain = Drain(db, folder, CallsSettings(), seal=seal, charge=charge)
        self.source = self.read_with(seal)

    def read_with(self, seal: Seal) -> Source:
        return Source(calls=Calls(self.db, CallsSettings(), seal), feedback=Feedback(self.db, seal))

    async def keep(self, *records: Record) -> None:
        """Spool and drain."""
        for each in records:
            self.spool.write(each)
        while await self.drain.once():
            pass

    async def say(self, call_id: str, why: str, output: str = "", name: str = "helpful") -> None:
        """A score with an explanation, and perhaps a correction."""
        feedback = self.source.feedback
        call = (await self.source.calls.get(call_id, project_id=None)).call
        score = Score(name=name, value=0.5, label="fair", passed=False, explanation=why)
        await feedback.score(call, score, PERSON)
        if output:
            await feedback.correct(call, output, PERSON, note=why)


@asynccontextmanager
async def kept(url: str, folder: Path, *, seal: Seal = PLAIN, charge: Charge | None = None) -> AsyncIterator[Kept]:
    """The rooms under exports."""
    db = await Database.open(url, size=6)
    await migrate(db, ROOMS)
    house = Kept(db, folder / "spool", seal, charge)
    try:
        yield house
    finally:
        house.drain.close()
        house.spool.close()
        await db.close()
