"""What explains an alert: the planted cause is named first, with evidence; nothing is made up where nothing stands out."""

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loopwright.calls.record import Record
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.monitoring.alerts import Alert, Alerts, Raised, raise_alert
from loopwright.monitoring.causes import explain
from loopwright.monitoring.causes_words import sentences
from tests.monitoring.keeping import kept, record

pytestmark = pytest.mark.anyio
NOW = time.time()
SINCE = datetime.fromtimestamp(NOW - 600, UTC)


async def alert_of(db: Database, kind: str, **fields: Any) -> Alert:
    await migrate(db, ["access"])
    calls = {"since": SINCE.isoformat(), **fields.pop("calls", {})}
    raised = Raised(
        project_id=1, source="rule", key=kind, severity="critical", title="t", text="", link="/alerts", kind=kind,
        calls=calls, since=SINCE, **fields,
    )  # fmt: skip
    return await Alerts(db).get(await raise_alert(db, raised), project_id=1)


def many(count: int, *, late: bool, bad: Any, **fields: Any) -> list[Record]:
    """Calls of the last ten minutes, or of the hours before, spread over targets, keys and teams."""
    rng, found = random.Random(count + late), []
    for _ in range(count):
        has: dict[str, Any] = {
            "target": rng.choice(["x", "y", "z"]), "key_id": rng.choice([1, 2]), "variant": rng.choice(["a", "b"]),
            "tags": {"team": rng.choice(["search", "mail"])},
        }  # fmt: skip
        ago = rng.uniform(1, 590) if late else rng.uniform(700, 40_000)
        failed: dict[str, Any] = (
            {"outcome": "error", "status": 504, "error_code": "upstream_timeout"} if bad(has, rng) else {}
        )
        found.append(record(started_ns=int((NOW - ago) * 1e9), **(has | failed | fields)))
    return found


async def test_a_target_that_fails_is_named_with_its_evidence(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        await house.keep(
            *many(300, late=False, bad=lambda _, rng: rng.random() < 0.005),
            *many(120, late=True, bad=lambda has, rng: has["target"] == "x" and rng.random() < 0.8),
        )
        found = await explain(house.db, await alert_of(house.db, "errors", calls={"outcome": "error"}))
        assert found is not None
        first = found.causes[0]
        assert (first.dimension, first.value, first.codes[0][0]) == ("target", "x", "upstream_timeout")
        assert first.contribution == pytest.approx(1.0, abs=0.05)
        assert len(first.examples) == 5
        assert first.calls["target"] == "x"
        said = sentences(found)
        assert said[1].startswith("100 % of the added failures are calls of target x")
        assert f"{first.codes[0][1]} of the {first.codes[0][1]} fail with upstream_timeout" in said[1]


async def test_a_tag_and_what_merely_goes_with_it(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        late = many(200, late=True, bad=lambda has, rng: has["tags"]["team"] == "mail" and rng.random() < 0.7)
        await house.keep(*many(200, late=False, bad=lambda *_: False), *late)
        found = await explain(house.db, await alert_of(house.db, "error_rate"))
        assert found is not None
        assert (found.causes[0].dimension, found.causes[0].value) == ("tag:team", "mail")
        assert all(each.overlap is not None and each.overlap > 0.9 for each in found.causes[1:3])


async def test_what_all_share_explains_nothing(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        await house.keep(
            *[record(started_ns=int((NOW - ago) * 1e9), outcome="error", status=502) for ago in range(1, 30)]
        )
        found = await explain(house.db, await alert_of(house.db, "errors"))
        assert found is not None
        assert found.causes == []
        assert "Nothing tells them from the others" in sentences(found)[-1]


async def test_spend_is_explained_by_who_spent_it(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        await house.keep(
            *many(200, late=False, bad=lambda *_: False, cost_nano=1_000_000),
            *many(40, late=True, bad=lambda *_: False, cost_nano=1_000_000),
            *many(30, late=True, bad=lambda *_: False, cost_nano=500_000_000, key_id=7),
        )
        await migrate(house.db, ["access"])
        await house.db.run(
            "insert into keys (id, project_id, name, prefix, hash) overriding system value values (7, 1, 'batch', 'p', 'h')"
        )
        found = await explain(house.db, await alert_of(house.db, "spend"), now=datetime.fromtimestamp(NOW, UTC))
        assert found is not None
        assert (found.causes[0].dimension, found.causes[0].value) == ("key", "batch")
        assert found.causes[0].calls["key"] == "7"
        assert "of the added spend is of key batch: $15.00" in sentences(found)[1]


async def test_every_kind_can_be_asked(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        slow = many(20, late=True, bad=lambda *_: False, latency_us=9_000_000, ttft_us=8_000_000, stream=True)
        await house.keep(*slow)
        evidence = {"under_s": 1.0, "bound": 1.0, "score": "groundedness"}
        for kind in ("latency", "ttft_p95", "tpot", "tokens", "traffic", "cost", "quality", "refused"):
            found = await explain(house.db, await alert_of(house.db, kind, evidence=evidence))
            assert found is not None
            assert sentences(found)


async def test_what_tells_of_no_calls_is_not_explained(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        assert await explain(house.db, await alert_of(house.db, "drift")) is None
        later = datetime.now(UTC) + timedelta(seconds=1)
        gone = await explain(house.db, await alert_of(house.db, "errors"), now=later)
        assert gone is not None
        assert sentences(gone) == ["None of these calls are on record any more, or none have come in yet."]
