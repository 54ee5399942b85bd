"""Reads calls by filter: the SQL of a page, one call with its texts. Every value is a parameter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from loopwright.calls.payloads import Packer, Payload, about
from loopwright.calls.question import CallFilter
from loopwright.calls.rows import SELECT, call_of, clipped, day_of, outcome_number
from loopwright.calls.series import asks_series, series_sql
from loopwright.calls.touching import TRACED
from loopwright.core.call import Call, CallDetail
from loopwright.core.errors import BadRequest, NotFound, Sealed
from loopwright.kit.db import Database
from loopwright.kit.ids import floor_of, time_of
from loopwright.kit.seal import PLAIN, Seal

MOST: Final = 1000
"""Calls of a page."""
_FEW_SERIES: Final = 128
"""Up to here each series is walked by its own index; beyond, they make up so much that the newest calls are walked."""
_BOUNDING: Final = frozenset({"key", "session", "error_code"})
"""Parameters of a condition that have an index of their own."""
_LATEST: Final = timedelta(minutes=15)
"""A call that began this long ago may still be on its way."""
_MINUTE: Final = timedelta(minutes=1)
_SLOWEST: Final = timedelta(hours=1)
"""A call that took longer is not looked for among those that have just ended."""
_FIRST_WAIT: Final = 0.01
_LONGEST_WAIT: Final = 0.1

_NARROW: Final = """
    c.id, c.block, c.slot, c.trace_id, c.span_id, c.parent_id, c.started_at, c.latency_us, c.ttft_us, c.cost_nano,
    c.project_id, c.key_id, c.input_tokens, c.output_tokens, c.cached_tokens, c.reasoning_tokens, c.outcome, c.status,
    c.stream, c.usage_estimated, c.client, c.finish, c.price_source, c.session, c.error_code, c.error, c.tags,
    c.series_id
"""


class Condition:
    """A filter as SQL: `where` over `calls c`, and its parameters."""

    __slots__ = ("params", "series", "where")

    def __init__(self, asked: CallFilter, series: list[int] | None) -> None:
        self.series = series
        """Which series, when the filter tells; None is all."""
        self.params: dict[str, Any] = {"series": series}
        self.where: list[str] = []
        if series is not None:
            self.where.append("c.series_id = any(%(series)s::int[])")
        elif asked.project_id is not None:
            self._add("c.project_id = %(project)s", project=asked.project_id)
        self._add_time(asked)
        plain = {
            "key": ("c.key_id = %(key)s", asked.key_id),
            "error_code": ("c.error_code = %(error_code)s", asked.error_code),
            "session": ("c.session = %(session)s", asked.session and clipped(asked.session)),
            "client": ("c.client = %(client)s", asked.client and clipped(asked.client)),
            "cost": ("c.cost_nano >= %(cost)s", asked.min_cost_nano),
            "latency": (
                "c.latency_us >= %(latency)s",
                asked.min_latency_ms and int(min(asked.min_latency_ms, 1e15) * 1000),
            ),
        }
        for name, (condition, value) in plain.items():
            if value is not None:
                self._add(condition, **{name: value})
        if asked.outcome is not None:
            number = outcome_number(asked.outcome)
            # The second half lets the planner use the index of what is not ok.
            self._add("c.outcome = %(outcome)s" + (" and c.outcome <> 0" if number else ""), outcome=number)
        if asked.failed:
            self._add("c.outcome in (1, 4) and c.outcome <> 0")
        self._add_sent(asked)
        self._add_without(asked)
        if asked.trace is not None:
            # The second half is a call that is a trace by itself.
            self._add(
                f"((c.trace_id = %(trace)s::uuid and {TRACED}) or c.id = %(trace)s::uuid)", trace=_trace(asked.trace)
            )
        for number, (name, value) in enumerate(asked.tags):
            tag = {f"tag{number}": name, f"value{number}": value}
            self._add(f"c.tags @> jsonb_build_object(%(tag{number})s::text, %(value{number})s::text)", **tag)

    def before(self, call_id: str) -> None:
        """Only calls older than `call_id`."""
        self._add("c.id < %(before)s::uuid", before=checked_id(call_id, "before"))

    def after(self, call_id: str) -> None:
        """Only calls newer than `call_id`."""
        self._add("c.id > %(after)s::uuid", after=checked_id(call_id, "after"))

    def late(self, call_id: str, ended_since: datetime, *, slow: bool) -> None:
        """Only calls no newer than `call_id` that ended since then: begun up to a minute before it, or slower ones."""
        since = _aware(ended_since)
        self._add("c.id <= %(latest)s::uuid", latest=checked_id(call_id, "after"))
        self._add("c.started_at + c.latency_us * interval '1 microsecond' >= %(ended)s", ended=since)
        if slow:
            self._add("c.id < %(minute)s::uuid", minute=floor_of(since - _MINUTE))
            self._add("c.id >= %(hour)s::uuid", hour=floor_of(since - _SLOWEST))
            self._add("c.latency_us >= 60000000")
        else:
            self._add("c.id >= %(minute)s::uuid", minute=floor_of(since - _MINUTE))

    def _add_without(self, asked: CallFilter) -> None:
        for number, name in enumerate(asked.without):
            if name in ("session", "error_code"):
                self._add(f"c.{name} is null")
            elif name == "client":
                self._add("c.client = ''")
            elif name.startswith("tag:"):
                tag = {f"without{number}": name.removeprefix("tag:")}
                self._add(f"(c.tags is null or not jsonb_exists(c.tags, %(without{number})s))", **tag)

    def _add_sent(self, asked: CallFilter) -> None:
        if asked.sent_to is not None:
            self._add(
                """(c.sent @> jsonb_build_array(jsonb_build_object('region', %(sent_to)s::text))
                    or c.sent @> jsonb_build_array(jsonb_build_object('provider', %(sent_to)s::text)))""",
                sent_to=asked.sent_to,
            )
        if asked.sent_outside:
            # Whatever cannot be shown to have stayed within: the bytes of calls without a trail may have gone anywhere.
            self._add(
                """(c.sent is null or exists (select from jsonb_array_elements(c.sent) d
                        where not (d -> 'own' = 'true'::jsonb
                                and (d ->> 'region' is null or 'own' = any(%(inside)s::text[])))
                            and not exists (select from unnest(%(inside)s::text[]) r
                                where r <> 'own' and (lower(d ->> 'region') = lower(r)
                                    or starts_with(lower(d ->> 'region'), lower(r) || '-')))))""",
                inside=list(asked.sent_outside),
            )

    def _add_time(self, asked: CallFilter) -> None:
        if asked.since is not None:
            self._add("c.id >= %(since)s::uuid", since=floor_of(_aware(asked.since)))
        if asked.until is not None:
            self._add("c.id < %(until)s::uuid", until=floor_of(_aware(asked.until)))

    def _add(self, condition: str, **params: object) -> None:
        self.where.append(condition)
        self.params |= params

    def sql(self) -> str:
        """All of it."""
        return " and ".join(self.where) or "true"


async def condition_of(db: Database, asked: CallFilter) -> Condition | None:
    """The condition of a filter; None when no call can pass it."""
    if not asks_series(asked):
        return Condition(asked, None)
    where, params = series_sql(asked)
    found = await db.rows(f"select id from call_series s where {where}", params)  # noqa: S608  (columns of ours)
    return Condition(asked, [row["id"] for row in found]) if found else None


async def newest(db: Database, condition: Condition, limit: int) -> list[dict[str, Any]]:
    """The newest rows under `condition`, with block and slot of their texts."""
    params = condition.params | {"limit": limit}
    series = condition.series
    # A key, a session or the code of an error bounds what is read by its own index better than any series does.
    if series is not None and len(series) <= _FEW_SERIES and not _BOUNDING & params.keys():
        # One walk backwards through (series, id) for each series: never more than limit rows of each are read.
        where = " and ".join(part for part in condition.where if "%(series)s" not in part) or "true"
        inner = f"""
            select f.* from unnest(%(series)s::int[]) w cross join lateral (
                select {_NARROW} from calls c where c.series_id = w and {where} order by c.id desc limit %(limit)s
            ) f order by f.id desc limit %(limit)s
        """  # noqa: S608  (made of the fragments above; values are parameters)
    else:
        inner = f"select {_NARROW} from calls c where {condition.sql()} order by c.id desc limit %(limit)s"  # noqa: S608
    return await db.rows(
        f"""select {SELECT}, c.block, c.slot from ({inner}) c join call_series s on s.id = c.series_id
            order by c.id desc""",  # noqa: S608
        params,
        # The plan for a tag that most calls have takes a second for one that few have.
        anew=True,
    )


async def among(db: Database, condition: Condition, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Those of `ids` that are under `condition`, newest first."""
    return await db.rows(
        f"""select {SELECT}, c.block, c.slot, c.sent from calls c join call_series s on s.id = c.series_id
            where c.id = any(%(ids)s) and {condition.sql()} order by c.id desc""",  # noqa: S608
        condition.params | {"ids": list(ids)},
    )


async def texts_of(
    db: Database, rows: Sequence[Mapping[str, Any]], packer: Packer, closed: dict[UUID, str] | None = None
) -> dict[UUID, Payload]:
    """The texts of the calls `rows`; those without, or whose key is not here, are left out: `closed` takes why."""
    return opened(rows, await blocks_of(db, rows), packer, closed)


async def blocks_of(db: Database, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, int], bytes]:
    """The blocks, by day and number, in which the texts of the calls `rows` lie."""
    blocks = list({(day_of(str(row["id"])), row["block"]) for row in rows if row["block"] is not None})
    if not blocks:
        return {}
    stored = await db.rows(
        """select p.day, p.block, p.body from unnest(%s::date[], %s::bigint[]) w (day, block)
           join call_payloads p on p.day = w.day and p.block = w.block""",
        ([day for day, _ in blocks], [block for _, block in blocks]),
        binary=True,
    )
    return {(line["day"], line["block"]): line["body"] for line in stored}


def opened(
    rows: Sequence[Mapping[str, Any]],
    stored: Mapping[tuple[Any, int], bytes],
    packer: Packer,
    closed: dict[UUID, str] | None = None,
) -> dict[UUID, Payload]:
    """The texts of the calls `rows` out of their blocks, as `texts_of` gives them; asks nobody."""
    blocks: dict[tuple[Any, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["block"] is not None:
            blocks.setdefault((day_of(str(row["id"])), row["block"]), []).append(row)
    found: dict[UUID, Payload] = {}
    for place, lines in blocks.items():
        body = stored.get(place)
        if body is None:
            continue
        try:
            payloads = packer.unpack(body, about(*place))
        except Sealed as error:
            if closed is not None:
                closed |= {row["id"]: error.message for row in lines}
            continue
        for row in lines:
            payload = payloads[row["slot"]]
            if payload is not None:
                found[row["id"]] = payload
    return found


async def get(db: Database, call_id: str, *, project_id: int | None, wait: float, seal: Seal = PLAIN) -> CallDetail:
    """See `Calls.get`."""
    missing = f"there is no call {call_id!r}: it was deleted, is past its retention, or never was"
    try:
        wanted = UUID(call_id)
        recent = datetime.now(UTC) - time_of(str(wanted)) < _LATEST
    except ValueError:
        raise NotFound(missing) from None
    deadline = time.monotonic() + (wait if recent else 0.0)
    pause = _FIRST_WAIT
    condition = Condition(CallFilter(), None)
    while not (rows := await among(db, condition, [wanted])):
        if time.monotonic() >= deadline:
            raise NotFound(missing)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_WAIT)
    row = rows[0]
    if project_id is not None and row["project_id"] != project_id:
        raise NotFound(missing)
    closed: dict[UUID, str] = {}
    payload = (await texts_of(db, rows, Packer(seal), closed)).get(row["id"])
    return replace(detail_of(call_of(row), payload, closed.get(row["id"])), sent=row["sent"])


async def many(db: Database, call_ids: Sequence[str], seal: Seal = PLAIN) -> dict[str, CallDetail]:
    """See `Calls.many`."""
    rows = await among(db, Condition(CallFilter(), None), [UUID(checked_id(each, "calls")) for each in call_ids])
    closed: dict[UUID, str] = {}
    texts = await texts_of(db, rows, Packer(seal), closed)
    return {
        str(row["id"]): replace(detail_of(call_of(row), texts.get(row["id"]), closed.get(row["id"])), sent=row["sent"])
        for row in rows
    }


def detail_of(call: Call, payload: Payload | None, closed: str | None = None) -> CallDetail:
    """A call with its texts, read; `closed` is why they cannot be."""
    if payload is None:
        return CallDetail(call=call, request=None, response=None, sealed=closed)
    if payload.error is not None:
        call = replace(call, error=payload.error)
    request = _object(payload.request)
    raw = None
    if request is None and payload.request:
        raw = payload.request.decode("utf-8", "replace")
    response = _object(payload.response)
    if response is None and payload.response:
        response = {"raw": payload.response.decode("utf-8", "replace")}
    return CallDetail(call=call, request=request, response=response, request_raw=raw)


def checked_id(call_id: str, param: str) -> str:
    """`call_id` in its canonical form.

    Raises:
        BadRequest: it is none.
    """
    try:
        canonical = str(UUID(call_id))
        time_of(canonical)
    except ValueError:
        raise BadRequest(f"{param} must be a call id, not {call_id!r}", param=param) from None
    return canonical


def checked_limit(limit: int) -> int:
    """`limit` itself.

    Raises:
        BadRequest: it is not in 1…1,000.
    """
    if not 1 <= limit <= MOST:
        raise BadRequest(f"limit must be from 1 to {MOST}, not {limit}", param="limit")
    return limit


def _trace(digits: str) -> str:
    try:
        return str(UUID(digits))
    except ValueError:
        raise BadRequest(f"trace must be 32 hexadecimal digits, not {digits[:80]!r}", param="trace") from None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
