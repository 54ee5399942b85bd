"""Empties the outbox: channel by channel, in order, with back-off; what was not delivered for a day is given up.

At least once: who is killed between the answer of a channel and its noting sends the notice again, with the same
`delivery`, by which a receiver knows it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from loopwright.calls.charted import Asked
from loopwright.core.errors import BadRequest, NotFound, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint
from loopwright.kit.settings import Settings
from loopwright.kit.settings_alerts import ChannelSettings
from loopwright.monitoring.alerts import COLUMNS, Alert, alert_of
from loopwright.monitoring.causes import explain
from loopwright.monitoring.causes_words import sentences
from loopwright.monitoring.channels import Channel, NotDelivered, channel

_NOBODY: Final = 10
"""Times as long between rounds where nobody is told anything."""
_log = logging.getLogger(__name__)
_FIRST: Final = 2.0
_LONGEST: Final = 600.0
_GIVE_UP: Final = 86_400.0
"""Seconds after which a notice is given up."""
_REFUSALS: Final = 5
"""Attempts of what a channel says it will never take."""
_SHOWN: Final = 50
"""Alerts that a notice names."""
_EXPLAINED: Final = 3
"""Of them, those whose causes are looked for."""
_WAITING: Final = """
    select distinct on (channel) id, uid::text, channel, event, project_id, alerts, made_at, due_at, attempts,
        due_at <= now() as due, extract(epoch from now() - made_at) as age
    from alert_deliveries where delivered_at is null and given_up_at is null order by channel, id
"""


class Outbox:
    """A Round: delivers the oldest notice of each channel, and goes on while there are more."""

    name = "alerts.delivery"

    def __init__(self, db: Database, settings: Settings, *, every: float = 1.0) -> None:
        self._db = db
        self._settings = settings
        self._channels: dict[str, Channel] = {
            name: channel(each) for name, each in settings.monitoring.alerts.channels.items()
        }
        # Without a channel there is only what waits for one that has gone.
        self.every = every if self._channels else every * _NOBODY

    async def __call__(self) -> None:
        """Send what is due.

        Raises:
            Unavailable: the database cannot answer now; what was sent and not noted is sent again.
        """
        while True:
            rows = [row for row in await self._db.rows(_WAITING) if row["due"]]
            if not rows:
                return
            await asyncio.gather(*(self._deliver(row) for row in rows))

    async def _deliver(self, row: Mapping[str, Any]) -> None:
        send = self._channels.get(row["channel"])
        if send is None:
            await self._failed(row, NotDelivered("there is no such channel in the settings any more", again=False))
            return
        try:
            await send(await notice(self._db, self._settings, row))
        except NotDelivered as error:
            await self._failed(row, error)
            return
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # it is logged whole
            # One notice that cannot be made must not hold up those of other channels.
            _log.exception("a notice to channel %s cannot be made", row["channel"])
            await self._failed(row, NotDelivered(f"it cannot be made: {type(error).__name__}"))
            return
        await self._db.run(
            "update alert_deliveries set delivered_at = now(), attempts = attempts + 1, error = null where id = %s",
            (row["id"],),
        )

    async def _failed(self, row: Mapping[str, Any], error: NotDelivered) -> None:
        attempts = row["attempts"] + 1
        over = float(row["age"]) > _GIVE_UP or (not error.again and attempts >= _REFUSALS) or row["event"] == "test"
        pause = min(_FIRST * 2 ** min(row["attempts"], 20), _LONGEST) * random.uniform(0.75, 1.0)  # noqa: S311
        if attempts == 1 or over:
            _log.warning("a notice to channel %s was not delivered: %s", row["channel"], error)
        await self._db.run(
            """update alert_deliveries set attempts = %s, error = %s, due_at = now() + make_interval(secs => %s),
                   given_up_at = case when %s then now() end where id = %s""",
            (attempts, str(error), pause, over, row["id"]),
        )


async def notice(db: Database, settings: Settings, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a channel is told, as JSON; made when it is sent, so that it says how things are then."""
    found = await db.rows(
        f"""select {COLUMNS}, (select name from projects p where p.id = a.project_id) as project
            from alerts a where id = any(%s) order by id limit %s""",  # noqa: S608
        (row["alerts"], _SHOWN),
    )
    base = base_url(settings)
    alerts = []
    for at, each in enumerate(found):
        project = each.pop("project")
        alert = alert_of(each)
        explanation: list[str] = []
        if row["event"] == "firing" and at < _EXPLAINED and alert.project_id is not None:
            try:
                causes = await explain(db, alert)
                explanation = [] if causes is None else sentences(causes)
            except Exception:  # noqa: BLE001  # it is logged whole
                # A notice without its causes is better than none, whatever there is to be said of looking for them.
                _log.exception("nothing explains alert %d", alert.id)
        alerts.append(shown(alert, project, base) | {"explanation": explanation})
    if row["event"] == "test":
        alerts = [_test(row["channel"], base)]
    return {
        "version": 1,
        "event": row["event"],
        "delivery": row["uid"],
        "channel": row["channel"],
        "sent_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "alerts": alerts,
        "more": max(len(row["alerts"]) - len(found), 0) if row["event"] != "test" else 0,
    }


def shown(alert: Alert, project: str | None, base: str) -> dict[str, Any]:
    """An alert as notices tell it."""
    calls = calls_query(alert.calls, alert.resolved_at)
    return {
        "id": alert.id,
        "state": alert.state,
        "severity": alert.severity,
        "source": alert.source,
        "rule": alert.rule,
        "kind": alert.kind,
        "project": project,
        "title": alert.title,
        "text": alert.said,
        "labels": dict(alert.labels),
        "evidence": dict(alert.evidence),
        "since": _iso(alert.since),
        "raised_at": _iso(alert.raised_at),
        "resolved_at": None if alert.resolved_at is None else _iso(alert.resolved_at),
        "url": f"{base}/alerts/{alert.id}",
        "calls_url": f"{base}/calls?{calls}" if calls else None,
    }


def calls_query(calls: Mapping[str, Asked], until: datetime | None) -> str:
    """The calls of an alert as a query of `/calls` and `GET /api/calls`; up to when it was over. Empty for none."""
    if not calls:
        return ""
    named = dict(calls)
    if until is not None:
        named.setdefault("until", _iso(until))
    return urlencode(named, doseq=True)


def base_url(settings: Settings) -> str:
    """Where the console is, without a slash at the end."""
    if settings.monitoring.alerts.url is not None:
        return settings.monitoring.alerts.url.rstrip("/")
    host = settings.server.host
    here = "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{here}:{settings.server.port}"


async def try_channel(db: Database, channels: Mapping[str, ChannelSettings], name: str) -> int:
    """Put a test notice into the outbox, before which others may wait; its id.

    Raises:
        NotFound: there is no such channel.
        BadRequest: twenty tests of it wait already.
    """
    if name not in channels:
        none = "" if channels else ": there is none in monitoring.alerts.channels"
        raise NotFound(f"there is no channel {name[:80]!r}{hint(name, channels)}{none}", param="channel")
    waiting = await db.row(
        """select count(*) as tests from alert_deliveries
           where channel = %s and event = 'test' and delivered_at is null and given_up_at is null""",
        (name,),
    )
    if waiting is not None and waiting["tests"] >= _TESTS:
        raise BadRequest(f"{_TESTS} tests of channel {name} wait already: `loopwright alerts channels` says why")
    row = await db.row(
        "insert into alert_deliveries (channel, event, alerts) values (%s, 'test', '{}') returning id", (name,)
    )
    assert row is not None
    return int(row["id"])


async def deliveries(
    db: Database, *, alert_id: int | None = None, delivery_id: int | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Notices, the newest first: of an alert, one, or all."""
    rows = await db.rows(
        """select id, uid::text as delivery, channel, event, alerts, made_at, due_at, attempts, delivered_at, given_up_at,
               error from alert_deliveries
           where (%(alert)s::bigint is null or alerts @> array[%(alert)s::bigint])
             and (%(id)s::bigint is null or id = %(id)s) order by id desc limit %(limit)s""",
        {"alert": alert_id, "id": delivery_id, "limit": limit},
    )
    return [{**row, "state": _state(row)} for row in rows]


def _state(row: Mapping[str, Any]) -> str:
    if row["delivered_at"] is not None:
        return "delivered"
    if row["given_up_at"] is not None:
        return "given up"
    return "retrying" if row["attempts"] else "waiting"


async def standing(db: Database, channels: Mapping[str, ChannelSettings]) -> dict[str, dict[str, Any]]:
    """How each channel does: notices delivered, waiting and given up in the last day, and what went wrong last."""
    rows = await db.rows(
        """select channel, count(*) filter (where delivered_at is not null) as delivered,
               count(*) filter (where delivered_at is null and given_up_at is null) as waiting,
               count(*) filter (where given_up_at is not null) as given_up,
               max(delivered_at) as last_delivered_at,
               (array_agg(error order by id desc) filter (where error is not null))[1] as error
           from alert_deliveries where made_at > now() - interval '1 day' and channel = any(%s) group by channel""",
        (list(channels),),
    )
    none = {"delivered": 0, "waiting": 0, "given_up": 0, "last_delivered_at": None, "error": None}
    return {name: dict(none) for name in channels} | {row.pop("channel"): row for row in rows}


def _test(name: str, base: str) -> dict[str, Any]:
    now = _iso(datetime.now(UTC))
    return {
        "id": 0,
        "state": "open",
        "severity": "info",
        "source": "test",
        "rule": "test",
        "kind": "test",
        "project": None,
        "title": f"Channel {name} works",
        "text": "Somebody asked whether notices arrive here. Nothing is wrong.",
        "labels": {},
        "evidence": {},
        "since": now,
        "raised_at": now,
        "resolved_at": None,
        "url": f"{base}/alerts",
        "calls_url": None,
        "explanation": [],
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_TESTS: Final = 20
