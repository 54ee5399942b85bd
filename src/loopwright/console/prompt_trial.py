"""Two versions of a prompt side by side: what changed, and what a model answers to each, through our own road."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from starlette.responses import Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.conversation import answered
from loopwright.console.overview import chat_models
from loopwright.console.prompt_pages import project_of, scope_of
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.chat import Delta, answering
from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.core.money import usd
from loopwright.kit.ids import Ids
from loopwright.kit.wire import parse
from loopwright.prompts.difference import difference
from loopwright.prompts.shown import version_shown
from loopwright.prompts.version import Version

_CLIENT: Final = "loopwright console"
_NUMBERS: Final[Mapping[str, type[int | float]]] = {"temperature": float, "max_tokens": int, "seed": int}


class PromptTrial:
    """Each side is a call of its own, on record as the visitor's, with the version it is of."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._ids = Ids()

    def routes(self) -> list[Route]:
        """The page, and the run."""
        return [
            *self._shell.page("/prompts/{name}/compare", "prompt_compare.html", self._page),
            self._shell.action("/prompts/{name}/compare", self._run),
        ]

    async def _page(self, visit: Visit) -> View:
        return await self._view(visit, visit.asked("a"), visit.asked("b"), {})

    async def _view(self, visit: Visit, a: str | None, b: str | None, form: Mapping[str, str]) -> View:
        name, project = visit.request.path_params["name"], await project_of(self._app, visit)
        store = self._app.workshop.prompts
        versions = await store.versions(project.id, name)
        after = await store.version(project.id, name, b or "latest")
        before = await store.version(project.id, name, a or str(max(after.number - 1, 1)))
        found = await asyncio.to_thread(difference, before.definition, after.definition, before.spoken, after.spoken)
        models = chat_models(self._app, visit)
        typed = {"model": models[0] if models else "", "max_tokens": "256", "variables": _sample(before, after), **form}
        data = {
            "project": project.name,
            "a": version_shown(before),
            "b": version_shown(after),
            "diff": found.shown(),
            "models": models,
            "form": typed,
            "answers": [],
        }
        drawn = {
            "numbers": [each.number for each in versions],
            "scope": scope_of(visit, project),
            "problem": None,
        }
        return View(data=data, drawn=drawn)

    async def _run(self, visit: Visit, form: dict[str, str]) -> Response:
        """Ask a model both, and show what it answers."""
        view = await self._view(visit, form.get("a") or None, form.get("b") or None, form)
        project, name = await project_of(self._app, visit), visit.request.path_params["name"]
        store = self._app.workshop.prompts
        problem, answers = None, []
        try:
            body, values = _asked(form)
            sides = [await store.version(project.id, name, str(view.data[side]["number"])) for side in ("a", "b")]
            answers = await asyncio.gather(*(self._answer(visit, side, body, values) for side in sides))
        except LoopwrightError as error:
            problem = error
        shown = View(
            data={**view.data, "answers": list(answers)},
            drawn={**view.drawn, "problem": problem},
            status=200 if problem is None else problem.status,
        )
        return self._shell.html(visit, "prompt_compare.html", shown)

    async def _answer(
        self, visit: Visit, version: Version, body: Mapping[str, Any], values: Mapping[str, Any]
    ) -> dict[str, Any]:
        started = time.perf_counter()
        answer: dict[str, Any] = {
            "version": version.spoken,
            "call_id": None,
            "turns": [],
            "error": None,
            "cost_usd": None,
        }
        answer |= {"tokens": None, "messages": []}
        try:
            messages = await asyncio.to_thread(version.render, _fitting(version, values))
            answer["messages"] = messages
            raw = msgspec.json.encode({**body, "messages": messages})
            call_id, now = self._ids.new(), time.time_ns()
            question = parse(raw, "chat", call_id=call_id, who=visit.who, started_ns=now, client=_CLIENT)
            answer["call_id"] = call_id
            delta = Delta()
            async with answering(self._app.chat, replace(question, prompt_version=version.spoken)) as deltas:
                async for piece in deltas:
                    delta = piece
            answer["turns"] = answered("chat", msgspec.json.decode(delta.raw))
            answer["cost_usd"] = None if delta.cost_nano is None else usd(delta.cost_nano)
            answer["tokens"] = None if delta.usage is None else [delta.usage.input, delta.usage.output]
        except LoopwrightError as error:
            answer["error"] = error.message
        return {**answer, "latency_ms": round((time.perf_counter() - started) * 1000, 1)}


def _asked(form: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and parameters, and the variables.

    Raises:
        BadRequest: no model, a parameter that is no number, variables that are no JSON object.
    """
    body: dict[str, Any] = {"model": form.get("model", "").strip()}
    if not body["model"]:
        raise BadRequest("choose a model", param="model")
    for name, kind in _NUMBERS.items():
        text = form.get(name, "").strip()
        try:
            body |= {name: kind(text)} if text else {}
        except ValueError:
            raise BadRequest(f"{name} {text[:40]!r} is not a number", param=name) from None
    try:
        values = msgspec.json.decode(form.get("variables", "").strip() or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"variables: this is no JSON: {error}", param="variables") from None
    if not isinstance(values, dict):
        raise BadRequest('variables: write an object: {"name": "value"}', param="variables")
    return body, values


def _fitting(version: Version, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that this side declares: the other may have more."""
    return {name: value for name, value in values.items() if name in version.variables}


def _sample(*versions: Version) -> str:
    """Examples of the variables of all sides, as JSON to edit."""
    values: dict[str, Any] = {}
    for version in versions:
        values |= version.prompt.sample()[0]
    return msgspec.json.format(msgspec.json.encode(values), indent=2).decode()
