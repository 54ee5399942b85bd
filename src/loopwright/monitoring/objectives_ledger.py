"""The calls of the last three days as objectives count them: kept in memory, brought up to date by a small reading.

Only the last minutes are read at each look, the last quarter of an hour once a minute (a call that took long counts
where it began), all of it every ten minutes. Where there are very many series readings are rarer, so that they take half
a percent of a core at most; bursts are found by other means and do not wait for them.
"""

from __future__ import annotations

import asyncio
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
_PIECE: Final = 12 * _HOUR
_THREE_DAYS: Final = 72 * _HOUR
_RECENT: Final = 60
_QUARTER: Final = 900
_LATE: Final = 60.0
_WHOLE: Final = 600.0
_SHARE: Final = 0.0025
"""Of a core, that small readings may take, and large ones again."""
_RAREST: Final = 60.0
_NONE: Final[Mapping[int, Tally]] = {}
_Steps = dict[str, dict[Group, dict[int, Tally]]]
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
        self._fine: _Steps = {name: {} for name in objectives}
        """By five minutes, of the last hour and what is left of the one before."""
        self._hours: _Steps = {name: {} for name in objectives}
        """By hours, of the three days before."""
        self._edge = 0
        """Where the one ends and the other begins, as Unix seconds."""
        self._late_at = self._whole_at = self._read_at = float("-inf")
        self._pause = self._whole_pause = 0.0
        self.version = 0
        """Rises with each reading."""

    async def refresh(self, now: datetime) -> None:
        """Read what may have changed, unless that was done a moment ago.

        Raises:
            Unavailable: the database cannot answer now.
        """
        second, began = now.timestamp(), time.perf_counter()
        if second - self._whole_at >= max(_WHOLE, self._whole_pause):
            await self._read_whole(int(second))
            self._whole_at = self._late_at = second
            self._whole_pause = (time.perf_counter() - began) / _SHARE
        elif second - self._read_at >= self._pause:
            late = second - self._late_at >= _LATE
            await self._read_fine(int(second) - (_QUARTER if late else _RECENT))
            self._late_at = second if late else self._late_at
            self._pause = min((time.perf_counter() - began) / _SHARE, _RAREST)
        else:
            return
        self._read_at = second
        self.version += 1

    def groups(self, name: str) -> set[Group]:
        """The groups of an objective that had calls in the last three days."""
        return {*self._fine[name], *self._hours[name]}

    def tally(self, name: str, group: Group, seconds: int, now: datetime) -> Tally:
        """The calls of the last so many seconds, to the step: five minutes within the last hour, else an hour."""
        since = int(now.timestamp()) - seconds
        fine, hour = since // FINE * FINE, since // _HOUR * _HOUR
        total = bad = 0
        for at, each in self._fine[name].get(group, _NONE).items():
            if at >= fine:
                total += each.total
                bad += each.bad
        if hour < self._edge:
            for at, each in self._hours[name].get(group, _NONE).items():
                if at >= hour:
                    total += each.total
                    bad += each.bad
        return Tally(total=total, bad=bad)

    def rows(self, seconds: float, now: datetime) -> Iterator[Row]:
        """The rows of the last so many seconds, to the step, as far as they are kept."""
        since = (int(now.timestamp()) - seconds) // FINE * FINE
        return (row for at, rows in self._rows.items() if at >= since for row in rows)

    def first_bad(self, name: str, group: Group, seconds: int, now: datetime) -> int | None:
        """When the first step with bad calls of the last so many seconds began, as Unix seconds."""
        since = int(now.timestamp()) - seconds
        steps = {**self._hours[name].get(group, _NONE), **self._fine[name].get(group, _NONE)}
        return min((at for at, each in steps.items() if at >= since // FINE * FINE and each.bad), default=None)

    async def _read_whole(self, second: int) -> None:
        await self._counts.learn_projects()
        edge = int(second - max(_HOUR, self._keep_s)) // _HOUR * _HOUR
        # Of hours that were read before only the last two may still grow.
        since = self._edge - 2 * _HOUR if self._edge else (second - _THREE_DAYS) // _HOUR * _HOUR
        for begin in range(since, edge, _PIECE):
            end = min(begin + _PIECE, edge)
            _replace(self._hours, await self._tallies("1h", begin, end), begin, end)
            await asyncio.sleep(0)  # The drain works in this loop.
        _forget(self._hours, second - _THREE_DAYS - _HOUR)
        self._edge = edge
        await self._read_fine(edge)
        _forget(self._fine, edge)

    async def _read_fine(self, since: int) -> None:
        since = since // FINE * FINE
        _replace(self._fine, await self._tallies("5m", since, None), since, None)

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


def _replace(held: _Steps, found: Iterable[tuple[str, Group, int, Tally]], since: int, until: int | None) -> None:
    """Put what was read of a time in place of what was held of it."""
    for groups in held.values():
        for steps in groups.values():
            for at in [each for each in steps if each >= since and (until is None or each < until)]:
                del steps[at]
    for name, group, at, tally in found:
        steps = held[name].setdefault(group, {})
        steps[at] = steps[at] + tally if at in steps else tally


def _forget(held: _Steps, before: int) -> None:
    for groups in held.values():
        for group in [*groups]:
            groups[group] = {at: each for at, each in groups[group].items() if at >= before}
            if not groups[group]:
                del groups[group]


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
