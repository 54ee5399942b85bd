"""A run with all that belongs to it, on its way from one tracker to another. Knows no tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file of a run."""

    path: str
    size: int
    """Bytes."""
    read: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One run, whole."""

    origin: str
    """Its id where it comes from."""
    experiment: str
    name: str
    kind: str = "run"
    status: str = "finished"
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    prompts: Sequence[str] = ()
    data: Sequence[Mapping[str, Any]] = ()
    code: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Points by metric: `step`, `at` (ISO 8601), `value`, which is None for what is no finite number."""
    notes: Sequence[str] = ()
    error: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    artifacts: Sequence[Piece] = ()
    left: Sequence[str] = ()
    """What could not be taken along, for people."""


class Tracker(Protocol):
    """Another tracker of experiments. Made from where it is: a URL or a folder."""

    def put(self, bundle: Bundle, /) -> str:
        """Keep a run there; where it is now. A run that is there already is not kept twice.

        Raises:
            LoopwrightError: it could not be kept.
        """
        ...

    def bundles(self, experiment: str | None, /) -> Iterator[Bundle]:
        """The runs of an experiment there, of all without a name.

        Raises:
            LoopwrightError: they cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
