"""Panels of a dashboard: a chart with the calls behind each of its points. The template writes the SVG, escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import urlencode

from loopwright.calls.charted import Asked, joined, label_of, where_of
from loopwright.calls.charts import Chart, ChartGroup
from loopwright.calls.measures import Measure, Unit, measure_of
from loopwright.console import formats
from loopwright.console.charts import Drawn, Line, draw

LOOKS: Final = ("main", "g1", "g2", "g3", "g4", "g5", "g6", "g7")
"""Classes of the stylesheet, the largest group first."""
_OUTCOMES: Final = {"ok": "main", "error": "bad", "refused": "g2", "cancelled": "quiet", "interrupted": "g3"}
_MEANT: Final[Mapping[str, Mapping[str, str]]] = {
    "failed": {"outcome": "failed"},
    "error_rate": {"outcome": "failed"},
    **{
        f"{name}s" if name == "error" else name: {"outcome": name}
        for name in ("error", "refused", "cancelled", "interrupted")
    },
}
"""Which calls a measure counts, where it is not all."""
_REST, _BEFORE = "rest", "before"
_FIELDS: Final = {"error_code": "error"}
"""Parameters of the list of calls that are called otherwise there."""
TERMS: Final = ("ttft_p50", "decoding", "latency_p50")
"""Medians of the panel that shows what latency is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the legend."""

    name: str
    look: str
    filled: bool
    total: str
    change: str
    """Against the time before; empty where there is none."""
    calls: str | None
    """The query of the list of its calls, without a time; None where none selects them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelDrawn:
    """A panel ready to be written."""

    chart: Drawn
    measure: str
    split: str | None
    own: str
    """As the panel was asked for."""
    about: str
    total: str
    change: str
    entries: Sequence[Entry]
    calls: str | None
    """The query of the list of all its calls, without a time; None where none selects them."""
    spans: Sequence[tuple[str, str]]
    """From when to when each step goes, for the list of calls."""
    since: str
    until: str
    note: str
    page: str = "/calls"
    """What those queries are of."""


def shower(unit: Unit) -> Callable[[float | None], str]:
    """How values of a unit are written."""
    return {
        "count": formats.count, "tokens": formats.count, "ms": formats.millis, "share": formats.percent, "usd": _money,
    }[unit]  # fmt: skip


def panel(
    number: int,
    own: str,
    charts: tuple[Chart, Chart | None],
    asked: Mapping[str, Asked],
    *,
    measure: str,
    split: str | None,
    names: Mapping[int, str],
    found: Measure | None = None,
    opens: Mapping[str | int | None, Mapping[str, str]] | None = None,
) -> PanelDrawn:
    """Lay out a panel of one measure; `asked` are the parameters of the filter, `names` those of keys.

    `found` is a measure that is not of calls but of scores: `opens` says what its lines open, by name; None is the whole.
    """
    now, before = charts
    linked, found = found is None, found or measure_of(measure)
    show = shower(found.unit)
    asked = {**_MEANT.get(measure, {}), **asked}
    lines: list[Line] = []
    entries: list[Entry] = []
    over: list[Line] = []
    if split is None and linked:
        lines.append(Line(name=found.title, look="main", values=now.total.values[measure]))
        if before is not None:
            over.append(Line(name="time before", look=_BEFORE, values=before.total.values[measure]))
            entries = [
                Entry(name="this time", look="main", filled=found.adds, total="", change="", calls=calls_of(asked)),
                Entry(name=f"from {before.since:%Y-%m-%d %H:%M}", look=_BEFORE, filled=False, change="", calls=None,
                      total=show(before.total.totals[measure])),
            ]  # fmt: skip
    for name, look, group, old, where in _parts(now, before, measure, split, names, adds=found.adds):
        lines.append(Line(name=name, look=look, values=group.values[measure]))
        entries.append(
            Entry(
                name=name,
                look=look,
                filled=found.adds,
                total=show(group.totals[measure]),
                change="" if before is None else change(group, old, measure),
                calls=_opened(asked, where if opens is None else opens.get(group.name)),
            )
        )
    if before is not None and not linked and split is None:
        over = [
            Line(name=f"{group.name} before", look=_BEFORE, values=_fitting(group.values[measure], len(now.times)))
            for group in before.groups
        ] or [Line(name="time before", look=_BEFORE, values=_fitting((), len(now.times)))]
    kind: Literal["bars", "lines"] = "bars" if found.adds else "lines"
    chart = draw(f"panel-{number}", found.title, now.times, lines, kind=kind, show=show, over=over)
    return _whole(
        chart, entries, now, asked, measure=measure, split=split, own=own, about=found.about,
        total=show(now.total.totals[measure]),
        change="" if before is None else change(now.total, before.total, measure),
        opens=None if opens is None else opens.get(None, {}),
    )  # fmt: skip


def _opened(asked: Mapping[str, Asked], where: Mapping[str, str] | None) -> str | None:
    return None if where is None else calls_of(asked, where)


def _fitting(values: Sequence[float | None], size: int) -> Sequence[float | None]:
    """Scores of two times may have a step more or less."""
    return [*values[:size], *[None] * (size - len(values))]


def _parts(
    now: Chart, before: Chart | None, measure: str, split: str | None, names: Mapping[int, str], *, adds: bool
) -> Iterator[tuple[str, str, ChartGroup, ChartGroup | None, Mapping[str, str] | None]]:
    """What a chart is split into: (name, look, group, the same before, what selects its calls); none of zeros that add."""
    earlier = {} if before is None else {group.name: group for group in before.groups}
    groups = [group for group in now.groups if not adds or group.totals[measure] or _was(earlier, group, measure)]
    for place, group in enumerate(groups):
        look = _OUTCOMES.get(str(group.name), "g7") if split == "outcome" else LOOKS[place % len(LOOKS)]
        name = label_of(split or "", group.name, names)
        yield name, look, group, earlier.get(group.name), where_of(split or "", group.name)
    if now.rest is not None and (not adds or now.rest.totals[measure]):
        yield f"{now.others:,} more", _REST, now.rest, None if before is None else before.rest, None


def _was(earlier: Mapping[str | int | None, ChartGroup], group: ChartGroup, measure: str) -> bool:
    before = earlier.get(group.name)
    return before is not None and bool(before.totals[measure])


def terms(number: int, own: str, now: Chart, asked: Mapping[str, Asked]) -> PanelDrawn:
    """What latency is made of: the time to the first token, and that of those after it; beside what was measured."""
    values = now.total.values
    over = [Line(name="measured", look="strong", values=values["latency_p50"])]
    lines = [
        Line(name="first token", look="main", values=values["ttft_p50"]),
        Line(name="tokens after it", look="p95", values=values["decoding"]),
    ]
    chart = draw(
        f"panel-{number}", "Latency and its terms", now.times, lines, kind="bars", show=formats.millis, over=over
    )
    entries = [
        Entry(name=line.name, look=line.look, filled=line in lines, total=formats.millis(now.total.totals[key]),
              change="", calls=None)
        for key, line in zip(TERMS, [*lines, *over], strict=True)
    ]  # fmt: skip
    about = "Latency = TTFT + TPOT × (output tokens − 1): medians of both, and the mean number of tokens."  # noqa: RUF001
    total = formats.millis(now.total.totals["latency_p50"])
    return _whole(
        chart, entries, now, asked, measure="latency", split=None, own=own, about=about, total=total, change=""
    )


def _whole(
    chart: Drawn,
    entries: Sequence[Entry],
    now: Chart,
    asked: Mapping[str, Asked],
    *,
    measure: str,
    split: str | None,
    own: str,
    about: str,
    total: str,
    change: str,
    opens: Mapping[str, str] | None = None,
) -> PanelDrawn:
    step = timedelta(seconds=now.step_seconds)
    note = ""
    if now.read_since is not None:
        note = (
            f"Counted from the newest calls, since {now.read_since:%Y-%m-%d %H:%M} UTC: choose a shorter time for all."
        )
    return PanelDrawn(
        chart=chart,
        measure=measure,
        split=split,
        own=own,
        about=about,
        total=total,
        change=change,
        entries=entries,
        # No filter selects the calls that have any code.
        calls=None if split == "error_code" and measure not in _MEANT else calls_of(asked, opens),
        page="/calls" if opens is None else "/scores/one",
        spans=[(moment(max(at, now.since)), moment(min(at + step, now.until))) for at in now.times],
        since=moment(now.since),
        until=moment(now.until),
        note=note,
    )


def calls_of(asked: Mapping[str, Asked], where: Mapping[str, str] | None = None) -> str:
    """The query of the list of calls that pass the filter and are of a group."""
    merged = joined(asked, where or {})
    return urlencode({_FIELDS.get(name, name): value for name, value in merged.items()}, doseq=True)


def moment(at: datetime) -> str:
    """As the list of calls and its field take it: UTC, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def change(now: ChartGroup, before: ChartGroup | None, measure: str) -> str:
    """By how much a total differs from the one before: `+12%`, `×3.4`, `new`."""  # noqa: RUF002
    value = now.totals[measure]
    old = None if before is None else before.totals[measure]
    if value is None or value == old:
        return "" if value is None else "±0%"
    if not old:
        return "new"
    share = value / old - 1
    if share >= 2:
        return f"×{value / old:.3g}"  # noqa: RUF001
    percent = share * 100
    text = f"{percent:+.1f}%" if abs(percent) < 9.95 else f"{percent:+.0f}%"
    return "±0%" if text in ("+0.0%", "-0.0%") else text.replace("-", "\N{MINUS SIGN}")


def _money(amount: float | None) -> str:
    return formats.NOTHING if amount is None else formats.dollars(f"{amount:.9f}")
