"""Charts: any measure over time, split by any dimension, beside an earlier time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.calls.measures import Measure, measure_of
from loopwright.calls.overview import STEP, moment, named, step_of
from loopwright.calls.question import CallFilter
from loopwright.calls.reading import MOST_READ, OTHER, Reading, Span, checked_split, ends_of, laid, reading, sums
from loopwright.calls.rollup import COUNTERS, HISTOGRAMS
from loopwright.calls.rows import OUTCOMES
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database

MOST_GROUPS: Final = 50
MOST_MEASURES: Final = 8
_SHORT: Final = timedelta(hours=3)
"""A time as short is read from the calls themselves, in finer steps, unless they are too many."""
_FEW: Final = 20_000
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)

_FEW_VALUES: Final = frozenset({"model", "provider", "operation", "task", "variant"})
"""Of these there are so few that all are summed at once."""
_FAILING: Final = frozenset({"failed", "errors", "interrupted", "refused", "cancelled"})
"""Of these, calls without an error code are shown, too."""

Values = Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartAsk:
    """What to draw."""

    filter: CallFilter
    measures: tuple[str, ...] = ("requests",)
    """The first one says which groups are the largest."""
    split: str | None = None
    """A dimension, `tag:NAME`, or None for one line."""
    points: int = 60
    top: int = 8
    """Groups that are shown; the rest is one more."""

    def __post_init__(self) -> None:
        """See that it can be drawn."""
        checked_split(self.split)
        if not 1 <= len(self.measures) <= MOST_MEASURES:
            raise BadRequest(f"ask for 1 to {MOST_MEASURES} measures, not {len(self.measures)}", param="measure")
        for name in self.measures:
            measure_of(name)
        if not 1 <= self.top <= MOST_GROUPS:
            raise BadRequest(f"top must be from 1 to {MOST_GROUPS}, not {self.top}", param="top")
        if self.filter.since is not None and self.filter.until is not None and self.filter.since >= self.filter.until:
            raise BadRequest("`until` must be later than `since`", param="until")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartGroup:
    """The calls of one value of the dimension."""

    name: str | int | None
    """The value; None for calls without one."""
    requests: int
    totals: Mapping[str, float | None]
    """Of the whole time, by measure."""
    values: Values
    """By measure, a value for each time; None is a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Measures over time."""

    since: datetime
    until: datetime
    step_seconds: int
    times: tuple[datetime, ...]
    """Where the steps begin; the first may begin before `since`."""
    total: ChartGroup
    groups: tuple[ChartGroup, ...]
    """The largest first; empty without a split."""
    rest: ChartGroup | None
    """The others together."""
    others: int
    """How many these are."""
    read_since: datetime | None
    """Set where calls were read, and not all: those from then on."""


async def chart(db: Database, ask: ChartAsk) -> Chart:
    """See `Calls.chart`."""
    [found] = await _charts(db, ask, [timedelta()])
    return found


async def compared(db: Database, ask: ChartAsk, back: timedelta | None) -> tuple[Chart, Chart]:
    """See `Calls.compared`."""
    since, until = ends_of(ask.filter)
    if back is not None and back <= timedelta():
        raise BadRequest("compare with an earlier time", param="compare")
    if since - (back or until - since) < _EARLIEST:
        raise BadRequest("there were no calls that long ago", param="compare")
    ask = replace(ask, filter=replace(ask.filter, since=since, until=until))
    now, before = await _charts(db, ask, [timedelta(), back or until - since])
    return now, before


async def _charts(db: Database, ask: ChartAsk, backs: Sequence[timedelta]) -> list[Chart]:
    since, until = ends_of(ask.filter)
    if until - since <= _SHORT:
        fine = await _drawn(db, ask, backs, calls=True, most=_FEW + 1)
        if fine is not None:
            return fine
    found = await _drawn(db, ask, backs, calls=False, most=MOST_READ)
    assert found is not None
    return found


async def _drawn(
    db: Database, ask: ChartAsk, backs: Sequence[timedelta], *, calls: bool, most: int
) -> list[Chart] | None:
    """A chart for each time back; None when `calls` are too many to be read."""
    since, until = ends_of(ask.filter)
    split = None if _tallies(ask) else ask.split
    readings = await asyncio.gather(
        *(
            reading(db, replace(ask.filter, since=since - back, until=until - back), split, calls=calls, most=most)
            for back in backs
        )
    )
    widest = max(readings, key=lambda each: each.span.width).span
    step = step_of(Span("", widest.width, readings[0].span.since, readings[0].span.until), ask.points)
    first: list[str | int | None] | None = None
    made = []
    for back, read in zip(backs, readings, strict=True):
        asked = replace(ask.filter, since=since - back, until=until - back)
        found = await _one(db, replace(ask, filter=asked), read, step, first)
        if calls and found.total.requests > _FEW:
            return None
        first = [group.name for group in found.groups]
        made.append(found)
    return made


async def _one(db: Database, ask: ChartAsk, read: Reading, step: int, names: list[str | int | None] | None) -> Chart:
    measures = {name: measure_of(name) for name in ask.measures}
    histograms = tuple(name for name in HISTOGRAMS if any(name in each.histograms for each in measures.values()))
    apart = ask.split is not None and (
        ask.split.startswith("tag:") or (ask.split == "error_code" and _FAILING.issuperset(measures))
    )
    whole = reading(db, ask.filter) if apart and not read.bounded else None
    if _tallies(ask):
        rows = _by_outcome(await _rows(db, replace(ask, split=None), read, step, (), None))
    else:
        rows = await _rows(db, ask, read, step, histograms, names)
    cells: dict[tuple[bool, str | int | None], dict[int, dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["rest"], row["name"]), {})[row["step"]] = row
    if whole is None:
        everything = _by_step(rows, histograms)
    else:
        rows_of_all = await _rows(db, replace(ask, split=None), await whole, step, histograms, None)
        everything = {row["step"]: row for row in rows_of_all}
        if (lacking := _lacking(everything, _by_step(rows, ()))) and (names is None or None in names):
            cells[False, None] = lacking
    steps = range(read.span.since // step, -(-read.span.until // step))
    groups = [
        _group(named(ask.split or "", name), found, steps, measures, histograms)
        for (rest, name), found in cells.items()
        if not rest and ask.split is not None
    ]
    order = {name: place for place, name in enumerate(names or ())}
    ranked = measures[ask.measures[0]].ranks
    size = {
        named(ask.split or "", name): sum(row[each] for row in found.values() for each in ranked)
        for (rest, name), found in cells.items()
        if not rest
    }
    groups.sort(key=lambda group: (order.get(group.name, 0), -size.get(group.name, 0), str(group.name)))
    together = next((found for (rest, _), found in cells.items() if rest), None)
    read_all = not read.bounded or sum(row["requests"] for row in rows) < read.params["most"]
    return Chart(
        since=moment(read.span.since),
        until=moment(read.span.until),
        step_seconds=step,
        times=tuple(moment(number * step) for number in steps),
        total=_group(None, everything, steps, measures, histograms),
        groups=tuple(groups),
        rest=None if together is None else _group(None, together, steps, measures, histograms),
        others=max((row["others"] for row in rows), default=0),
        read_since=None if read_all else min(row["oldest"] for row in rows),
    )


async def _rows(
    db: Database,
    ask: ChartAsk,
    read: Reading,
    step: int,
    histograms: tuple[str, ...],
    names: list[str | int | None] | None,
) -> list[dict[str, Any]]:
    """A row for each step and group: (rest, name, step, others, oldest, counters, histograms)."""
    rows = await _summed(db, ask, read, {**read.params, "step": step}, histograms, names)
    return [_NOTHING | row for row in rows]


async def _summed(
    db: Database,
    ask: ChartAsk,
    read: Reading,
    params: dict[str, Any],
    histograms: tuple[str, ...],
    names: list[str | int | None] | None,
) -> list[dict[str, Any]]:
    counters = _counters(ask)
    if ask.split is None:
        return await db.rows(
            f"""select {STEP} as step, false as rest, null::text as name, 0 as others, min(r.bucket) as oldest, {sums(counters)}
                {laid(histograms)} {read.rows} group by 1""",
            params,
            anew=True,
        )
    others = 0
    if names is None and not read.bounded and ask.split not in _FEW_VALUES:
        names, others = await _largest(db, ask, read)
    if names is not None:
        which = f"(coalesce({read.name} = any(%(names)s), false) or ({read.name} is null and %(unnamed)s))"
        kept: list[Any] = [_raw(ask.split, name) for name in names if name is not None]
        return await db.rows(
            f"""select {STEP} as step, not {which} as rest, case when {which} then {read.name} end as name,
                    min(r.bucket) as oldest, %(others)s::int as others, {sums(counters)}{laid(histograms)} {read.rows} group by 1, 2, 3""",
            {**params, "names": kept, "unnamed": None in names, "others": others},
            anew=True,
        )
    return await _windowed(db, ask, read, params, histograms)


async def _largest(db: Database, ask: ChartAsk, read: Reading) -> tuple[list[str | int | None], int]:
    """The largest groups, and how many others there are: of many values it is quicker to ask this first."""
    ranks = measure_of(ask.measures[0]).ranks
    size = " + ".join(f"coalesce(sum(r.{name}), 0)" for name in ranks)
    rows = await db.rows(
        f"select {read.name} as name, ({size})::bigint as size, sum(r.requests) as calls {read.rows} group by 1",
        read.params,
        anew=True,
    )
    # What there was no room for is many values: it belongs to the rest, however much it is.
    rows.sort(key=lambda row: (row["name"] == OTHER, -row["size"], -row["calls"], str(row["name"])))
    return [row["name"] for row in rows[: ask.top]], max(len(rows) - ask.top, 0)


async def _windowed(
    db: Database, ask: ChartAsk, read: Reading, params: Mapping[str, Any], histograms: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Groups ranked and told in one reading."""
    counters = _counters(ask)
    cells = f"select {STEP} as step, {read.name} as name, min(r.bucket) as oldest, {sums(counters)}{laid(histograms)} {read.rows} group by 1, 2"
    added = ", ".join(f"sum(c.{name})::bigint as {name}" for name in counters)
    both = "".join(f", string_agg(c.{name}, ''::bytea) as {name}" for name in histograms)
    rank = " + ".join(measure_of(ask.measures[0]).ranks)
    last = f"coalesce(name::text = '{OTHER}', false)"
    # Windows, not a join: names may be null, and no join by `is not distinct from` is quick.
    return await db.rows(
        f"""select c.step, c.place > %(top)s as rest, case when c.place <= %(top)s then c.name end as name,
                min(c.oldest) as oldest, greatest(max(c.most) - %(top)s, 0)::int as others, {added}{both}
            from (
                select *, max(place) over () as most from (
                    select *, dense_rank() over (order by {last}, size desc, calls desc, name) as place from (
                        select *, sum({rank}) over (partition by name) as size, sum(requests) over (partition by name) as calls
                        from ({cells}) c) c) c
            ) c group by 1, 2, 3""",  # noqa: S608
        {**params, "top": ask.top},
        anew=True,
    )


def _counters(ask: ChartAsk) -> list[str]:
    """The counters that the measures read."""
    if _tallies(replace(ask, split="outcome")):
        return ["requests", *_COUNTED.values()]
    measures = [measure_of(name) for name in ask.measures]
    needed = {"requests", *(name for each in measures for name in (*each.ranks, *each.counters))}
    return [name for name in COUNTERS if name in needed]


_NOTHING: Final = dict.fromkeys(COUNTERS, 0)


def _tallies(ask: ChartAsk) -> bool:
    """Whether the counters of the roll-ups tell outcomes apart."""
    return ask.split == "outcome" and set(ask.measures) == {"requests"} and ask.top >= len(OUTCOMES)


def _by_outcome(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each outcome of rows that count them."""
    made = []
    for row in rows:
        told = {number: row[_COUNTED[name]] for number, name in enumerate(OUTCOMES) if name != "ok"}
        for number, requests in {0: row["requests"] - sum(told.values()), **told}.items():
            if requests > 0:
                made.append({**row, **dict.fromkeys(COUNTERS, 0), "name": number, "requests": requests})
    return made


_COUNTED: Final = {"error": "errors", "refused": "refused", "cancelled": "cancelled", "interrupted": "interrupted"}


def _raw(split: str, name: str | int) -> str | int:
    """A value as it stands in the rows."""
    return OUTCOMES.index(str(name)) if split == "outcome" else name


def _by_step(rows: Sequence[Mapping[str, Any]], histograms: tuple[str, ...]) -> dict[int, dict[str, Any]]:
    """Groups together, by step."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["step"], []).append(row)
    return {step: _together(some, histograms) for step, some in found.items()}


def _together(rows: Sequence[Mapping[str, Any]], histograms: tuple[str, ...]) -> dict[str, Any]:
    return {name: sum(row[name] for row in rows) for name in COUNTERS} | {
        name: b"".join(bytes(row[name] or b"") for row in rows) for name in histograms
    }


def _lacking(
    everything: Mapping[int, Mapping[str, Any]], told: Mapping[int, Mapping[str, Any]]
) -> dict[int, dict[str, Any]]:
    """What all calls count less those that have the tag; of times nothing is known, they do not subtract."""
    found = {}
    for step, row in everything.items():
        part = told.get(step, {})
        left = {name: max(row[name] - part.get(name, 0), 0) for name in COUNTERS}
        if left["requests"]:
            found[step] = left
    return found


def _group(
    name: str | int | None,
    found: Mapping[int, Mapping[str, Any]],
    steps: range,
    measures: Mapping[str, Measure],
    histograms: tuple[str, ...],
) -> ChartGroup:
    nothing = dict.fromkeys(COUNTERS, 0)
    whole = _together([{**dict.fromkeys(histograms), **row} for row in found.values()], histograms)
    return ChartGroup(
        name=name,
        requests=whole["requests"],
        totals={key: measure.of(whole) for key, measure in measures.items()},
        values={
            key: tuple(measure.of(found.get(step, nothing)) for step in steps) for key, measure in measures.items()
        },
    )
