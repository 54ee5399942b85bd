"""Collections over REST: made, listed, changed, embedded anew, deleted. Their documents are in `documents.py`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, Seen, actor
from loopwright.app import App
from loopwright.core.errors import Conflict, Refused
from loopwright.core.who import Principal
from loopwright.retrieval import embedders
from loopwright.retrieval.collection import Chunking
from loopwright.retrieval.intake import SMALL

router = APIRouter(prefix="/api")


class NewCollection(BaseModel):
    """An empty collection."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    description: str = Field(default="", max_length=2_000)
    embedder: str | None = Field(
        default=None, max_length=200, description="The model its vectors come from; by default the house's."
    )
    chunking: dict[str, JsonValue] = Field(
        default={}, description='How documents are cut: `{"by": "recursive", "tokens": 200, "overlap": 20}`.'
    )
    search: dict[str, JsonValue] = Field(default={}, description="Options of queries that say nothing.")


class ChangedCollection(BaseModel):
    """What is to be said of it from now on; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, max_length=100)
    description: str | None = Field(default=None, max_length=2_000)
    chunking: dict[str, JsonValue] | None = Field(default=None, description="Of what is read from now on.")
    search: dict[str, JsonValue] | None = None
    embedder: str | None = Field(
        default=None, max_length=200, description="Only the one it has: another means `POST …/embed`."
    )


class Anew(BaseModel):
    """With which model."""

    model_config = ConfigDict(extra="forbid")

    embedder: str = Field(max_length=200)


@router.get("/collections", tags=["collections"])
async def list_collections(
    app: House,
    project_id: Seen,
    *,
    after: Annotated[str, Query(description="The `next` of the page before.", max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """Collections by name."""
    found = await app.workshop.collections.list(project_id, after=after, limit=limit + 1)
    rows = [each.shown() for each in found[:limit]]
    place = f"{rows[-1]['name']}/{rows[-1]['id']}" if len(found) > limit else None
    return {"collections": rows, "next": place}


@router.post("/collections", tags=["collections"], status_code=201)
async def create_collection(
    app: House, who: Asker, project_id: Owner, new: NewCollection, request: Request
) -> dict[str, Any]:
    """An empty collection. It remembers its embedder: vectors of two models never meet."""
    made = await app.workshop.collections.create(
        project_id,
        new.name,
        embedder=embedder_of(app, who, new.embedder),
        description=new.description,
        chunking=Chunking.of(new.chunking),
        search=new.search,
    )
    told = {"embedder": made.embedder}
    await app.audit.note(
        actor(who, request), "collection.create", f"collection {made.name}", told, project_id=project_id
    )
    return {"collection": made.shown()}


@router.get("/collections/{name}", tags=["collections"])
async def get_collection(app: House, project_id: Owner, name: str) -> dict[str, Any]:
    """One collection, and how far it is."""
    found = await app.workshop.collections.get(project_id, name)
    progress = await app.workshop.collections.progress(found)
    together = app.settings.server.body_limit // 2  # base64 is a third more, and names and metadata come on top
    limits = {
        "file_bytes": app.settings.collections.upload_limit,
        "small_bytes": min(SMALL, together),
        "together_bytes": together,
    }
    return {"collection": found.shown(), "progress": progress.shown(), "limits": limits}


@router.patch("/collections/{name}", tags=["collections"])
async def change_collection(
    app: House, who: Asker, project_id: Owner, name: str, new: ChangedCollection, request: Request
) -> dict[str, Any]:
    """Change what is said of a collection. How documents are cut holds for those that come, or come again."""
    found = await app.workshop.collections.get(project_id, name)
    if new.embedder is not None and new.embedder != found.embedder:
        raise Conflict(
            f"collection {found.name!r} has vectors of {found.embedder!r}, and those of {new.embedder[:80]!r} cannot"
            f" stand among them: `loopwright collections embed {found.name} --embedder …` (POST …/embed) embeds all of it"
            " anew while it is searched as it is",
            param="embedder",
        )
    changed = await app.workshop.collections.change(
        found,
        name=new.name,
        description=new.description,
        chunking=None if new.chunking is None else Chunking.of(new.chunking, found.chunking),
        search=new.search,
    )
    told = {key: value for key, value in new.model_dump().items() if value is not None and key != "search"}
    await app.audit.note(
        actor(who, request), "collection.change", f"collection {found.name}", told, project_id=project_id
    )
    return {"collection": changed.shown()}


@router.delete("/collections/{name}", tags=["collections"])
async def delete_collection(app: House, who: Asker, project_id: Owner, name: str, request: Request) -> dict[str, Any]:
    """Remove a collection with all that is in it, for ever. Who may not see all its documents may not."""
    found = await app.workshop.collections.get(project_id, name)
    if who.labels is not None:
        raise Refused(f"key {who.key_name!r} sees documents by their labels, and may not delete a whole collection")
    told = {"documents": str(found.documents)}
    await app.audit.note(actor(who, request), "collection.delete", f"collection {name}", told, project_id=project_id)
    await app.workshop.intake.let_go(await app.workshop.collections.delete(found))
    return {"name": found.name, "deleted": True}


@router.get("/collections/{name}/progress", tags=["collections"])
async def get_progress(app: House, project_id: Owner, name: str) -> dict[str, Any]:
    """How many documents wait, can be found and failed, and how far embedding anew is."""
    found = await app.workshop.collections.get(project_id, name)
    return (await app.workshop.collections.progress(found)).shown()


@router.post("/collections/{name}/embed", tags=["collections"], status_code=202)
async def embed_collection(
    app: House, who: Asker, project_id: Owner, name: str, new: Anew, request: Request
) -> dict[str, Any]:
    """Embed all of it anew with another model, in the background; it is searched as it is until that is done."""
    store = app.workshop.collections
    found = await store.get(project_id, name)
    model = embedder_of(app, who, new.embedder)
    told = {"from": found.embedder, "to": model}
    await app.audit.note(actor(who, request), "collection.embed", f"collection {name}", told, project_id=project_id)
    changed = await store.embed(found, model)
    await app.workshop.intake.wake()
    return {"collection": changed.shown(), "progress": (await store.progress(changed)).shown()}


def embedder_of(app: App, who: Principal, name: str | None) -> str:
    """A model that embeds and that `who` may call, by its name; by default the house's. See `retrieval.embedders`."""
    able = [each for each, target in app.targets.items() if "embeddings" in target.operations]
    return embedders.embedder_of(who, name, able=able, default=app.settings.collections.embedder)
