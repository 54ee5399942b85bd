"""Which objectives are being missed now, as alerts to raise: burn rates, bursts, and the words for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from loopwright.kit.db import Database
from loopwright.kit.settings_alerts import ObjectiveSettings
from loopwright.monitoring.alerts import SEVERITIES, Raised, Severity
from loopwright.monitoring.alerts_counts import Counts, Group
from loopwright.monitoring.objectives import WINDOWS, Burning, Burst, Tally, burning, burst
from loopwright.monitoring.objectives_bursts import failing, latest
from loopwright.monitoring.objectives_ledger import Ledger, where_of

_SIX_HOURS: Final = 21_600
_MOST: Final = 200
"""Groups of all objectives that are looked at for bursts at once."""


class Missed:
    """Looks whether objectives are missed; burn rates are computed anew when the ledger was read anew."""

    def __init__(self, db: Database, counts: Counts, ledger: Ledger) -> None:
        self._db = db
        self._counts = counts
        self._ledger = ledger
        self._version = -1
        self._burnt: dict[tuple[str, Group], list[Burning]] = {}

    async def __call__(self, now: datetime, hold_s: float) -> list[Raised]:
        """The alerts of all objectives.

        Raises:
            Unavailable: the database cannot answer now.
        """
        ledger = self._ledger
        bursts = await _bursts(self._db, self._counts, ledger, now)
        if self._version != ledger.version:
            self._version = ledger.version
            self._burnt = {}
            for name, objective in ledger.objectives.items():
                for group in ledger.groups(name):
                    burnt = _burnt(ledger, name, objective, group, now)
                    if any(each.fires for each in burnt):
                        self._burnt[name, group] = burnt
        firing = {which for which, each in bursts.items() if each.fires} | self._burnt.keys()
        found = []
        for name, group in firing:
            objective, sudden = ledger.objectives[name], bursts.get((name, group))
            burnt = self._burnt.get((name, group)) or _burnt(ledger, name, objective, group, now)
            since = _since(ledger, name, group, burnt, sudden, now)
            found.append(_raised(name, objective, group, burnt, sudden, since, hold_s))
        return found


def _burnt(ledger: Ledger, name: str, objective: ObjectiveSettings, group: Group, now: datetime) -> list[Burning]:
    if not ledger.tally(name, group, WINDOWS[-1].long_s, now).bad:
        return []
    return [
        burning(
            objective,
            window,
            ledger.tally(name, group, window.long_s, now),
            ledger.tally(name, group, window.short_s, now),
        )
        for window in WINDOWS
    ]


async def _bursts(db: Database, counts: Counts, ledger: Ledger, now: datetime) -> dict[tuple[str, Group], Burst]:
    errors = {name: each for name, each in ledger.objectives.items() if each.kind == "errors"}
    failed = await failing(db, now) if errors else {}
    if not failed:
        return {}
    await counts.learn(failed)
    found: dict[tuple[str, Group], Burst] = {}
    for name, objective in errors.items():
        where = where_of(objective)
        by_group: dict[Group, int] = {}
        for series_id, bad in failed.items():
            group = counts.group_of(series_id, where)
            if group is not None:
                by_group[group] = by_group.get(group, 0) + bad
        for group, bad in sorted(by_group.items(), key=lambda each: -each[1])[:_MOST]:
            if bad >= objective.minimum:
                calls = await latest(db, counts.series_of(group, where), now)
                usual = _usual(ledger, name, group, now)
                found[name, group] = burst(calls, usual=usual, goal=objective.goal, minimum=objective.minimum)
    return found


def _usual(ledger: Ledger, name: str, group: Group, now: datetime) -> float:
    """The share of bad calls of six hours but for the last ten minutes."""
    whole, late = (ledger.tally(name, group, seconds, now) for seconds in (_SIX_HOURS, 600))
    return Tally(total=max(whole.total - late.total, 0), bad=max(whole.bad - late.bad, 0)).share


def _since(
    ledger: Ledger, name: str, group: Group, burnt: list[Burning], sudden: Burst | None, now: datetime
) -> datetime | None:
    begins = [] if sudden is None or not sudden.fires or sudden.since is None else [sudden.since]
    firing = [each.window for each in burnt if each.fires]
    if not begins and firing:
        # What has burnt for days did not begin with the first bad call of three days: the shortest window tells.
        first = ledger.first_bad(name, group, min(firing[0].long_s, _SIX_HOURS), now)
        begins += [] if first is None else [datetime.fromtimestamp(first, UTC)]
    return min(begins, default=None)


def _raised(
    name: str,
    objective: ObjectiveSettings,
    group: Group,
    burnt: list[Burning],
    sudden: Burst | None,
    since: datetime | None,
    hold_s: float,
) -> Raised:
    labels = labels_of(objective, group)
    firing = [each for each in burnt if each.fires]
    severities: list[Severity] = [each.window.severity for each in firing]
    lines = [said(name, objective)]
    if sudden is not None and sudden.fires and sudden.since is not None:
        severities.append("critical")
        when = f"{sudden.since.astimezone(UTC):%H:%M:%S} UTC"
        title = f"{begun(scope_text(labels))}: {sudden.bad} of {sudden.calls} calls since {when} {bad_text(objective)}"
        lines.append(
            f"{sudden.bad} of the {sudden.calls} calls since {when} {bad_text(objective)}: a run that chance would "
            "bring once in a million calls."
        )
    else:
        worst = firing[0]
        title = (
            f"{begun(scope_text(labels))}: {worst.long.bad} of {worst.long.total} calls of {_FOR[worst.window.name]} "
            f"{bad_text(objective)}"
        )
    lines += [_burnt_text(objective, each) for each in firing]
    return Raised(
        project_id=group[0],
        source="objective",
        key="/".join((name, *(f"{label}={value}" for label, value in labels.items()))),
        severity=max(severities, key=SEVERITIES.index),
        title=title,
        text="\n".join(lines),
        link=f"/slos?objective={name}",
        rule=name,
        kind=objective.kind,
        labels=labels,
        calls=calls_of(objective, labels, since),
        evidence=_evidence(objective, burnt, sudden),
        since=since,
        hold_s=hold_s,
    )


def labels_of(objective: ObjectiveSettings, group: Group) -> dict[str, str]:
    """What the calls of a group have in common."""
    fixed = {"model": objective.model, "task": objective.task}
    labels = {name: value for name, value in fixed.items() if value is not None}
    return labels | {name: value for name, value in zip(objective.by, group[1], strict=True) if value}


def calls_of(objective: ObjectiveSettings, labels: Mapping[str, str], since: datetime | None) -> dict[str, str]:
    """The bad calls, as `/calls` takes a filter."""
    found = dict(labels)
    if since is not None:
        found["since"] = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if objective.kind == "errors":
        found["outcome"] = "failed"
    elif objective.kind == "latency" and objective.under is not None:
        found["min_latency_ms"] = f"{objective.under * 1000:g}"
    return found


def scope_text(labels: Mapping[str, str]) -> str:
    """`model gpt-4o, task triage`."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in labels.items()) or "all calls"


def begun(text: str) -> str:
    """With a capital, as sentences begin."""
    return text[:1].upper() + text[1:]


def said(name: str, objective: ObjectiveSettings) -> str:
    """An objective in words."""
    what = f"{_TO_BE_BAD[objective.kind]}{_limit(objective)}"
    return f"Objective {name}: at most {100 * (1 - objective.goal):.3g} % of the calls may {what}, over {objective.days} days."


def bad_text(objective: ObjectiveSettings) -> str:
    """What its bad calls did, in words."""
    return f"{_BAD[objective.kind]}{_limit(objective)}"


def _limit(objective: ObjectiveSettings) -> str:
    if objective.under is not None:
        return f" {objective.under:g} s"
    if objective.usd is not None:
        return f" ${objective.usd:g} on average"
    if objective.kind == "quality":
        low = "" if objective.at_least is None else f" (under {objective.at_least:g})"
        return f" in {objective.score}{low}"
    return ""


def _burnt_text(objective: ObjectiveSettings, each: Burning) -> str:
    return (
        f"In {_FOR[each.window.name]} {each.long.bad} of {each.long.total} calls {bad_text(objective)}: "
        f"{each.long_rate:.3g} times what the objective allows (told from {each.bound:.3g} times), and "
        f"{each.short.bad} of {each.short.total} in {_SHORT[each.window.name]}."
    )


def _evidence(objective: ObjectiveSettings, burnt: list[Burning], sudden: Burst | None) -> dict[str, Any]:
    asked = {"goal": objective.goal, "under_s": objective.under, "usd": objective.usd, "score": objective.score}
    asked["at_least"] = objective.at_least
    found: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if sudden is not None and sudden.since is not None:
        found["burst"] = {"bad": sudden.bad, "calls": sudden.calls, "evidence": round(sudden.evidence, 2)}
    found["windows"] = [
        {
            "window_s": each.window.long_s,
            "bad": each.long.bad,
            "calls": each.long.total,
            "burn_rate": round(each.long_rate, 3),
            "short_window_s": each.window.short_s,
            "short_bad": each.short.bad,
            "short_calls": each.short.total,
            "short_burn_rate": round(each.short_rate, 3),
            "from": round(each.bound, 3),
            "fires": each.fires,
        }
        for each in burnt
    ]
    return found


_FOR: Final = {
    "burst": "now",
    "hour": "the last hour",
    "six hours": "the last 6 hours",
    "three days": "the last 3 days",
}
_SHORT: Final = {"hour": "the last 5 minutes", "six hours": "the last 30 minutes", "three days": "the last 6 hours"}
_BAD: Final[Mapping[str, str]] = {
    "errors": "failed",
    "latency": "took longer than",
    "ttft": "began to answer later than after",
    "tpot": "took longer for a token than",
    "cost": "cost more than",
    "quality": "scored low",
}
_TO_BE_BAD: Final[Mapping[str, str]] = {
    "errors": "fail",
    "latency": "take longer than",
    "ttft": "begin to answer later than after",
    "tpot": "take longer for a token than",
    "cost": "cost more than",
    "quality": "score low",
}
