"""An experiment, a run, its points, notes and artifacts, as people and programs see them. Knows no table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, Literal

Status = Literal["running", "finished", "failed", "killed"]
STATUSES: Final[tuple[Status, ...]] = ("running", "finished", "failed", "killed")
EXAMPLES: Final = "examples.jsonl"
"""The artifact by which two runs that are no evaluations compare down to the example: a JSON object a line, each with
`example_id`, and `output`, `expected`, `inputs`, `scores` (names and numbers) as far as there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Runs that belong together."""

    id: int
    project_id: int
    name: str
    description: str
    tags: Mapping[str, str]
    created_at: datetime
    runs: int = 0
    running: int = 0
    latest: datetime | None = None
    """When something was last said of one of its runs."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a metric."""

    name: str
    value: float | None
    """None is no finite number: a loss that diverged."""
    step: int = 0
    at: datetime | None = None
    """None is now."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a metric came to."""

    last: float | None
    """At the highest step."""
    step: int
    at: datetime
    least: float | None
    greatest: float | None
    points: int
    """How many were logged."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One try: what it was made with, and what came of it."""

    id: str
    project_id: int
    experiment_id: int
    experiment: str
    name: str
    kind: str
    """`run`, `evaluation`, `optimisation`, `training`, or a word of the caller's."""
    status: Status
    author: str
    """The name of the key that made it."""
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    prompts: Sequence[str]
    """Versions of prompts: `support-answer@7`."""
    data: Sequence[Mapping[str, Any]]
    """Versions of datasets: `dataset`, `number`, `sha`, `split`."""
    code: Mapping[str, Any]
    """`commit` of git, and `dirty`: whether something was not committed."""
    metrics: Mapping[str, Metric]
    evaluation_id: str | None
    """Of a run that is one target of an evaluation."""
    target: str
    parent_id: str | None
    error: str | None
    started_at: datetime
    updated_at: datetime
    """When something was last said of it: a run that says nothing for long may have died."""
    ended_at: datetime | None
    number: int = field(repr=False, default=0)

    @property
    def seconds(self) -> float:
        """How long it took, or has taken until it was last heard of."""
        return max(((self.ended_at or self.updated_at) - self.started_at).total_seconds(), 0.0)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        shown = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "number"}
        shown |= {name: getattr(self, name).isoformat() for name in ("started_at", "updated_at")}
        shown["ended_at"] = None if self.ended_at is None else self.ended_at.isoformat()
        shown["metrics"] = {name: metric.shown() for name, metric in self.metrics.items()}
        return shown | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a person, or a program, noted of a run."""

    id: int
    at: datetime
    author: str
    text: str

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file of a run."""

    path: str
    blob: str
    """The SHA-256 of its bytes."""
    bytes: int
    media_type: str
    created_at: datetime

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"sha256" if name == "blob" else name: value for name, value in _plain(self).items()}


def run_of(row: Mapping[str, Any]) -> Run:
    """A Run from its row and the name of its experiment."""
    plain = {each.name: row[each.name] for each in fields(Run) if each.name != "metrics"}
    return Run(**plain, metrics={name: metric_of(told) for name, told in row["metrics"].items()})


def metric_of(told: Mapping[str, Any]) -> Metric:
    """A Metric from what `Metric.shown` wrote."""
    return Metric(**{**told, "at": datetime.fromisoformat(told["at"])})


def _plain(value: Any) -> dict[str, Any]:
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in found.items()}
