"""Hours that are unlike those before, and budgets that are spent, from what the database holds of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loopwright.kit.settings_alerts import AnomalySettings
from loopwright.monitoring.alerts_anomalies import Anomalies
from loopwright.monitoring.alerts_budgets import spent
from tests.monitoring.hearing import Watched, watched

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
THIS = NOW.replace(minute=0, second=0, microsecond=0)


async def fill(here: Watched, before: int, last: int, running: int) -> None:
    """Three weeks of so many requests an hour, the last hour, and the one that runs."""
    await here.db.run(
        """insert into call_series (project_id, operation, model, target, provider) values (1, 'chat', 'm', 't', 'p')"""
    )
    for day in range(-22, 2):
        await here.db.run("select calls_open_day(%s::date + %s)", (THIS.date(), day))
    await here.db.run(
        """insert into call_rollups_1h (bucket, series_id, key_id, requests, errors, refused, cancelled, interrupted, unpriced,
               input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano, latency, ttft, tpot)
           select b, s.id, -1, n, 0, 0, 0, 0, 0, n * 100, n * 10, 0, 0, n * 1000000, '', '', ''
           from call_series s, generate_series(%s::timestamptz - interval '21 days', %s, interval '1 hour') b,
               lateral (select case when b = %s then %s when b = %s then %s
                   else %s + (extract(epoch from b)::bigint / 3600 * 7919) %% 9 end::int as n) amounts""",
        (THIS, THIS, THIS, running, THIS - HOUR, last, before),
    )


async def test_a_runaway_hour_is_told_while_it_runs(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        await fill(here, before=200, last=203, running=900)
        found = {each.key: each for each in await Anomalies(here.db, AnomalySettings()).look(NOW, 120)}
        assert set(found) == {"spend/high", "tokens/high", "traffic/high"}
        assert found["spend/high"].title.startswith("Spend of $0.9 so far in the hour from ")
        assert found["traffic/high"].evidence["basis"] == "week"
        assert found["traffic/high"].calls["since"].startswith(f"{THIS:%Y-%m-%dT%H}")


async def test_missing_traffic_is_told_when_the_hour_is_over(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        await fill(here, before=200, last=20, running=0)
        looking = Anomalies(here.db, AnomalySettings())
        assert [each.key for each in await looking.look(NOW, 120)] == ["traffic/low"]
        assert [each.key for each in await looking.look(NOW, 120)] == ["traffic/low"]  # it holds until the next look
        assert await Anomalies(here.db, AnomalySettings(enabled=False)).look(NOW, 120) == []


async def test_usual_hours_are_not_told(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        await fill(here, before=200, last=207, running=120)
        assert await Anomalies(here.db, AnomalySettings()).look(NOW, 120) == []


async def test_budgets_are_told_until_their_window_is_over(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        await here.db.run(
            """insert into limits (project_id, tag_name, tag_value, kind, amount, alert_at)
               values (1, 'team', 'blue', 'usd_per_day', 2000000000, 50)"""
        )
        today = int(NOW.replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
        for starts, level in ((today - 86_400, "stop"), (today, "alert")):
            await here.db.run(
                "insert into limit_alerts (limit_id, starts, level, used) select id, %s, %s, 1500000000 from limits",
                (starts, level),
            )
        [warned] = await spent(here.db, NOW, 120)
        assert (warned.severity, warned.title) == ("warning", "Budget of tag team:blue, $2 a day, is 75 % used")
        await here.db.run(
            "insert into limit_alerts (limit_id, starts, level, used) select id, %s, 'stop', 2000000000 from limits",
            (today,),
        )
        [stopped] = await spent(here.db, NOW, 120)
        assert (stopped.severity, stopped.key) == ("critical", warned.key)
        assert await spent(here.db, NOW + timedelta(days=1), 120) == []
