"""What explains an alert: its calls against those of the day before, by everything that calls have in common.

The excess of a value (of a target, a key, a tag …) is what its calls did beyond what as many of them did before; its
contribution is its share of the whole excess. As in Adtributor (Bhagwan et al., NSDI 2014) a value explains by how much
more of the change it holds than of the traffic: one that all calls have explains nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from loopwright.calls.charted import Asked, joined, listed
from loopwright.calls.pages import condition_of
from loopwright.calls.query import CallFilter
from loopwright.kit.db import Database
from loopwright.monitoring.alerts import Alert
from loopwright.monitoring.causes_reading import SERIES, Cell, Sample, amount_of, examples, names_of_keys, sample
from loopwright.monitoring.causes_weights import weight_of

_BASELINE: Final = timedelta(days=1)
_LONGEST: Final = timedelta(days=7)
_ALL: Final = 0.98
"""A value that so many of the calls have does not tell bad ones from good ones."""
_LEAST: Final = 0.1
"""Contribution of a cause that is worth telling."""
_STANDS_OUT: Final = 0.05
"""By how much more of the change than of the traffic it must hold."""
_MOST: Final = 8
_EXAMPLES: Final = 5
_EXAMPLED: Final = 3
"""Causes of which examples are looked for."""

Mode = Literal["share", "volume"]
"""share: how much of the calls; volume: how much in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Calls of one time."""

    calls: int
    amount: float
    """Of what the alert is about: failed or slow calls, tokens, US dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One value, and how much of the change it holds."""

    dimension: str
    """`target`, `key`, `tag:NAME` …"""
    value: str
    """As people know it: of a key its name."""
    also: Sequence[tuple[str, str]]
    """Other dimensions and values, which the very same calls have."""
    contribution: float
    """Share of the whole excess; over 1 where others did better than before."""
    traffic: float
    """Share of the calls."""
    now: Side
    before: Side
    expected: float
    """Of `now`, had it been as before."""
    codes: Sequence[tuple[str, int]]
    """Error codes of its calls, most first; empty where that is not known."""
    overlap: float | None
    """Share of its excess calls that also belong to the first cause; None for that one, and where it is not known."""
    calls: Mapping[str, Asked]
    """Its calls, as `/calls` takes a filter."""
    examples: Sequence[str] = ()
    """Ids of some of the bad ones, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of the cause of an alert."""

    mode: Mode
    what: str
    """What is counted: `failed`, `spend` …; see `causes_words`."""
    since: datetime
    until: datetime
    before_since: datetime
    now: Side
    before: Side
    expected: float
    codes: Sequence[tuple[str, int, int]]
    """(error code, calls now, calls before), most first."""
    causes: Sequence[Cause]
    """Those that explain most first."""
    clipped: bool
    """Whether only the newest calls of one side were read."""


@dataclass(frozen=True, slots=True)
class _Value:
    """The calls that have one value."""

    now: tuple[int, float]
    before: tuple[int, float]


async def explain(db: Database, alert: Alert, *, now: datetime | None = None) -> Explanation | None:
    """Compare the calls of an alert with those of the day before it began; None where its kind tells of no calls.

    Raises:
        Unavailable: the database cannot answer now.
    """
    found = weight_of(alert)
    if found is None:
        return None
    mode, what, weight = found
    end = alert.resolved_at or now or datetime.now(UTC)
    until = min(end, moment(alert.calls.get("until")) or end)
    since = max(min(moment(alert.calls.get("since")) or alert.since, until), until - _LONGEST)
    late = await sample(db, await condition_of(db, _scope(alert, since, until)), weight)
    early = await sample(db, await condition_of(db, _scope(alert, since - _BASELINE, since)), weight)
    length = early.seconds if early.clipped else _BASELINE.total_seconds()
    rate = (until - since).total_seconds() / max(length, 1.0) if mode == "volume" else None
    whole = Explanation(
        mode=mode,
        what=what,
        since=since,
        until=until,
        before_since=since - _BASELINE,
        now=Side(calls=late.calls, amount=late.amount),
        before=Side(calls=early.calls, amount=early.amount),
        expected=_expected((late.calls, late.amount), (early.calls, early.amount), (early.calls, early.amount), rate),
        codes=_codes(late, early) if what == "failed" else (),
        causes=(),
        clipped=late.clipped or early.clipped,
    )
    causes = _ranked(alert, whole, late, early, rate)
    keys = await names_of_keys(db, alert.project_id)
    for at, cause in enumerate(causes):
        overlap = cause.overlap
        if 0 < at < _EXAMPLED and overlap is None and cause.now.amount:
            both = _scope(alert, since, until, **filter_args(joined(causes[0].calls, _own(cause))))
            overlap = await amount_of(db, await condition_of(db, both), weight) / cause.now.amount
        ids: Sequence[str] = ()
        if at < _EXAMPLED:
            condition = await condition_of(db, _scope(alert, since, until, **filter_args(cause.calls)))
            ids = await examples(db, condition, weight, _EXAMPLES)
        causes[at] = replace(_named(cause, keys), examples=ids, overlap=overlap)
    return replace(whole, causes=causes)


def _scope(alert: Alert, since: datetime, until: datetime, **narrower: object) -> CallFilter:
    """The calls that an alert speaks of, bad ones and good ones."""
    args = {**filter_args(alert.calls), **narrower}
    for name in ("outcome", "min_latency_ms"):
        args.pop(name, None)
    return CallFilter(**{**args, "project_id": alert.project_id, "since": since, "until": until})  # type: ignore[arg-type]


def filter_args(calls: Mapping[str, Asked]) -> dict[str, object]:
    """The arguments of a `CallFilter` that `/calls` would make of a query, but for its times."""
    found: dict[str, object] = {}
    for name, value in calls.items():
        if name == "tag":
            pairs = (tag.partition(":") for tag in listed(value))
            found["tags"] = tuple((left, right) for left, _, right in pairs)
        elif not isinstance(value, str):
            continue
        elif name == "key" and value.isascii() and value.isdigit() and len(value) < 10:
            found["key_id"] = int(value)
        elif name == "min_latency_ms" and value.replace(".", "", 1).isdigit():
            found[name] = float(value)
        elif name in (*SERIES, "outcome", "error_code", "session", "client"):
            found[name] = value
    return found


def moment(text: str | None) -> datetime | None:
    """A moment as `calls` of an alert hold it; None of None and of what is none."""
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)


def _expected(
    now: tuple[int, float], before: tuple[int, float], all_before: tuple[int, float], rate: float | None
) -> float:
    """What there would be now, had it been as before."""
    if rate is not None:
        return before[1] * rate
    if before[0]:
        return now[0] * before[1] / before[0]
    return now[0] * all_before[1] / all_before[0] if all_before[0] else 0.0


def _codes(late: Sample, early: Sample) -> list[tuple[str, int, int]]:
    now: Counter[str] = Counter()
    before: Counter[str] = Counter()
    for counter, side in ((now, late), (before, early)):
        for cell in side.cells:
            if cell.amount and cell.error_code is not None:
                counter[cell.error_code] += int(cell.amount)
    return [(code, count, before[code]) for code, count in now.most_common(5)]


def _values(late: Sample, early: Sample) -> dict[tuple[str, str], _Value]:
    """Everything that calls of now have, with its calls before."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0, 0, 0.0])
    for offset, side in ((0, late), (2, early)):
        for cell in side.cells:
            for having in cell.has.items():
                sums[having][offset] += cell.calls
                sums[having][offset + 1] += cell.amount
        for (name, value), (calls, amount) in side.tags.items():
            sums[f"tag:{name}", value][offset] += calls
            sums[f"tag:{name}", value][offset + 1] += amount
    return {
        having: _Value((int(each[0]), each[1]), (int(each[2]), each[3])) for having, each in sums.items() if each[0]
    }


def _ranked(alert: Alert, whole: Explanation, late: Sample, early: Sample, rate: float | None) -> list[Cause]:
    excess = whole.now.amount - whole.expected
    if excess <= 0 or not late.calls:
        return []
    all_before = (early.calls, early.amount)
    merged: dict[object, list[tuple[str, str]]] = defaultdict(list)
    values = _values(late, early)
    for having in values:
        merged[_identity(late, having)].append(having)
    found: list[tuple[float, Cause]] = []
    for names in merged.values():
        value = values[names[0]]
        traffic = value.now[0] / late.calls
        expected = _expected(value.now, value.before, all_before, rate)
        contribution = (value.now[1] - expected) / excess
        out = contribution - (traffic if rate is None else whole.expected and expected / whole.expected)
        if traffic > _ALL or contribution < _LEAST or out < _STANDS_OUT:
            continue
        (dimension, chosen), *also = sorted(names, key=_order)
        cause = Cause(
            dimension=dimension,
            value=chosen,
            also=also,
            contribution=contribution,
            traffic=traffic,
            now=Side(calls=value.now[0], amount=value.now[1]),
            before=Side(calls=value.before[0], amount=value.before[1]),
            expected=expected,
            codes=_codes_of(late, dimension, chosen) if whole.what == "failed" else (),
            overlap=None,
            calls=_calls(alert, whole, dimension, chosen),
        )
        found.append((out, cause))
    ordered = [
        cause
        for _, cause in sorted(
            found, key=lambda each: (-round(each[0], 2), _order((each[1].dimension, "")), each[1].value)
        )
    ]
    return [replace(each, overlap=_overlap(late, ordered[0], each)) if at else each for at, each in enumerate(ordered)][
        :_MOST
    ]


def _identity(late: Sample, having: tuple[str, str]) -> object:
    """The same for values that the very same calls have; of tags it is not known which calls have them."""
    if having[0].startswith("tag:"):
        return having
    return frozenset(at for at, cell in enumerate(late.cells) if cell.has.get(having[0]) == having[1])


def _order(having: tuple[str, str]) -> int:
    """What is named first of what the same calls have: what somebody can act on."""
    order = (*SERIES[:6], "key")
    return order.index(having[0]) if having[0] in order else len(order)


def _of(late: Sample, dimension: str, value: str) -> Iterator[Cell]:
    return (cell for cell in late.cells if cell.has.get(dimension) == value)


def _codes_of(late: Sample, dimension: str, value: str) -> list[tuple[str, int]]:
    counter: Counter[str] = Counter()
    for cell in _of(late, dimension, value):
        if cell.amount and cell.error_code is not None:
            counter[cell.error_code] += int(cell.amount)
    return counter.most_common(3)


def _overlap(late: Sample, first: Cause, cause: Cause) -> float | None:
    """Share of the amount of `cause` that `first` has, too; tags are not known together with anything else."""
    if first.dimension.startswith("tag:") or cause.dimension.startswith("tag:") or not cause.now.amount:
        return 0.0 if first.dimension == cause.dimension else None
    both = (
        cell.amount for cell in _of(late, cause.dimension, cause.value) if cell.has.get(first.dimension) == first.value
    )
    return sum(both) / cause.now.amount


def _calls(alert: Alert, whole: Explanation, dimension: str, value: str) -> dict[str, Asked]:
    found: dict[str, Asked] = {**alert.calls, "since": iso(whole.since), "until": iso(whole.until)}
    return joined(found, _selecting(dimension, value))


def _selecting(dimension: str, value: str) -> dict[str, Asked]:
    if dimension.startswith("tag:"):
        return {"tag": f"{dimension.removeprefix('tag:')}:{value}"}
    return {dimension: value}


def _own(cause: Cause) -> dict[str, Asked]:
    """What its calls have, as `/calls` takes a filter; nothing where the first cause is another value of the same."""
    return _selecting(cause.dimension, cause.value)


def _named(cause: Cause, keys: Mapping[int, str]) -> Cause:
    """With names of keys where ids were."""

    def name(having: tuple[str, str]) -> str:
        return keys.get(int(having[1]), f"number {having[1]}") if having[0] == "key" else having[1]

    also = [(each[0], name(each)) for each in cause.also]
    return replace(cause, value=name((cause.dimension, cause.value)), also=also)


def iso(at: datetime) -> str:
    """As addresses hold a moment."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
