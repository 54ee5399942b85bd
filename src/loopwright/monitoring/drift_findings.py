"""What becomes of something that moved: an alert in numbers, and what a person says of it. Knows no text of any call."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from loopwright.core.errors import Conflict
from loopwright.monitoring.alerts import Raised, resolve_alert
from loopwright.monitoring.drift_looking import EFFECTS, Look
from loopwright.monitoring.drift_store import Drift, Watch

Act = Literal["accept", "dismiss", "pause", "resume", "delete"]
"""What a person may say of a watch."""
ACTS: Final[tuple[Act, ...]] = get_args(Act)
SOURCE: Final = "drift"


def alert_of(watch: Watch, finding: int, look: Look, since: datetime, until: datetime, fresh: Sequence[str]) -> Raised:
    """What a finding is told as: numbers and names of features, no text of any call."""
    moved = look.moved(watch.alpha)
    lines = [
        f"- {spoken(name)}: {effect_of(name)} {look.features[name]['effect']:+.3f},"
        f" p = {look.features[name]['holm']:.2g} after Holm's correction over {len(look.features)} features"
        for name in moved
    ]
    text = (
        f"{look.calls} calls of {watch.subject} since {since:%Y-%m-%d %H:%M} UTC are not like the"
        f" {watch.reference_size} that say what is normal:\n" + "\n".join(lines) + "\n"
        "See example calls of now and of then on its page; send the new ones to review or to a dataset, or accept them"
        " as the new normal."
    )
    return Raised(
        project_id=watch.project_id,
        source=SOURCE,
        key=f"watch/{watch.id}",
        severity="warning",
        title=f"{watch.subject} drifts: {', '.join(spoken(name) for name in moved[:3])}",
        text=text,
        link=f"/drift/{watch.id}?finding={finding}",
        rule=f"drift of {watch.subject}",
        kind="drift",
        labels={watch.kind: watch.name},
        calls={
            watch.kind: watch.name,
            "since": since.isoformat(timespec="milliseconds"),
            "until": (until + timedelta(milliseconds=1)).isoformat(timespec="milliseconds"),
        },
        call_ids=tuple(dict.fromkeys(fresh))[:50],
        evidence={name: {key: look.features[name][key] for key in ("holm", "effect")} for name in moved},
        since=since,
    )


async def resolve(drift: Drift, watch: Watch) -> None:
    """The finding of a watch is over."""
    await resolve_alert(drift.db, project_id=watch.project_id, source=SOURCE, key=f"watch/{watch.id}")


async def accept(drift: Drift, watch: Watch, by: str) -> int | None:
    """What moved is normal from now on; the id of the finding that this ends, if one was open."""
    found = await drift.findings(project_id=watch.project_id, watch_id=watch.id, state="open", limit=1)
    closed = await drift.close(watch, "accepted", by)
    await drift.accept(watch, since=found[0].number if found else watch.window_number)
    await resolve(drift, watch)
    return closed


async def dismiss(drift: Drift, watch: Watch, by: str) -> int | None:
    """The finding does not matter: what is normal stays, and the next window begins; its id, if one was open."""
    closed = await drift.close(watch, "dismissed", by)
    if closed is not None:
        await drift.next_window(watch, absorb=False)
        await resolve(drift, watch)
    return closed


def spoken(feature: str) -> str:
    """A feature in words: `topics of inputs`."""
    side, _, kind = feature.partition(".")
    return f"score {kind}" if side == "score" else f"{kind} of {side}s"


def effect_of(feature: str) -> str:
    """What the effect of a feature is: `Cliff's delta`."""
    return EFFECTS.get(feature.partition(".")[2], EFFECTS["length"])


async def act(drift: Drift, watch: Watch, what: Act, by: str) -> None:
    """Do what a person says.

    Raises:
        Conflict: there is nothing to do it to.
    """
    if what == "accept":
        await accept(drift, watch, by)
    elif what == "dismiss":
        if await dismiss(drift, watch, by) is None:
            raise Conflict(f"nothing that moved in {watch.subject} is open")
    elif what == "pause":
        await drift.change(watch, state="paused")
    elif what == "resume":
        await drift.change(watch, state="learning" if watch.learnt_at is None else "watching", problem=None)
    else:
        await resolve(drift, watch)
        await drift.remove(watch)
