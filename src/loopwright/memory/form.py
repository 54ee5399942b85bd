"""What memory must know of a task: how its inputs are embedded, and which outputs may be shown. Knows no table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.schema import Schema
from loopwright.memory.entry import Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Of one task."""

    embedder: str
    """The model that embeds its inputs."""
    text_input: str | None
    """The input that a plain text stands for."""
    inputs: Schema
    output: Schema | None
    """None is free text."""

    def inputs_of(self, given: object) -> dict[str, Any]:
        """Inputs from a text or variables, with defaults.

        Raises:
            BadRequest: they are not what the task takes.
        """
        if isinstance(given, str):
            if self.text_input is None:
                raise BadRequest("input: a text, and the task has no single text input: give an object", param="input")
            given = {self.text_input: given}
        if not isinstance(given, Mapping):
            raise BadRequest("input: a text, or an object of the task's inputs", param="input")
        properties = self.inputs.document.get("properties")
        known = properties.items() if isinstance(properties, Mapping) else ()
        defaults = {
            name: about["default"] for name, about in known if isinstance(about, Mapping) and "default" in about
        }
        values = {**defaults, **given}
        if found := self.inputs.problems(values, most=1):
            raise BadRequest(f"input: {found[0]}", param="input")
        return values

    def fitted(self, output: Any) -> Any:
        """An output as the task has it: what a person typed for a JSON answer becomes that JSON.

        Raises:
            BadRequest: it is none that the task may give.
        """
        if self.output is None:
            return output
        problems = self.output.problems(output, most=1)
        if problems and isinstance(output, str):
            try:
                read = msgspec.json.decode(output)
            except (msgspec.MsgspecError, RecursionError):
                read = None
            if read is not None and not self.output.problems(read, most=1):
                return read
            if not self.output.problems(output.strip(), most=1):
                return output.strip()
        if problems:
            raise BadRequest(f"output: {problems[0]}", param="output")
        return output

    def lesson(self, lesson: Lesson) -> Lesson:
        """A lesson as the task has it now.

        Raises:
            BadRequest: the task has changed, and it does not fit any more.
        """
        return Lesson(inputs=self.inputs_of(lesson.inputs), output=self.fitted(lesson.output), note=lesson.note)


FormOf = Callable[[int, str], Form]
"""By project and name of the task; raises UnknownModel."""
