"""What calls cost, by any dimension: money, what was saved and wasted, energy and CO2, and where the month is going."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.calls.query import CallFilter, Calls, Counts, Group
from loopwright.core.money import usd
from loopwright.kit.db import Database
from loopwright.kit.settings import Settings
from loopwright.monitoring.energy import Energy, factor, grid, maker_of
from loopwright.monitoring.energy_meter import metered

_MOST_TARGETS: Final = 24
"""Models elsewhere whose energy is told; those with the most tokens of answer."""
_PROMPT: Final = 0.1
"""What a token of a prompt counts of one of the answer, in sharing what an engine took: prompts are read many at once."""
_WATTS_LOW: Final = 0.5
_WATTS_HIGH: Final = 2.0
"""Where no meter tells: a busy thread of a server takes from half to twice the figure that is set."""
_PACE: Final = timedelta(days=7)
ELSEWHERE: Final = "EcoLogits"
"""Name of the method for models elsewhere."""
METHODS: Final[Mapping[str, str]] = {
    "rapl": "the processor's own meter (RAPL), an engine's part by processor time, and watts for memory",
    "watts": "watts for each busy processor thread and gigabyte of memory, as CodeCarbon; from half to twice of it",
    ELSEWHERE: "EcoLogits' model of servers and data centres by size of the model and tokens of the answer",
}
"""How energy was told, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One value of the dimension."""

    name: str | int | None
    counts: Counts
    energy: Energy | None
    """None where no method tells of any of its calls."""
    told: int = 0
    """Calls whose energy is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The calendar month (UTC) of now."""

    starts: datetime
    ends: datetime
    cost_nano: int
    """So far."""
    expected_nano: int | None
    """At its end, at the pace of the last seven days; None when there was no day of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expenses:
    """What some calls cost."""

    since: datetime
    until: datetime
    by: str
    counts: Counts
    energy: Energy | None
    told: int
    methods: Mapping[str, int]
    """Calls by how their energy was told."""
    lines: tuple[Line, ...]
    """The dearest first."""
    month: Month
    """Of all calls that may be seen."""

    def shown(self) -> dict[str, Any]:
        """For programs."""
        return {
            "since": self.since,
            "until": self.until,
            "by": self.by,
            **_money(self.counts),
            "energy": energy_shown(self.energy, self.told, self.counts.requests),
            "methods": [{"name": name, "calls": calls, "about": METHODS[name]} for name, calls in self.methods.items()],
            "month": {
                "starts": self.month.starts,
                "ends": self.month.ends,
                "cost_usd": usd(self.month.cost_nano),
                "expected_usd": None if self.month.expected_nano is None else usd(self.month.expected_nano),
            },
            "groups": [
                {
                    "name": line.name,
                    **_money(line.counts),
                    "energy": energy_shown(line.energy, line.told, line.counts.requests),
                }
                for line in self.lines
            ],
        }


def energy_shown(energy: Energy | None, told: int, requests: int) -> dict[str, Any] | None:
    """Energy for programs, with the share of calls it tells of; None where nothing is known."""
    return None if energy is None else {**energy.shown(), "of_calls": told / requests if requests else None}


def _money(counts: Counts) -> dict[str, Any]:
    return {
        "requests": counts.requests,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "cached_tokens": counts.cached_tokens,
        "cost_usd": usd(counts.cost_nano) if counts.cost_nano or not counts.unpriced else None,
        "unpriced": counts.unpriced,
        "saved": {
            "cache_hits": counts.cache_hits, "cache_usd": usd(counts.cache_nano), "cascade_usd": usd(counts.cascade_nano),
        },
        "wasted_usd": usd(counts.wasted_nano),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Source:
    """Who answered, and what its answers took."""

    provider: str
    target: str
    whole: Group
    energy: Energy
    method: str

    def of(self, counts: Counts) -> Energy:
        """The part of some of its calls, by tokens."""
        weight = _weight(self.whole.counts)
        share = _weight(counts) / weight if weight else counts.requests / max(self.whole.counts.requests, 1)
        return self.energy.times(share)


@dataclass(slots=True)
class _Sum:
    energy: Energy = field(default_factory=Energy)
    told: int = 0

    def add(self, energy: Energy, calls: int) -> None:
        self.energy += energy
        self.told += calls


class Accounts:
    """Tells what calls cost. Every method raises Unavailable while the database cannot answer."""

    def __init__(self, db: Database, calls: Calls, settings: Settings) -> None:
        self._db = db
        self._calls = calls
        self._settings = settings

    async def of(self, asked: CallFilter, dimension: str, *, now: datetime | None = None) -> Expenses:
        """What the calls of a time cost; without `since` of the last day.

        Raises:
            BadRequest: there is no such dimension.
        """
        now = now or datetime.now(UTC)
        asked = replace(asked, since=asked.since or (asked.until or now) - timedelta(days=1), until=asked.until or now)
        groups, summary, sources, month = await asyncio.gather(
            self._calls.by(dimension, asked),
            self._calls.summary(asked),
            self._sources(asked),
            self._month(asked.project_id, now),
        )
        total, methods = _Sum(), dict[str, int]()
        sums: dict[str | int | None, _Sum] = {}
        for source in sources:
            requests = source.whole.counts.requests
            total.add(source.energy, requests)
            methods[source.method] = methods.get(source.method, 0) + requests
            of_it = replace(asked, provider=source.provider, target=source.target)
            for group in await self._calls.by(dimension, of_it):
                sums.setdefault(group.name, _Sum()).add(source.of(group.counts), group.counts.requests)
        lines = [_line(group, sums.get(group.name)) for group in groups]
        return Expenses(
            since=summary.since,
            until=summary.until,
            by=dimension,
            counts=summary.counts,
            energy=total.energy if sources else None,
            told=total.told,
            methods=methods,
            lines=tuple(
                sorted(lines, key=lambda line: (-line.counts.cost_nano, -line.counts.requests, str(line.name)))
            ),
            month=month,
        )

    async def _sources(self, asked: CallFilter) -> list[_Source]:
        """Who answered, where it is known what that takes."""
        own = {
            (model.engine.kind, model.model or name): name
            for name, model in self._settings.models.items()
            if model.engine is not None
        }
        found: list[_Source] = []
        joules: dict[str, dict[str, float]] | None = None
        for provider in await self._calls.by("provider", asked):
            name = str(provider.name or "")
            if not name:
                continue
            for target in await self._calls.by("target", replace(asked, provider=name)):
                model = own.get((name, str(target.name)))
                if model is not None:
                    if joules is None:
                        assert asked.since is not None
                        assert asked.until is not None
                        joules = await metered(self._db, asked.since, asked.until)
                    source = await self._hosted(asked, name, target, joules.get(model, {}))
                else:
                    source = await self._elsewhere(name, target)
                if source is not None:
                    found.append(source)
        found.sort(key=lambda each: -each.whole.counts.output_tokens)
        return found[:_MOST_TARGETS]

    async def _hosted(
        self, asked: CallFilter, provider: str, group: Group, joules: Mapping[str, float]
    ) -> _Source | None:
        """Its share, by tokens, of what an engine of ours took for everybody in these hours."""
        zone = await asyncio.to_thread(grid, self._settings.monitoring.energy.zone)
        if not joules or zone is None:
            return None
        target = str(group.name)
        everybody = CallFilter(since=asked.since, until=asked.until, provider=provider, target=target)
        whole = _weight((await self._calls.summary(everybody)).counts)
        share = min(_weight(group.counts) / whole, 1.0) if whole else 0.0
        guessed, measured = joules.get("watts", 0.0), joules.get("rapl", 0.0)
        low, high = ((measured + guessed * far) / 3600 * share for far in (_WATTS_LOW, _WATTS_HIGH))
        energy = Energy(wh_low=low, wh_high=high, g_low=low * zone / 1000, g_high=high * zone / 1000)
        return _Source(provider, target, group, energy, "watts" if guessed > measured else "rapl")

    async def _elsewhere(self, provider: str, group: Group) -> _Source | None:
        made = maker_of(provider, str(group.name), self._settings.providers)
        known = None if made is None else await asyncio.to_thread(factor, *made)
        if known is None:
            return None
        answered = group.counts.requests - group.counts.refused
        energy = known.of(answered, group.counts.output_tokens)
        return _Source(provider, str(group.name), group, energy, ELSEWHERE)

    async def _month(self, project_id: int | None, now: datetime) -> Month:
        starts = datetime(now.year, now.month, 1, tzinfo=UTC)
        ends = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        so_far, lately = await asyncio.gather(
            self._calls.summary(CallFilter(project_id=project_id, since=starts, until=now)),
            self._calls.summary(CallFilter(project_id=project_id, since=today - _PACE, until=today)),
        )
        spent, pace = so_far.counts, lately.counts
        expected = None
        if pace.requests:
            expected = spent.cost_nano + round(pace.cost_nano * ((ends - now) / _PACE))
        return Month(starts=starts, ends=ends, cost_nano=spent.cost_nano, expected_nano=expected)


def _line(group: Group, energy: _Sum | None) -> Line:
    return Line(
        name=group.name,
        counts=group.counts,
        energy=None if energy is None else energy.energy,
        told=0 if energy is None else energy.told,
    )


def _weight(counts: Counts) -> float:
    return counts.output_tokens + _PROMPT * max(counts.input_tokens - counts.cached_tokens, 0)
