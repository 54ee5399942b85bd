"""What evaluators of ours share: their name and record, their arguments read, a finding made a score."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.arguments import Nothing, read
from loopwright.evals.evaluator import Method, Output, Tools

LONGEST: Final = 100_000
"""Characters of an answer that are measured by what costs more than reading it; what was cut off is in the details."""
_LONG: Final = 20_000
"""Characters from which on finding may take so long that it must not hold the event loop."""
A = TypeVar("A")


class Plain(Generic[A]):
    """An evaluator of a class: subclasses say `Args`, `method` and how they `find`.

    An answer that is an error is missing, not wrong: what to make of failed answers is the runner's to say.
    """

    __slots__ = ("args", "given", "kind", "name")

    Args: ClassVar[type] = Nothing
    """The dataclass its arguments are read into."""
    method: Method = "deterministic"
    higher_is_better: bool = True
    most: float | None = 1.0
    """The highest score there can be; None is not known."""

    def __init__(self, *, kind: str, name: str, args: Mapping[str, Any], tools: Tools) -> None:
        """Raises BadRequest when the arguments are not its own."""
        self.kind = kind
        self.name = name
        self.given = dict(args)
        self.args = cast("A", read(kind, args, self.Args))
        self.prepare(tools)

    def prepare(self, tools: Tools) -> None:
        """Check and compile what can be before the first answer; raises BadRequest."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it can be made from again."""
        return {"kind": self.kind, "name": self.name, "args": self.given}

    async def __call__(self, example: Example, output: Output, /) -> Score:
        """What is found."""
        if output.error is not None:
            return self.missing(f"there is no answer: {output.error}"[:500])
        return await self.measured(example, output)

    async def measured(self, example: Example, output: Output) -> Score:
        """The finding, for evaluators that wait for something; others only `find`."""
        if len(output.text) > _LONG:
            return await asyncio.to_thread(self.find, example, output)  # others are to be served meanwhile
        return self.find(example, output)

    def find(self, example: Example, output: Output) -> Score:
        """The finding on an answer."""
        raise NotImplementedError

    def missing(self, why: str, **details: Any) -> Score:
        """No finding."""
        return Score(name=self.name, value=None, missing=why, details=details)

    def verdict(self, passed: bool, why: str = "", **details: Any) -> Score:  # noqa: FBT001  # what it is all about
        """1 or 0."""
        label = details.pop("label", None)
        return Score(name=self.name, value=float(passed), passed=passed, label=label, explanation=why, details=details)

    def figure(self, value: float, *, least: float | None = None, **details: Any) -> Score:
        """A number; with `least`, whether it is good enough."""
        explanation = details.pop("why", "")
        return Score(
            name=self.name,
            value=value,
            passed=None if least is None else value >= least,
            explanation=explanation,
            details=details,
        )


def references(example: Example) -> tuple[str, ...]:
    """The texts each of which is right; none when the example says nothing."""
    expected = example.expected
    if expected is None:
        return ()
    if isinstance(expected, list | tuple):
        return tuple(said(each) for each in expected if each is not None)
    return (said(expected),)


def said(value: Any) -> str:
    """A value as a model would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def clipped(text: str) -> tuple[str, dict[str, int]]:
    """As much of a text as is measured, and, when that is not all, how long it was."""
    if len(text) <= LONGEST:
        return text, {}
    return text[:LONGEST], {"clipped_from": len(text)}
