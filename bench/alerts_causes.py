"""How often the explanation of an alert names first what a simulation made fail. A part of alerts.py."""

from __future__ import annotations

import datetime as dt
import random
import statistics
import tempfile
import time
from pathlib import Path

from loopwright.calls.drain import Drain
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.settings import CallsSettings
from loopwright.monitoring.alerts import Alerts, Raised, raise_alert
from loopwright.monitoring.causes import explain
from loopwright.rooms import ROOMS


async def causes(scenarios: int) -> None:
    """Print how often the first cause is the planted one: a target, key, tag, variant or prompt version that fails."""
    rng, first, among, took = random.Random(7), 0, 0, []
    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        server = await EmbeddedPostgres.start(Path(folder) / "pg", settings={"fsync": "off"})
        try:
            for number in range(scenarios):
                url = server.url
                db = await Database.open(url, size=4)
                await migrate(db, ROOMS)
                planted = await _scenario(db, Path(folder) / f"spool-{number}", rng)
                since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)
                raised = Raised(
                    project_id=1, source="objective", key=str(number), severity="critical", title="", text="", link="",
                    kind="errors", calls={"since": since.isoformat()}, since=since,
                )  # fmt: skip
                alert = await Alerts(db).get(await raise_alert(db, raised), project_id=None)
                began = time.perf_counter()
                found = await explain(db, alert)
                took.append(time.perf_counter() - began)
                named = [[(each.dimension, each.value), *each.also] for each in found.causes] if found else []
                first += bool(named) and planted in named[0]
                among += any(planted in each for each in named[:3])
                await db.run("truncate calls, call_rollups_5m, call_rollups_1h, call_rollups_1d, call_series, alerts")
                await db.close()
        finally:
            await server.stop()
    print(
        f"causes: of {scenarios} planted, {first} named first, {among} among the first three;"
        f" {1000 * statistics.median(took):.0f} ms each at 4,000 calls"
    )


async def _scenario(db: Database, folder: Path, rng: random.Random) -> tuple[str, str]:
    """Calls of a day, and ten minutes in which one value fails at 30 to 90 %, everything at 1 %."""
    has = {
        "target": [f"target-{n}" for n in range(4)],
        "variant": ["a", "b", "c"],
        "prompt_version": ["v1", "v2"],
        "key": ["1", "2", "3", "4", "5"],
        "tag:team": ["search", "mail", "chat"],
    }
    dimension = rng.choice(list(has))
    value, rate, ids = rng.choice(has[dimension]), rng.uniform(0.3, 0.9), Ids()
    spool, now = Spool(folder, 10**9), time.time()
    for number in range(4_000):
        late = number >= 3_000
        started_ns = int((now - rng.uniform(1, 599) if late else now - rng.uniform(660, 80_000)) * 1e9)
        chosen = {name: rng.choice(values) for name, values in has.items()}
        bad = rng.random() < (rate if late and chosen[dimension] == value else 0.01)
        spool.write(
            Record(
                id=ids.new(started_ns), started_ns=started_ns, project_id=1, key_id=int(chosen["key"]), operation="chat",
                model="m", target=chosen["target"], provider="p", outcome="error" if bad else "ok",
                status=502 if bad else 200, error_code="upstream_error" if bad else None, error=None, stream=False,
                ttft_us=None, latency_us=1_000, input_tokens=1, output_tokens=1, cached_tokens=0, reasoning_tokens=0,
                usage_estimated=False, cost_nano=1, price_source=None, client="bench", session=None, trace_id="0" * 31 + "1",
                span_id="0" * 15 + "1", parent_id=None, task="t", variant=chosen["variant"],
                prompt_version=chosen["prompt_version"], tags={"team": chosen["tag:team"]}, request=b"{}", answer=b"{}",
            )
        )  # fmt: skip
    drain = Drain(db, folder, CallsSettings(full_text=False))
    while await drain.once():
        pass
    drain.close()
    spool.close()
    return dimension, f"number {value}" if dimension == "key" else value
