"""What becomes of a canary whose answers changed: an alert in numbers, and what a person says of it. Holds no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from loopwright.monitoring.alerts import Raised, resolve_alert
from loopwright.monitoring.canaries_store import Canaries, Canary, Run

Act = Literal["run", "accept", "pause", "resume", "delete"]
"""What a person may say of a canary."""
ACTS: Final[tuple[Act, ...]] = get_args(Act)
SOURCE: Final = "canary"


async def resolve(canaries: Canaries, canary: Canary) -> None:
    """Nothing is wrong with it any more."""
    await resolve_alert(canaries.db, project_id=canary.project_id, source=SOURCE, key=f"canary/{canary.id}")


async def accept(canaries: Canaries, canary: Canary) -> None:
    """What it answers now is normal: a new baseline is asked for at once."""
    await canaries.change(canary, state="learning", next_at=datetime.now(UTC), problem=None)
    await resolve(canaries, canary)


async def act(canaries: Canaries, canary: Canary, what: Act) -> None:
    """Do what a person says."""
    if what == "accept":
        await accept(canaries, canary)
    elif what == "delete":
        await resolve(canaries, canary)
        await canaries.remove(canary)
    elif what == "pause":
        await canaries.change(canary, state="paused")
    else:
        resumed = "learning" if canary.baseline_id is None else "quiet"
        state = resumed if canary.state == "paused" else canary.state
        await canaries.change(canary, state=state, next_at=datetime.now(UTC), problem=None)


def alert_of(
    canary: Canary, run: Run, figures: Mapping[str, Any], strangers: Sequence[str], calls: Sequence[str]
) -> Raised:
    """What a change is told as: numbers and names of models, no answer."""
    lines = [f"- {each['name']}: {each['effect']:+.3f} ({each['unit']}), p = {each['holm']:.2g} after Holm's correction"
             for each in figures["tests"]]  # fmt: skip
    if figures["again"]:
        lines.append("Asked again at once, it said the same.")
    if strangers:
        was = ", ".join(figures["models_before"]) or "nothing"
        lines.append(f"The upstream calls itself {', '.join(strangers)[:200]} now; it was {was[:200]}.")
    return Raised(
        project_id=canary.project_id,
        source=SOURCE,
        key=f"canary/{canary.id}",
        severity="critical",
        title=f"{canary.model} answers differently: {figures['changed']} of {figures['answered']} examples of {canary.name}",
        text=f"The same {figures['answered']} questions (dataset {canary.dataset}@{canary.version}) are not answered as"
        " they were when the baseline was taken:\n" + "\n".join(lines) + "\nThe page shows each difference.",
        link=f"/drift/canaries/{canary.id}?run={run.id}",
        rule=f"canary {canary.name}",
        kind="provider changed",
        labels={"model": canary.model},
        call_ids=tuple(calls)[:50],
        evidence={each["name"]: {"holm": each["holm"], "effect": each["effect"]} for each in figures["tests"]},
        since=run.began_at,
    )
