"""The intake over a database of its own, with a spool and its drain."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from loopwright.calls.drain import Drain
from loopwright.calls.query import Calls
from loopwright.calls.spool import Spool
from loopwright.core.call import Call
from loopwright.core.who import Principal
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings, Settings
from loopwright.kit.settings_monitoring import MonitoringSettings
from loopwright.kit.settings_telemetry import TelemetrySettings
from loopwright.telemetry.doubles import doubles
from loopwright.telemetry.intake import Intake
from loopwright.telemetry.logs import Logs
from loopwright.telemetry.metrics import Metrics
from loopwright.telemetry.putting import Putter
from loopwright.telemetry.settling import Settling
from loopwright.telemetry.spans import Spans

WHO = Principal(key_id=7, key_name="k", project_id=3, project="default")
ROOMS = ("access", "catalog", "calls", "feedback", "telemetry")
KEY = SealingKey(id="first", secret=bytes(range(32)))


@dataclass
class Room:
    """What takes telemetry in, and what reads it again."""

    db: Database
    spool: Spool
    intake: Intake
    drain: Drain
    calls: Calls
    spans: Spans
    settling: Settling

    async def drained(self) -> list[Call]:
        """All calls on record, once nothing waits."""
        while await self.drain.once():
            pass
        rows = await self.db.rows("select id::text from calls order by id")
        return [(await self.calls.get(row["id"], project_id=None)).call for row in rows]

    async def count(self, table: str) -> int:
        """Rows."""
        row = await self.db.row(f"select count(*) as rows from {table}")
        return int(row["rows"]) if row else 0


@asynccontextmanager
async def opened(url: str, *, seal: Seal = PLAIN, keeps: bool = True, **settings: Any) -> AsyncIterator[Room]:
    """The room; `settings` are those of telemetry."""
    db = await Database.open(url, size=6)
    await migrate(db, ROOMS)
    with tempfile.TemporaryDirectory(prefix="lw-") as home:
        folder = Path(home) / "spool"
        spool = Spool(folder, 10**9, seal)
        whole = Settings(monitoring=MonitoringSettings(telemetry=TelemetrySettings(**settings)))
        drain = Drain(db, folder, CallsSettings(), seal=seal, doubles=partial(doubles, seal=seal))
        usual = Intake.of(db, whole, spool, {}, lambda _who, _model: keeps)
        putter = Putter(db, spool, seal)
        intake = Intake(
            settings=usual.settings,
            putter=putter,
            logged=Logs(db, putter, seal, usual.settings.logs_per_day),
            metrics=Metrics(db, usual.settings.points),
            price=usual.price,
            keeps=usual.keeps,
            retention_days=usual.retention_days,
            db=db,
            seal=seal,
        )
        try:
            yield Room(db, spool, intake, drain, Calls(db, CallsSettings(), seal), Spans(db, seal), Settling(db, seal))
        finally:
            drain.close()
            spool.close()
            await db.close()
