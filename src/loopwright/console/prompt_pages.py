"""The pages of prompts: the list, and one prompt with its versions, labels, weight and where it is used."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.access.projects import Project
from loopwright.app import App
from loopwright.console.key_ring import by
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import Conflict, LoopwrightError, NotFound
from loopwright.prompt_use import check_unused, places, taken
from loopwright.prompts.fault import Fault
from loopwright.prompts.files import written
from loopwright.prompts.patterns import NAMES
from loopwright.prompts.shown import entry_shown, move_shown, prompt_shown, version_shown
from loopwright.prompts.version import PRODUCTION, Version
from loopwright.prompts.weight import Weight, weigh

_DAYS: Final = 30
_MOVES: Final = 20


class PromptPages:
    """Everybody sees the prompts of their project; administrators see all and move labels."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one prompt, and the moves of its labels."""
        return [
            *self._shell.page("/prompts", "prompts.html", self._list),
            self._shell.action("/prompts/{name}/labels", self._label, admin=True),
            self._shell.action("/prompts/{name}/rollback", self._roll_back, admin=True),
            self._shell.action("/prompts/{name}/delete", self._delete, admin=True),
            *self._shell.page("/prompts/{name}", "prompt.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=_DAYS)
        names = {project.id: project.name for project in await self._app.projects.list()}
        found = await self._app.workshop.prompts.list(visit.project_id)
        tasks = self._app.workshop.held_tasks.listed(visit.project_id)
        rows = []
        for prompt in found:
            used = places(tasks, self._app.workshop.held_prompts, prompt.project_id, prompt.name)
            project = names.get(prompt.project_id, "")
            rows.append({**prompt_shown(prompt), "project": project, "tasks": sorted({at.task for at in used})})
        return View(data={"since": since, "prompts": rows}, drawn={"patterns": NAMES})

    async def _one(self, visit: Visit) -> View:
        name, project = visit.request.path_params["name"], await project_of(self._app, visit)
        store, held = self._app.workshop.prompts, self._app.workshop.held_prompts
        version = await store.version(project.id, name, visit.asked("ref"))
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=_DAYS)
        versions, moves, calls, weighed, [prompt] = await asyncio.gather(
            store.versions(project.id, name),
            store.history(project.id, name),
            taken(self._app.calls, project.id, name, since, None),
            weights_of(self._app, visit, version),
            store.list(project.id, name=name),
        )
        used = places(self._app.workshop.held_tasks.listed(project.id), held, project.id, name)
        data = {
            "project": project.name,
            "prompt": prompt_shown(prompt),
            "version": version_shown(version),
            "versions": [{**entry_shown(each), "calls": calls.get(each.number)} for each in versions],
            "tasks": [
                {"task": at.task, "variant": at.variant, "ref": at.ref, "number": at.number, "weight": at.weight}
                for at in used
            ],
            "moves": [move_shown(each) for each in moves[:_MOVES]],
            "weights": [each.shown() for each in weighed],
            "since": since,
        }
        drawn = {
            "text": written(version.definition, ".yaml"),
            "scope": scope_of(visit, project),
            "production": PRODUCTION,
            "problem": None,
        }
        return View(data=data, drawn=drawn)

    async def _label(self, visit: Visit, form: dict[str, str]) -> Response:
        name, project = visit.request.path_params["name"], await project_of(self._app, visit)
        label, number = form.get("label", "").strip(), form.get("number", "")
        try:
            version = await self._app.workshop.prompts.label(project.id, name, label, number, visit.who.key_name)
        except LoopwrightError as error:
            return await self._again(visit, error)
        told = {"label": label, "number": version.number}
        return await self._done(visit, project, "prompt.label", told)

    async def _roll_back(self, visit: Visit, form: dict[str, str]) -> Response:
        name, project = visit.request.path_params["name"], await project_of(self._app, visit)
        label = form.get("label", "")
        try:
            version = await self._app.workshop.prompts.rollback(project.id, name, label, visit.who.key_name)
        except LoopwrightError as error:
            return await self._again(visit, error)
        told = {"label": label, "number": version.number}
        return await self._done(visit, project, "prompt.rollback", told)

    async def _delete(self, visit: Visit, _form: dict[str, str]) -> Response:
        name, project = visit.request.path_params["name"], await project_of(self._app, visit)
        workshop = self._app.workshop
        try:
            check_unused(workshop.held_tasks.listed(project.id), workshop.held_prompts, project.id, name)
            gone = await workshop.prompts.delete(project.id, name)
        except Conflict as error:
            return await self._again(visit, error)
        await self._app.audit.note(
            by(visit), "prompt.delete", f"prompt {name}", {"versions": gone}, project_id=project.id
        )
        await workshop.held_prompts.load()
        return RedirectResponse("/prompts", 303)

    async def _done(self, visit: Visit, project: Project, act: str, told: dict[str, Any]) -> Response:
        name = visit.request.path_params["name"]
        await self._app.audit.note(by(visit), act, f"prompt {name}", told, project_id=project.id)
        await self._app.workshop.held_prompts.load()
        return RedirectResponse(f"/prompts/{quote(name, safe='')}{scope_of(visit, project)}", 303)

    async def _again(self, visit: Visit, error: LoopwrightError) -> Response:
        view = await self._one(visit)
        shown = View(data=view.data, drawn={**view.drawn, "problem": error}, status=error.status)
        return self._shell.html(visit, "prompt.html", shown)


async def weights_of(app: App, visit: Visit, version: Version) -> list[Weight]:
    """What a version with its own examples weighs; nothing when it cannot be rendered with them."""
    values, _ = version.prompt.sample()
    try:
        messages = await asyncio.to_thread(version.prompt.render, values)
    except Fault:
        return []
    return await weigh(messages, app.scales(visit.who))


async def project_of(app: App, visit: Visit) -> Project:
    """The project whose prompts are meant: the visitor's own, unless an administrator names another.

    Raises:
        NotFound: there is none of this name, or not for the visitor.
    """
    named = visit.asked("project")
    if named is None or named == visit.who.project:
        return await app.projects.get(visit.who.project)
    if not visit.who.admin:
        raise NotFound(f"there is no project {named[:80]!r} for key {visit.who.key_name!r}", param="project")
    return await app.projects.get(named)


def scope_of(visit: Visit, project: Project) -> str:
    """What an address needs to lead to a prompt of `project`."""
    return "" if project.name == visit.who.project else "?" + urlencode({"project": project.name})
