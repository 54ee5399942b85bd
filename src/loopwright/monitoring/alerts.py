"""Alerts as they are kept: raised, seen again, resolved, acknowledged. Knows neither why one is raised nor who is told.

An alert is the same one while it is open and has the same project, source and fingerprint: raising it again says that
it still holds and brings its words up to date. It holds no text of any call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal

from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, NotFound
from loopwright.kit.db import Connection, Database, plain

Severity = Literal["info", "warning", "critical"]
State = Literal["open", "acknowledged", "resolved"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From the least to the worst."""
_LONGEST_KEY: Final = 200
_LONGEST_TITLE: Final = 200
_LONGEST_TEXT: Final = 4_000
_MOST_CALLS: Final = 50
_LARGEST_PAGE: Final = 200
COLUMNS: Final = """id, project_id, source, fingerprint, rule, kind, severity, title, said, link, labels, calls,
    call_ids::text[] as call_ids, evidence, since, raised_at, seen_at, hold_s, resolved_at, resolution,
    acknowledged_at, acknowledged_by, notified_at, times"""
_RAISE: Final = """
    insert into alerts as a (project_id, source, fingerprint, rule, kind, severity, title, said, link, labels, calls,
        call_ids, evidence, since, hold_s)
    values (%(project)s, %(source)s, %(fingerprint)s, %(rule)s, %(kind)s, %(severity)s, %(title)s, %(said)s, %(link)s,
        %(labels)s, case when %(calls)s::jsonb = '{}' then %(calls)s::jsonb else %(calls)s::jsonb || jsonb_strip_nulls(
            jsonb_build_object('project', (select name from projects where id = %(project)s::int))) end, %(call_ids)s::uuid[], %(evidence)s, coalesce(%(since)s, now()), %(hold)s)
    on conflict (coalesce(project_id, 0), source, fingerprint) where resolved_at is null do update set
        severity = case when array_position(%(order)s, excluded.severity) > array_position(%(order)s, a.severity)
                        then excluded.severity else a.severity end,
        rule = excluded.rule, kind = excluded.kind, title = excluded.title, said = excluded.said,
        link = excluded.link, labels = excluded.labels, calls = excluded.calls, call_ids = excluded.call_ids,
        evidence = excluded.evidence, since = least(a.since, excluded.since), hold_s = excluded.hold_s,
        seen_at = now(), times = a.times + 1
    returning id, times
"""
_TIDY: Final = (
    "delete from alerts where resolved_at < %s - make_interval(days => %s)",
    """delete from alert_deliveries where made_at < %s - make_interval(days => %s)
       and (delivered_at is not null or given_up_at is not null)""",
    "delete from alert_silences where ends_at < %s - make_interval(days => %s)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """What is wrong, as whoever found it says it. Every word of it may be sent out of the house: no texts of calls."""

    project_id: int | None
    """None is the whole house: only administrators see it."""
    source: str
    """Who found it: `objective`, `rule`, `anomaly`, `budget`, `drift`, `canary`."""
    key: str
    """The same one while it is open, among those of the project and source: `watch/7`."""
    severity: Severity
    title: str
    """One line, up to 200 characters."""
    text: str
    """Some lines of plain words with the numbers; up to 4,000 characters."""
    link: str
    """The page of the console that shows it: `/drift/7?finding=12`."""
    rule: str = ""
    """Name of what was configured; without one, the key."""
    kind: str = ""
    """What of: `errors`, `latency`, `traffic`; without one, the source."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What silences and channels match beside `source`, `rule`, `kind`, `severity`, `project`: `model`, `task`."""
    calls: Mapping[str, str] = field(default_factory=dict)
    """Exactly the calls that caused it, as `/calls` takes them: `{"task": "triage", "since": "…", "outcome": "error"}`."""
    call_ids: Sequence[str] = ()
    """Or some of them, up to 50."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Numbers, as JSON."""
    since: datetime | None = None
    """When what is bad began; without one, now. Of an open alert the earliest stays."""
    hold_s: float | None = None
    """It resolves by itself when it was not raised again for so many seconds; None: `resolve_alert` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert on record."""

    id: int
    project_id: int | None
    source: str
    fingerprint: str
    rule: str
    kind: str
    severity: Severity
    title: str
    said: str
    link: str
    labels: Mapping[str, str]
    calls: Mapping[str, str]
    call_ids: Sequence[str]
    evidence: Mapping[str, Any]
    since: datetime
    raised_at: datetime
    seen_at: datetime
    hold_s: float | None
    resolved_at: datetime | None
    resolution: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    notified_at: datetime | None
    times: int

    @property
    def state(self) -> State:
        """What has become of it."""
        if self.resolved_at is not None:
            return "resolved"
        return "open" if self.acknowledged_at is None else "acknowledged"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPage:
    """Some alerts, the newest first."""

    alerts: Sequence[Alert]
    next: int | None
    """Pass it as `before` for older ones; None at the end."""


async def raise_alert(db: Database, raised: Raised) -> int:
    """Say that something is wrong, or that it still is; the alert's id. Who is told, and when, is the recorder's matter.

    Raises:
        Unavailable: the database cannot answer now.
    """
    async with db.transaction() as connection:
        return (await raise_all(connection, [raised]))[0]


async def resolve_alert(db: Database, *, project_id: int | None, source: str, key: str) -> bool:
    """Say that it is over; False when there was no such open alert.

    Raises:
        Unavailable: the database cannot answer now.
    """
    return bool(
        await db.run(
            """update alerts set resolved_at = now(), resolution = 'gone'
               where coalesce(project_id, 0) = coalesce(%s, 0) and source = %s and fingerprint = %s
                 and resolved_at is null""",
            (project_id, source, _fingerprint(key)),
        )
    )


async def raise_all(connection: Connection, news: Sequence[Raised]) -> list[int]:
    """As `raise_alert`, for several within a transaction."""
    ids = []
    for each in news:
        cursor = await connection.execute(_RAISE.encode(), _params(each))
        row = await cursor.fetchone()
        assert row is not None
        ids.append(int(row["id"]))
    return ids


def _fingerprint(key: str) -> str:
    """A key as it is kept: of a long one, its beginning and its hash."""
    if len(key) <= _LONGEST_KEY:
        return plain(key)
    return f"{plain(key, _LONGEST_KEY - 66)}#{sha256(key.encode('utf-8', 'replace')).hexdigest()}"


def _params(raised: Raised) -> dict[str, object]:
    key = _fingerprint(raised.key)
    return {
        "project": raised.project_id,
        "source": plain(raised.source),
        "fingerprint": key,
        "rule": plain(raised.rule) or key,
        "kind": plain(raised.kind) or plain(raised.source),
        "severity": raised.severity,
        "title": plain(raised.title, _LONGEST_TITLE),
        "said": plain(raised.text, _LONGEST_TEXT),
        "link": plain(raised.link, 2_000),
        "labels": Jsonb({plain(name): plain(value) for name, value in raised.labels.items()}),
        "calls": Jsonb({plain(name): plain(value, 500) for name, value in raised.calls.items()}),
        "call_ids": list(raised.call_ids)[:_MOST_CALLS],
        "evidence": Jsonb(dict(raised.evidence)),
        "since": raised.since,
        "hold": raised.hold_s,
        "order": list(SEVERITIES),
    }


class Alerts:
    """What people ask of alerts. Every method raises `Unavailable` while the database cannot answer."""

    __slots__ = ("db",)

    def __init__(self, db: Database) -> None:
        self.db = db

    async def page(
        self,
        *,
        project_id: int | None,
        state: State | Literal["all", "firing"] = "all",
        severity: Severity | None = None,
        source: str | None = None,
        rule: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> AlertPage:
        """Alerts, the newest first; `firing` is open or acknowledged. `project_id` None is all, the house's included.

        Raises:
            BadRequest: `limit` is not in 1…200.
        """
        if not 1 <= limit <= _LARGEST_PAGE:
            raise BadRequest(f"limit must be from 1 to {_LARGEST_PAGE}, not {limit}", param="limit")
        rows = await self.db.rows(
            f"""select {COLUMNS} from alerts
                where (%(project)s::int is null or project_id = %(project)s) and ({_STATES[state]})
                  and (%(severity)s::text is null or severity = %(severity)s)
                  and (%(source)s::text is null or source = %(source)s)
                  and (%(rule)s::text is null or rule = %(rule)s)
                  and (%(before)s::bigint is null or id < %(before)s)
                order by id desc limit %(limit)s""",  # noqa: S608
            {
                "project": project_id,
                "severity": severity,
                "source": source,
                "rule": rule,
                "before": before,
                "limit": limit + 1,
            },
        )
        found = [alert_of(row) for row in rows[:limit]]
        return AlertPage(alerts=found, next=found[-1].id if len(rows) > limit else None)

    async def get(self, alert_id: int, *, project_id: int | None) -> Alert:
        """One alert.

        Raises:
            NotFound: there is none in the project.
        """
        row = await self.db.row(
            f"select {COLUMNS} from alerts where id = %s and (%s::int is null or project_id = %s)",  # noqa: S608
            (alert_id, project_id, project_id),
        )
        if row is None:
            raise NotFound(f"there is no alert {alert_id}: `loopwright alerts list` shows them")
        return alert_of(row)

    async def acknowledge(self, alert_id: int, *, project_id: int | None, by: str) -> Alert:
        """Somebody has seen it: no more reminders. Acknowledging again changes nothing.

        Raises:
            NotFound: there is no such open alert in the project.
        """
        return await self._change(
            "acknowledged_at = coalesce(acknowledged_at, now()), acknowledged_by = coalesce(acknowledged_by, %(by)s)",
            alert_id,
            project_id,
            by,
        )

    async def resolve(self, alert_id: int, *, project_id: int | None, by: str) -> Alert:
        """A person says that it is over; should it still hold, it is raised anew.

        Raises:
            NotFound: there is no such open alert in the project.
        """
        return await self._change(
            "resolved_at = now(), resolution = 'person', acknowledged_at = coalesce(acknowledged_at, now()), "
            "acknowledged_by = coalesce(acknowledged_by, %(by)s)",
            alert_id,
            project_id,
            by,
        )

    async def counts(self, *, project_id: int | None) -> dict[str, int]:
        """How many are firing, by severity."""
        rows = await self.db.rows(
            """select severity, count(*) as alerts from alerts
               where resolved_at is null and (%s::int is null or project_id = %s) group by severity""",
            (project_id, project_id),
        )
        found = {row["severity"]: int(row["alerts"]) for row in rows}
        return {each: found.get(each, 0) for each in SEVERITIES}

    async def tidy(self, days: int, now: datetime | None = None) -> None:
        """Let go of alerts, notices and silences that ended longer ago than `days`."""
        moment = now or datetime.now(UTC)
        for statement in _TIDY:
            await self.db.run(statement, (moment, days))

    async def _change(self, sets: str, alert_id: int, project_id: int | None, by: str) -> Alert:
        row = await self.db.row(
            f"""update alerts set {sets} where id = %(id)s and resolved_at is null
                and (%(project)s::int is null or project_id = %(project)s) returning {COLUMNS}""",  # noqa: S608
            {"id": alert_id, "project": project_id, "by": plain(by)},
        )
        if row is None:
            found = await self.get(alert_id, project_id=project_id)
            raise NotFound(f"alert {found.id} is resolved already")
        return alert_of(row)


_STATES: Final[Mapping[str, str]] = {
    "all": "true",
    "firing": "resolved_at is null",
    "open": "resolved_at is null and acknowledged_at is null",
    "acknowledged": "resolved_at is null and acknowledged_at is not null",
    "resolved": "resolved_at is not null",
}


def alert_of(row: Mapping[str, Any]) -> Alert:
    """An alert from a row with `COLUMNS`."""
    return Alert(**row)
