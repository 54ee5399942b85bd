"""Management REST of experiments and runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Annotated, Any, BinaryIO, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, Seen, actor
from loopwright.api.filters import tag_of
from loopwright.app import App
from loopwright.core.errors import BadRequest
from loopwright.runs.run import Artifact, Point, Status

router = APIRouter(prefix="/api")
PIECE: Final = 1 << 18


class Input(BaseModel):
    """What a body may say, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class NewExperiment(Input):
    """An experiment to make."""

    name: str
    description: str = ""
    tags: dict[str, str] = {}


class ExperimentChange(Input):
    """What changes of an experiment."""

    description: str | None = None
    tags: dict[str, str] = {}


class NewRun(Input):
    """A run to begin."""

    experiment: str = Field(description="Name; made when it is not there.")
    name: str = ""
    kind: str = "run"
    params: dict[str, JsonValue] = {}
    tags: dict[str, str] = {}
    prompts: list[str] = Field(default=[], description="Versions: `name@number`.")
    data: list[dict[str, JsonValue]] = Field(
        default=[], description="Versions of datasets: `dataset`, `number`, `sha`, `split`."
    )
    code: dict[str, JsonValue] = Field(default={}, description="`commit`, `dirty`.")
    parent_id: str | None = None
    started_at: datetime | None = None


class PointIn(Input):
    """One value of a metric."""

    name: str
    value: float | None = Field(description="null is no finite number: a loss that diverged.")
    step: int = 0
    at: datetime | None = Field(default=None, description="By default now.")


class Saying(Input):
    """What there is to say of a run."""

    params: dict[str, JsonValue] = {}
    metrics: list[PointIn] = []
    tags: dict[str, str] = {}
    prompts: list[str] = []
    data: list[dict[str, JsonValue]] = []


class RunChange(Input):
    """A new name, or the end of a run."""

    name: str | None = None
    status: Status | None = None
    ended_at: datetime | None = None
    error: str | None = None


class NewNote(Input):
    """A note."""

    text: str


@router.get("/experiments", tags=["experiments"])
async def list_experiments(app: House, scope: Seen) -> dict[str, Any]:
    """Experiments, those in which something happened last first."""
    found = await app.workshop.runs.experiments.list(project_id=scope)
    return {"experiments": [each.shown() for each in found]}


@router.post("/experiments", tags=["experiments"], status_code=201)
async def create_experiment(app: House, project_id: Owner, new: NewExperiment) -> dict[str, Any]:
    """The experiment of a name; made when it is not there."""
    made = await app.workshop.runs.experiments.make(project_id, new.name, description=new.description)
    if new.tags:
        made = await app.workshop.runs.experiments.change(made.id, project_id=project_id, tags=new.tags)
    return made.shown()


@router.get("/experiments/{experiment}", tags=["experiments"])
async def get_experiment(app: House, scope: Seen, experiment: str) -> dict[str, Any]:
    """One experiment, by name or id."""
    return (await app.workshop.runs.experiments.find(experiment, project_id=scope)).shown()


@router.patch("/experiments/{experiment}", tags=["experiments"])
async def change_experiment(app: House, scope: Seen, experiment: str, change: ExperimentChange) -> dict[str, Any]:
    """Describe an experiment, tag it."""
    found = await app.workshop.runs.experiments.change(
        experiment, project_id=scope, description=change.description, tags=change.tags
    )
    return found.shown()


@router.delete("/experiments/{experiment}", tags=["experiments"])
async def delete_experiment(app: House, who: Asker, scope: Seen, experiment: str, request: Request) -> dict[str, Any]:
    """Forget an experiment, its runs and their artifacts."""
    found = await app.workshop.runs.experiments.find(experiment, project_id=scope)
    told = {"name": found.name, "runs": found.runs}
    await app.audit.note(
        actor(who, request), "experiment.delete", f"experiment {found.id}", told, project_id=found.project_id
    )
    return {"deleted": await app.workshop.runs.forget_experiment(found.id, project_id=scope)}


@router.get("/runs", tags=["experiments"])
async def list_runs(
    app: House,
    scope: Seen,
    *,
    experiment: Annotated[str | None, Query(description="Name or id.")] = None,
    status: Status | None = None,
    kind: str | None = None,
    tag: Annotated[str | None, Query(description="name:value")] = None,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Runs, newest first, each with the last value of its metrics."""
    found = await app.workshop.runs.list(
        project_id=scope,
        experiment=experiment,
        status=status,
        kind=kind,
        tag=tag_of(tag),
        before=before,
        limit=limit + 1,
    )
    shown = [run.shown() for run in found[:limit]]
    return {"runs": shown, "next": shown[-1]["id"] if len(found) > limit else None}


@router.post("/runs", tags=["experiments"], status_code=201)
async def start_run(app: House, who: Asker, project_id: Owner, new: NewRun) -> dict[str, Any]:
    """Begin a run."""
    told = {name: getattr(new, name) for name in NewRun.model_fields if name != "experiment"}
    run = await app.workshop.runs.start(project_id, new.experiment, author=who.key_name, **told)
    return run.shown()


@router.get("/runs/{run_id}", tags=["experiments"])
async def get_run(app: House, scope: Seen, run_id: str) -> dict[str, Any]:
    """One run with its notes and artifacts."""
    return await app.workshop.tracked.detail(await app.workshop.runs.show(run_id, project_id=scope))


@router.patch("/runs/{run_id}", tags=["experiments"])
async def change_run(app: House, scope: Seen, run_id: str, change: RunChange) -> dict[str, Any]:
    """Name a run anew, or end it."""
    told = {name: getattr(change, name) for name in RunChange.model_fields}
    return (await app.workshop.runs.change(run_id, project_id=scope, **told)).shown()


@router.delete("/runs/{run_id}", tags=["experiments"])
async def delete_run(app: House, who: Asker, scope: Seen, run_id: str, request: Request) -> dict[str, Any]:
    """Forget a run, its points, notes and artifacts."""
    run = await app.workshop.runs.show(run_id, project_id=scope)
    told = {"name": run.name, "experiment": run.experiment}
    await app.audit.note(actor(who, request), "run.delete", run.id, told, project_id=run.project_id)
    await app.workshop.runs.forget(run.id, project_id=scope)
    return {"deleted": 1}


@router.post("/runs/{run_id}/log", tags=["experiments"])
async def log_run(app: House, scope: Seen, run_id: str, said: Saying) -> dict[str, Any]:
    """Say more of a run: up to 100,000 points at once. A parameter is set once."""
    run = await app.workshop.runs.log(
        run_id,
        project_id=scope,
        params=said.params,
        metrics=[Point(name=each.name, value=each.value, step=each.step, at=each.at) for each in said.metrics],
        tags=said.tags,
        prompts=said.prompts,
        data=said.data,
    )
    return run.shown()


@router.get("/runs/{run_id}/metrics", tags=["experiments"])
async def get_curves(
    app: House,
    scope: Seen,
    run_id: str,
    *,
    name: Annotated[list[str] | None, Query(description="Only these.")] = None,
    points: Annotated[int, Query(ge=2, le=100_000, description="At most so many of each, evenly thinned.")] = 500,
) -> dict[str, Any]:
    """The points of each metric by step."""
    run = await app.workshop.runs.show(run_id, project_id=scope)
    found = await app.workshop.runs.curves(run, names=name, points=points)
    return {"metrics": {name: [point.shown() for point in curve] for name, curve in found.items()}}


@router.post("/runs/{run_id}/notes", tags=["experiments"], status_code=201)
async def note_run(app: House, who: Asker, scope: Seen, run_id: str, new: NewNote) -> dict[str, Any]:
    """Note something of a run."""
    made = await app.workshop.runs.note(run_id, new.text, project_id=scope, author=who.key_name)
    return made.shown()


@router.get("/runs/{run_id}/artifacts", tags=["experiments"])
async def list_artifacts(app: House, scope: Seen, run_id: str) -> dict[str, Any]:
    """The files of a run."""
    run = await app.workshop.runs.show(run_id, project_id=scope)
    return {"artifacts": [each.shown() for each in await app.workshop.runs.artifacts.list(run)]}


@router.put("/runs/{run_id}/artifacts/{path:path}", tags=["experiments"], status_code=201)
async def put_artifact(app: House, scope: Seen, run_id: str, path: str, request: Request) -> dict[str, Any]:
    """Keep a file: the body as it is, up to 2 GiB."""
    run = await app.workshop.runs.show(run_id, project_id=scope)
    patience = app.settings.server.body_timeout
    made = await app.workshop.runs.artifacts.put(run, path, arriving(request, patience))
    return made.shown()


@router.get("/runs/{run_id}/artifacts/{path:path}", tags=["experiments"], response_class=Response)
async def get_artifact(app: House, scope: Seen, run_id: str, path: str) -> Response:
    """A file of a run, as an attachment."""
    run = await app.workshop.runs.show(run_id, project_id=scope)
    return await sent(app, await app.workshop.runs.artifacts.get(run, path))


@router.delete("/runs/{run_id}/artifacts/{path:path}", tags=["experiments"])
async def delete_artifact(app: House, scope: Seen, run_id: str, path: str) -> dict[str, Any]:
    """Forget a file of a run."""
    run = await app.workshop.runs.show(run_id, project_id=scope)
    await app.workshop.runs.artifacts.remove(run, path)
    return {"deleted": 1}


@router.get("/runs/{run_id}/compare/{other_id}", tags=["experiments"])
async def compare_runs(
    app: House,
    scope: Seen,
    run_id: str,
    other_id: str,
    *,
    changed: Annotated[bool, Query(description="Only examples that became better or worse.")] = False,
    limit: Annotated[int, Query(ge=0, le=10_000, description="Examples.")] = 200,
) -> dict[str, Any]:
    """Two runs side by side down to the example, those that became worse first."""
    a = await app.workshop.runs.show(run_id, project_id=scope)
    b = await app.workshop.runs.show(other_id, project_id=scope)
    return await app.workshop.tracked.compared(a, b, changed=changed, limit=limit)


async def arriving(request: Request, patience: float) -> AsyncIterator[bytes]:
    """The body of a request as it comes.

    Raises:
        BadRequest: nothing came for `patience` seconds.
    """
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(patience):
                piece = await anext(stream, None)
        except TimeoutError:
            raise BadRequest(f"the body did not arrive: nothing came for {patience:g} s") from None
        if piece is None:
            return
        if piece:
            yield piece


async def sent(app: App, artifact: Artifact) -> Response:
    """A file of a run, in pieces."""
    opened = await app.workshop.runs.artifacts.open(artifact)
    # Whatever a program kept, no browser may take it for a page of this house.
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in artifact.path)
    headers = {
        "content-length": str(artifact.bytes),
        "content-disposition": f'attachment; filename="{name[-100:]}"',
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "private, no-store",
    }
    return StreamingResponse(_pieces(opened), headers=headers, media_type=artifact.media_type)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece
