"""The documents of collections over REST: listed, read, deleted. What comes in is in `documents_in.py`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from loopwright.api.asking import Asker, House, Owner, actor
from loopwright.core.errors import BadRequest
from loopwright.retrieval.collection import Origin, State
from loopwright.retrieval.reading import Which

router = APIRouter(prefix="/api")
DocumentId = Annotated[int, Path(ge=1, le=2**62)]
OfState = Annotated[State | None, Query(description="`waiting` and `failed` also of newer forms of ready ones.")]
OfLabel = Annotated[str | None, Query(description="With this label.", max_length=100)]
OfMetadata = Annotated[
    str | None, Query(description='With these members: a JSON object, `{"year": 2026}`.', max_length=10_000)
]
OfPrefix = Annotated[str, Query(description="Whose names begin so.", max_length=1_000)]
_PIECE = 100_000
"""Characters of a text that are given at once by default."""


def which_of(state: State | None, origin: Origin | None, label: str | None, metadata: str | None, prefix: str) -> Which:
    """The documents that a query names.

    Raises:
        BadRequest: `metadata` is no object.
    """
    members: Any = {}
    if metadata is not None:
        try:
            members = json.loads(metadata)
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict) or "\\u0000" in metadata or "\x00" in metadata:
            raise BadRequest('metadata: a JSON object, e.g. {"year": 2026}', param="metadata")
    return Which(state=state, origin=origin, label=label, metadata=members, prefix=prefix)


@router.get("/collections/{name}/documents", tags=["collections"])
async def list_documents(
    app: House,
    who: Asker,
    project_id: Owner,
    name: str,
    *,
    state: OfState = None,
    origin: Origin | None = None,
    label: OfLabel = None,
    metadata: OfMetadata = None,
    prefix: OfPrefix = "",
    after: Annotated[str, Query(description="The `next` of the page before.", max_length=1_000)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Documents by name: those without labels, and those with one of the key's."""
    store = app.workshop.collections
    found = await store.get(project_id, name)
    which = which_of(state, origin, label, metadata, prefix)
    rows = await store.documents(found, which, who.labels, after=after, limit=limit + 1)
    shown = [each.shown() for each in rows[:limit]]
    return {"documents": shown, "next": shown[-1]["name"] if len(rows) > limit else None}


@router.get("/collections/{name}/documents/{document_id}", tags=["collections"])
async def get_document(app: House, who: Asker, project_id: Owner, name: str, document_id: DocumentId) -> dict[str, Any]:
    """One document, without its text."""
    store = app.workshop.collections
    found = await store.get(project_id, name)
    return {"document": (await store.document(found, document_id, who.labels)).shown()}


@router.get("/collections/{name}/documents/{document_id}/text", tags=["collections"])
async def get_text(
    app: House,
    who: Asker,
    project_id: Owner,
    name: str,
    document_id: DocumentId,
    *,
    start: Annotated[int, Query(ge=0, le=2**31, description="The first character wanted.")] = 0,
    length: Annotated[int, Query(ge=1, le=10_000_000, description="Characters, at most.")] = _PIECE,
) -> dict[str, Any]:
    """What a document says, as it was read: passages stand in it from `start` up to `end`."""
    store = app.workshop.collections
    found = await store.get(project_id, name)
    document = await store.document(found, document_id, who.labels)
    content = await store.content(document)
    return {
        "document": document.shown(),
        "text": content.text[start : start + length],
        "start": start,
        "characters": len(content.text),
        "breaks": [*content.breaks],
    }


@router.delete("/collections/{name}/documents/{document_id}", tags=["collections"])
async def delete_document(
    app: House, who: Asker, project_id: Owner, name: str, document_id: DocumentId, request: Request
) -> dict[str, Any]:
    """Take a document out, for ever."""
    store = app.workshop.collections
    found = await store.get(project_id, name)
    document = await store.document(found, document_id, who.labels)
    subject, told = f"collection {found.name}", {"document": document.name[:200]}
    await app.audit.note(actor(who, request), "document.delete", subject, told, project_id=project_id)
    removed = await store.remove(found, [document.id], who.labels)
    await app.workshop.intake.let_go(removed)
    return {"deleted": removed.documents}


@router.delete("/collections/{name}/documents", tags=["collections"])
async def delete_documents(
    app: House,
    who: Asker,
    project_id: Owner,
    name: str,
    request: Request,
    *,
    state: OfState = None,
    origin: Origin | None = None,
    label: OfLabel = None,
    metadata: OfMetadata = None,
    prefix: OfPrefix = "",
) -> dict[str, Any]:
    """Take out, for ever, all documents that are all of this: whatever is about somebody, say."""
    store = app.workshop.collections
    found = await store.get(project_id, name)
    which = which_of(state, origin, label, metadata, prefix)
    if which.all:
        raise BadRequest("say which: state, origin, label, metadata or prefix; `DELETE` the collection to remove all")
    subject, told = f"collection {found.name}", dict(request.query_params)
    await app.audit.note(actor(who, request), "document.delete", subject, told, project_id=project_id)
    removed = await store.remove_all(found, which, who.labels)
    await app.workshop.intake.let_go(removed)
    return {"deleted": removed.documents}
