"""One line of `loopwright doctor`: what was examined, how it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one examination found."""

    name: str
    state: State
    text: str
    """What is so, with the values."""
    todo: str = ""
    """What to do; empty when all is well."""


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name=name, state="ok", text=text)


def warn(name: str, text: str, todo: str) -> Finding:
    """It works, but not well or not for long."""
    return Finding(name=name, state="warn", text=text, todo=todo)


def fail(name: str, text: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(name=name, state="fail", text=text, todo=todo)
