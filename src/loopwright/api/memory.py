"""Memory over REST: corrections that are shown again, where people contradict each other, and what it is good for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, Seen, actor, scope_of
from loopwright.core.errors import BadRequest
from loopwright.feedback.given import NOTE, Author
from loopwright.memory.conflicts import Conflicts, Keep, check_scope
from loopwright.memory.effect import effects
from loopwright.memory.entry import Lesson
from loopwright.memory.form import Form
from loopwright.memory.shown import conflict_shown, entry_shown, listed
from loopwright.memory.store import New

router = APIRouter(prefix="/api")
Text = Annotated[str | None, Query(max_length=200)]
Tags = dict[str, str]
MOST = 1_000
"""Entries of one import."""


class NewEntry(BaseModel):
    """What should be answered to some inputs."""

    model_config = ConfigDict(extra="forbid")

    input: JsonValue = Field(description="A text, or the task's variables.")
    output: JsonValue
    note: str = Field(default="", max_length=NOTE)
    scope: Tags = Field(default_factory=dict, description="Tags that a call must carry to be shown it.")
    expires_at: datetime | None = None


class Imported(BaseModel):
    """Entries that no call was corrected for."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(max_length=200)
    entries: list[NewEntry] = Field(min_length=1, max_length=MOST)
    author: str | None = Field(default=None, max_length=200)


class Change(BaseModel):
    """What is to be different of an entry; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    disabled: bool | None = None
    expires_at: datetime | None = Field(default=None, description="null: never.")
    scope: Tags | None = None


class Decision(BaseModel):
    """What becomes of two entries that contradict each other."""

    model_config = ConfigDict(extra="forbid")

    keep: Keep
    scopes: dict[str, Tags] | None = Field(default=None, description="Tags by the id of an entry, with `scope`.")


@router.get("/memory", tags=["memory"])
async def list_memory(
    app: House,
    project_id: Seen,
    *,
    task: Text = None,
    author: Text = None,
    state: Text = None,
    words: Annotated[str | None, Query(max_length=500, description="All of them occur in it.")] = None,
    before: Annotated[str | None, Query(description="The `next` of the page before.", max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Corrections in memory, newest first; `state`: active, waiting (to be embedded), disabled, expired, superseded."""
    found, onward = await listed(
        app.workshop.memory.memory,
        project_id=project_id,
        words=words,
        task=task,
        author=author,
        state=state,
        before=before,
        limit=limit,
    )
    return {"entries": found, "next": onward}


@router.get("/memory/conflicts", tags=["memory"])
async def list_conflicts(
    app: House,
    project_id: Seen,
    *,
    state: Literal["open", "one", "both", "scoped", "all"] = "open",
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Where people said different things of nearly the same, newest first."""
    memory = app.workshop.memory.memory
    found = await Conflicts(memory).list(
        project_id=project_id, state=None if state == "all" else state, before=before, limit=limit
    )
    return {"conflicts": [conflict_shown(memory, each) for each in found]}


@router.post("/memory/conflicts/{conflict_id}/resolve", tags=["memory"])
async def resolve_conflict(
    app: House, who: Asker, conflict_id: int, decision: Decision, request: Request
) -> dict[str, Any]:
    """Decide: keep one (the other is disabled), both, or each for calls with some tags."""
    memory = app.workshop.memory.memory
    conflicts = Conflicts(memory)
    found = await conflicts.get(_number(conflict_id), project_id=scope_of(who))
    decided = await conflicts.resolve(found, decision.keep, by=who.key_name, scopes=decision.scopes)
    detail = {"keep": decision.keep, "older": found.older.id, "newer": found.newer.id}
    await app.audit.note(
        actor(who, request), "memory.resolve", f"conflict {found.id}", detail, project_id=found.project_id
    )
    return {"conflict": conflict_shown(memory, decided)}


@router.get("/memory/effect", tags=["memory"])
async def memory_effect(
    app: House,
    project_id: Seen,
    *,
    task: Text = None,
    variant: Text = None,
    days: Annotated[int, Query(ge=1, le=3650)] = 30,
) -> dict[str, Any]:
    """How often answers were corrected or scored bad, with memory and (by chance) without, with 95 % intervals."""
    since = (datetime.now(UTC) - timedelta(days=days - 1)).date()
    found = await effects(app.db, project_id=project_id, task=_plain(task), variant=_plain(variant), since=since)
    return {"effect": [each.shown() for each in found], "since": since}


@router.post("/memory/import", tags=["memory"], status_code=201)
async def import_memory(app: House, who: Asker, project_id: Owner, new: Imported, request: Request) -> dict[str, Any]:
    """Remember what should be answered where no call was corrected: all of it or nothing."""
    learning = app.workshop.memory
    form = learning.form_of(project_id, new.task)
    author = Author.of(who, new.author)
    news = [_new(form, each, at, author, project_id, new.task) for at, each in enumerate(new.entries)]
    ids, embedded, conflicts = await learning.bring(news)
    detail = {"entries": len(ids), "author": author.name}
    await app.audit.note(actor(who, request), "memory.import", f"task {new.task}", detail, project_id=project_id)
    return {"imported": len(ids), "embedded": embedded, "conflicts": conflicts, "ids": ids}


@router.get("/memory/{entry_id}", tags=["memory"])
async def get_memory(app: House, who: Asker, entry_id: str) -> dict[str, Any]:
    """One entry, how often it was shown, and what contradicts it."""
    memory = app.workshop.memory.memory
    entry = await memory.get(entry_id, project_id=scope_of(who))
    shown, answered = await memory.days(entry.id)
    found = await Conflicts(memory).list(project_id=entry.project_id, state=None, entry_id=entry.id)
    conflicts = [conflict_shown(memory, each) for each in found]
    return {"entry": entry_shown(memory, entry), "shown": shown, "answered": answered, "conflicts": conflicts}


@router.patch("/memory/{entry_id}", tags=["memory"])
async def change_memory(app: House, who: Asker, entry_id: str, change: Change, request: Request) -> dict[str, Any]:
    """Disable an entry or enable it again, let it expire, keep it to calls with some tags; in force at once."""
    memory = app.workshop.memory.memory
    entry = await memory.get(entry_id, project_id=scope_of(who))
    if change.scope:
        check_scope(change.scope)
    expires: datetime | msgspec.UnsetType | None = msgspec.UNSET
    if "expires_at" in change.model_fields_set:
        expires = _aware(change.expires_at)
    changed = await memory.change(entry, disabled=change.disabled, expires_at=expires, scope=change.scope)
    detail = change.model_dump(mode="json", exclude_unset=True)
    await app.audit.note(actor(who, request), "memory.change", f"entry {entry.id}", detail, project_id=entry.project_id)
    return {"entry": entry_shown(memory, changed)}


@router.delete("/memory/{entry_id}", tags=["memory"])
async def delete_memory(app: House, who: Asker, entry_id: str, request: Request) -> dict[str, Any]:
    """Forget an entry for ever; the correction it came from stays on its call."""
    memory = app.workshop.memory.memory
    entry = await memory.get(entry_id, project_id=scope_of(who))
    await app.audit.note(actor(who, request), "memory.delete", f"entry {entry.id}", {}, project_id=entry.project_id)
    await memory.delete(entry)
    return {"id": entry.id, "deleted": True}


def _new(form: Form, given: NewEntry, at: int, author: Author, project_id: int, task: str) -> New:
    try:
        lesson = Lesson(inputs=form.inputs_of(given.input), output=form.fitted(given.output), note=given.note)
    except BadRequest as error:
        raise BadRequest(f"entries[{at}].{error.message}", param=f"entries[{at}].{error.param}") from None
    if given.scope:
        check_scope(given.scope)
    return New(
        project_id=project_id,
        task=task,
        lesson=lesson,
        author=author.name,
        by_key_id=author.key_id,
        scope=given.scope,
        expires_at=_aware(given.expires_at),
    )


def _aware(moment: datetime | None) -> datetime | None:
    """A moment that does not say where is UTC's."""
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _plain(text: str | None) -> str | None:
    return None if text is None else text.replace("\x00", "")


def _number(given: int) -> int:
    return given if 0 <= given < 2**63 else -1
