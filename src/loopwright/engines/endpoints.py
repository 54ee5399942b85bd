"""Where the engines of this house answer: written by the supervisor before they start, read by everybody else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

FILE = "engines.json"


class Endpoint(msgspec.Struct, kw_only=True, frozen=True):
    """One engine process. It keeps its port and secret over restarts."""

    name: str
    kind: str
    url: str
    """Base URL of its OpenAI dialect, e.g. `http://127.0.0.1:40123/v1`."""
    secret: str
    operations: tuple[str, ...]
    context: int
    """Tokens of prompt and answer for one request."""
    slots: int
    supports_tools: bool = False
    adapters: dict[str, float] = {}
    """Default scales of the adapters it holds, in its own order."""
    notes: tuple[str, ...] = ()
    fit: str = ""
    """The memory arithmetic, for people."""
    pid: int | None = None
    restarts: int = 0
    healthy: bool = False
    last_exit: str | None = None

    def __repr__(self) -> str:
        """Without the secret: this lands in logs."""
        return f"Endpoint({self.name!r}, {self.kind!r}, {self.url!r})"


def write(home: Path, endpoints: Mapping[str, Endpoint]) -> None:
    """Replace the file in one step, readable by its owner only."""
    target = home / FILE
    draft = target.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(endpoints))
    draft.replace(target)


def read(home: Path) -> dict[str, Endpoint]:
    """The engines of the house; none when it has none or is not running."""
    try:
        return msgspec.json.decode((home / FILE).read_bytes(), type=dict[str, Endpoint])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
