"""From failing calls to notices: raised once, told once, silenced, acknowledged, resolved; nothing lost or doubled."""

import hashlib
import hmac
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loopwright.calls.record import Record
from loopwright.core.errors import BadRequest, NotFound, Unavailable
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.settings import Settings
from loopwright.kit.settings_alerts import ChannelSettings, RuleSettings
from loopwright.monitoring.alerts import Alerts, Raised, raise_alert, resolve_alert
from loopwright.monitoring.alerts_delivery import deliveries, standing, try_channel
from loopwright.monitoring.alerts_silences import Silences
from tests.monitoring.hearing import SECRET, hook, watched
from tests.monitoring.keeping import record

pytestmark = pytest.mark.anyio
SECOND = 1_000_000_000


def failed(ago: float = 1.0, **fields: object) -> Record:
    usual = {"outcome": "error", "status": 502, "error_code": "upstream_broke", "model": "m", "task": None}
    return record(started_ns=time.time_ns() - int(ago * SECOND), **(usual | fields))  # type: ignore[arg-type]


def answered(ago: float = 1.0, **fields: object) -> Record:
    return record(started_ns=time.time_ns() - int(ago * SECOND), **({"model": "m", "task": None} | fields))  # type: ignore[arg-type]


def raised(**fields: object) -> Raised:
    usual: dict[str, object] = {
        "project_id": 1, "source": "drift", "key": "watch/1", "severity": "warning", "title": "It moved",
        "text": "By much.", "link": "/drift/1",
    }  # fmt: skip
    return Raised(**(usual | fields))  # type: ignore[arg-type]


async def test_a_burst_is_told_once_signed_and_resolved(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        channel = ChannelSettings(url=heard.url, secret=SECRET)
        async with watched(database_url, tmp_path, channels={"ops": channel}) as here:
            await here.house.keep(answered(20), failed(3), failed(3), failed(2), failed(2))
            await here.round()
            assert heard.heard == []  # four are no burst
            await here.house.keep(failed(1), answered(1, model="other"))
            await here.round()
            await here.round()
            await here.again()
            await here.round()
            assert len(heard.heard) == 1
            headers, body = heard.heard[0]
            parts = dict(part.split("=", 1) for part in headers["loopwright-signature"].split(","))
            whole = parts["t"].encode() + b"." + body
            assert hmac.compare_digest(hmac.new(SECRET.encode(), whole, hashlib.sha256).hexdigest(), parts["v1"])
            told = heard.taken[0]
            assert (told["event"], told["more"], told["delivery"]) == ("firing", 0, headers["loopwright-delivery"])
            [alert] = told["alerts"]
            assert alert["title"].startswith("Model m: 5 of 5 calls since ")
            assert alert["severity"] == "critical"
            assert "upstream_broke" in " ".join(alert["explanation"])
            assert "outcome=failed" in alert["calls_url"]
            # Quiet for two minutes.
            await here.db.run("update alerts set seen_at = now() - interval '3 minutes'")
            await here.db.run("delete from calls")
            await here.db.run("delete from call_rollups_5m")
            await here.again()
            await here.round()
            assert [event for event, _ in heard.events()] == ["firing", "resolved"]
            found = await Alerts(here.db).get(alert["id"], project_id=1)
            assert (found.state, found.resolution) == ("resolved", "quiet")


async def test_one_of_two_at_night_tells_nobody(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        await here.house.keep(answered(30), failed(20), answered(10), failed(5))
        await here.round()
        assert (await Alerts(here.db).page(project_id=None)).alerts == []


async def test_a_slow_burn_is_told_by_its_window(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        # A quarter failed until three minutes ago: no burst, but 25 times what 99 % allow.
        calls = [answered(200 + ago) if ago % 4 else failed(200 + ago) for ago in range(60, 0, -1)]
        await here.house.keep(*calls)
        await here.round()
        [alert] = (await Alerts(here.db).page(project_id=None)).alerts
        assert alert.title == "Model m: 15 of 60 calls of the last hour failed"
        assert alert.evidence["windows"][0]["burn_rate"] == pytest.approx(25)
        assert alert.severity == "critical"


async def test_notices_wait_for_a_channel_and_come_in_order(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        async with watched(database_url, tmp_path, channels={"ops": ChannelSettings(url=heard.url)}) as here:
            heard.statuses = [500, 302]
            await raise_alert(here.db, raised())
            await here.round()
            await resolve_alert(here.db, project_id=1, source="drift", key="watch/1")
            await here.round()
            [state] = (await standing(here.db, here.settings.monitoring.alerts.channels)).values()
            assert (state["waiting"], state["delivered"], state["error"]) == (2, 0, "answered with status 500")
            for _ in range(3):
                await here.db.run("update alert_deliveries set due_at = now()")
                await here.deliver()
            assert [event for event, _ in heard.events()] == ["firing", "resolved"]
            assert len({headers["loopwright-delivery"] for headers, _ in heard.heard[:3]}) == 1
            assert [each["attempts"] for each in await deliveries(here.db)] == [1, 3]


async def test_what_a_channel_never_takes_is_given_up(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        async with watched(database_url, tmp_path, channels={"ops": ChannelSettings(url=heard.url)}) as here:
            heard.statuses = [410] * 5
            await raise_alert(here.db, raised())
            for _ in range(6):
                await here.db.run("update alert_deliveries set due_at = now()")
                await here.round()
            assert len(heard.heard) == 5
            [given_up] = await deliveries(here.db)
            assert (given_up["state"], given_up["error"]) == ("given up", "answered with status 410")


async def test_a_silence_holds_back_until_it_ends(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        async with watched(database_url, tmp_path, channels={"ops": ChannelSettings(url=heard.url)}) as here:
            silences = Silences(here.db)
            silence = await silences.add(1, {"source": "dri*", "task": "t"}, seconds=600, reason="known", by="ann")
            await raise_alert(here.db, raised(labels={"task": "t"}))
            await raise_alert(here.db, raised(key="watch/2", title="Another", labels={"task": "u"}))
            await here.round()
            assert heard.events() == [("firing", ["Another"])]
            with pytest.raises(NotFound):
                await silences.end(silence.id, project_id=2)
            await silences.end(silence.id, project_id=1)
            await here.round()
            assert heard.events()[1:] == [("firing", ["It moved"])]
            with pytest.raises(BadRequest):
                await silences.add(1, {}, seconds=600, reason="", by="ann")


async def test_reminders_until_acknowledged_and_worse_is_told_again(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        async with watched(database_url, tmp_path, channels={"ops": ChannelSettings(url=heard.url)}) as here:
            alert_id = await raise_alert(here.db, raised())
            await here.round()
            await here.db.run("update alerts set notified_at = now() - interval '5 hours'")
            await here.round()
            assert await raise_alert(here.db, raised(severity="critical")) == alert_id
            await here.round()
            assert [event for event, _ in heard.events()] == ["firing", "reminder", "firing"]
            found = await Alerts(here.db).acknowledge(alert_id, project_id=1, by="ann")
            assert (found.state, found.acknowledged_by, found.severity) == ("acknowledged", "ann", "critical")
            await here.db.run("update alerts set notified_at = now() - interval '5 hours'")
            await here.round()
            assert len(heard.taken) == 3
            with pytest.raises(NotFound):
                await Alerts(here.db).acknowledge(alert_id, project_id=2, by="eve")


async def test_what_fires_together_is_told_together_to_whom_it_concerns(database_url: str, tmp_path: Path) -> None:
    with hook() as all_of_it, hook() as worst:
        channels = {
            "all": ChannelSettings(url=all_of_it.url, match={"project": "default"}),
            "worst": ChannelSettings(url=worst.url, severity="critical", resolved=False),
        }
        async with watched(database_url, tmp_path, channels=channels) as here:
            calls = [failed(1, model=model) for model in ("a", "b", "c") for _ in range(6)]
            await here.house.keep(*calls)
            await raise_alert(here.db, raised())
            await here.round()
            assert sorted(len(titles) for _, titles in all_of_it.events()) == [1, 3]
            assert [len(titles) for _, titles in worst.events()] == [3]


async def test_rules_and_no_data(database_url: str, tmp_path: Path) -> None:
    rules = {
        "silent": RuleSettings(measure="requests", below=1, over=300, project="default", severity="critical"),
        "dear": RuleSettings(measure="usd", above=1e-6, over=600, by=("model",), minimum=2),
        "slow": RuleSettings(measure="latency_p95", above=1.0, over=300, minimum=2),
    }
    async with watched(database_url, tmp_path, rules=rules, defaults=False) as here:
        await here.house.keep(answered(3_000))
        await here.round()
        [alert] = (await Alerts(here.db).page(project_id=1)).alerts
        assert (alert.rule, alert.kind, alert.severity) == ("silent", "requests", "critical")
        await here.house.keep(answered(2, latency_us=3_000_000), answered(1, latency_us=3_000_000))
        await here.round()
        found = {each.rule: each for each in (await Alerts(here.db).page(project_id=1)).alerts}
        assert found["dear"].labels == {"model": "m"}
        assert found["slow"].evidence["value"] == pytest.approx(3.0, rel=0.02)


async def test_a_test_of_a_channel(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        channels = {"ops": ChannelSettings(url=heard.url)}
        async with watched(database_url, tmp_path, channels=channels) as here:
            await try_channel(here.db, channels, "ops")
            await here.round()
            assert heard.events() == [("test", ["Channel ops works"])]
            with pytest.raises(NotFound):
                await try_channel(here.db, channels, "opps")


async def test_a_page_and_what_is_kept(database_url: str, tmp_path: Path) -> None:
    async with watched(database_url, tmp_path) as here:
        alerts = Alerts(here.db)
        ids = [await raise_alert(here.db, raised(key=f"{number}" * 150)) for number in range(3)]
        assert len(set(ids)) == 3
        page = await alerts.page(project_id=1, limit=2, state="firing")
        assert [each.id for each in page.alerts] == [ids[2], ids[1]]
        assert [each.id for each in (await alerts.page(project_id=1, before=page.next)).alerts] == [ids[0]]
        assert (await alerts.page(project_id=2)).alerts == []
        assert await alerts.counts(project_id=1) == {"info": 0, "warning": 3, "critical": 0}
        assert (await alerts.resolve(ids[0], project_id=1, by="ann")).resolution == "person"
        await alerts.tidy(30, datetime(2100, 1, 1, tzinfo=UTC))
        assert len((await alerts.page(project_id=1)).alerts) == 2


async def test_an_outage_of_the_database_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with hook() as heard:
        channels = {"ops": ChannelSettings(url=heard.url)}
        server = await EmbeddedPostgres.start(tmp_path / "pg")
        async with watched(server.url, tmp_path, channels=channels) as here:
            await here.house.keep(*[failed(ago, model="before") for ago in range(1, 7)])
            await here.look()
            for each in [failed(1, model="meanwhile") for _ in range(6)]:
                here.house.spool.write(each)
            await server.stop()
            for look in (here.look, here.deliver):
                with pytest.raises(Unavailable):
                    await look()
            server = await EmbeddedPostgres.start(tmp_path / "pg")
            while await here.house.drain.once():
                pass
            await here.round()
            await here.round()
            told = [title.partition(":")[0] for _, titles in heard.events() for title in titles]
            assert sorted(told) == ["Model before", "Model meanwhile"]
        await server.stop()


async def test_a_notice_that_is_sent_again_says_that_it_is_the_same(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        async with watched(database_url, tmp_path, channels={"ops": ChannelSettings(url=heard.url)}) as here:
            await raise_alert(here.db, raised())
            await here.round()
            # As after a kill between the answer of the channel and its note.
            await here.db.run("update alert_deliveries set delivered_at = null")
            await here.again()
            await here.round()
            assert len({headers["loopwright-delivery"] for headers, _ in heard.heard}) == 1
            assert len(heard.heard) == 2


async def test_channels_that_are_gone_and_channels_that_come(database_url: str, tmp_path: Path) -> None:
    with hook() as heard:
        async with watched(database_url, tmp_path) as here:
            await raise_alert(here.db, raised())
            await here.round()
            assert await deliveries(here.db) == []
            asked = replace(here.settings.monitoring.alerts, channels={"ops": ChannelSettings(url=heard.url)})
            here.settings = replace(here.settings, monitoring=replace(here.settings.monitoring, alerts=asked))
            await here.again()
            await here.round()
            assert heard.events() == [("firing", ["It moved"])]  # it still fires
            await raise_alert(here.db, raised(key="another"))
            await here.look()
            here.settings = Settings()
            await here.again()
            await here.deliver()
            [newest, _] = await deliveries(here.db)
            assert "no such channel" in newest["error"]
