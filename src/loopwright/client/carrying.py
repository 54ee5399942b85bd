"""Runs of ours as bundles, and bundles kept as runs of ours, over the thin client. Knows no other tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from loopwright.client.runs import RunsRest
from loopwright.runs.bundle import Bundle, Piece
from loopwright.runs.run import STATUSES

POINTS = 100_000
"""Points of a curve that are carried."""


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
