"""What comes into collections over REST: files, records, what URLs give; and which files are wanted at all."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import pydantic
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import JSONResponse

from loopwright.api.asking import Asker, House, Owner, actor
from loopwright.api.progress import Told, acted
from loopwright.app import App
from loopwright.core.errors import BadRequest, TooLarge
from loopwright.core.who import Principal
from loopwright.kit.multipart import Form, receive
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.intake import Offer, Taken
from loopwright.retrieval.offering import Offering, checked_name
from loopwright.retrieval.reading import Which

router = APIRouter(prefix="/api")
_MOST: Final = 10_000
"""Records or small files of one request."""
_STEP: Final = 200
"""Documents of one transaction."""
_FETCHED: Final = 4
"""URLs that are fetched at once for one request."""
Labels = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=100)]
Metadata = dict[str, JsonValue]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    labels: Labels | None = Field(default=None, description="Else those of the request.")
    metadata: Metadata = Field(default={}, description="Over that of the request.")


class NewRecord(_Said):
    """A text by its id; one whose id is there takes its place."""

    id: str = Field(max_length=1_000)
    text: str
    title: str = Field(default="", max_length=1_000)


class NewFile(_Said):
    """A small file; large ones are sent as forms."""

    name: str = Field(max_length=1_000)
    data: str = Field(description="Its bytes in base64.")


class NewDocuments(BaseModel):
    """Documents to take in."""

    model_config = ConfigDict(extra="forbid")

    records: list[NewRecord] = Field(default=[], max_length=_MOST)
    files: list[NewFile] = Field(default=[], max_length=_MOST)
    urls: list[Annotated[str, Field(max_length=2_000)]] = Field(default=[], max_length=100)
    labels: Labels = Field(default=[], description="Who may find them: keys with one of these; none is everybody.")
    metadata: Metadata = {}


class Known(_Said):
    """A file that somebody has."""

    name: str = Field(max_length=1_000)
    sha: str = Field(max_length=64, description="SHA-256 of its bytes, in hex.")


class Having(BaseModel):
    """Files that somebody has."""

    model_config = ConfigDict(extra="forbid")

    documents: list[Known] = Field(max_length=_MOST)
    labels: Labels = []
    metadata: Metadata = {}


class Keeping(BaseModel):
    """Files that are still there."""

    model_config = ConfigDict(extra="forbid")

    keep: list[Annotated[str, Field(max_length=1_000)]] = Field(max_length=1_000_000, min_length=1)
    prefix: str = Field(default="", max_length=1_000, description="Only documents whose names begin so are looked at.")


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Its schema without references: those of an extra part of our document would lead nowhere."""
    schema = model.model_json_schema()
    named = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            reference = node.get("$ref")
            if reference is not None:
                return resolved(named[reference.rpartition("/")[2]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(each) for each in node] if isinstance(node, list) else node

    found: dict[str, Any] = resolved(schema)
    return found


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _inlined(NewDocuments)},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "name": {"type": "string", "description": "Else the file's own."},
                        "labels": {"type": "string", "description": "With commas between."},
                        "metadata": {"type": "string", "description": "A JSON object."},
                    },
                }
            },
        },
    }
}


@router.post("/collections/{name}/documents", tags=["collections"], status_code=202, openapi_extra=_BODY)
async def add_documents(app: House, who: Asker, project_id: Owner, name: str, request: Request) -> Response:
    """Take documents in: a form with one `file`, or JSON with `records`, small `files` and `urls`.

    What is new or other than it was waits to be read; the answer says of each whether it was added, changed, relabelled
    or unchanged, and why one was refused. With `Accept: application/x-ndjson` progress is told line by line.
    """
    collection = await app.workshop.collections.get(project_id, name)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
        taken = await _form(app, who, collection, request)
        return JSONResponse(await _told(app, who, request, collection, [taken]), 202)
    try:
        new = NewDocuments.model_validate_json(await _body(request, app.settings.server.body_limit))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{where or 'the body'}: {first['msg']}", param=where or None) from None
    if not (new.records or new.files or new.urls):
        raise BadRequest("records, files or urls: at least one")

    async def act(told: Told) -> dict[str, Any]:
        taken = await _taken(app, who, collection, new, told)
        return await _told(app, who, request, collection, taken)

    return await acted(request, act, status=202)


@router.post("/collections/{name}/documents/lacking", tags=["collections"])
async def lacking_documents(app: House, who: Asker, project_id: Owner, name: str, having: Having) -> dict[str, Any]:
    """Which of these files are wanted: those not here, other than they were, or to be read otherwise than they were."""
    collection = await app.workshop.collections.get(project_id, name)
    offering = Offering(app.workshop.intake, who)
    offers = [
        offering.known(
            each.name, each.sha, having.labels if each.labels is None else each.labels, having.metadata | each.metadata
        )
        for each in having.documents
    ]
    return {"lacking": await app.workshop.intake.lacking(collection, offers, who)}


@router.post("/collections/{name}/documents/prune", tags=["collections"])
async def prune_documents(
    app: House, who: Asker, project_id: Owner, name: str, keeping: Keeping, request: Request
) -> dict[str, Any]:
    """Take out every document that came as a file and is not among those to keep, for ever."""
    store = app.workshop.collections
    collection = await store.get(project_id, name)
    keep = [checked_name(each) for each in keeping.keep]
    which = Which(origin="file", prefix=keeping.prefix)
    removed = await store.remove_all(collection, which, who.labels, keep=keep)
    await app.workshop.intake.let_go(removed)
    if removed.documents:
        subject, told = f"collection {collection.name}", {"pruned": str(removed.documents), "prefix": keeping.prefix}
        await app.audit.note(actor(who, request), "document.delete", subject, told, project_id=project_id)
    return {"deleted": removed.documents}


async def _form(app: App, who: Principal, collection: Collection, request: Request) -> Taken:
    intake = app.workshop.intake
    limit = app.settings.collections.upload_limit
    form = await receive(request, intake.blobs, limit=limit, patience=app.settings.server.body_timeout)
    if form.filename is None:
        raise BadRequest("file: is required", param="file")
    try:
        offer = await asyncio.to_thread(
            Offering(intake, who).stored,
            form.fields.get("name") or form.filename,
            form.blob,
            form.size,
            [label for label in form.fields.get("labels", "").split(",") if label.strip()],
            _object(form),
        )
    except BaseException:
        await intake.drop(form.blob)
        raise
    [taken] = await intake.take(collection, [offer], who)
    if offer.data is not None:
        await intake.drop(form.blob)
    return taken


async def _taken(app: App, who: Principal, collection: Collection, new: NewDocuments, told: Told) -> Sequence[Taken]:
    intake = app.workshop.intake
    offering = Offering(intake, who)

    def said(each: _Said) -> tuple[Sequence[str], Mapping[str, Any]]:
        return new.labels if each.labels is None else each.labels, new.metadata | each.metadata

    def offers() -> list[Offer]:
        records = [offering.record(each.id, each.text, each.title, *said(each)) for each in new.records]
        return [*records, *(offering.file(each.name, each.data, *said(each)) for each in new.files)]

    labels = offering.labels(new.labels)
    made, taken = await asyncio.to_thread(offers), list[Taken]()
    for start in range(0, len(made), _STEP):
        taken += await intake.take(collection, made[start : start + _STEP], who)
        told("taking", min(start + _STEP, len(made)), len(made))
    turns, done = asyncio.Semaphore(_FETCHED), 0

    async def fetched(url: str) -> Taken:
        nonlocal done
        async with turns:
            try:
                found = await intake.fetching.fetch(url)
                offer = await asyncio.to_thread(offering.fetched, found, labels, new.metadata)
                [one] = await intake.take(collection, [offer], who)
            except BadRequest as error:
                one = Taken(name=url, outcome="refused", reason=error.message)
            done += 1
            told("fetching", done, len(new.urls))
            return one

    for url in new.urls:
        intake.fetching.check(url)  # what nobody may fetch is refused before anything is fetched
    return [*taken, *await asyncio.gather(*map(fetched, dict.fromkeys(new.urls)))]


async def _told(
    app: App, who: Principal, request: Request, collection: Collection, taken: Sequence[Taken]
) -> dict[str, Any]:
    counts = Counter(each.outcome for each in taken)
    if counts.keys() - {"unchanged", "refused"}:
        told: dict[str, object] = {outcome: str(count) for outcome, count in counts.items()}
        subject = f"collection {collection.name}"
        await app.audit.note(actor(who, request), "document.add", subject, told, project_id=collection.project_id)
    return {"documents": [each.shown() for each in taken], "counts": dict(counts)}


async def _body(request: Request, limit: int) -> bytes:
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > limit:
            raise TooLarge(f"the request body is over the limit of {limit:,} bytes (server.body_limit)")
    return bytes(found)


def _object(form: Form) -> dict[str, Any]:
    try:
        found = json.loads(form.fields.get("metadata") or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadRequest("metadata: a JSON object", param="metadata")
    return found
