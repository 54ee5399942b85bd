"""Management REST of tasks: what can be called as `task/NAME`, told, examined, tried, and what it took."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Acting, Asker, House, Owner, Seen
from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.core.errors import Conflict, Refused
from loopwright.core.who import Principal
from loopwright.kit.settings_json import check_json
from loopwright.monitoring.forgetting import forget_task
from loopwright.tasks.shown import brief, whole
from loopwright.tasks.task import PREFIX, Task

router = APIRouter(prefix="/api", tags=["tasks"])
_DAYS: Final = 30


class Told(BaseModel):
    """What a task is told to be."""

    model_config = ConfigDict(extra="forbid")
    definition: dict[str, JsonValue] = Field(description="As a task under `tasks` in loopwright.yaml.")


class NewTask(Told):
    """A task to make."""

    name: str


class Preview(BaseModel):
    """A call to look at."""

    model_config = ConfigDict(extra="forbid")
    variables: dict[str, JsonValue] = {}
    text: str | None = Field(default=None, description="Instead of `variables`, for a task with one text input.")
    variant: str | None = Field(default=None, description="Else the one that `session` has, or one by its weight.")
    session: str | None = None


@router.get("/tasks")
async def list_tasks(app: House, who: Asker, project_id: Seen) -> dict[str, Any]:
    """Tasks by name: those of the configuration, which every project has, and the stored ones."""
    tasks = app.workshop.held_tasks.listed(project_id)
    return {"tasks": [brief(task) for task in tasks if who.may_do(PREFIX + task.name)]}


@router.post("/tasks", status_code=201)
async def create_task(app: House, by: Acting, project_id: Owner, new: NewTask) -> dict[str, Any]:
    """A new stored task."""
    return await _put(app, by, project_id, new.name, new.definition, new=True)


@router.get("/tasks/{name}")
async def get_task(app: House, who: Asker, project_id: Owner, name: str) -> dict[str, Any]:
    """One task, its definition, and what is wrong with it as prompts, models and evaluators are now."""
    return await _shown(app, _find(app, who, project_id, name), project_id)


@router.put("/tasks/{name}")
async def put_task(app: House, by: Acting, project_id: Owner, name: str, told: Told) -> dict[str, Any]:
    """Tell what a stored task is; made when it is not there, changed when it is, the same again changes nothing."""
    return await _put(app, by, project_id, name, told.definition)


@router.delete("/tasks/{name}")
async def delete_task(app: House, by: Acting, project_id: Owner, name: str) -> dict[str, Any]:
    """Forget a stored task with its history and canaries; its calls stay on record."""
    _check_stored(app, name)
    await app.audit.note(by, "task.delete", f"task {name}", {}, project_id=project_id)
    await app.workshop.tasks.delete(project_id, name.replace("\x00", ""))
    await forget_task(app.db, project_id, name)
    await app.workshop.held_tasks.load()
    return {"deleted": name}


@router.get("/tasks/{name}/history")
async def task_history(app: House, who: Asker, project_id: Owner, name: str) -> dict[str, Any]:
    """What a stored task was told to be, newest first."""
    found = await app.workshop.tasks.history(project_id, _find(app, who, project_id, name).name)
    return {"history": [msgspec.to_builtins(each) for each in found]}


@router.get("/tasks/{name}/figures")
async def task_figures(
    app: House,
    who: Asker,
    project_id: Owner,
    seen: Seen,
    name: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """What its calls took and cost, by variant and by version of the prompt; of the last 30 days. From roll-ups."""
    task, end = _find(app, who, project_id, name), until or datetime.now(UTC)
    whose = seen if task.source == "file" else project_id  # every project has those of the configuration
    span = CallFilter(project_id=whose, task=task.name, since=since or _before(end), until=end)
    by_variant = await app.calls.by("variant", span)
    by_prompt = await app.calls.by("prompt_version", span)
    return {"since": span.since, "until": end, "variants": by_variant, "prompts": by_prompt}


@router.post("/tasks/{name}/preview")
async def preview_task(app: House, who: Asker, project_id: Owner, name: str, asked: Preview) -> dict[str, Any]:
    """What a call would ask: the variant, the messages, and what it is taken to need at most. Asks nobody."""
    check_json([asked.variables, asked.text, asked.variant, asked.session], "the request")
    task = _find(app, who, project_id, name)
    model = PREFIX + task.name + ("" if asked.variant is None else f"@{asked.variant}")
    plan = app.prompted.preview(
        replace(who, project_id=project_id), model, asked.variables, text=asked.text, session=asked.session
    )
    return plan.previewed()


def _find(app: App, who: Principal, project_id: int, name: str) -> Task:
    """The task of a path.

    Raises:
        UnknownModel: there is none; names the nearest.
        Refused: the key may not call it.
    """
    if not who.may_do(PREFIX + name):
        raise Refused(f"key {who.key_name!r} may not call {PREFIX + name[:80]!r}", param="name")
    return app.workshop.held_tasks.find(project_id, name)


def _before(end: datetime) -> datetime:
    return end - timedelta(days=_DAYS) if end.year > 1 else end


async def _shown(app: App, task: Task, project_id: int) -> dict[str, Any]:
    found = await app.examiner.examine(task, project_id)
    return {**whole(task), "problems": [each.shown() for each in found]}


async def _put(
    app: App, by: Acting, project_id: int, name: str, definition: dict[str, Any], *, new: bool = False
) -> dict[str, Any]:
    _check_stored(app, name)
    task, made = await app.workshop.tasks.put(project_id, name, definition, author=by.who.key_name, new=new)
    act = "task.create" if made else "task.change"
    await app.audit.note(by, act, f"task {task.name}", {"number": task.number}, project_id=project_id)
    await app.workshop.held_tasks.load()
    return await _shown(app, task, project_id)


def _check_stored(app: App, name: str) -> None:
    if name in app.workshop.held_tasks.configured:
        raise Conflict(f"task {name!r} is told by the configuration: change it in loopwright.yaml", param="name")
