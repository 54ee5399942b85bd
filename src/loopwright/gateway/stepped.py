"""The strategies that ask one thing after another: a single request, and a chain whose steps feed each other."""

from __future__ import annotations

from typing import Any

import msgspec

from loopwright.core.errors import InvalidOutput
from loopwright.gateway.tallied import Asker, Whole
from loopwright.gateway.worded import free_text
from loopwright.tasks.task import Step


async def single(asker: Asker) -> Whole:
    """One request, answered whole."""
    return await asker.ask(asker.plan.first)


async def chain(asker: Asker) -> Whole:
    """Each step with the answers of those before it as variables; the last one's answer.

    Raises:
        LoopwrightError: as the road; nothing is asked after a step that failed.
    """
    plan = asker.plan
    values: dict[str, Any] = dict(plan.inputs)
    steps = plan.way.steps
    found = await asker.ask(plan.first)
    for number in range(1, len(steps)):
        before = steps[number - 1]
        values[before.name] = _value(before, found)
        found = await asker.ask(plan.word(number, values))
    return found


def _value(step: Step, found: Whole) -> Any:
    """What later steps get of an answer: its text, or what its JSON is."""
    document = step.output
    if document is None or free_text(document) or "enum" in document:
        return found.text
    try:
        return msgspec.json.decode(found.text)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidOutput(f"the answer of step {step.name!r} is not JSON") from None
