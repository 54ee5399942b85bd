"""Where the counts of some calls are read: roll-ups by key or by slice, or the calls themselves, newest first and so many.

All three look alike to who sums them up: rows `r` with a time `bucket`, counters and histograms, of a series `s`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.calls.histogram import SCALE
from loopwright.calls.pages import Condition
from loopwright.calls.question import CallFilter
from loopwright.calls.rollup import ALL_KEYS, COUNTERS, DAY, FINE_DAYS, FIVE_MINUTES, HISTOGRAMS, HOUR, SLICE_HOURS_DAYS
from loopwright.calls.series import asks_series, series_sql
from loopwright.calls.slices import CACHE, CLIENT, ERROR, TAG
from loopwright.core.errors import BadRequest
from loopwright.core.notes import CASCADE, SAVED_USD, WASTED_USD
from loopwright.kit.db import Database

SERIES: Final = ("model", "task", "variant", "prompt_version", "target", "provider", "operation")
DIMENSIONS: Final = (*SERIES, "key", "client", "error_code", "outcome", "session")
"""What calls can be split by, besides `tag:NAME`."""
MOST_READ: Final = 30_000
"""Calls that are read where no roll-up tells."""
_LONG: Final = timedelta(days=14)
"""A longer time is answered in whole days (UTC)."""
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_AMOUNT: Final = r"'^-?[0-9]{1,9}(\.[0-9]{1,9})?$'"


def sums(counters: Sequence[str]) -> str:
    """Some counters: a chart needs few, and each costs as much as reading the row."""
    return ", ".join(f"coalesce(sum(r.{name}), 0)::bigint as {name}" for name in counters)


SUMS: Final = sums(COUNTERS)
"""All of them."""


def laid(histograms: tuple[str, ...] = HISTOGRAMS) -> str:
    """The sum of histograms: laid end to end."""
    return "".join(f", string_agg(r.{name}, ''::bytea) as {name}" for name in histograms)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in whole buckets of one of the tables, or as it was asked where calls are read."""

    ending: str
    """Of the table's name; empty for calls."""
    width: int
    since: int
    until: int
    """Unix seconds; exclusive."""


@dataclass(frozen=True, slots=True)
class Reading:
    """SQL to sum: `name` is what the rows are split by."""

    span: Span
    name: str
    rows: str
    """From `from` on."""
    params: Mapping[str, Any]
    bounded: bool = False
    """Calls are read: no more than `MOST_READ`."""


@dataclass(frozen=True, slots=True)
class _Sliced:
    """One kind of slice that a filter or a split needs."""

    kind: str
    name: str
    value: str | None = None
    """None: every value."""


async def reading(
    db: Database, asked: CallFilter, split: str | None = None, *, calls: bool = False, most: int = MOST_READ
) -> Reading:
    """Where to read; `calls` reads them in any case.

    Raises:
        BadRequest: there is no such dimension, or words are asked for.
    """
    checked_split(split)
    if asked.text is not None:
        raise BadRequest(
            "totals cannot be narrowed down to words: they are counted without reading texts", param="text"
        )
    sliced = _slices_needed(asked, split)
    keyed = asked.key_id is not None or split == "key"
    if calls or _reads_calls(asked, split) or len(sliced) > 1 or (sliced and keyed):
        return _of_calls(asked, split, most)
    where, params = series_sql(asked)
    span = span_of(asked, hours=SLICE_HOURS_DAYS if sliced else None)
    within = "r.bucket >= to_timestamp(%(since)s) and r.bucket < to_timestamp(%(until)s)"
    params |= {"since": span.since, "until": span.until}
    if not sliced:
        keys = "r.key_id >= 0" if split == "key" and asked.key_id is None else "r.key_id = %(key)s"
        rows = f"from call_rollups_{span.ending} r join call_series s on s.id = r.series_id where {keys} and {within} and {where}"
        params["key"] = ALL_KEYS if asked.key_id is None else asked.key_id
        return Reading(span, _name(split), rows, params)
    [one] = sliced
    found = await db.rows(
        """select id, value from call_slices where kind = %(kind)s and name = %(name)s
             and (%(project)s::int is null or project_id = %(project)s)
             and (%(value)s::text is null or value = %(value)s)""",
        {"kind": one.kind, "name": one.name, "value": one.value, "project": asked.project_id},
    )
    if not found:
        # It came when there was no room, or not at all: then the index of tags finds nothing quickly.
        return _of_calls(asked, split, most)
    rows = f"""from call_slice_rollups_{span.ending} r join call_series s on s.id = r.series_id
        join call_slices v on v.id = r.slice_id where r.slice_id = any(%(slices)s::int[]) and {within} and {where}"""
    params["slices"] = [row["id"] for row in found]
    name = f"coalesce(v.value, '{OTHER}')" if split in ("client", "error_code") or _tag(split) else _name(split)
    return Reading(span, name, rows, params)


OTHER: Final = "(other)"
"""Stands for the values of a tag there was no room for."""


def checked_split(split: str | None) -> str | None:
    """`split` itself.

    Raises:
        BadRequest: it is no dimension.
    """
    if split is None or split in DIMENSIONS or _tag(split):
        return split
    raise BadRequest(
        f"there is no dimension {split[:80]!r}: use one of {', '.join(DIMENSIONS)}, tag:NAME", param="split"
    )


def span_of(asked: CallFilter, *, hours: int | None = None) -> Span:
    """The buckets of a filter's time; without `since` of the last day. Hours are kept for so many days, or for ever."""
    now = datetime.now(UTC)
    since, until = ends_of(asked, now)
    fine_from = (now - timedelta(days=FINE_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    hourly = hours is None or since >= fine_from - timedelta(days=hours - FINE_DAYS)
    if until - since > _LONG or not hourly:
        ending, width = "1d", DAY
    elif since >= fine_from:
        ending, width = "5m", FIVE_MINUTES
    else:
        ending, width = "1h", HOUR
    first = int(since.timestamp()) // width * width
    return Span(ending, width, first, max(-(-int(until.timestamp()) // width) * width, first + width))


def ends_of(asked: CallFilter, now: datetime | None = None) -> tuple[datetime, datetime]:
    """From when to when; without `since` of the last day. No call is older than `_EARLIEST`, or begins tomorrow."""
    now = now or datetime.now(UTC)
    until = max(
        min(_aware(asked.until) or now + timedelta(seconds=1), now + timedelta(days=1)), _EARLIEST + timedelta(days=1)
    )
    since = max(_aware(asked.since) or until - timedelta(days=1), _EARLIEST)
    return min(since, until - timedelta(seconds=1)), until


def _aware(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _slices_needed(asked: CallFilter, split: str | None) -> list[_Sliced]:
    found: dict[tuple[str, str], str | None] = {}
    if _tag(split) and split is not None:
        found[TAG, split.removeprefix("tag:")] = None
    elif split == "client":
        found[CLIENT, ""] = None
    elif split == "error_code":
        found[ERROR, ""] = None
    for name, value in asked.tags:
        found[TAG, name] = value
    if asked.client is not None:
        found[CLIENT, ""] = asked.client
    if asked.error_code is not None:
        found[ERROR, ""] = asked.error_code
    return [_Sliced(kind, name, value) for (kind, name), value in found.items()]


def _reads_calls(asked: CallFilter, split: str | None) -> bool:
    """Whether no roll-up knows what is asked."""
    rare = (
        asked.outcome, asked.failed or None, asked.session, asked.trace, asked.min_cost_nano, asked.min_latency_ms, asked.sent_to,
        asked.sent_outside or None, next((name for name in asked.without if name not in SERIES), None),
        # A slice knows one value of a name: what has two of them is nothing.
        True if len(dict(asked.tags)) < len(set(asked.tags)) else None,
    )  # fmt: skip
    return split in ("session", "outcome") or any(each is not None for each in rare)


def _tag(split: str | None) -> bool:
    return split is not None and split.startswith("tag:") and len(split) > len("tag:")


def _name(split: str | None) -> str:
    if split is None:
        return "null::text"
    if split in SERIES:
        return f"s.{split}"
    return "r.key_id" if split == "key" else f"r.{split}"


def _of_calls(asked: CallFilter, split: str | None, most: int) -> Reading:
    since, until = ends_of(asked)
    condition = Condition(replace(asked, since=since, until=until), None)
    where, params = series_sql(asked)
    name = _name(split)
    if _tag(split) and split is not None:
        name = "r.tags ->> %(split)s"
        params["split"] = split.removeprefix("tag:")
    elif split == "error_code":
        condition.where.append("c.error_code is not null")
    series = "true"
    if asks_series(asked):
        series = f"c.series_id in (select s.id from call_series s where {where})"  # noqa: S608
    rows = f"""from (
        select c.started_at as bucket, c.series_id, c.key_id, c.client, c.error_code, c.session, c.outcome, c.tags,
            {_COUNTED}, {_MEASURED}
        from calls c where {series} and {condition.sql()} order by c.id desc limit %(most)s
    ) r join call_series s on s.id = r.series_id"""  # noqa: S608  (made of fragments of ours; values are parameters)
    span = Span("", 1, int(since.timestamp()), max(int(until.timestamp()), int(since.timestamp()) + 1))
    return Reading(span, name, rows, params | condition.params | {"most": most}, bounded=True)


def _amount(tag: str) -> str:
    return f"case when c.tags ->> '{tag}' ~ {_AMOUNT} then (1e9 * (c.tags ->> '{tag}')::numeric)::bigint else 0 end"


_HIT: Final = f"coalesce(c.tags ->> '{CACHE}' in ('hit', 'semantic-hit'), false)"
_COUNTED: Final = f"""
    1 as requests, (c.outcome = 1)::int as errors, (c.outcome = 2)::int as refused, (c.outcome = 3)::int as cancelled,
    (c.outcome = 4)::int as interrupted, (c.cost_nano is null)::int as unpriced,
    c.input_tokens, c.output_tokens, c.cached_tokens, c.reasoning_tokens, coalesce(c.cost_nano, 0) as cost_nano,
    ({_HIT})::int as cache_hits, case when {_HIT} then {_amount(SAVED_USD)} else 0 end as cache_nano,
    case when not {_HIT} and c.tags ->> '{CASCADE}' = 'kept' then {_amount(SAVED_USD)} else 0 end as cascade_nano,
    {_amount(WASTED_USD)} as wasted_nano
"""


def _bucket(value: str) -> str:
    """One value as a histogram of itself: the bytes of `histogram.BUCKET`."""
    index = f"(ceil(ln(({value})::float8) / ln(2::float8) * {1 << SCALE}) - 1)::int2"
    number = f"int2send(case when {value} > 0 then {index} else (-32768)::int2 end)"
    # Postgres sends the high byte first, the histogram wants it last.
    return f"(substr({number}, 2, 1) || substr({number}, 1, 1) || '\\x01000000'::bytea)"


_MEASURED: Final = f"""
    {_bucket("c.latency_us")} as latency,
    case when c.ttft_us is not null then {_bucket("c.ttft_us")} end as ttft,
    case when c.ttft_us is not null and c.output_tokens > 1
        then {_bucket("(c.latency_us - c.ttft_us) / (c.output_tokens - 1)::float8")} end as tpot
"""
