"""Eight real workers, a thousand requests at once, one budget, and a kill -9 in the middle."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from loopwright.access.allowances import Allowances
from loopwright.access.limits import Limits
from loopwright.access.spending import charge
from loopwright.calls.drain import Drain
from loopwright.calls.spool import Spool
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import CallsSettings
from loopwright.rooms import ROOMS
from tests.flows.budget_worker import SETTINGS, answer, ask, estimate, road
from tests.flows.house import wait

pytestmark = pytest.mark.anyio
WORKERS, EACH, DIES_AFTER = 8, 125, 5
WORKER = Path(__file__).with_name("budget_worker.py")


def start(url: str, folder: Path, dies_after: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), url, str(folder), str(EACH), str(dies_after)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def run_all(url: str, folder: Path) -> list[dict[str, Any] | None]:
    """Start all, let go at once; what each says at its end, None for the one that was killed."""
    workers = [start(url, folder, DIES_AFTER if number == 0 else 0) for number in range(WORKERS)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline().strip() == "ready"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            if worker is workers[0]:
                # It must get some of the budget to die with.
                with psycopg.connect(url, autocommit=True) as database:
                    wait(lambda: database.execute("select 1 from leases where ceiling > 0").fetchone())
        said = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL] + [0] * (WORKERS - 1)
    return [json.loads(text) if text.strip() else None for text in said]


async def on_record(db: Database) -> int:
    row = await db.row("select coalesce(sum(cost_nano), 0)::bigint as nano from calls")
    assert row is not None
    nano: int = row["nano"]
    return nano


async def drained(drain: Drain) -> None:
    async with asyncio.timeout(60):
        while drain.backlog():  # noqa: ASYNC110 - the drain works by itself
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)


async def test_a_budget_holds_over_workers_and_deaths_and_is_exact_in_the_end(
    database_url: str, tmp_path: Path
) -> None:
    db = await Database.open(database_url, size=6)
    await migrate(db, ROOMS)
    # Enough for about four hundred of a thousand.
    one = max(estimate(ask(0)), estimate(ask(1)))
    amount = 400 * one
    limits = Limits(db)
    await limits.put("usd_per_month", amount, project="default", alert_at=80)
    drain = Drain(db, tmp_path / "spool", CallsSettings(full_text=False), charge=charge)
    draining = asyncio.create_task(drain.run())
    reports = await asyncio.to_thread(run_all, database_url, tmp_path / "spool")
    await drained(drain)

    codes: Counter[str] = Counter()
    for report in reports:
        codes.update(report["codes"] if report else {})
    assert set(codes) <= {"ok", "rate_limit_exceeded", "insufficient_quota"}
    assert codes["ok"] > 0
    assert codes.total() == EACH * (WORKERS - 1)
    assert codes["ok"] < codes.total()
    # The dead worker could not say what was in flight. What had ended is on record; the rest never ends.
    dearest = await db.row("select max(cost_nano) as nano from calls")
    assert dearest is not None
    bound = sum(report["bound"] for report in reports if report) + DIES_AFTER * max(dearest["nano"] - one, 0)
    spent = await on_record(db)
    assert 0 < spent <= amount + bound
    [standing] = await limits.standings()
    assert standing.used == spent

    # What the dead worker had leased is free after its lease; the rest of the budget can be used up, and no more.
    spool = Spool(tmp_path / "spool", 10**9)
    allowances = Allowances(db, SETTINGS, UUID(spool.worker))
    await allowances.load()
    watching = asyncio.create_task(allowances.watch())
    chat, _tee, _watched = road(allowances, spool)
    code, ended = "ok", 0
    async with asyncio.timeout(180):
        while code != "insufficient_quota":
            code = await answer(chat, ask(1))
            ended += code == "ok"
            await asyncio.sleep(0 if code == "ok" else 0.2)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await allowances.close()
    spool.close()
    await drained(drain)
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    final = await on_record(db)
    [standing] = await limits.standings()
    assert standing.used == final
    assert (final == spent) if spent >= amount else (amount - one < final <= amount)
    audit = await db.rows("select act from audit where act = 'limit.alert'")
    assert len(audit) == 1
    await db.close()
    print(f"\nlimit {amount}, spent {spent} + {final - spent}, bound {bound}, {dict(codes)}, rounds", end=" ")  # noqa: T201
    print([report["rounds"] for report in reports if report])  # noqa: T201
