"""The pages of collections: all of them, and one with its documents, what is read now, its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.access.projects import Project
from loopwright.app import App
from loopwright.console.key_ring import by
from loopwright.console.prompt_pages import project_of, scope_of
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound, Refused
from loopwright.retrieval.collection import STATES, Chunking, Collection, State
from loopwright.retrieval.embedders import embedder_of
from loopwright.retrieval.reading import Progress, Which

_MOST: Final = 200
_PAGE: Final = 50
_BY: Final = ("recursive", "headings", "sentences")


class CollectionPages:
    """Everybody sees and fills the collections of their project; administrators see all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one collection, and what can be done to it."""
        return [
            *self._shell.page("/collections", "collections.html", self._list),
            self._shell.action("/collections", self._create),
            self._shell.action("/collections/{name}/settings", self._change),
            self._shell.action("/collections/{name}/embed", self._embed),
            self._shell.action("/collections/{name}/delete", self._delete),
            *self._shell.page("/collections/{name}", "collection.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        store = self._app.workshop.collections
        names = {project.id: project.name for project in await self._app.projects.list()}
        found = await store.list(visit.project_id, after=visit.asked("after") or "", limit=_MOST + 1)
        page = found[:_MOST]
        states = await store.states([each.id for each in page])
        rows = [
            {**each.shown(), "project": names.get(each.project_id, ""), **states.get(each.id, {}), "state": ""}
            for each in page
        ]
        for row in rows:
            row["state"] = _state(row)
        onward = f"{rows[-1]['name']}/{rows[-1]['id']}" if len(found) > _MOST else None
        return View(
            data={"collections": rows, "next": onward},
            drawn={"embedders": able(self._app, visit), "by": _BY, "problem": None, "typed": {}},
        )

    async def _create(self, visit: Visit, form: dict[str, str]) -> Response:
        project = await project_of(self._app, visit)
        try:
            embedder = embedder_of(
                visit.who,
                form.get("embedder", "").strip() or None,
                able=embedding(self._app),
                default=self._app.settings.collections.embedder,
            )
            made = await self._app.workshop.collections.create(
                project.id,
                form.get("name", "").strip(),
                embedder=embedder,
                description=form.get("description", ""),
                chunking=_chunking(form, None),
            )
        except LoopwrightError as error:
            view = await self._list(visit)
            drawn = {**view.drawn, "problem": error.message, "typed": form}
            return self._shell.html(visit, "collections.html", View(data=view.data, drawn=drawn, status=error.status))
        await self._noted(visit, "collection.create", made, {"embedder": made.embedder})
        return RedirectResponse(address(made.name) + scope_of(visit, project), 303)

    async def _one(self, visit: Visit) -> View:
        return await collection_view(self._app, visit)

    async def _change(self, visit: Visit, form: dict[str, str]) -> Response:
        project, found = await opened(self._app, visit)
        try:
            changed = await self._app.workshop.collections.change(
                found,
                description=form.get("description", ""),
                chunking=_chunking(form, found.chunking),
                search=_search(form.get("search", "")),
            )
        except LoopwrightError as error:
            return await again(self._shell, visit, error, form)
        told = {"description": changed.description[:200], "chunking": json.dumps(changed.chunking.shown())}
        await self._noted(visit, "collection.change", found, told)
        return RedirectResponse(f"{address(changed.name)}{scope_of(visit, project)}#settings", 303)

    async def _embed(self, visit: Visit, form: dict[str, str]) -> Response:
        project, found = await opened(self._app, visit)
        model = embedder_of(visit.who, form.get("embedder", "").strip() or None, able=embedding(self._app))
        await self._noted(visit, "collection.embed", found, {"from": found.embedder, "to": model})
        await self._app.workshop.collections.embed(found, model)
        await self._app.workshop.intake.wake()
        return RedirectResponse(address(found.name) + scope_of(visit, project), 303)

    async def _delete(self, visit: Visit, _form: dict[str, str]) -> Response:
        _, found = await opened(self._app, visit)
        if visit.who.labels is not None:
            raise Refused(
                f"key {visit.who.key_name!r} sees documents by their labels, and may not delete a whole collection"
            )
        await self._noted(visit, "collection.delete", found, {"documents": str(found.documents)})
        await self._app.workshop.intake.let_go(await self._app.workshop.collections.delete(found))
        return RedirectResponse("/collections", 303)

    async def _noted(self, visit: Visit, what: str, collection: Collection, told: Mapping[str, object]) -> None:
        await self._app.audit.note(
            by(visit), what, f"collection {collection.name}", told, project_id=collection.project_id
        )


async def opened(app: App, visit: Visit) -> tuple[Project, Collection]:
    """The collection an address names, and whose it is.

    Raises:
        NotFound: there is none, or not for the visitor.
    """
    project = await project_of(app, visit)
    return project, await app.workshop.collections.get(project.id, visit.request.path_params["name"])


async def collection_view(app: App, visit: Visit) -> View:
    """The page of one collection."""
    project, found = await opened(app, visit)
    store = app.workshop.collections
    which = _which(visit)
    rows = await store.documents(found, which, visit.who.labels, after=visit.asked("after") or "", limit=_PAGE + 1)
    progress = await store.progress(found)
    data: dict[str, Any] = {
        "project": project.name,
        "collection": found.shown(),
        "progress": progress.shown(),
        "filter": {"state": which.state, "prefix": which.prefix or None, "label": which.label},
        "documents": [each.shown() for each in rows[:_PAGE]],
        "next": rows[_PAGE - 1].name if len(rows) > _PAGE else None,
    }
    limits = app.settings.collections
    drawn: dict[str, Any] = {
        "scope": {} if project.name == visit.who.project else {"project": project.name},
        "states": STATES,
        "by": _BY,
        "embedders": able(app, visit),
        "upload_limit": limits.upload_limit,
        "fetches": bool(limits.urls),
        "search": json.dumps(dict(found.search), indent=2, ensure_ascii=False) if found.search else "",
        "working": _working(progress),
        "problem": None,
        "typed": {},
    }
    return View(data=data, drawn=drawn)


async def again(shell: Shell, visit: Visit, error: LoopwrightError, typed: Mapping[str, str]) -> Response:
    """The page of a collection with what is wrong with a form of it."""
    view = await collection_view(shell.app, visit)
    drawn = {**view.drawn, "problem": error.message, "typed": dict(typed)}
    return shell.html(visit, "collection.html", View(data=view.data, drawn=drawn, status=error.status))


def number_of(visit: Visit, name: str) -> int:
    """The number that an address names.

    Raises:
        NotFound: it names something else.
    """
    text: str = visit.request.path_params[name]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFound(f"there is no {name.removesuffix('_id')} {text[:40]!r}", param="id")
    return int(text)


def address(name: str) -> str:
    """Where a collection is shown."""
    return f"/collections/{quote(name, safe='')}"


def embedding(app: App) -> list[str]:
    """Models that embed, by every name."""
    return [name for name, target in app.targets.items() if "embeddings" in target.operations]


def able(app: App, visit: Visit) -> list[str]:
    """Those that a visitor may choose."""
    return [name for name in embedding(app) if visit.who.may_call(name)]


def _which(visit: Visit) -> Which:
    asked = {name: visit.asked(name) for name in ("state", "prefix", "label")}
    if any("\x00" in (text or "") for text in (*asked.values(), visit.asked("after"))):
        raise BadRequest("a filter holds NUL", param="prefix")
    state: State | None = next((each for each in STATES if each == asked["state"]), None)
    if state is None and asked["state"] is not None:
        raise BadRequest(f"state is one of {', '.join(STATES)}", param="state")
    return Which(state=state, prefix=asked["prefix"] or "", label=asked["label"])


def _state(row: Mapping[str, Any]) -> str:
    """What is to be known of a collection first."""
    if row.get("embedding"):
        return "embedding"
    if row.get("waiting"):
        return "reading"
    return "ready" if row["documents"] else "empty"


def _working(progress: Progress) -> dict[str, Any] | None:
    """What is done now, for the eye; None where nothing is."""
    total = progress.ready + progress.waiting
    reading = {"done": progress.ready, "of": total, "share": progress.ready / total} if progress.waiting else None
    anew = progress.embedding
    filling = None if anew is None else {**anew.shown(), "share": anew.done / anew.of if anew.of else 0.0}
    return {"reading": reading, "filling": filling} if reading or filling else None


def _chunking(form: Mapping[str, str], base: Chunking | None) -> Chunking:
    given: dict[str, Any] = {}
    if way := form.get("by", "").strip():
        given["by"] = way
    for name in ("tokens", "overlap"):
        if text := form.get(name, "").strip():
            if not (text.isascii() and text.isdecimal() and len(text) < 9):
                raise BadRequest(f"chunking.{name}: {text[:40]!r} is not a whole number", param="chunking")
            given[name] = int(text)
    return Chunking.of(given, base)


def _search(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"search: this is no JSON: {str(error)[:200]}", param="search") from None
    if not isinstance(found, dict):
        raise BadRequest('search: an object of options, e.g. {"mode": "hybrid"}', param="search")
    return found
