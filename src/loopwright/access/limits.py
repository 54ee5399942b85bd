"""Limits: how much a key, a project or a tag within a project may use. What enforces them stands in `allowances.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import psycopg

from loopwright.access.audit import BY_HOUSE, Actor, note
from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.money import NANO, usd
from loopwright.kit.db import Connection, Database

CHANNEL: Final = "loopwright_limits"
"""NOTIFY without payload: the limits have changed; with a limit's id: others wait for what you do not need of it."""
Kind = Literal["requests_per_minute", "tokens_per_minute", "concurrent_requests", "usd_per_day", "usd_per_month"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
REQUESTS, TOKENS, CONCURRENT, MONEY = range(4)
_UNITS: Final[dict[Kind, int]] = {
    "requests_per_minute": REQUESTS,
    "tokens_per_minute": TOKENS,
    "concurrent_requests": CONCURRENT,
    "usd_per_day": MONEY,
    "usd_per_month": MONEY,
}
_DAY: Final = 86_400
_FOREVER: Final = float("inf")
_MOST: Final = 2**62
_SELECT: Final = """
    select l.id, l.project_id, p.name as project, l.key_id, k.name as key, l.tag_name, l.tag_value, l.kind, l.amount,
        l.alert_at, l.created_at
    from limits l join projects p on p.id = l.project_id left join keys k on k.id = l.key_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of one scope."""

    id: int
    project_id: int
    project: str
    key_id: int | None
    """None: of the whole project, or of a tag in it."""
    key: str | None
    tag: tuple[str, str] | None
    kind: Kind
    amount: int
    """Requests, tokens, or nanodollars."""
    alert_at: int | None
    """Percent of a budget at which to warn."""
    created_at: datetime

    @property
    def unit(self) -> int:
        """What is counted: REQUESTS, TOKENS, CONCURRENT or MONEY."""
        return _UNITS[self.kind]

    @property
    def scope(self) -> str:
        """Whose limit it is, for people."""
        if self.tag is not None:
            return f"tag {self.tag[0]}={self.tag[1]} of project {self.project!r}"
        return f"project {self.project!r}" if self.key is None else f"key {self.key!r}"

    def shown(self, amount: int) -> str:
        """An amount of it, for people."""
        return f"${usd(amount)}" if self.unit == MONEY else str(amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A limit and how much of its present window is used."""

    limit: Limit
    used: int
    """Settled: by what the workers reported or what is on record, whichever is more."""
    held: int
    """Reserved for requests in flight or leased ahead by workers."""
    in_flight: int
    """Of it what requests in flight have reserved, as their workers last told."""
    starts: datetime | None
    """None for concurrent requests, which have no window."""
    ends: datetime | None


def window_of(kind: Kind, second: int) -> tuple[int, float]:
    """(start, end) in Unix seconds of the window that holds `second`; UTC, not sliding."""
    if kind == "concurrent_requests":
        return 0, _FOREVER
    if kind == "usd_per_month":
        moment = datetime.fromtimestamp(second, UTC)
        first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
        after = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
        return int(first.timestamp()), after.timestamp()
    width = _DAY if kind == "usd_per_day" else 60
    start = second // width * width
    return start, start + width


class Limits:
    """The limits in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def all(self) -> tuple[Limit, ...]:
        """Every limit.

        Raises:
            Unavailable: the database does not answer.
        """
        return tuple(_limit(row) for row in await self._db.rows(f"{_SELECT} order by l.id"))

    async def put(
        self,
        kind: Kind,
        amount: int,
        *,
        key_id: int | None = None,
        project: str | None = None,
        tag: tuple[str, str] | None = None,
        alert_at: int | None = None,
        by: Actor = BY_HOUSE,
    ) -> Limit:
        """Set a limit of a key, of a project, or of a tag within a project; it takes the place of the one before.

        It holds for what is admitted from then on. A budget of a key or a project counts what its window has cost so
        far; one of a tag counts from now on.

        Args:
            kind: what is limited.
            amount: requests, tokens, or nanodollars.
            key_id: a live key.
            project: name of a project; needed without `key_id`.
            tag: name and value; the limit holds for calls of the project with this tag.
            alert_at: percent of a budget at which to warn.
            by: who sets it.

        Raises:
            BadRequest: a scope that is none, an amount out of range.
            NotFound: no such key or project.
        """
        _check(kind, amount, key_id=key_id, project=project, tag=tag, alert_at=alert_at)
        name, value = tag or (None, None)
        async with self._db.transaction() as connection:
            project_id = await _project_of(connection, key_id, project)
            cursor = await connection.execute(
                "insert into limits as l (project_id, key_id, tag_name, tag_value, kind, amount, alert_at)"
                " values (%s, %s, %s, %s, %s, %s, %s)"
                " on conflict (project_id, key_id, tag_name, tag_value, kind) do update"
                " set amount = excluded.amount, alert_at = excluded.alert_at returning l.id",
                (project_id, key_id, name, value, kind, amount, alert_at),
            )
            row = await cursor.fetchone()
            assert row is not None
            # What the old amount made of this window is no longer so.
            await connection.execute("delete from limit_alerts where limit_id = %s", (row["id"],))
            limit = await _one(connection, row["id"])
            await note(connection, by, "limit.put", f"limit {limit.id}", _told(limit), project_id=project_id)
            await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        return limit

    async def remove(self, limit_id: int, *, by: Actor = BY_HOUSE) -> Limit:
        """Lift a limit.

        Raises:
            NotFound: there is none of this id.
        """
        async with self._db.transaction() as connection:
            limit = await _one(connection, limit_id)
            await connection.execute("delete from limits where id = %s", (limit_id,))
            await note(connection, by, "limit.remove", f"limit {limit_id}", _told(limit), project_id=limit.project_id)
            await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
        return limit

    async def standings(
        self, *, project_id: int | None = None, key_id: int | None = None, now: datetime | None = None
    ) -> tuple[Standing, ...]:
        """Every limit of a project (and of a key, if named), or all, and how much of each is used now."""
        second = int((now or datetime.now(UTC)).timestamp())
        rows = await self._db.rows(
            f"{_SELECT} where (%(project)s::int is null or l.project_id = %(project)s)"
            " and (%(key)s::int is null or l.key_id = %(key)s) order by l.id",
            {"project": project_id, "key": key_id},
        )
        limits = [_limit(row) for row in rows]
        windows = [window_of(limit.kind, second) for limit in limits]
        used = await self._used(limits, [start for start, _ in windows])
        return tuple(
            Standing(
                limit=limit,
                used=taken,
                held=held,
                in_flight=in_flight,
                starts=None if end == _FOREVER else datetime.fromtimestamp(start, UTC),
                ends=None if end == _FOREVER else datetime.fromtimestamp(end, UTC),
            )
            for limit, (start, end), (taken, held, in_flight) in zip(limits, windows, used, strict=True)
        )

    async def spent(
        self, limit_id: int, *, windows: int = 31, now: datetime | None = None
    ) -> list[tuple[datetime, int]]:
        """(start, nanodollars) of the last windows of a budget, oldest first.

        Raises:
            NotFound: no such limit.
            BadRequest: the limit is no budget.
        """
        async with self._db.transaction() as connection:
            limit = await _one(connection, limit_id)
        if limit.unit != MONEY:
            raise BadRequest(f"limit {limit_id} is of {limit.kind}, which has no spending", param="limit_id")
        starts: list[int] = []
        second = int((now or datetime.now(UTC)).timestamp())
        for _ in range(windows):
            starts.insert(0, window_of(limit.kind, second)[0])
            second = starts[0] - 1
        found = await self._used([limit] * windows, starts)
        return [(datetime.fromtimestamp(start, UTC), used) for start, (used, *_) in zip(starts, found, strict=True)]

    async def _used(self, limits: list[Limit], starts: list[int]) -> list[tuple[int, int, int]]:
        rows = await self._db.rows(
            "select coalesce(sum(h.used), 0)::bigint as used, coalesce(sum(h.unspent), 0)::bigint as held,"
            " (select coalesce(sum(x.reserved), 0)::bigint from leases x where x.limit_id = a.id"
            "  and x.starts = a.starts and x.expires_at > clock_timestamp()) as in_flight"
            " from unnest(%s::int[], %s::bigint[]) with ordinality as a (id, starts, line)"
            " join limits l on l.id = a.id left join lateral limit_holders(l, a.starts) h on true"
            " group by a.line, a.id, a.starts order by a.line",
            ([limit.id for limit in limits], starts),
        )
        return [(row["used"], row["held"], row["in_flight"]) for row in rows]


def nano_of(amount: Any) -> int:
    """Nanodollars from dollars as a decimal.

    Raises:
        BadRequest: it has more than nine decimals.
    """
    nano = amount * NANO
    if nano != int(nano):
        raise BadRequest("amount: dollars have at most nine decimals", param="amount")
    return int(nano)


def _check(
    kind: str,
    amount: int,
    *,
    key_id: int | None,
    project: str | None,
    tag: tuple[str, str] | None,
    alert_at: int | None,
) -> None:
    if kind not in KINDS:
        raise BadRequest(f"kind: {kind!r} is none of {', '.join(KINDS)}", param="kind")
    if not 0 <= amount < _MOST:
        raise BadRequest("amount: must be zero or more", param="amount")
    if (key_id is None) == (project is None):
        raise BadRequest("name a key, or a project (with a tag, if meant): a limit has one scope", param="project")
    if tag is not None and key_id is not None:
        raise BadRequest("tag: a tag's limit belongs to a project, not to a key", param="tag")
    if tag is not None and not all(_plain(part) for part in tag):
        raise BadRequest("tag: name and value are printable, at most 512 characters", param="tag")
    if alert_at is not None and not (kind.startswith("usd") and 1 <= alert_at <= 100):
        raise BadRequest("alert_at: percent of a budget in money, 1 to 100", param="alert_at")


def _plain(text: str) -> bool:
    return 0 < len(text) <= 512 and text.isprintable()


async def _project_of(connection: Connection, key_id: int | None, project: str | None) -> int:
    if key_id is not None:
        cursor = await connection.execute(
            "select project_id as id from keys where id = %s and revoked_at is null", (key_id,)
        )
        missing = f"there is no live key {key_id}: `loopwright keys list` shows them"
    else:
        cursor = await connection.execute("select id from projects where name = %s", (project,))
        missing = f"there is no project {project!r}: create it first"
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(missing, param="key" if key_id is not None else "project")
    found: int = row["id"]
    return found


async def _one(connection: Connection, limit_id: int) -> Limit:
    try:
        cursor = await connection.execute(f"{_SELECT} where l.id = %s".encode(), (limit_id,))
    except psycopg.DataError:
        raise NotFound(f"there is no limit {limit_id}", param="limit_id") from None
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no limit {limit_id}", param="limit_id")
    return _limit(row)


def _limit(row: dict[str, Any]) -> Limit:
    name = row.pop("tag_name")
    value = row.pop("tag_value")
    return Limit(**row, tag=None if name is None else (name, value))


def _told(limit: Limit) -> dict[str, object]:
    return {
        "scope": limit.scope,
        "kind": limit.kind,
        "amount": limit.shown(limit.amount),
        **({} if limit.alert_at is None else {"alert_at": limit.alert_at}),
    }
