"""The part of MLflow's tracking REST that its client needs to tell of runs: point MLFLOW_TRACKING_URI at this server.

Runs, params, metrics, tags, inputs and artifacts are those of our own runs, so what an MLflow client logs is seen,
compared and exported like any other. Models, traces, the registry and deletions of MLflow are not here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from loopwright.api import mlflow_shapes as shapes
from loopwright.api.asking import Asker, House
from loopwright.api.runs import arriving, sent
from loopwright.app import App
from loopwright.core.errors import BadRequest, Conflict, LoopwrightError, NotFound, Refused, Unauthenticated
from loopwright.core.who import Principal
from loopwright.runs.run import Experiment, Point, Run, Status

_STATUS: Final[Mapping[str, Status]] = {
    "RUNNING": "running",
    "SCHEDULED": "running",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}
_CODES: Final[Mapping[type[LoopwrightError], str]] = {
    NotFound: "RESOURCE_DOES_NOT_EXIST",
    Conflict: "RESOURCE_ALREADY_EXISTS",
    Unauthenticated: "UNAUTHENTICATED",
    Refused: "PERMISSION_DENIED",
    BadRequest: "INVALID_PARAMETER_VALUE",
}
_SEARCHED: Final = 10_000
"""Runs that a search looks at, newest first."""
DEFAULT: Final = "Default"
"""MLflow's experiment 0."""


class MlflowRoute(APIRoute):
    """A route whose errors have MLflow's form, by which its client knows what is missing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI has it."""
        inner = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await inner(request)
            except LoopwrightError as error:
                code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "INTERNAL_ERROR")
                return JSONResponse({"error_code": code, "message": error.message}, error.status)

        return told


router = APIRouter(prefix="/api/2.0", route_class=MlflowRoute, include_in_schema=False)


@router.post("/mlflow/experiments/create")
async def create_experiment(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Make an experiment."""
    said = await _said(request)
    name = _text(said, "name")
    known = [each.name for each in await app.workshop.runs.experiments.list(project_id=who.project_id, limit=10_000)]
    if name.strip() in known:
        raise Conflict(f"there is an experiment {name[:80]!r} already")
    made = await app.workshop.runs.experiments.make(who.project_id, name)
    await app.workshop.runs.experiments.change(made.id, project_id=who.project_id, tags=_tags(said))
    return {"experiment_id": str(made.id)}


@router.get("/mlflow/experiments/get")
async def get_experiment(app: House, who: Asker, experiment_id: str = "0") -> dict[str, Any]:
    """An experiment by its id."""
    return {"experiment": shapes.experiment_out(await _experiment(app, who, experiment_id))}


@router.get("/mlflow/experiments/get-by-name")
async def get_experiment_by_name(app: House, who: Asker, experiment_name: str) -> dict[str, Any]:
    """An experiment by its name."""
    found = await app.workshop.runs.experiments.find(experiment_name, project_id=who.project_id)
    if found.name != experiment_name.strip():
        raise NotFound(f"there is no experiment {experiment_name[:80]!r}")
    return {"experiment": shapes.experiment_out(found)}


@router.get("/mlflow/experiments/search")
@router.post("/mlflow/experiments/search")
async def search_experiments(app: House, who: Asker) -> dict[str, Any]:
    """All experiments of the project; filters are not looked at."""
    found = await app.workshop.runs.experiments.list(project_id=who.project_id, limit=10_000)
    return {"experiments": [shapes.experiment_out(each) for each in found]}


@router.post("/mlflow/runs/create")
async def create_run(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Begin a run."""
    said = await _said(request)
    tags = _tags(said)
    experiment = await _experiment(app, who, str(said.get("experiment_id") or "0"))
    code = {"commit": tags["mlflow.source.git.commit"]} if "mlflow.source.git.commit" in tags else {}
    run = await app.workshop.runs.start(
        who.project_id,
        experiment.name,
        name=str(said.get("run_name") or tags.get("mlflow.runName") or ""),
        author=who.key_name,
        tags={name: value for name, value in tags.items() if name != "mlflow.runName"},
        code=code,
        parent_id=tags.get("mlflow.parentRunId"),
        started_at=shapes.moment(said.get("start_time")),
    )
    return {"run": shapes.run_out(run)}


@router.get("/mlflow/runs/get")
async def get_run(app: House, who: Asker, run_id: str) -> dict[str, Any]:
    """One run."""
    return {"run": shapes.run_out(await app.workshop.runs.show(run_id, project_id=who.project_id))}


@router.post("/mlflow/runs/update")
async def update_run(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """End a run, or name it."""
    said = await _said(request)
    status = said.get("status")
    if status is not None and (not isinstance(status, str) or status not in _STATUS):
        raise BadRequest(f"status: {str(status)[:40]!r} is none of {', '.join(_STATUS)}", param="status")
    run = await app.workshop.runs.change(
        _text(said, "run_id"),
        project_id=who.project_id,
        name=said.get("run_name") or None,
        status=None if status is None else _STATUS[status],
        ended_at=shapes.moment(said.get("end_time")),
    )
    return {"run_info": shapes.run_out(run)["info"]}


@router.post("/mlflow/runs/log-metric")
async def log_metric(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Add a point."""
    said = await _said(request)
    await _log(app, who, said, {"metrics": [said]})
    return {}


@router.post("/mlflow/runs/log-parameter")
async def log_parameter(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Set a parameter."""
    said = await _said(request)
    await _log(app, who, said, {"params": [said]})
    return {}


@router.post("/mlflow/runs/set-tag")
async def set_tag(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Set a tag."""
    said = await _said(request)
    await _log(app, who, said, {"tags": [said]})
    return {}


@router.post("/mlflow/runs/delete-tag")
async def delete_tag(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Take a tag off."""
    said = await _said(request)
    await app.workshop.runs.untag(_text(said, "run_id"), _text(said, "key"), project_id=who.project_id)
    return {}


@router.post("/mlflow/runs/log-batch")
async def log_batch(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Points, parameters and tags at once."""
    said = await _said(request)
    await _log(app, who, said, said)
    return {}


@router.post("/mlflow/runs/log-inputs")
async def log_inputs(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """The datasets of a run."""
    said = await _said(request)
    data = [
        {"dataset": _text(each["dataset"], "name"), "sha": _text(each["dataset"], "digest")}
        for each in _list(said, "datasets")
        if isinstance(each.get("dataset"), dict)
    ]
    await app.workshop.runs.log(_text(said, "run_id"), project_id=who.project_id, data=data)
    return {}


@router.post("/mlflow/runs/search")
async def search_runs(app: House, who: Asker, request: Request) -> dict[str, Any]:
    """Runs of experiments that a filter means."""
    said = await _said(request)
    found: list[Run] = []
    for each in _texts(said, "experiment_ids"):
        owner = await _experiment(app, who, each)
        found += await app.workshop.runs.list(project_id=who.project_id, experiment=owner.id, limit=_SEARCHED)
    kept = shapes.ordered(shapes.chosen(found, str(said.get("filter") or "")), _texts(said, "order_by"))
    start = _whole(said.get("page_token") or 0)
    end = start + max(1, min(_whole(said.get("max_results") or 1_000), 50_000))
    page = {"runs": [shapes.run_out(run) for run in kept[start:end]]}
    return page | ({"next_page_token": str(end)} if end < len(kept) else {})


@router.get("/mlflow/metrics/get-history")
async def get_history(app: House, who: Asker, run_id: str, metric_key: str) -> dict[str, Any]:
    """The points of a metric."""
    run = await app.workshop.runs.show(run_id, project_id=who.project_id)
    curves = await app.workshop.runs.curves(run, names=[metric_key], points=100_000)
    return {"metrics": [shapes.metric_out(point) for point in curves.get(metric_key, ())]}


@router.get("/mlflow/artifacts/list")
async def list_of_run(app: House, who: Asker, run_id: str, path: str = "") -> dict[str, Any]:
    """The artifacts of a run in a folder."""
    files = await _files(app, who, run_id, path)
    inside = f"{path.strip('/')}/" if path.strip("/") else ""
    root = f"mlflow-artifacts:/{run_id}"
    return {"root_uri": root, "files": [{**each, "path": inside + each["path"]} for each in files]}


@router.get("/mlflow-artifacts/artifacts")
async def list_artifacts(app: House, who: Asker, path: str = "") -> dict[str, Any]:
    """The artifacts of a run in a folder, as `<run>/<folder>`."""
    run_id, _, inside = path.strip("/").partition("/")
    return {"files": await _files(app, who, run_id, inside)}


@router.put("/mlflow-artifacts/artifacts/{run_id}/{path:path}")
async def put_artifact(app: House, who: Asker, run_id: str, path: str, request: Request) -> dict[str, Any]:
    """Keep a file of a run."""
    run = await app.workshop.runs.show(run_id, project_id=who.project_id)
    await app.workshop.runs.artifacts.put(run, path, arriving(request, app.settings.server.body_timeout))
    return {}


@router.get("/mlflow-artifacts/artifacts/{run_id}/{path:path}")
async def get_artifact(app: House, who: Asker, run_id: str, path: str) -> Response:
    """A file of a run."""
    run = await app.workshop.runs.show(run_id, project_id=who.project_id)
    return await sent(app, await app.workshop.runs.artifacts.get(run, path))


@router.post("/mlflow/logged-models/search")
async def search_models(_who: Asker) -> dict[str, Any]:
    """None: models are not kept here. Its client asks before it looks for the artifacts of a run."""
    return {"models": []}


@router.api_route("/mlflow/{path:path}", methods=["GET", "POST", "PATCH", "DELETE"])
async def nowhere(path: str) -> Response:
    """What of MLflow's is not here, said so that its client knows."""
    message = f"Loopwright keeps no {path[:80]}: see docs/experiments.md"
    return JSONResponse({"error_code": "ENDPOINT_NOT_FOUND", "message": message}, 404)


async def _experiment(app: App, who: Principal, experiment_id: str) -> Experiment:
    if experiment_id == "0":
        return await app.workshop.runs.experiments.make(who.project_id, DEFAULT)
    return await app.workshop.runs.experiments.find(_whole(experiment_id), project_id=who.project_id)


async def _log(app: App, who: Principal, said: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    run_id, tags = _text(said, "run_id"), _tags(told)
    name = tags.pop("mlflow.runName", None)
    await app.workshop.runs.log(
        run_id,
        project_id=who.project_id,
        params={_text(each, "key"): _text(each, "value") for each in _list(told, "params")},
        metrics=[_point(each) for each in _list(told, "metrics")],
        tags=tags,
    )
    if name:
        await app.workshop.runs.change(run_id, project_id=who.project_id, name=name)


async def _files(app: App, who: Principal, run_id: str, path: str) -> list[dict[str, Any]]:
    """What is right in a folder of a run: files with their size, folders once."""
    run = await app.workshop.runs.show(run_id, project_id=who.project_id)
    start = f"{path.strip('/')}/" if path.strip("/") else ""
    found: dict[str, dict[str, Any]] = {}
    for each in await app.workshop.runs.artifacts.list(run):
        if each.path.startswith(start):
            name, deeper, _ = each.path[len(start) :].partition("/")
            found[name] = {"path": name, "is_dir": bool(deeper)} | ({} if deeper else {"file_size": each.bytes})
    return list(found.values())


async def _said(request: Request) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(await request.body() or b"{}")
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadRequest("the body is no JSON object")
    return said


def _point(said: Mapping[str, Any]) -> Point:
    try:
        value = float(said.get("value", 0))
        at = shapes.moment(said.get("timestamp")) or datetime.now(UTC)
        return Point(
            name=_text(said, "key"),
            value=value if math.isfinite(value) else None,
            step=_whole(said.get("step") or 0),
            at=at,
        )
    except (TypeError, ValueError):
        raise BadRequest("metrics: value is no number", param="metrics") from None


def _tags(said: Mapping[str, Any]) -> dict[str, str]:
    return {_text(each, "key"): _text(each, "value") for each in _list(said, "tags")}


def _list(said: Mapping[str, Any], member: str) -> list[dict[str, Any]]:
    found = said.get(member) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadRequest(f"{member}: is no list of objects", param=member)
    return found


def _texts(said: Mapping[str, Any], member: str) -> list[str]:
    found = said.get(member) or []
    if not isinstance(found, list) or not all(isinstance(each, str | int) for each in found):
        raise BadRequest(f"{member}: is no list of texts", param=member)
    return [str(each) for each in found]


def _text(said: Mapping[str, Any], member: str) -> str:
    found = said.get(member, "")
    if not isinstance(found, str | int | float) or (member in ("name", "key", "run_id") and not str(found)):
        raise BadRequest(f"{member}: is no text", param=member)
    return str(found)


def _whole(given: Any) -> int:
    text = str(given)
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise BadRequest(f"{text[:40]!r} is no whole number")
    return int(text)
