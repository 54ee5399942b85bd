"""An example: what goes in, and what should come out. Knows no file and no table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "validation", "test"]
Origin = Literal["import", "call", "correction", "synthetic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row of a dataset version."""

    id: str
    """Unique in its dataset: the one it came with, or the start of the hash of its content."""
    inputs: Mapping[str, Any]
    """The variables of a task; `{"messages": [...]}` is a conversation in OpenAI's form."""
    expected: Any = None
    """The reference: a text, a number, a label, JSON, or a list of texts each of which is right; None without one."""
    split: Split | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    """What it belongs to, for figures apart: `{"language": "de"}`."""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else its file said of it."""
    origin: Origin = "import"
    call_id: str | None = None
    """The call it was made from."""
