"""The calls of the last three days as objectives count them: kept in memory, brought up to date by a small reading.

Only the last ten minutes are read at each look, the last hour once a minute (a call that took long counts where it
began), all of it every ten minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import numpy as np

from loopwright.calls.histogram import BUCKET, bins_of
from loopwright.kit.settings_alerts import ObjectiveSettings
from loopwright.monitoring.alerts_counts import Counts, Group, Row, Scored, Step, Where
from loopwright.monitoring.objectives import FINE, Tally

_HOUR: Final = 3_600
_SIX_HOURS: Final = 6 * _HOUR
_THREE_DAYS: Final = 72 * _HOUR
_LATE: Final = 60.0
_WHOLE: Final = 600.0
TIMED: Final = ("latency", "ttft", "tpot")


class Ledger:
    """Counts for some objectives."""

    def __init__(
        self,
        counts: Counts,
        objectives: Mapping[str, ObjectiveSettings],
        *,
        keep_s: float = 0.0,
        histograms: frozenset[str] = frozenset(),
    ) -> None:
        """Also rows themselves are kept, of the last `keep_s` seconds and with `histograms`, for whoever asks `rows`."""
        self._counts = counts
        self.objectives = objectives
        self._keep_s = keep_s
        self._rows: dict[int, list[Row]] = {}
        self._histograms = histograms | {each.kind for each in objectives.values() if each.kind in TIMED}
        self._scores = frozenset(each.score for each in objectives.values() if each.score is not None)
        self._fine: dict[str, dict[Group, dict[int, Tally]]] = {name: {} for name in objectives}
        self._early: dict[str, dict[Group, Tally]] = {name: {} for name in objectives}
        """From three days ago to where `_fine` begins."""
        self._late_at = self._whole_at = float("-inf")

    async def refresh(self, now: datetime) -> None:
        """Read what may have changed.

        Raises:
            Unavailable: the database cannot answer now.
        """
        second = now.timestamp()
        if second - self._whole_at >= _WHOLE:
            await self._read_whole(int(second))
            self._whole_at = self._late_at = second
        elif second - self._late_at >= _LATE:
            await self._read_fine(int(second) - _HOUR)
            self._late_at = second
        else:
            await self._read_fine(int(second) - 2 * FINE)

    def groups(self, name: str) -> list[Group]:
        """The groups of an objective that had calls in the last six hours."""
        return list(self._fine[name])

    def tally(self, name: str, group: Group, seconds: int, now: datetime) -> Tally:
        """The calls of the last so many seconds, to the step (five minutes; beyond six hours an hour)."""
        since = (int(now.timestamp()) - seconds) // FINE * FINE
        total = bad = 0
        for at, each in self._fine[name].get(group, {}).items():
            if at >= since:
                total += each.total
                bad += each.bad
        found = Tally(total=total, bad=bad)
        if seconds > _SIX_HOURS:
            found += self._early[name].get(group, Tally())
        return found

    def rows(self, seconds: float, now: datetime) -> Iterator[Row]:
        """The rows of the last so many seconds, to the step, as far as they are kept."""
        since = (int(now.timestamp()) - seconds) // FINE * FINE
        return (row for at, rows in self._rows.items() if at >= since for row in rows)

    def first_bad(self, name: str, group: Group, seconds: int, now: datetime) -> int | None:
        """When the first step with bad calls of the last so many seconds began, as Unix seconds."""
        since = (int(now.timestamp()) - seconds) // FINE * FINE
        return min(
            (at for at, each in self._fine[name].get(group, {}).items() if at >= since and each.bad), default=None
        )

    async def _read_whole(self, second: int) -> None:
        edge = (second - _SIX_HOURS) // _HOUR * _HOUR
        start = second - _THREE_DAYS
        await self._counts.learn_projects()
        early: dict[str, dict[Group, Tally]] = {name: {} for name in self.objectives}
        for name, group, _, tally in await self._tallies("1h", start, edge):
            early[name][group] = early[name].get(group, Tally()) + tally
        for each in self._fine.values():
            each.clear()
        await self._read_fine(edge)
        self._early = early

    async def _read_fine(self, since: int) -> None:
        since = since // FINE * FINE
        found = await self._tallies("5m", since, None)
        for groups in self._fine.values():
            for steps in groups.values():
                for at in [each for each in steps if each >= since]:
                    del steps[at]
        for name, group, at, tally in found:
            steps = self._fine[name].setdefault(group, {})
            steps[at] = steps.get(at, Tally()) + tally

    async def _tallies(self, step: Step, since: int, until: int | None) -> list[tuple[str, Group, int, Tally]]:
        rows = await self._counts.rows(step, since, until, histograms=self._histograms)
        scored = await self._counts.scores(step, since, until, names=self._scores) if self._scores else []
        if until is None:
            self._hold(rows, since)
        return tallied(self._counts, self.objectives, rows, scored)

    def _hold(self, rows: Iterable[Row], since: int) -> None:
        oldest = time.time() - self._keep_s - 2 * FINE
        self._rows = {at: held for at, held in self._rows.items() if oldest <= at < since}
        if self._keep_s:
            for row in rows:
                if row.at >= oldest:
                    self._rows.setdefault(row.at, []).append(row)


def tallied(
    counts: Counts, objectives: Mapping[str, ObjectiveSettings], rows: Iterable[Row], scored: Iterable[Scored]
) -> list[tuple[str, Group, int, Tally]]:
    """(objective, group, step, calls) of rows; several of the same add up."""
    found = []
    rows, scored = list(rows), list(scored)
    for name, objective in objectives.items():
        where = where_of(objective)
        if objective.kind == "quality":
            found += [
                (name, group, score.at, _of_score(objective, score))
                for score in scored
                if score.name == objective.score and (group := counts.group(score.series, where)) is not None
            ]
            continue
        for row in rows:
            if (group := counts.group(row.series, where)) is not None:
                tally = _of_row(objective, row)
                if tally.total:
                    found.append((name, group, row.at, tally))
    return found


def where_of(objective: ObjectiveSettings) -> Where:
    """Which calls an objective speaks of."""
    return Where(project=objective.project, model=objective.model, task=objective.task, by=objective.by)


def _of_row(objective: ObjectiveSettings, row: Row) -> Tally:
    if objective.kind == "errors":
        return Tally(total=row.answerable, bad=row.failed)
    if objective.kind == "cost":
        priced = row.requests - row.unpriced
        dear = priced > 0 and row.cost_nano / priced > (objective.usd or 0.0) * 1e9
        return Tally(total=priced, bad=priced if dear else 0)
    pairs = np.frombuffer(getattr(row, objective.kind), dtype=BUCKET)
    last_good = bins_of([(objective.under or 0.0) * 1e6])[0]
    return Tally(total=int(pairs["count"].sum()), bad=int(pairs["count"][pairs["bin"] > last_good].sum()))


def _of_score(objective: ObjectiveSettings, score: Scored) -> Tally:
    if objective.at_least is None:
        return Tally(total=score.judged, bad=score.failed)
    low = score.mean is not None and score.mean < objective.at_least
    return Tally(total=score.valued, bad=score.valued if low else 0)
