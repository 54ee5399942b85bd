"""The pages of tasks: what can be called, how each variant does, what is wrong, a try without asking, and the editor."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.console.asking import span_of
from loopwright.console.conversation import asked, pretty
from loopwright.console.figures import totals
from loopwright.console.key_ring import by
from loopwright.console.listing import row_of
from loopwright.console.overview import api_base
from loopwright.console.scored import figures_of
from loopwright.console.shell import Shell, View, Visit
from loopwright.console.snippets import first_call
from loopwright.core.errors import BadRequest, Conflict, LoopwrightError, NotFound, Refused
from loopwright.kit.settings_json import check_json
from loopwright.monitoring.forgetting import forget_task
from loopwright.monitoring.score_question import ScoreFilter
from loopwright.tasks.definition import from_text, to_text
from loopwright.tasks.shown import brief, whole
from loopwright.tasks.task import PREFIX, Task

_CALLS: Final = 10
_SPAN: Final = "30d"
_NOTHING: Final = {"requests": 0}
_BEGINNING: Final = """description: What it is for
input: {type: object, properties: {text: {type: string}}, required: [text]}
model: MODEL
metrics: [exact_match]
variants:
  base:
    messages:
      - {role: system, content: Do one thing.}
      - {role: user, content: "{{ text }}"}
    parameters: {temperature: 0}
"""


class TaskPages:
    """Everybody sees the tasks of their project; administrators see all and tell them."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one task, and what can be done to it."""
        return [
            *self._shell.page("/tasks", "tasks.html", self._list),
            self._shell.action("/tasks", self._create, admin=True),
            self._shell.action("/tasks/{name}/definition", self._change, admin=True),
            self._shell.action("/tasks/{name}/delete", self._delete, admin=True),
            self._shell.action("/tasks/{name}/try", self._try),
            *self._shell.page("/tasks/{name}", "task.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        names = await self._projects(visit)
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
        took = await self._app.calls.by("task", CallFilter(project_id=visit.project_id, since=since))
        figures = {group.name: totals(group) for group in took}
        tasks = [
            {**brief(task), "project": names.get(task.project_id or 0), "figures": figures.get(task.name)}
            for task in self._app.workshop.held_tasks.listed(visit.project_id)
            if visit.who.may_do(PREFIX + task.name)
        ]
        models = [card["name"] for card in self._app.cards() if "chat" in card["operations"]]
        drawn = {
            "typed": {"definition": _BEGINNING.replace("MODEL", models[0] if models else "MODEL")},
            "problem": None,
            "projects": sorted(names.values()),
        }
        return View(data={"since": since, "tasks": tasks}, drawn=drawn)

    async def _one(self, visit: Visit) -> View:
        return await self._view(visit, await self._project(visit, visit.asked("project")))

    async def _view(self, visit: Visit, project_id: int) -> View:
        task = self._task(visit, project_id)
        now = dt.datetime.now(dt.UTC)
        span = span_of(visit.request.query_params, default=_SPAN, now=now)
        # Every project has those of the configuration: an administrator who names none sees the calls of all.
        every = task.source == "file" and not visit.asked("project")
        whose = visit.project_id if every else project_id
        which = CallFilter(project_id=whose, task=task.name, since=span.since, until=span.until or now)
        scored = ScoreFilter(project_id=whose, task=task.name, since=span.since, until=span.until or now)
        by_variant, by_prompt, page, (scores, sparks) = await asyncio.gather(
            self._app.calls.by("variant", which),
            self._app.calls.by("prompt_version", which),
            self._app.calls.page(CallFilter(project_id=whose, task=task.name), limit=_CALLS),
            figures_of(self._app, scored),
        )
        found = await self._app.examiner.examine(task, project_id)
        history = await self._app.workshop.tasks.history(project_id, task.name)
        keys = await self._app.keys.list(None if visit.who.admin else visit.who.project, revoked=True)
        names = await self._projects(visit)
        took = {group.name: totals(group) for group in by_variant}
        shown = whole(task)
        data: dict[str, Any] = {
            "project": names.get(project_id),
            "since": span.since,
            "until": span.until or now,
            "task": shown,
            "problems": [each.shown() for each in found],
            "figures": [
                {"variant": each["name"], **(took.get(each["name"]) or _NOTHING)} for each in shown["variants"]
            ],
            "gone": [{"variant": name, **each} for name, each in took.items() if name not in task.variants],
            "scores": scores,
            "prompts": [{"prompt": group.name, **totals(group)} for group in by_prompt],
            "calls": [row_of(call, {key.id: key.name for key in keys}) for call in page.calls],
            "history": [
                {"number": each.number, "author": each.author, "changed_at": each.changed_at} for each in history
            ],
        }
        drawn = {
            "sparks": sparks,
            "definition": to_text(task.definition),
            "input_schema": pretty(shown["input_schema"])[0],
            "output_schema": None if task.output_schema is None else pretty(shown["output_schema"])[0],
            "curl": first_call(api_base(visit), PREFIX + task.name),
            "problem": None,
            "tried": None,
            "typed": {},
            "queried": {"project": data["project"]} if project_id != visit.who.project_id else {},
        }
        return View(data=data, drawn=drawn)

    async def _create(self, visit: Visit, form: dict[str, str]) -> Response:
        name = form.get("name", "").strip()
        try:
            project_id = await self._project(visit, form.get("project"))
            await self._tell(visit, project_id, name, form, new=True)
        except LoopwrightError as error:
            view = await self._list(visit)
            drawn = {**view.drawn, "typed": form, "problem": error}
            return self._shell.html(visit, "tasks.html", View(data=view.data, drawn=drawn, status=error.status))
        return _to(name, form.get("project"))

    async def _change(self, visit: Visit, form: dict[str, str]) -> Response:
        name = visit.request.path_params["name"]
        project_id = await self._project(visit, form.get("project"))
        try:
            await self._tell(visit, project_id, name, form)
        except LoopwrightError as error:
            view = await self._view(visit, project_id)
            drawn = {**view.drawn, "definition": form.get("definition", ""), "problem": error}
            return self._shell.html(visit, "task.html", View(data=view.data, drawn=drawn, status=error.status))
        return _to(name, form.get("project"))

    async def _delete(self, visit: Visit, form: dict[str, str]) -> Response:
        name = visit.request.path_params["name"]
        project_id = await self._project(visit, form.get("project"))
        await self._app.audit.note(by(visit), "task.delete", f"task {name}", {}, project_id=project_id)
        await self._app.workshop.tasks.delete(project_id, name)
        await forget_task(self._app.db, project_id, name)
        await self._app.workshop.held_tasks.load()
        return RedirectResponse("/tasks", 303)

    async def _try(self, visit: Visit, form: dict[str, str]) -> Response:
        """What a call would ask, shown on the page; nobody is asked."""
        project_id = await self._project(visit, form.get("project"))
        view = await self._view(visit, project_id)
        task = self._task(visit, project_id)
        tried: dict[str, Any] = {"problem": None}
        status = 200
        try:
            values = _values(task, form.get("inputs", ""))
            variant = form.get("variant", "").strip()
            model = PREFIX + task.name + (f"@{variant}" if variant else "")
            plan = self._app.prompted.preview(replace(visit.who, project_id=project_id), model, values)
            found = plan.previewed()
            tried |= {**found, "turns": asked("chat", found["request"]), "raw": pretty(found["request"])[0]}
        except LoopwrightError as error:
            tried["problem"], status = error, error.status
        drawn = {**view.drawn, "tried": tried, "typed": form}
        return self._shell.html(visit, "task.html", View(data=view.data, drawn=drawn, status=status))

    async def _tell(self, visit: Visit, project_id: int, name: str, form: dict[str, str], *, new: bool = False) -> None:
        if name in self._app.workshop.held_tasks.configured:
            raise Conflict(f"task {name!r} is told by the configuration: change it in loopwright.yaml", param="name")
        definition = from_text(form.get("definition", "").replace("\r\n", "\n"))
        task, made = await self._app.workshop.tasks.put(
            project_id, name, definition, author=visit.who.key_name, new=new
        )
        act = "task.create" if made else "task.change"
        await self._app.audit.note(by(visit), act, f"task {name}", {"number": task.number}, project_id=project_id)
        await self._app.workshop.held_tasks.load()

    def _task(self, visit: Visit, project_id: int) -> Task:
        name = visit.request.path_params["name"]
        if not visit.who.may_do(PREFIX + name):
            raise Refused(f"key {visit.who.key_name!r} may not call {PREFIX + name[:80]!r}")
        return self._app.workshop.held_tasks.find(project_id, name)

    async def _project(self, visit: Visit, name: str | None) -> int:
        """The project that is meant: the visitor's own, unless an administrator names another."""
        if not name or name == visit.who.project:
            return visit.who.project_id
        if not visit.who.admin:
            raise NotFound(f"there is no project {name[:80]!r} for key {visit.who.key_name!r}", param="project")
        return (await self._app.projects.get(name.replace("\x00", ""))).id

    async def _projects(self, visit: Visit) -> dict[int, str]:
        if not visit.who.admin:
            return {visit.who.project_id: visit.who.project}
        return {project.id: project.name for project in await self._app.projects.list()}


def _values(task: Task, text: str) -> dict[str, Any]:
    """The inputs that were typed: the text of the only one, or a mapping in YAML.

    Raises:
        BadRequest: they are no mapping.
    """
    text = text.replace("\r\n", "\n")
    if task.text_input is not None and not text.lstrip().startswith("{"):
        return {task.text_input: text}
    values = from_text(text)
    if not isinstance(values, dict):
        raise BadRequest("inputs: write them as YAML, one `name: value` a line", param="inputs")
    check_json(values, "the inputs")
    return values


def _to(name: str, project: str | None) -> Response:
    return RedirectResponse(
        f"/tasks/{quote(name, safe='')}" + (f"?{urlencode({'project': project})}" if project else ""), 303
    )
