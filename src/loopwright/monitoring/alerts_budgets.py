"""Budgets that are nearly or wholly spent, from what `access` noted of them: an alert until their window is over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.access.limits import window_of
from loopwright.core.money import usd
from loopwright.kit.db import Database
from loopwright.monitoring.alerts import Raised

_LONGEST: Final = timedelta(days=32)
_NOTED: Final = """
    select distinct on (l.id) l.id, l.project_id, l.key_id, k.name as key_name, l.tag_name, l.tag_value, l.kind,
        l.amount, a.level, a.at, a.used, a.starts
    from limit_alerts a join limits l on l.id = a.limit_id left join keys k on k.id = l.key_id
    where a.at > %s and l.kind in ('usd_per_day', 'usd_per_month')
    order by l.id, a.starts desc, (a.level = 'stop') desc
"""


async def spent(db: Database, now: datetime, hold_s: float) -> list[Raised]:
    """The alerts of budgets whose window is not over.

    Raises:
        Unavailable: the database cannot answer now.
    """
    rows = await db.rows(_NOTED, (now - _LONGEST,))
    return [_raised(row, hold_s) for row in rows if window_of(row["kind"], int(now.timestamp()))[0] == row["starts"]]


def _raised(row: Mapping[str, Any], hold_s: float) -> Raised:
    stop = row["level"] == "stop"
    begins, ends = (datetime.fromtimestamp(each, UTC) for each in window_of(row["kind"], row["starts"]))
    labels: dict[str, str] = {}
    calls = {"since": begins.isoformat().replace("+00:00", "Z")}
    whose = "the project"
    if row["key_id"] is not None:
        labels["key"] = row["key_name"] or str(row["key_id"])
        calls["key"] = str(row["key_id"])
        whose = f"key {labels['key']}"
    elif row["tag_name"] is not None:
        labels["tag"] = calls["tag"] = f"{row['tag_name']}:{row['tag_value']}"
        whose = f"tag {labels['tag']}"
    period = "day" if row["kind"] == "usd_per_day" else "month"
    used, amount = usd(row["used"]), usd(row["amount"])
    percent = 100 * row["used"] / row["amount"] if row["amount"] else 100.0
    word = "is used up: calls are refused" if stop else f"is {percent:.0f} % used"
    return Raised(
        project_id=row["project_id"],
        source="budget",
        key=f"limit/{row['id']}/{row['starts']}",
        severity="critical" if stop else "warning",
        title=f"Budget of {whose}, ${amount} a {period}, {word}",
        text=f"At {row['at']:%Y-%m-%d %H:%M} UTC ${used} of the ${amount} of {whose} for this {period} had been used. "
        f"It begins anew at {ends:%Y-%m-%d %H:%M} UTC.",
        link=f"/budgets/{row['id']}",
        rule=f"limit {row['id']}",
        kind="budget",
        labels=labels,
        calls=calls,
        evidence={"used_usd": float(used), "amount_usd": float(amount), "level": row["level"]},
        since=row["at"],
        hold_s=hold_s,
    )
