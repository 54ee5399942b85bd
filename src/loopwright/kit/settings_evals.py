"""What can be said of evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loopwright.kit.settings_marks import Between, Positive, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """Variants measured on datasets: one process a machine works while there are any."""

    concurrency: Annotated[int, Between(low=1, high=4_096)] = 8
    """Examples of an evaluation that are asked at once."""
    at_once: Annotated[int, Between(low=1, high=1_000)] = 2
    """Evaluations that run at once; others wait for their turn."""
    attempts: Positive = 5
    """Times a question is asked when the answer is 5xx; refusals by a limit (429) are waited out and do not count."""
    base: Seconds = 0.5
    """Pause after the first failure; doubles with each."""
    longest: Seconds = 60.0
    """Longest pause between two attempts."""
    timeout: Seconds = 600.0
    """For one answer; then it counts as unanswered."""
    evaluator_timeout: Seconds = 300.0
    """For one score; then it is missing."""
    free_slots: Annotated[int, Between(low=0, high=4_096)] = 1
    """Slots of a local engine that evaluations leave to others; with one slot, an evaluation waits until it is free."""
    functions: tuple[str, ...] = ()
    """Functions of Python, `module:function`, that evaluators of kind `python` may name; those of tasks in this file may, too."""
    examples: Positive = 100_000
    """Examples of one evaluation; more are refused."""
    project_evaluations: Positive = 100
    """Evaluations of a project that are not yet at their end; one more is refused."""
    resamples: Annotated[int, Between(low=100, high=100_000)] = 2_000
    """Times the bootstrap draws."""
    cache_days: Annotated[int, Between(low=0, high=36_500)] = 90
    """Days that a paid answer is kept to be used again after the last evaluation that shows it was deleted."""
