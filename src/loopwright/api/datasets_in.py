"""What comes into datasets over REST: files, examples, calls on record, corrections, variations written by a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, actor
from loopwright.api.datasets import stored, which_of
from loopwright.api.datasets_sources import calls, corrections, embedder_of, first
from loopwright.api.filters import Filtered, aware
from loopwright.api.progress import Told, acted
from loopwright.app import App
from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.core.money import NANO
from loopwright.core.who import Principal
from loopwright.datasets.columns import example_of
from loopwright.datasets.dataset import DatasetVersion, Shares
from loopwright.datasets.draft import tags_of
from loopwright.datasets.example import Example
from loopwright.datasets.intake import Mode
from loopwright.datasets.made import of_call, of_correction
from loopwright.datasets.synthesis import ALIKE, MOST, Answers, Made, Recipe, Synthesis
from loopwright.datasets.uploading import FIELDS, mode_of, object_of, upload_of
from loopwright.kit.multipart import receive
from loopwright.kit.schema import Schema, schema

router = APIRouter(prefix="/api")
_PAGE: Final = 200
_UPLOADED: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        name: {"type": "string", **({"format": "binary"} if name == "file" else {})} for name in FIELDS
                    },
                }
            }
        },
    }
}
Note = Annotated[str, Field(description="Why.", max_length=2_000)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")

    note: Note = ""


class NewExamples(_In):
    """A few examples, in our own form or one of the others."""

    examples: list[dict[str, JsonValue]] = Field(min_length=1, max_length=10_000)
    mode: Mode = "append"
    mixed: bool = Field(default=False, description="Let an input be a text in one example and a number in the next.")


class FromCalls(_In):
    """Which calls is said by the query, as of `GET /api/calls`."""

    limit: int = Field(default=1_000, ge=1, le=100_000, description="The newest so many.")
    answers: bool = Field(default=True, description="Take the answers as references.")
    tags: list[str] = Field(default=[], max_length=32)


class FromCorrections(_In):
    """Which corrections."""

    since: datetime | None = None
    task: str | None = Field(default=None, max_length=200)
    limit: int = Field(default=10_000, ge=1, le=100_000, description="The newest so many.")
    tags: list[str] = Field(default=[], max_length=32)


class Synthesize(_In):
    """Variations of examples that are there."""

    model: str = Field(max_length=200)
    each: int = Field(default=3, ge=1, le=100, description="Variations of each seed.")
    limit: int = Field(default=1_000, ge=1, le=MOST, description="Variations in all.")
    budget_usd: Decimal | None = Field(default=None, gt=0, le=1_000_000)
    embedder: str | None = Field(default=None, max_length=200, description="By default the first embedding model.")
    alike: float = Field(default=ALIKE, gt=0, le=1, description="Cosine from which one says nothing new.")
    answers: Answers = "keep"
    temperature: float = Field(default=1.0, ge=0, le=2)
    split: str | None = Field(default="train", max_length=20, description="Seeds are of this side; null is of all.")
    tag: str | None = Field(default=None, max_length=100)
    slice: str | None = Field(default=None, max_length=300)
    seeds: int = Field(default=500, ge=1, le=5_000, description="The first so many examples are seeds.")


class Copy(_In):
    """A dataset of the same examples, split anew."""

    name: str = Field(max_length=100)
    shares: dict[str, int] | None = None
    version: str = Field(default="latest", max_length=20)


@router.post("/datasets/{name}/import", tags=["datasets"], status_code=201, openapi_extra=_UPLOADED)
async def import_dataset(app: House, who: Asker, project_id: Owner, name: str, request: Request) -> Response:
    """Make a file the next version of a dataset, which is made when there is none. All of it, or nothing.

    The form has the part `file`, and texts: `format` (jsonl, csv, parquet; else by the file's ending), `columns` (JSON),
    `mode` (append, replace), `split`, `tags`, `slices`, `mixed`, `task` or `input_schema` and `output_schema`, `note`.
    """
    files = app.batches.files
    limit = app.settings.datasets.upload_limit
    form = await receive(request, files.blobs, limit=limit, patience=app.settings.server.body_timeout)
    if form.filename is None:
        raise BadRequest("file: is required", param="file")

    async def act(told: Told) -> dict[str, Any]:
        try:
            with files.blobs.open(form.blob) as file:
                upload = upload_of(form.fields, form.filename or "", file)
                version = await app.workshop.datasets.import_(
                    project_id,
                    name,
                    upload,
                    author=who.key_name,
                    note=form.fields.get("note", ""),
                    mode=mode_of(form.fields),
                    schemas=_schemas(app, project_id, form.fields),
                    told=told,
                )
        finally:
            await files.drop(form.blob)
        return await _noted(app, who, request, version)

    return await acted(request, act)


@router.post("/datasets/{name}/examples", tags=["datasets"], status_code=201)
async def add_examples(
    app: House, who: Asker, project_id: Owner, name: str, new: NewExamples, request: Request
) -> Response:
    """Add a few examples: the next version."""
    examples = [_read(at, row) for at, row in enumerate(new.examples, 1)]

    async def act(told: Told) -> dict[str, Any]:
        version = await app.workshop.datasets.append(
            project_id,
            name,
            examples,
            author=who.key_name,
            source="examples",
            note=new.note,
            mode=new.mode,
            mixed=new.mixed,
            told=told,
        )
        return await _noted(app, who, request, version)

    return await acted(request, act)


@router.post("/datasets/{name}/from-calls", tags=["datasets"], status_code=201)
async def from_calls(
    app: House, who: Asker, project_id: Owner, name: str, which: Filtered, new: FromCalls, request: Request
) -> Response:
    """Make examples of calls on record: what was asked, and what was answered."""
    wanted = replace(which, project_id=project_id, outcome=which.outcome or "ok")

    async def act(told: Told) -> dict[str, Any]:
        async def examples() -> AsyncIterator[Example]:
            async for at, detail in calls(app, wanted, new.limit):
                told("calls", at, new.limit)
                if (made := of_call(detail, answers=new.answers)) is not None:
                    yield replace(made, tags=tags_of(new.tags))

        version = await app.workshop.datasets.append(
            project_id, name, examples(), author=who.key_name, source="calls", note=new.note, told=told
        )
        return await _noted(app, who, request, version)

    return await acted(request, act)


@router.post("/datasets/{name}/from-corrections", tags=["datasets"], status_code=201)
async def from_corrections(
    app: House, who: Asker, project_id: Owner, name: str, new: FromCorrections, request: Request
) -> Response:
    """Make examples of corrections: what was asked, and what the answer should have been.

    The id of each is that of its call, so a later correction of the same call takes its place.
    """

    async def act(told: Told) -> dict[str, Any]:
        async def examples() -> AsyncIterator[Example]:
            at = 0
            async for detail, output in corrections(
                app, project_id, since=aware(new.since), task=new.task, limit=new.limit
            ):
                at += 1
                told("corrections", at, None)
                if (made := of_correction(detail, output)) is not None:
                    yield replace(made, tags=tags_of(new.tags))

        version = await app.workshop.datasets.append(
            project_id, name, examples(), author=who.key_name, source="corrections", note=new.note, told=told
        )
        return await _noted(app, who, request, version)

    return await acted(request, act)


@router.post("/datasets/{name}/synthesize", tags=["datasets"], status_code=201)
async def synthesize(
    app: House, who: Asker, project_id: Owner, name: str, new: Synthesize, request: Request
) -> Response:
    """Have a model write variations of examples; each is marked synthetic, with its seed, and stays on its side."""
    store = app.workshop.datasets
    version = await store.version(project_id, name)
    which = which_of(new.split, new.tag, new.slice, None)
    seeds = [
        each
        async for each in first(store.examples(version, split=which.split, tag=which.tag, slice=which.slice), new.seeds)
    ]
    seeds = [seed for seed in seeds if seed.origin != "synthetic"]
    known = [each async for each in first(store.examples(version), 20_000) if each.origin == "synthetic"]
    recipe = Recipe(
        model=new.model,
        each=new.each,
        most=new.limit,
        budget_nano=None if new.budget_usd is None else int(new.budget_usd * NANO),
        alike=new.alike,
        answers=new.answers,
        temperature=new.temperature,
    )
    making = Synthesis(app.chat, who, recipe, embedder_of(app, new.embedder), name)

    async def act(told: Told) -> dict[str, Any]:
        def heard(made: Made) -> None:
            told("writing", made.written, min(new.limit, len(seeds) * new.each))

        # Gathered first: a transaction is not kept open while a model writes.
        examples = [each async for each in making.run(seeds, known, heard)]
        if not examples:
            return {"version": version.shown(), "synthesis": making.made.shown()}
        source = f"variations of {version.ref} by {new.model}"
        next_ = await store.append(
            project_id, name, examples, author=who.key_name, source=source, note=new.note, told=told
        )
        return {**await _noted(app, who, request, next_), "synthesis": making.made.shown()}

    return await acted(request, act)


@router.post("/datasets/{name}/copy", tags=["datasets"], status_code=201)
async def copy_dataset(app: House, who: Asker, project_id: Owner, name: str, new: Copy, request: Request) -> Response:
    """A new dataset of the same examples with other shares, as the sides of a dataset never change."""
    store = app.workshop.datasets
    dataset = await store.get(project_id, name)
    version = await store.version(project_id, name, new.version)
    shares = dataset.shares if new.shares is None else Shares.of(new.shares)

    async def act(told: Told) -> dict[str, Any]:
        made = await store.create(
            project_id,
            new.name,
            description=dataset.description,
            shares=shares,
            input_schema=dataset.input_schema,
            output_schema=dataset.output_schema,
        )
        examples = (replace(each, split=None) async for each in store.examples(version))
        copied = await store.append(
            project_id, made.name, examples, author=who.key_name, source=version.ref, note=new.note, told=told
        )
        return await _noted(app, who, request, copied)

    return await acted(request, act)


def _schemas(app: App, project_id: int, fields: Mapping[str, str]) -> tuple[Schema | None, Schema | None]:
    given = [object_of(fields, name) for name in ("input_schema", "output_schema")]
    if fields.get("task"):
        task = app.workshop.held_tasks.find(project_id, fields["task"])
        given = [dict(task.input_schema), None if task.output_schema is None else dict(task.output_schema)]
    inputs, outputs = given
    return (
        None if inputs is None else schema(inputs, "input_schema"),
        None if outputs is None else schema(outputs, "output_schema"),
    )


def _read(at: int, row: Mapping[str, Any]) -> Example:
    try:
        return example_of(stored(row, "examples"))
    except LoopwrightError as error:
        raise BadRequest(f"examples: row {at}: {error.message}", param="examples") from None


async def _noted(app: App, who: Principal, request: Request, version: DatasetVersion) -> dict[str, Any]:
    told = {"sha": version.sha, "examples": str(version.count)}
    await app.audit.note(actor(who, request), "dataset.version", version.ref, told, project_id=version.project_id)
    return {"version": version.shown()}
