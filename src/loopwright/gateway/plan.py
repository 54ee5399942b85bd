"""How one call of a task will be done: which requests, in what order, and what makes the answer of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.core.assignment import Assignment
from loopwright.tasks.task import Task, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to be made."""

    name: str
    model: str
    prompt: str | None
    """`name@number`; None where the messages stand in the variant."""
    body: Mapping[str, Any]
    """In OpenAI's form."""


Word = Callable[[int, Mapping[str, Any]], Asked]
"""From the number of a step and the values of its variables to what it asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Assignment):
    """An assignment with all that carrying it out needs."""

    of: Task
    way: Variant
    first: Asked
    word: Word
    """Of the later steps of a chain, whose variables are known only then."""

    def previewed(self) -> dict[str, Any]:
        """What it would ask first, and what all of it is taken to need at most: JSON."""
        return {
            "task": self.task,
            "variant": self.variant,
            "prompt_version": self.prompt_version,
            "variables": dict(self.inputs),
            "request": dict(self.first.body),
            "needs": [{"model": each.model, "input": each.input, "output": each.output} for each in self.needs],
        }
