"""Datasets over REST: made, listed, read by pages, given out as files. What comes in is in `datasets_in.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import StreamingResponse

from loopwright.api.asking import Asker, House, Owner, Seen, actor
from loopwright.core.errors import BadRequest
from loopwright.datasets.dataset import DatasetVersion, Shares, side_of
from loopwright.datasets.example import Example, Origin
from loopwright.datasets.exports import ENDINGS, TYPES, OutFormat, pieces, shown
from loopwright.datasets.reading import Which, slice_of

router = APIRouter(prefix="/api")
Version = Annotated[str, Query(description="Its number, or `latest`.", max_length=20)]
Slice = Annotated[str | None, Query(description="name:value", max_length=300)]


class NewDataset(BaseModel):
    """An empty dataset."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    description: str = Field(default="", max_length=2_000)
    shares: dict[str, int] | None = Field(
        default=None, description='Percents for ever: `{"train": 80, "validation": 10, "test": 10}`.'
    )
    input_schema: dict[str, JsonValue] | None = Field(default=None, description="What every example's inputs keep.")
    output_schema: dict[str, JsonValue] | None = Field(default=None, description="What every reference keeps.")
    task: str | None = Field(default=None, description="Take the schemas of this task.", max_length=200)


@router.get("/datasets", tags=["datasets"])
async def list_datasets(
    app: House,
    project_id: Seen,
    *,
    after: Annotated[str, Query(description="The `next` of the page before.", max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """Datasets by name, each with its latest version."""
    found = await app.workshop.datasets.list(project_id, after=after, limit=limit + 1)
    rows = [dataset.shown() for dataset in found[:limit]]
    return {"datasets": rows, "next": rows[-1]["name"] if len(found) > limit else None}


@router.post("/datasets", tags=["datasets"], status_code=201)
async def create_dataset(
    app: House, who: Asker, project_id: Owner, new: NewDataset, request: Request
) -> dict[str, Any]:
    """An empty dataset. Importing into a name that is not there makes one, too."""
    inputs, outputs = stored(new.input_schema, "input_schema"), stored(new.output_schema, "output_schema")
    if new.task is not None:
        if inputs is not None or outputs is not None:
            raise BadRequest("task: either its schemas or your own", param="task")
        task = app.workshop.held_tasks.find(project_id, new.task)
        inputs, outputs = task.input_schema, task.output_schema
    made = await app.workshop.datasets.create(
        project_id,
        new.name,
        description=new.description.replace("\x00", ""),
        shares=None if new.shares is None else Shares.of(new.shares),
        input_schema=inputs,
        output_schema=outputs,
    )
    await app.audit.note(actor(who, request), "dataset.create", f"dataset {made.name}", {}, project_id=project_id)
    return {"dataset": made.shown()}


@router.get("/datasets/{name}", tags=["datasets"])
async def get_dataset(app: House, project_id: Owner, name: str) -> dict[str, Any]:
    """One dataset with its versions, newest first."""
    dataset = await app.workshop.datasets.get(project_id, name)
    versions = await app.workshop.datasets.versions(project_id, dataset.name)
    return {"dataset": dataset.shown(), "versions": [version.shown() for version in versions]}


@router.delete("/datasets/{name}", tags=["datasets"])
async def delete_dataset(app: House, who: Asker, project_id: Owner, name: str, request: Request) -> dict[str, Any]:
    """Remove a dataset with all its versions, for ever."""
    dataset = await app.workshop.datasets.get(project_id, name)
    await app.audit.note(actor(who, request), "dataset.delete", f"dataset {name}", {}, project_id=project_id)
    await app.workshop.datasets.delete(project_id, dataset.name)
    return {"name": dataset.name, "deleted": True}


@router.get("/datasets/{name}/versions/{version}", tags=["datasets"])
async def get_version(app: House, project_id: Owner, name: str, version: str) -> dict[str, Any]:
    """One version, with how many groups of near-duplicates its examples make."""
    found = await app.workshop.datasets.version(project_id, name, version)
    groups, largest = await app.workshop.datasets.groups(found)
    return {"version": found.shown(), "groups": groups, "largest_group": largest}


@router.get("/datasets/{name}/examples", tags=["datasets"])
async def list_examples(
    app: House,
    project_id: Owner,
    name: str,
    *,
    version: Version = "latest",
    split: Annotated[str | None, Query(max_length=20)] = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    slice: Slice = None,  # noqa: A002 - the word of the field
    origin: Origin | None = None,
    after: Annotated[int, Query(ge=0, le=2**62, description="The `next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Examples of a version, always in the same order."""
    found = await app.workshop.datasets.version(project_id, name, version)
    page = await app.workshop.datasets.page(found, which_of(split, tag, slice, origin), after=after, limit=limit)
    return {"version": found.shown(), "examples": [shown(each) for each in page.examples], "next": page.next}


@router.get("/datasets/{name}/export", tags=["datasets"], response_class=StreamingResponse)
async def export_dataset(
    app: House,
    project_id: Owner,
    name: str,
    *,
    form: Annotated[OutFormat, Query(alias="format")] = "jsonl",
    version: Version = "latest",
    split: Annotated[str | None, Query(max_length=20)] = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    slice: Slice = None,  # noqa: A002 - as above
) -> StreamingResponse:
    """A version, or a part of it, as a file; `jsonl`, `csv` and `parquet` come back as they were when imported."""
    found = await app.workshop.datasets.version(project_id, name, version)
    which = which_of(split, tag, slice, None)

    def opened() -> AsyncIterator[Example]:
        return app.workshop.datasets.examples(found, split=which.split, tag=which.tag, slice=which.slice)

    written = pieces(opened, form)
    # Before the answer begins: what is missing (pyarrow, a key) is an error, not half a file.
    first = await anext(written, b"")
    return StreamingResponse(_rest(first, written), media_type=TYPES[form], headers=_headers(found, form))


def stored(value: Any, param: str) -> Any:
    """JSON from a body as it can be stored.

    Raises:
        BadRequest: it holds half a character, say.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError, TypeError) as error:
        raise BadRequest(f"{param}: it holds what cannot be stored: {str(error)[:200]}", param=param) from None


def which_of(split: str | None, tag: str | None, slice_: str | None, origin: str | None) -> Which:
    """The part of a version that a query names.

    Raises:
        BadRequest: it names none.
    """
    if "\x00" in (tag or ""):
        raise BadRequest("tag: no NUL", param="tag")
    return Which(split=side_of(split), tag=tag, slice=slice_of(slice_), origin=origin)


async def _rest(first: bytes, written: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in written:
        yield piece


def _headers(version: DatasetVersion, form: OutFormat) -> dict[str, str]:
    # Whatever somebody imported, no browser may take it for a page of this house.
    return {
        "content-disposition": f'attachment; filename="{version.name}-{version.number}.{ENDINGS[form]}"',
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "private, no-store",
        "x-loopwright-dataset": version.ref,
    }
