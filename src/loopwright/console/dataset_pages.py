"""The pages of datasets: what there is, the versions, sides and slices of one, its examples, and files in and out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from loopwright.access.projects import Project
from loopwright.app import App
from loopwright.console.asking import tag_of, whole_of
from loopwright.console.forms import check_same_site
from loopwright.console.key_ring import by
from loopwright.console.prompt_pages import project_of, scope_of
from loopwright.console.shell import Shell, View, Visit, check_token
from loopwright.core.errors import BadRequest, LoopwrightError, Unauthenticated
from loopwright.datasets.dataset import SPLITS, DatasetVersion, side_of
from loopwright.datasets.example import Example
from loopwright.datasets.exports import ENDINGS, OUT_FORMATS, TYPES, out_format, pieces, shown
from loopwright.datasets.reading import Which
from loopwright.datasets.uploading import mode_of, upload_of
from loopwright.kit.multipart import Form, receive

_PAGE: Final = 50
_MOST: Final = 200
_CLIP: Final = 600
"""Characters of a text in a list."""
_ORIGINS: Final = ("import", "call", "correction", "synthetic")


class DatasetPages:
    """Everybody sees and fills the datasets of their project; administrators see all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one dataset, files in and out."""
        return [
            *self._shell.page("/datasets", "datasets.html", self._list),
            self._shell.route("/datasets/import", self._import, methods=["POST"]),
            self._shell.route("/datasets/{name}/export/{form}", self._export),
            *self._shell.page("/datasets/{name}", "dataset.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        names = {project.id: project.name for project in await self._app.projects.list()}
        found = await self._app.workshop.datasets.list(
            visit.project_id, after=visit.asked("after") or "", limit=_MOST + 1
        )
        rows = [{**each.shown(), "project": names.get(each.project_id)} for each in found[:_MOST]]
        data = {"datasets": rows, "next": rows[-1]["name"] if len(found) > _MOST else None}
        return View(data=data, drawn={"problem": None, "typed": {}, "splits": SPLITS, "project": None})

    async def _one(self, visit: Visit) -> View:
        project = await project_of(self._app, visit)
        return await self._view(visit, project, visit.request.path_params["name"])

    async def _view(self, visit: Visit, project: Project, name: str) -> View:
        store = self._app.workshop.datasets
        dataset = await store.get(project.id, name)
        versions = await store.versions(project.id, name)
        data: dict[str, Any] = {
            "project": project.name,
            "dataset": dataset.shown(),
            "versions": [each.shown() for each in versions],
            "version": None,
            "filter": {},
            "examples": [],
            "next": None,
        }
        drawn: dict[str, Any] = {
            "problem": None, "typed": {}, "splits": SPLITS, "origins": _ORIGINS, "formats": OUT_FORMATS, "rows": [],
            "scope": {} if project.name == visit.who.project else {"project": project.name},
            "input_schema": _pretty(dataset.input_schema), "output_schema": _pretty(dataset.output_schema),
        }  # fmt: skip
        if versions:
            await self._fill(
                visit, data, drawn, await store.version(project.id, name, visit.asked("version") or "latest")
            )
        return View(data=data, drawn=drawn)

    async def _fill(self, visit: Visit, data: dict[str, Any], drawn: dict[str, Any], version: DatasetVersion) -> None:
        """The part of a version that is asked for."""
        store, params = self._app.workshop.datasets, visit.request.query_params
        after = whole_of(params, "after", high=2**40 - 1) or 0
        split, tag, slice_, origin = (visit.asked(name) for name in ("split", "tag", "slice", "origin"))
        if any("\x00" in (text or "") for text in (tag, slice_, origin)):
            raise BadRequest("a filter holds NUL", param="tag")
        which = Which(split=side_of(split), tag=tag, slice=tag_of({"tag": slice_ or ""}), origin=origin)
        page = await store.page(version, which, after=after, limit=_PAGE)
        groups, largest = await store.groups(version)
        data |= {
            "version": version.shown(),
            "groups": groups,
            "largest_group": largest,
            "filter": {"split": split, "tag": tag, "slice": slice_, "origin": origin},
            "examples": [shown(each) for each in page.examples],
            "next": page.next,
        }
        drawn["rows"] = [_row(each) for each in page.examples]

    async def _export(self, request: Request) -> Response:
        visit = self._shell.visit(request)
        if visit is None:
            raise Unauthenticated("sign in at /sign-in")
        project = await project_of(self._app, visit)
        form = out_format(request.path_params["form"])
        store = self._app.workshop.datasets
        version = await store.version(project.id, request.path_params["name"], visit.asked("version") or "latest")
        split = side_of(visit.asked("split"))
        written = pieces(lambda: store.examples(version, split=split), form)
        first = await anext(written, b"")
        headers = {"content-disposition": f'attachment; filename="{version.name}-{version.number}.{ENDINGS[form]}"'}
        return StreamingResponse(_rest(first, written), media_type=TYPES[form], headers=headers)

    async def _import(self, request: Request) -> Response:
        """A file of a form, read as it comes; what is wrong with it stands above the form."""
        check_same_site(request.headers, request.url.netloc)
        visit = self._shell.visit(request)
        if visit is None:
            return RedirectResponse("/sign-in", 303)
        files, settings = self._app.batches.files, self._app.settings
        limit, patience = settings.datasets.upload_limit, settings.server.body_timeout
        form = await receive(request, files.blobs, limit=limit, patience=patience)
        try:
            check_token(visit, form.fields.pop("csrf", ""))
            project = await project_of(self._app, visit)
            name = form.fields.pop("name", "").strip()
            try:
                await self._brought(visit, project, name, form)
            except LoopwrightError as error:
                return await self._again(visit, project, name, form, error)
        finally:
            if form.blob:
                await files.drop(form.blob)
        return RedirectResponse(f"/datasets/{quote(name, safe='')}{scope_of(visit, project)}", 303)

    async def _brought(self, visit: Visit, project: Project, name: str, form: Form) -> None:
        if form.filename is None or not form.size:
            raise BadRequest("choose a file that is not empty", param="file")
        fields = _fields(form.fields)
        with self._app.batches.files.blobs.open(form.blob) as file:
            version = await self._app.workshop.datasets.import_(
                project.id,
                name,
                upload_of(fields, form.filename, file),
                author=visit.who.key_name,
                note=fields.get("note", ""),
                mode=mode_of(fields),
            )
        told = {"sha": version.sha, "examples": str(version.count)}
        await self._app.audit.note(by(visit), "dataset.version", version.ref, told, project_id=project.id)

    async def _again(self, visit: Visit, project: Project, name: str, form: Form, error: LoopwrightError) -> Response:
        """The page the form was on, with what is wrong."""
        there = name in await self._app.workshop.datasets.names(project.id)
        view = await self._view(visit, project, name) if there else await self._list(visit)
        lines = error.message.splitlines() or [""]
        drawn = {**view.drawn, "problem": {"what": lines[0], "rows": lines[1:]}, "typed": {"name": name, **form.fields}}
        template = "dataset.html" if there else "datasets.html"
        return self._shell.html(visit, template, View(data=view.data, drawn=drawn, status=error.status))


def _fields(typed: dict[str, str]) -> dict[str, str]:
    """The fields of an upload, from those of the page: columns are typed by their names, with commas between them."""
    fields = {name: value.strip() for name, value in typed.items() if value.strip()}
    columns: dict[str, Any] = {}
    for name in ("inputs", "slices"):
        if listed := [each.strip() for each in fields.pop(f"column_{name}", "").split(",") if each.strip()]:
            columns[name] = listed
    for name in ("expected", "id"):
        if named := fields.pop(f"column_{name}", ""):
            columns[name] = named
    return {**fields, "columns": json.dumps(columns)} if columns else fields


def _row(example: Example) -> dict[str, Any]:
    """An example for the eye."""
    return {
        "example": example,
        "inputs": [(name, _clipped(value)) for name, value in list(example.inputs.items())[:8]],
        "expected": None if example.expected is None else _clipped(example.expected),
        "seed": example.metadata.get("seed") if example.origin == "synthetic" else None,
    }


def _clipped(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _CLIP else text[:_CLIP] + " …"


def _pretty(schema: Any) -> str | None:
    return None if schema is None else json.dumps(schema, indent=2, ensure_ascii=False)


async def _rest(first: bytes, written: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in written:
        yield piece
