"""Where a prompt is used and what that cost: tasks that name it, and its calls on record. Knows calls, prompts, tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loopwright.calls.query import CallFilter, Calls
from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.core.money import usd
from loopwright.prompts.held import Held
from loopwright.prompts.version import split
from loopwright.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One variant of a task that names a prompt."""

    task: str
    variant: str
    ref: str | None
    """Label, number or hash; None: what `production` points at, else the latest."""
    number: int | None
    """The version that is now; None when there is none."""
    weight: float
    """Its share of the task's traffic, beside the weights of the others."""


def places(tasks: Iterable[Task], held: Held, project_id: int, name: str) -> list[Place]:
    """The variants of `tasks` that name a prompt."""
    return [
        Place(
            task=task.name,
            variant=variant.name,
            ref=split(named)[1],
            number=_number(held, project_id, named),
            weight=variant.weight,
        )
        for task in tasks
        for variant in task.variants.values()
        for named in variant.prompts
        if split(named)[0] == name
    ]


def check_unused(tasks: Iterable[Task], held: Held, project_id: int, name: str) -> None:
    """See that no task names a prompt.

    Raises:
        Conflict: names those that do.
    """
    used = [f"task/{at.task}@{at.variant}" for at in places(tasks, held, project_id, name)]
    if used:
        more = f" and {len(used) - 5} more" if len(used) > 5 else ""
        raise Conflict(
            f"prompt {name!r} is used by {', '.join(used[:5])}{more}: have them use another first", param="name"
        )


def _number(held: Held, project_id: int, named: str) -> int | None:
    name, ref = split(named)
    try:
        return held.find(project_id, name, ref).number
    except (BadRequest, NotFound):
        return None


async def taken(
    calls: Calls, project_id: int, name: str, since: datetime, until: datetime | None
) -> dict[int, Mapping[str, Any]]:
    """What the calls of each version of a prompt were, by number; from roll-ups."""
    span = CallFilter(project_id=project_id, since=since, until=until)
    found: dict[int, Mapping[str, Any]] = {}
    for group in await calls.by("prompt_version", span):
        prompt, number = split(str(group.name or ""))
        if prompt == name and number is not None and number.isascii() and number.isdigit():
            counts = group.counts
            answered = counts.requests - counts.unpriced
            found[int(number)] = {
                "requests": counts.requests,
                "errors": counts.errors,
                "input_tokens": counts.input_tokens,
                "output_tokens": counts.output_tokens,
                "cost_usd": usd(counts.cost_nano) if answered or not counts.unpriced else None,
                "unpriced": counts.unpriced,
                "cost_a_call_usd": usd(counts.cost_nano // answered) if answered else None,
                "latency_p50_ms": None if group.latency.p50 is None else round(group.latency.p50 / 1000, 1),
            }
    return found
