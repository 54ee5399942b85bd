"""Which notices are due, put into the outbox in the transaction that notes that they were. Sends nothing.

A notice is of one channel, project, source and rule: what fires at once for the same reason is told at once. Somebody is
told when an alert is raised, when it gets worse, again while it holds and nobody has acknowledged it, and when it is
over; of what is silenced, when the silence ends and it still holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from loopwright.kit.db import Connection
from loopwright.kit.settings_alerts import ChannelSettings
from loopwright.monitoring.alerts import SEVERITIES
from loopwright.monitoring.alerts_silences import Silence, holding, matches

Event = Literal["firing", "reminder", "resolved", "test"]
_MOST: Final = 2_000
"""Alerts that one look takes; more wait for the next."""
_DUE: Final = """
    select a.id, a.project_id, p.name as project, a.source, a.rule, a.kind, a.severity, a.labels, a.resolved_at,
        a.notified_at, a.notified_severity
    from alerts a left join projects p on p.id = a.project_id
    where a.resolved_at is null and (a.notified_at is null
              or a.acknowledged_at is null and (a.notified_severity <> a.severity
                                                or a.notified_at < now() - make_interval(secs => %(repeat)s)))
       or a.resolved_at is not null and not a.resolved_notified
    order by a.id limit %(most)s
"""
_RESOLVE: Final = """
    update alerts set resolved_at = now(), resolution = 'quiet'
    where resolved_at is null and hold_s is not null and seen_at < now() - make_interval(secs => hold_s)
"""
_QUIET: Final = "update alerts set resolved_notified = true where id = any(%s)"
_TOLD: Final = """
    update alerts set notified_at = now(), notified_severity = severity, resolved_notified = resolved_at is not null
    where id = any(%s)
"""
_PUT: Final = "insert into alert_deliveries (channel, event, project_id, alerts) values (%s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class _Notice:
    channel: str
    event: Event
    project_id: int | None
    source: str
    rule: str


async def resolve_quiet(connection: Connection) -> None:
    """Resolve what has not been seen for as long as it holds by itself."""
    await connection.execute(_RESOLVE.encode())


async def notify(connection: Connection, channels: Mapping[str, ChannelSettings], repeat_s: float) -> int:
    """Put what is due into the outbox; how many notices."""
    if not channels:
        return 0
    cursor = await connection.execute(_DUE.encode(), {"repeat": repeat_s, "most": _MOST})
    rows = await cursor.fetchall()
    if not rows:
        return 0
    silences = await holding(connection)
    notices: defaultdict[_Notice, list[int]] = defaultdict(list)
    told: list[int] = []
    quiet: list[int] = []
    for row in rows:
        heard = _heard(row, channels, silences)
        if heard is None:
            # Of the end of what nobody was told of, or is to be told of, nobody hears either.
            quiet += [row["id"]] if row["resolved_at"] is not None else []
            continue
        told.append(row["id"])
        for name, event in heard:
            notices[_Notice(name, event, row["project_id"], row["source"], row["rule"])].append(row["id"])
    for notice, ids in notices.items():
        await connection.execute(_PUT.encode(), (notice.channel, notice.event, notice.project_id, ids))
    await connection.execute(_QUIET.encode(), (quiet,))
    await connection.execute(_TOLD.encode(), (told,))
    return len(notices)


def _heard(
    row: Mapping[str, Any], channels: Mapping[str, ChannelSettings], silences: Sequence[Silence]
) -> list[tuple[str, Event]] | None:
    """(channel, what of it) for who is told of an alert; None when it stays untold."""
    over, before = row["resolved_at"] is not None, row["notified_at"] is not None
    labels = labels_of(row)
    if (over and not before) or any(each.covers(row["project_id"], labels) for each in silences):
        return None
    worse = before and SEVERITIES.index(row["severity"]) > SEVERITIES.index(row["notified_severity"])
    event: Event = "resolved" if over else "firing" if worse or not before else "reminder"
    heard = [
        (name, event) for name, channel in channels.items() if hears(channel, labels) and (channel.resolved or not over)
    ]
    # An alert that no channel hears stays as it is: one that is configured tomorrow hears of what still fires.
    return heard or None


def labels_of(alert: Mapping[str, Any]) -> dict[str, str]:
    """What silences and channels match of a row of `alerts` that has its `project`'s name."""
    own = {name: str(alert[name]) for name in ("source", "rule", "kind", "severity")}
    return dict(alert["labels"]) | own | ({} if alert["project"] is None else {"project": alert["project"]})


def hears(channel: ChannelSettings, labels: Mapping[str, str]) -> bool:
    """Whether a channel is for alerts with these labels."""
    severe = SEVERITIES.index(channel.severity) <= [*SEVERITIES].index(labels["severity"])  # type: ignore[arg-type]
    return severe and matches(channel.match, labels)
