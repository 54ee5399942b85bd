"""What is shown of canaries: how they stand, their runs, the answers of then and now with what became of them. JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from loopwright.core.money import usd
from loopwright.monitoring.canaries_compared import difference
from loopwright.monitoring.canaries_store import Canaries, Canary, Kept, Run

_MOST: Final = 200
"""Examples that are shown of a run, those that changed first."""


def canary_shown(canary: Canary) -> dict[str, Any]:
    """A canary as JSON."""
    return {
        "id": canary.id,
        "project_id": canary.project_id,
        "name": canary.name,
        "model": canary.model,
        "dataset": f"{canary.dataset}@{canary.version}",
        "examples": canary.examples,
        "repeats": canary.repeats,
        "parameters": dict(canary.parameters),
        "every_s": canary.every_s,
        "budget_usd": None if canary.budget_nano is None else usd(canary.budget_nano),
        "alpha": canary.alpha,
        "state": canary.state,
        "baseline": canary.baseline_id,
        "next_at": canary.next_at,
        "problem": canary.problem,
        "created_at": canary.created_at,
        "created_by": canary.created_by,
    }


def run_shown(run: Run) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "id": run.id,
        "kind": run.kind,
        "state": run.state,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "cost_usd": usd(run.cost_nano),
        "figures": run.figures,
        "problem": run.problem,
    }


async def answers_shown(canaries: Canaries, canary: Canary, run: Run) -> list[dict[str, Any]]:
    """Each example of a run: what was answered then and now, and the difference of the two nearest; changed ones first.

    Raises:
        Sealed: an answer cannot be opened.
    """
    now = _grouped(await canaries.answers(run.id))
    replay = run.kind == "replay" and canary.baseline_id is not None
    then = _grouped(await canaries.answers(canary.baseline_id)) if replay and canary.baseline_id is not None else {}
    order = sorted(now, key=lambda at: (not now[at][0].changed, at))[:_MOST]
    return [_shown(at, then.get(at, ()), now[at]) for at in order]


def _shown(position: int, then: Sequence[Kept], now: Sequence[Kept]) -> dict[str, Any]:
    first = now[0].answer
    before = list(dict.fromkeys(each.answer.said for each in then if each.answer.error is None))
    changed = bool(now[0].changed)
    return {
        "position": position,
        "example": first.example,
        "input": first.input,
        "changed": changed,
        "then": before,
        "now": [
            {
                "text": each.answer.said,
                "error": each.answer.error,
                "model": each.answer.model,
                "score": each.answer.score,
                "call_id": each.call_id,
            }
            for each in now
        ],
        "diff": difference(before[0], first.said) if changed and before else [],
    }


def _grouped(answers: Sequence[Kept]) -> dict[int, list[Kept]]:
    found: dict[int, list[Kept]] = {}
    for each in answers:
        found.setdefault(each.position, []).append(each)
    return found
