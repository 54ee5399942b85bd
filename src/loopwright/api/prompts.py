"""Management REST of prompts: versions by content, labels that move, differences, renderings, where each is used."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Acting, Asker, House, Owner
from loopwright.app import App
from loopwright.core.who import Principal
from loopwright.kit.settings_json import check_json
from loopwright.prompt_use import check_unused, places, taken
from loopwright.prompts.definition import Definition
from loopwright.prompts.difference import difference
from loopwright.prompts.fault import Fault
from loopwright.prompts.patterns import patterns
from loopwright.prompts.shown import entry_shown, move_shown, pattern_shown, prompt_shown, version_shown
from loopwright.prompts.version import Version, read
from loopwright.prompts.weight import weigh

router = APIRouter(prefix="/api", tags=["prompts"])
_DAYS: Final = 30
Ref = Annotated[
    str | None,
    Query(description="A label, a number, six digits or more of a hash, `latest`; else `production` or the latest."),
]


class Input(BaseModel):
    """What a body may say, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class NewVersion(Input):
    """A definition to push."""

    definition: dict[str, JsonValue] = Field(description="description, variables, messages, partials, metadata.")
    note: str = Field(default="", description="Why it changed.")
    labels: list[str] = Field(default=[], max_length=20, description="Labels to point at it.")


class Target(Input):
    """Where a label shall point."""

    ref: str = Field(description="A number, another label, six digits or more of a hash, `latest`.")


class Rendering(Input):
    """What to render."""

    ref: str | None = None
    variables: dict[str, JsonValue] | None = Field(default=None, description="null: its own examples and defaults.")


class Draft(Input):
    """A definition to look at before it is pushed."""

    definition: dict[str, JsonValue]
    variables: dict[str, JsonValue] | None = None
    name: str | None = Field(default=None, description="Compared with this prompt.")
    ref: str | None = None


@router.get("/prompt-patterns")
async def list_patterns(_who: Asker) -> dict[str, Any]:
    """Starting points: role, few-shot, chain of thought, JSON; each as a definition and as a commented file."""
    return {"patterns": [pattern_shown(each) for each in await asyncio.to_thread(patterns)]}


@router.get("/prompts")
async def list_prompts(app: House, project_id: Owner) -> dict[str, Any]:
    """Prompts by name, with their labels."""
    return {"prompts": [prompt_shown(each) for each in await app.workshop.prompts.list(project_id)]}


@router.post("/prompts/check")
async def check_prompt(app: House, who: Asker, project_id: Owner, draft: Draft) -> dict[str, Any]:
    """What a definition would be: its hash, its messages, their weight, and how it differs. Stores nothing.

    What is wrong with it is 400, and names place, line and variable.
    """
    check_json([draft.name, draft.ref, draft.variables], "the request")
    prompt = await asyncio.to_thread(read, draft.definition, f"prompt {draft.name or 'draft'}")
    out: dict[str, Any] = {"sha": prompt.sha, **await _rendered(app, who, prompt, draft.variables, "prompt draft")}
    if draft.name is not None:
        before = await app.workshop.prompts.version(project_id, draft.name, draft.ref)
        found = await asyncio.to_thread(difference, before.definition, prompt.document, before.spoken, "draft")
        out["diff"] = found.shown()
    return out


@router.get("/prompts/{name}")
async def get_prompt(app: House, project_id: Owner, name: str) -> dict[str, Any]:
    """One prompt: its labels, its versions newest first, the tasks that name it, its calls of the last 30 days."""
    store = app.workshop.prompts
    versions = await store.versions(project_id, name)
    [listed] = await store.list(project_id, name=name)
    since = datetime.now(UTC) - timedelta(days=_DAYS)
    calls = await taken(app.calls, project_id, name, since, None)
    tasks = app.workshop.held_tasks.listed(project_id)
    return {
        "prompt": prompt_shown(listed),
        "versions": [{**entry_shown(each), "calls": calls.get(each.number)} for each in versions],
        "tasks": [
            {"task": at.task, "variant": at.variant, "ref": at.ref, "number": at.number, "weight": at.weight}
            for at in places(tasks, app.workshop.held_prompts, project_id, name)
        ],
        "calls_since": since,
    }


@router.delete("/prompts/{name}")
async def delete_prompt(app: House, by: Acting, project_id: Owner, name: str) -> dict[str, Any]:
    """Forget a prompt with all its versions for ever; 409 while a task names it. Its numbers are not given again."""
    workshop = app.workshop
    check_unused(workshop.held_tasks.listed(project_id), workshop.held_prompts, project_id, name)
    gone = await workshop.prompts.delete(project_id, name)
    await app.audit.note(by, "prompt.delete", f"prompt {name}", {"versions": gone}, project_id=project_id)
    await workshop.held_prompts.load()
    return {"deleted": name, "versions": gone}


@router.post("/prompts/{name}/versions")
async def push_prompt(
    app: House, by: Acting, project_id: Owner, name: str, new: NewVersion, response: Response
) -> dict[str, Any]:
    """Push a definition: 201 and a new version, or 200 and the one that holds the same content already."""
    store, author = app.workshop.prompts, by.who.key_name
    version, made = await store.pushed(project_id, name, new.definition, author=author, note=new.note)
    if made:
        told = {"number": version.number, "sha": version.sha}
        await app.audit.note(by, "prompt.push", f"prompt {name}", told, project_id=project_id)
    for label in new.labels:
        version = await _point(app, by, project_id, name, label, str(version.number))
    await app.workshop.held_prompts.load()
    response.status_code = 201 if made else 200
    return {"created": made, "version": version_shown(version)}


@router.get("/prompts/{name}/version")
async def get_version(app: House, project_id: Owner, name: str, *, ref: Ref = None) -> dict[str, Any]:
    """One version with its definition."""
    return version_shown(await app.workshop.prompts.version(project_id, name, ref))


@router.get("/prompts/{name}/history")
async def label_history(
    app: House, project_id: Owner, name: str, *, label: Annotated[str | None, Query()] = None
) -> dict[str, Any]:
    """Moves of its labels, newest first."""
    found = await app.workshop.prompts.history(project_id, name, label)
    return {"moves": [move_shown(each) for each in found]}


@router.put("/prompts/{name}/labels/{label}")
async def put_label(app: House, by: Acting, project_id: Owner, name: str, label: str, to: Target) -> dict[str, Any]:
    """Point a label at a version; every process follows within moments."""
    check_json([to.ref], "the request")
    version = await _point(app, by, project_id, name, label, to.ref)
    await app.workshop.held_prompts.load()
    return version_shown(version)


@router.delete("/prompts/{name}/labels/{label}")
async def delete_label(app: House, by: Acting, project_id: Owner, name: str, label: str) -> dict[str, Any]:
    """Take a label away; its history stays."""
    await app.workshop.prompts.unlabel(project_id, name, label, by.who.key_name)
    await app.audit.note(by, "prompt.unlabel", f"prompt {name}", {"label": label}, project_id=project_id)
    await app.workshop.held_prompts.load()
    return {"deleted": label}


@router.post("/prompts/{name}/labels/{label}/rollback")
async def roll_back(app: House, by: Acting, project_id: Owner, name: str, label: str) -> dict[str, Any]:
    """Point a label at where it pointed before its last move; asked again, at where before that."""
    version = await app.workshop.prompts.rollback(project_id, name, label, by.who.key_name)
    told = {"label": label, "number": version.number}
    await app.audit.note(by, "prompt.rollback", f"prompt {name}", told, project_id=project_id)
    await app.workshop.held_prompts.load()
    return version_shown(version)


@router.get("/prompts/{name}/diff")
async def diff_versions(
    app: House,
    project_id: Owner,
    name: str,
    *,
    from_: Annotated[str, Query(alias="from", description="A label, a number, a hash, `latest`.")],
    to: Annotated[str, Query(description="The same.")] = "latest",
) -> dict[str, Any]:
    """What changed from one version to another, line by line."""
    return (await app.workshop.prompts.diff(project_id, name, from_, to)).shown()


@router.post("/prompts/{name}/render")
async def render_prompt(app: House, who: Asker, project_id: Owner, name: str, asked: Rendering) -> dict[str, Any]:
    """The messages a version becomes, and what they weigh for each model the key may call."""
    check_json([asked.ref, asked.variables], "the request")
    version = await app.workshop.prompts.version(project_id, name, asked.ref)
    rendered = await _rendered(app, who, version.prompt, asked.variables, f"prompt {version.spoken}")
    return {"version": version.spoken, **rendered}


async def _rendered(
    app: App, who: Principal, prompt: Definition, variables: dict[str, Any] | None, where: str
) -> dict[str, Any]:
    """The messages of a definition and their weights; `invented` are variables without a value or an example."""
    values, invented = prompt.sample() if variables is None else (variables, ())
    try:
        messages = await asyncio.to_thread(prompt.render, values)
    except Fault as fault:
        raise fault.refused(where) from None
    weights = await weigh(messages, app.scales(who))
    return {"messages": messages, "invented": list(invented), "weights": [each.shown() for each in weights]}


async def _point(app: App, by: Acting, project_id: int, name: str, label: str, ref: str) -> Version:
    """Point a label, and say so in the audit log."""
    version = await app.workshop.prompts.label(project_id, name, label, ref, by.who.key_name)
    told = {"label": label, "number": version.number}
    await app.audit.note(by, "prompt.label", f"prompt {name}", told, project_id=project_id)
    return version
