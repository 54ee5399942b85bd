"""A run with all that belongs to it, on its way from one tracker to another. Knows no tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loopwright.runs.rest import RunsRest
from loopwright.runs.run import STATUSES

POINTS = 100_000
"""Points of a curve that are carried."""


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


def take(client: RunsRest, run_id: str) -> Bundle:
    """A run of ours, whole; its files are read when they are needed."""
    run = client.get_run(run_id)
    plain = ("experiment", "name", "kind", "status", "params", "tags", "prompts", "data", "code", "error")
    return Bundle(
        origin=run["id"],
        **{name: run[name] for name in plain},
        curves=client.curves(run_id, points=POINTS) if run["metrics"] else {},
        notes=[str(note["text"]) for note in run["notes"]],
        started_at=run["started_at"],
        ended_at=run["ended_at"],
        artifacts=[
            Piece(path=each["path"], size=each["bytes"], read=_reader(client, run_id, each["path"]))
            for each in run["artifacts"]
        ],
    )


def keep(client: RunsRest, bundle: Bundle, *, tracker: str) -> str | None:
    """Make a run of ours of a bundle; its id, or None when it was kept before (by the tag `<tracker>.run_id`).

    Raises:
        LoopwrightError: something of it cannot be kept; the run is left as failed.
    """
    mark = f"{tracker}.run_id"
    if client.runs(tag=f"{mark}:{bundle.origin}", limit=1)["runs"]:
        return None
    made = client.start_run(
        bundle.experiment,
        name=bundle.name[:250],
        kind=bundle.kind,
        params=dict(bundle.params),
        prompts=[*bundle.prompts],
        data=[dict(each) for each in bundle.data],
        code=dict(bundle.code),
        started_at=bundle.started_at,
    )
    whole = False
    try:
        points = [{"name": name, **_point(each)} for name, curve in bundle.curves.items() for each in curve]
        for start in range(0, len(points), 10_000):
            client.log_run(made["id"], metrics=points[start : start + 10_000])
        for piece in bundle.artifacts:
            client.put_artifact(made["id"], piece.path, piece.read(), size=piece.size)
        for note in bundle.notes:
            client.note_run(made["id"], note)
        whole = True
    finally:
        status = bundle.status if whole and bundle.status in STATUSES else "failed"
        # The mark comes last: a run that was cut off may be carried again.
        client.log_run(made["id"], tags={**bundle.tags, **({mark: bundle.origin} if whole else {})})
        client.change_run(
            made["id"],
            status=status,
            ended_at=bundle.ended_at,
            error=bundle.error if whole else "it was not carried over whole",
        )
    return str(made["id"])


def _reader(client: RunsRest, run_id: str, path: str) -> Callable[[], Iterator[bytes]]:
    return lambda: client.artifact(run_id, path)


def _point(each: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each.get(name) for name in ("value", "step", "at")}
