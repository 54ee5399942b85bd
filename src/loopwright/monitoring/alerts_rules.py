"""Bounds that were configured, held against the calls of the last minutes or hours; no data is a bound, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from loopwright.calls.histogram import quantiles
from loopwright.kit.settings_alerts import RuleSettings
from loopwright.monitoring.alerts import Raised
from loopwright.monitoring.alerts_counts import Counts, Group, Row, Where
from loopwright.monitoring.objectives_ledger import Ledger
from loopwright.monitoring.objectives_watch import begun, scope_text

_SIX_HOURS: Final = 21_600
_MOST: Final = 200
"""Groups of a rule that are told of at once."""


def histograms_of(rules: Mapping[str, RuleSettings]) -> frozenset[str]:
    """The histograms that `rules` need."""
    return frozenset(part for each in rules.values() if (part := each.measure.partition("_p")[0]) in _TIMED)


def kept_of(rules: Mapping[str, RuleSettings]) -> float:
    """Seconds of rows that `rules` need; what is absent must be known to have been there."""
    longest = max((each.over for each in rules.values()), default=0.0)
    return float(_SIX_HOURS) if any(each.below is not None for each in rules.values()) else longest


def broken(
    rules: Mapping[str, RuleSettings], counts: Counts, ledger: Ledger, now: datetime, hold_s: float
) -> list[Raised]:
    """The alerts of all rules."""
    found = []
    for name, rule in rules.items():
        where = Where(project=rule.project, model=rule.model, task=rule.task, by=rule.by)
        groups: dict[Group, list[Row]] = {}
        if rule.below is not None:
            groups = {group: [] for group in _expected(rule, where, counts, ledger, now)}
        for row in ledger.rows(rule.over, now):
            group = counts.group(row.series, where)
            if group is not None:
                groups.setdefault(group, []).append(row)
        broken_here = []
        for group, rows in groups.items():
            value = measured(rule.measure, rows)
            if value is not None and _is_broken(rule, value, rows):
                broken_here.append(_raised(name, rule, group, value, rows, now, hold_s))
        found += broken_here[:_MOST]
    return found


def measured(measure: str, rows: Sequence[Row]) -> float | None:
    """A measure of some rows; None when it is not known. Percentiles in seconds, money in US dollars."""
    what, _, percent = measure.partition("_p")
    if what in _TIMED and percent:
        micros = quantiles(b"".join(getattr(row, what) for row in rows), [int(percent) / 100])[0]
        return None if micros is None else micros / 1e6
    of_one, of_all = _PARTS[measure]
    above = sum(of_one(row) for row in rows)
    if of_all is None:
        return float(above)
    all_of_them = sum(of_all(row) for row in rows)
    return above / all_of_them if all_of_them else None


def _expected(rule: RuleSettings, where: Where, counts: Counts, ledger: Ledger, now: datetime) -> set[Group]:
    """Groups of which something is to be heard: those of the last six hours, and one that is named."""
    found = {group for row in ledger.rows(_SIX_HOURS, now) if (group := counts.group(row.series, where)) is not None}
    if not rule.by and rule.project is not None:
        found |= {(project_id, ()) for project_id, name in counts.projects.items() if name == rule.project}
    return found


def _is_broken(rule: RuleSettings, value: float, rows: Sequence[Row]) -> bool:
    if rule.above is not None:
        return value > rule.above and sum(row.requests for row in rows) >= rule.minimum
    return rule.below is not None and value < rule.below


def _raised(
    name: str, rule: RuleSettings, group: Group, value: float, rows: Sequence[Row], now: datetime, hold_s: float
) -> Raised:
    fixed = {"model": rule.model, "task": rule.task}
    labels = {label: each for label, each in fixed.items() if each is not None}
    labels |= {label: each for label, each in zip(rule.by, group[1], strict=True) if each}
    over = timedelta(seconds=rule.over)
    since = now - over
    bound, side = (rule.above, "more") if rule.above is not None else (rule.below, "less")
    span = f"{over.total_seconds() / 60:g} minutes"
    requests = sum(row.requests for row in rows)
    calls = {**labels, "since": since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    if rule.measure in ("errors", "error_rate"):
        calls["outcome"] = "failed"
    measure = rule.measure.replace("_", " ").replace("usd", "cost in $")
    return Raised(
        project_id=group[0],
        source="rule",
        key="/".join((name, *(f"{label}={each}" for label, each in labels.items()))),
        severity=rule.severity,
        title=f"{begun(scope_text(labels))}: {measure} {value:.4g} in {span}, {side} than {bound:g}",
        text=f"Rule {name}: {measure} over {span} is to be not {side} than {bound:g}. "
        f"It is {value:.4g}, of {requests} requests.",
        link="/alerts",
        rule=name,
        kind=rule.measure,
        labels=labels,
        calls=calls,
        evidence={"value": round(value, 6), "bound": bound, "requests": requests, "over_s": rule.over},
        since=since if rule.above is not None else None,
        hold_s=hold_s,
    )


_TIMED: Final = ("latency", "ttft", "tpot")
_PARTS: Final[Mapping[str, tuple[Callable[[Row], float], Callable[[Row], float] | None]]] = {
    "requests": (lambda row: row.requests, None),
    "errors": (lambda row: row.failed, None),
    "error_rate": (lambda row: row.failed, lambda row: row.answerable),
    "refused": (lambda row: row.refused, None),
    "input_tokens": (lambda row: row.input_tokens, None),
    "output_tokens": (lambda row: row.output_tokens, None),
    "tokens": (lambda row: row.input_tokens + row.output_tokens, None),
    "usd": (lambda row: row.cost_nano / 1e9, None),
    "usd_per_request": (lambda row: row.cost_nano / 1e9, lambda row: row.requests - row.unpriced),
}
"""What is added up of each row, and what that is a share of."""
