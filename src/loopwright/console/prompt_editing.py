"""The editor of prompts: the text of a file, what it renders to and weighs and how it differs, while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.forms import body_of, check_same_site
from loopwright.console.key_ring import by
from loopwright.console.prompt_pages import project_of, scope_of
from loopwright.console.shell import Shell, View, Visit, check_token
from loopwright.core.errors import BadRequest, LoopwrightError, Refused, Unauthenticated
from loopwright.prompts.definition import Definition
from loopwright.prompts.difference import Difference, difference
from loopwright.prompts.fault import Fault
from loopwright.prompts.files import parsed, written
from loopwright.prompts.patterns import NAMES, pattern
from loopwright.prompts.version import Version, check_name
from loopwright.prompts.weight import weigh

_BODY: Final = 2_000_000


class PromptEditing:
    """Everybody may try; administrators push."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """A new prompt, a new version, and the draft as scripts look at it."""
        return [
            *self._shell.page("/new-prompt", "prompt_edit.html", self._new),
            self._shell.action("/new-prompt", self._create),
            *self._shell.page("/prompts/{name}/edit", "prompt_edit.html", self._edit),
            self._shell.action("/prompts/{name}/edit", self._push),
            self._shell.route("/prompt-draft", self._draft, methods=["POST"], page=False),
        ]

    async def _new(self, visit: Visit) -> View:
        found = pattern(visit.asked("pattern") or NAMES[0])
        project = await project_of(self._app, visit)
        looked = await self._looked(visit, found.text, None)
        return self._view(visit, project.name, None, found.text, looked, drawn={"pattern": found.name})

    async def _edit(self, visit: Visit) -> View:
        project = await project_of(self._app, visit)
        name = visit.request.path_params["name"]
        base = await self._app.workshop.prompts.version(project.id, name, visit.asked("ref") or "latest")
        text = written(base.definition, ".yaml")
        drawn = {"scope": scope_of(visit, project)}
        return self._view(visit, project.name, base, text, await self._looked(visit, text, base), drawn=drawn)

    def _view(
        self,
        visit: Visit,
        project: str,
        base: Version | None,
        text: str,
        looked: Mapping[str, Any],
        *,
        drawn: Mapping[str, Any],
    ) -> View:
        data = {
            "project": project,
            "name": None if base is None else base.name,
            "base": None if base is None else base.spoken,
            "text": text,
            **looked,
        }
        frame = {"patterns": NAMES, "pattern": None, "scope": "", "typed": {}, "refused": None, **drawn}
        return View(data=data, drawn={**frame, "may_push": visit.who.admin})

    async def _create(self, visit: Visit, form: dict[str, str]) -> Response:
        return await self._said(visit, form, None)

    async def _push(self, visit: Visit, form: dict[str, str]) -> Response:
        project = await project_of(self._app, visit)
        name = visit.request.path_params["name"]
        base = await self._app.workshop.prompts.version(project.id, name, form.get("base") or "latest")
        return await self._said(visit, form, base)

    async def _said(self, visit: Visit, form: dict[str, str], base: Version | None) -> Response:
        """Push what was written, or show it again with what is wrong, or only what it would be."""
        project, text, refused = await project_of(self._app, visit), form.get("text", ""), None
        if form.get("what") == "push":
            try:
                return await self._pushed(visit, form, base)
            except LoopwrightError as error:
                refused = error
        looked = await self._looked(visit, text, base)
        drawn = {"typed": form, "refused": refused, "scope": scope_of(visit, project)}
        view = self._view(visit, project.name, base, text, looked, drawn=drawn)
        status = 200 if refused is None else refused.status
        return self._shell.html(visit, "prompt_edit.html", View(data=view.data, drawn=view.drawn, status=status))

    async def _pushed(self, visit: Visit, form: dict[str, str], base: Version | None) -> Response:
        if not visit.who.admin:
            raise Refused(f"key {visit.who.key_name!r} is not an administrator's: it may try, but not push")
        project = await project_of(self._app, visit)
        name = check_name(form.get("name", "").strip()) if base is None else base.name
        prompt = await asyncio.to_thread(parsed, form.get("text", ""), "")
        store, author = self._app.workshop.prompts, visit.who.key_name
        version, made = await store.pushed(
            project.id, name, prompt.document, author=author, note=form.get("note", "").strip()
        )
        if made:
            told: dict[str, object] = {"number": version.number, "sha": version.sha}
            await self._app.audit.note(by(visit), "prompt.push", f"prompt {name}", told, project_id=project.id)
        if label := form.get("label", "").strip():
            await store.label(project.id, name, label, version.number, author)
            told = {"label": label, "number": version.number}
            await self._app.audit.note(by(visit), "prompt.label", f"prompt {name}", told, project_id=project.id)
        await self._app.workshop.held_prompts.load()
        scope = scope_of(visit, project)
        return RedirectResponse(
            f"/prompts/{quote(name, safe='')}{scope}{'&' if scope else '?'}ref={version.number}", 303
        )

    async def _draft(self, request: Request) -> Response:
        """What a text would be, for the script that asks while it is written."""
        check_same_site(request.headers, request.url.netloc)
        visit = self._shell.visit(request)
        if visit is None:
            raise Unauthenticated("the session is over: sign in again")
        check_token(visit, request.headers.get("x-csrf-token", ""))
        said = _read(await body_of(request, _BODY))
        base = None
        if said.name is not None:
            project = await project_of(self._app, visit)
            base = await self._app.workshop.prompts.version(project.id, said.name, said.base)
        return Response(msgspec.json.encode(await self._looked(visit, said.text, base)), media_type="application/json")

    async def _looked(self, visit: Visit, text: str, base: Version | None) -> dict[str, Any]:
        """What a text is: its problem, or its messages with its own examples, their weight, and what changed."""
        out: dict[str, Any] = {"problem": None, "messages": [], "invented": [], "weights": [], "diff": None}
        try:
            prompt, messages, invented, changed = await asyncio.to_thread(_tried, text, base)
        except BadRequest as error:
            return {**out, "problem": error.message}
        weights = await weigh(messages, self._app.scales(visit.who))
        return {
            **out,
            "sha": prompt.sha,
            "messages": [{"role": each["role"], "content": _plain(each.get("content"))} for each in messages],
            "invented": list(invented),
            "weights": [each.shown() for each in weights],
            "diff": None if changed is None else changed.shown(),
        }


class _Draft(msgspec.Struct):
    """What the script sends."""

    text: str
    name: str | None = None
    base: str | None = None


_DRAFT: Final = msgspec.json.Decoder(_Draft)


def _read(raw: bytes) -> _Draft:
    try:
        return _DRAFT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the draft cannot be read: {error}") from None


def _tried(
    text: str, base: Version | None
) -> tuple[Definition, list[dict[str, Any]], tuple[str, ...], Difference | None]:
    """A text parsed, rendered with its own examples, and compared.

    Raises:
        BadRequest: it cannot be; names the line.
    """
    prompt = parsed(text, "")
    values, invented = prompt.sample()
    try:
        messages = prompt.render(values)
    except Fault as fault:
        raise fault.refused("with its examples") from None
    changed = None if base is None else difference(base.definition, prompt.document, base.spoken, "this text")
    return prompt, messages, invented, changed


def _plain(content: Any) -> str:
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()
