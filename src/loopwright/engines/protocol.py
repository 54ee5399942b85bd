"""What an engine is: it plans whether weights fit, and names the program that serves them. Knows no file format.

An engine's program speaks OpenAI's HTTP dialect on a loopback port behind a bearer secret, with `/health` (200 once it
can answer) and its own metrics pages. So a second engine is one file: a class with these members, registered by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from loopwright.core.chat import Operation
from loopwright.engines.machine import Machine
from loopwright.kit.processes import Program
from loopwright.kit.settings import EngineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The memory an engine will need, computed before anything is loaded. All sizes in bytes."""

    weights_bytes: int
    kv_bytes: int
    """Keys and values of every slot at full context."""
    compute_bytes: int
    """Working buffers, and what the process itself takes."""
    total_bytes: int
    available_bytes: int
    """What the machine had free when planning, less the reserve that stays untouched."""
    context: int
    """Tokens of prompt and answer for one request."""
    slots: int
    """Requests answered at once."""
    threads: int
    kv_type: str
    """How keys and values are stored; empty for models that keep none."""
    explanation: str
    """The arithmetic, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How an engine is going to host one model."""

    name: str
    """The model's name; the program answers to it."""
    kind: str
    fit: Fit
    operations: tuple[Operation, ...]
    supports_tools: bool = False
    """The model's chat template renders `tools`. When False the engine would drop them in silence: the caller must
    emulate them with a schema, or refuse."""
    notes: tuple[str, ...] = ()
    """What a user should know, e.g. that the weights carry no chat template."""
    adapters: Mapping[str, float] = field(default_factory=dict)
    """Adapters the program holds and their default scales, in its own order: each request says of every one how much it
    counts, as llama.cpp's `lora: [{id, scale}]`, ids from 0."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for the engine's own program; opaque to everybody else."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer for one request."""
        return self.fit.context

    @property
    def slots(self) -> int:
        """Requests answered at once."""
        return self.fit.slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy an engine is, in names that no engine owns (after the Gateway API inference extension)."""

    queued: int = 0
    """Requests waiting for a slot."""
    running: int = 0
    """Requests being answered."""
    kv_used_share: float | None = None
    """0 to 1: how full the key-value memory is; None when the engine does not tell or has none."""
    prompt_tokens_total: int = 0
    """Prompt tokens since the program started, cached ones included."""
    generated_tokens_total: int = 0
    cached_tokens_total: int = 0
    """Part of `prompt_tokens_total` that came from the prefix cache."""


class Engine(Protocol):
    """Hosts weights in a process of its own."""

    kind: str
    load_pages: tuple[str, ...]
    """Paths of the program whose bodies `load` reads, e.g. `/metrics`."""

    def plan(self, name: str, settings: EngineSettings, machine: Machine) -> Plan:
        """Choose context, slots, threads and formats for `settings.source`, which is `file:PATH`.

        Sources of other forms are turned into that one by the catalog first.

        Raises:
            StartError: the weights are missing, unreadable or cannot fit; the arithmetic is in the message, with a
                choice that would fit when there is one.
        """
        ...

    def program(self, plan: Plan, *, port: int, secret: str, log: Path) -> Program:
        """The program that serves `plan` on 127.0.0.1:`port` to who knows `secret`."""
        ...

    def load(self, pages: Mapping[str, bytes]) -> Load:
        """Read the bodies of `load_pages` (missing ones count as empty)."""
        ...
