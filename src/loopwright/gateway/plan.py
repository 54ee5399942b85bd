"""How one call of a task will be done: which requests, in what order, and what makes the answer of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from loopwright.core.adapter import Adapter
from loopwright.core.assignment import Assignment
from loopwright.tasks.task import Shot, Task, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to be made."""

    name: str
    model: str
    prompt: str | None
    """`name@number`; None where the messages stand in the variant."""
    body: Mapping[str, Any]
    """In OpenAI's form."""
    adapter: Adapter | None = None
    """Of the model."""


class Word(Protocol):
    """Words the steps of a call."""

    def __call__(
        self, number: int, values: Mapping[str, Any], /, *, shots: Sequence[Shot] = (), context: str | None = None
    ) -> Asked:
        """What a step asks.

        Args:
            number: of the step, from 0.
            values: of its variables.
            shots: shown behind the variant's own examples, the nearest to the question last.
            context: passages that the answer is to stand on, as they are to be shown.

        Raises:
            BadRequest: a template cannot be rendered with these values.
            NotFound: there is no such prompt or version.
        """
        ...


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
            "adapter": None if self.first.adapter is None else self.first.adapter.shown(),
            "needs": [{"model": each.model, "input": each.input, "output": each.output} for each in self.needs],
        }
