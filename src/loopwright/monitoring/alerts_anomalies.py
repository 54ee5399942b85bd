"""Hours that are unlike what they were before: spend, tokens and traffic of each project, from the hourly roll-ups.

An hour that is over is held against both ends of what was expected, the one that runs against the upper end only: what
it has spent already is more than it should be at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.calls.rollup import ALL_KEYS
from loopwright.kit.db import Database
from loopwright.kit.settings_alerts import AnomalySettings
from loopwright.monitoring.alerts import Raised
from loopwright.monitoring.alerts_forecast import Forecast, forecast

_HOUR: Final = 3_600
_WEEKS: Final = 5
_EVERY: Final = 60.0
_MOST: Final = 200
"""Projects that are looked at: those with the most traffic."""
_READ: Final = """
    select extract(epoch from r.bucket)::bigint / 3600 as hour, s.project_id, sum(r.requests)::bigint as traffic,
        sum(r.input_tokens + r.output_tokens)::bigint as tokens, sum(r.cost_nano)::bigint as spend
    from call_rollups_1h r join call_series s on s.id = r.series_id
    where r.key_id = %s and r.bucket >= to_timestamp(%s) group by 1, 2
"""
_Hours = dict[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """An hour of a project that is not as expected."""

    project_id: int
    measure: str
    hour: int
    """Since 1970."""
    value: float
    expected: Forecast
    running: bool
    """Whether it is not over yet."""


class Anomalies:
    """Looks once a minute; what it found holds until it looks again."""

    def __init__(self, db: Database, settings: AnomalySettings) -> None:
        self._db = db
        self._settings = settings
        self._held: dict[int, dict[str, _Hours]] = {}
        self._read_at = float("-inf")
        self._hour = -1
        self._expected: dict[tuple[int, str, int], Forecast | None] = {}
        self._found: list[Anomaly] = []

    async def look(self, now: datetime, hold_s: float) -> list[Raised]:
        """The alerts that hold now.

        Raises:
            Unavailable: the database cannot answer now.
        """
        if not self._settings.enabled:
            return []
        second = now.timestamp()
        if second - self._read_at >= _EVERY:
            hour = int(second) // _HOUR
            await self._read(hour)
            self._found = await asyncio.to_thread(self._look, hour)
            self._read_at, self._hour = second, hour
        return [_raised(each, hold_s) for each in self._found]

    async def _read(self, hour: int) -> None:
        # A call counts in the hour in which it began and may take long to end.
        since = hour - 2 if self._hour >= hour - 1 else hour - _WEEKS * 168
        rows = await self._db.rows(_READ, (ALL_KEYS, since * _HOUR))
        for row in rows:
            held = self._held.setdefault(row["project_id"], {"spend": {}, "tokens": {}, "traffic": {}})
            held["spend"][row["hour"]] = row["spend"] / 1e9
            held["tokens"][row["hour"]] = float(row["tokens"])
            held["traffic"][row["hour"]] = float(row["traffic"])
        if hour != self._hour:
            oldest = hour - _WEEKS * 168
            for held in self._held.values():
                for hours in held.values():
                    for each in [each for each in hours if each < oldest]:
                        del hours[each]
            self._expected = {}

    def _look(self, hour: int) -> list[Anomaly]:
        busiest = sorted(self._held, key=lambda each: -max(self._held[each]["traffic"].values(), default=0.0))[:_MOST]
        found = []
        for project_id in busiest:
            held = self._held[project_id]
            for measure in self._settings.measures:
                for at in (hour - 1, hour):
                    anomaly = self._held_against(project_id, measure, at, held, running=at == hour)
                    if anomaly is not None:
                        found.append(anomaly)
        return found

    def _held_against(
        self, project_id: int, measure: str, hour: int, held: Mapping[str, _Hours], *, running: bool
    ) -> Anomaly | None:
        asked = self._settings
        value, traffic = held[measure].get(hour, 0.0), held["traffic"].get(hour, 0.0)
        expected = self._forecast(project_id, measure, hour, held)
        if expected is None:
            return None
        if value > expected.high and value > expected.middle * asked.factor and traffic >= asked.minimum_requests:
            return Anomaly(
                project_id=project_id, measure=measure, hour=hour, value=value, expected=expected, running=running
            )
        # Only traffic is missed when it is away: it takes the others with it.
        little = value < expected.low and value < expected.middle / asked.factor
        if measure == "traffic" and not running and little and expected.middle >= asked.minimum_requests:
            return Anomaly(
                project_id=project_id, measure=measure, hour=hour, value=value, expected=expected, running=False
            )
        return None

    def _forecast(self, project_id: int, measure: str, hour: int, held: Mapping[str, _Hours]) -> Forecast | None:
        key = (project_id, measure, hour)
        if key not in self._expected:
            self._expected[key] = forecast(held[measure], hour, confidence=self._settings.confidence)
        return self._expected[key]


def _raised(each: Anomaly, hold_s: float) -> Raised:
    begins = datetime.fromtimestamp(each.hour * _HOUR, UTC)
    low, middle, high, value = (
        _amount(each.measure, number)
        for number in (each.expected.low, each.expected.middle, each.expected.high, each.value)
    )
    over = each.value > each.expected.high
    so_far = " so far" if each.running else ""
    calls: dict[str, str] = {"since": _iso(begins), "until": _iso(begins + timedelta(hours=1))}
    basis = {"week": "hours of the week", "day": "hours of the day", "recent": "last hours"}[each.expected.basis]
    evidence: dict[str, Any] = {
        "value": round(each.value, 6),
        "expected": round(each.expected.middle, 6),
        "low": round(each.expected.low, 6),
        "high": round(each.expected.high, 6),
        "basis": each.expected.basis,
        "hours": each.expected.hours,
    }
    return Raised(
        project_id=each.project_id,
        source="anomaly",
        key=f"{each.measure}/{'high' if over else 'low'}",
        severity="warning",
        title=f"{each.measure.capitalize()} of {value}{so_far} in the hour from {begins:%H:%M} UTC, expected {low} to {high}",
        text=f"{each.measure.capitalize()} in the hour from {begins:%Y-%m-%d %H:%M} UTC was {value}{so_far}. Expected was "
        f"{middle}, between {low} and {high}, from {each.expected.hours} {basis} like it.",
        link="/dashboards",
        rule=f"anomaly of {each.measure}",
        kind=each.measure,
        labels={"measure": each.measure},
        calls=calls,
        evidence=evidence,
        since=begins,
        hold_s=hold_s,
    )


def _amount(measure: str, value: float) -> str:
    return (
        f"${value:,.2f}"
        if measure == "spend" and value >= 1
        else f"${value:.3g}"
        if measure == "spend"
        else f"{value:,.0f}"
    )


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
