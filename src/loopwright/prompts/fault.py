"""What is wrong with a prompt, and where: its place, line and variable, for people and for programs."""

from __future__ import annotations

from loopwright.core.errors import BadRequest


class Fault(Exception):
    """A prompt that cannot be used, or cannot be rendered with these variables."""

    def __init__(self, message: str, *, place: str = "", line: int | None = None, variable: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        """Which part of the definition: `messages[1].content`, `partials.tone`, `variables.question`."""
        self.line = line
        """Within that part, from 1; None when it is no matter of lines."""
        self.variable = variable

    def at(self, place: str, line: int | None) -> Fault:
        """The same, placed where it was not yet."""
        return self if self.place else Fault(self.message, place=place, line=line, variable=self.variable)

    def refused(self, where: str) -> BadRequest:
        """As an error of the whole house; `where` names the prompt or the file."""
        parts = [where, self.place, "" if self.line is None else f"line {self.line}"]
        said = ", ".join(part for part in parts if part)
        about = "" if self.variable is None else f"variable {self.variable!r} "
        return BadRequest(f"{said}: {about}{self.message}" if said else f"{about}{self.message}", param=self.param)

    @property
    def param(self) -> str:
        """What of a request is to blame: a variable, else a place in the definition."""
        if self.variable is not None:
            return f"variables.{self.variable}"
        return self.place or "definition"
