"""What the management REST says of the house itself: calls, models, keys, projects, status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from loopwright import __version__
from loopwright.api import shapes
from loopwright.api.asking import Acting, Administrator, Asker, House, actor, scope_of
from loopwright.api.filters import Filtered, Picked
from loopwright.calls.query import CallFilter
from loopwright.core.errors import BadRequest, Refused, Unavailable
from loopwright.monitoring.scores import Scores

router = APIRouter(prefix="/api")


@router.get("/calls", tags=["calls"])
async def list_calls(
    app: House,
    which: Filtered,
    *,
    before: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    scores: Annotated[bool, Query(description="Tell what is said of each.")] = False,
) -> shapes.CallsOut:
    """Calls, newest first."""
    page = await app.calls.page(which, before=before, limit=limit)
    said = await Scores(app.db).of([call.id for call in page.calls]) if scores else None
    return shapes.CallsOut(calls=[shapes.call_out(call, said) for call in page.calls], next=page.next)


@router.get("/calls/{call_id}", tags=["calls"], response_model=shapes.CallDetailOut)
async def get_call(app: House, who: Asker, call_id: str) -> Response:
    """One call with its texts; finds a call whose answer has just ended."""
    return shapes.detail_out(await app.calls.get(call_id, project_id=scope_of(who)))


@router.delete("/calls/{call_id}", tags=["calls"])
async def delete_call(app: House, who: Asker, call_id: str, request: Request) -> shapes.Deleted:
    """Forget one call: its row, its texts, its words in the index, its place in the spool."""
    await app.calls.get(call_id, project_id=scope_of(who))
    await app.audit.note(actor(who, request), "calls.delete", f"call {call_id}", {}, project_id=who.project_id)
    return shapes.Deleted(deleted=await app.forget(project_id=scope_of(who), call_id=call_id))


@router.delete("/calls", tags=["calls"])
async def delete_calls(app: House, who: Asker, picked: Picked, request: Request) -> shapes.Deleted:
    """Forget all calls of a session, a tag or a key."""
    named = {name: value for name, value in picked.items() if value is not None}
    if len(named) != 1:
        raise BadRequest("name exactly one of session, tag or key: a deletion is for ever", param="session")
    [(what, value)] = named.items()
    subject = f"{what} {':'.join(value) if isinstance(value, tuple) else value}"
    await app.audit.note(actor(who, request), "calls.delete", subject, {}, project_id=who.project_id)
    return shapes.Deleted(deleted=await app.forget(project_id=scope_of(who), **named))


@router.get("/overview", tags=["calls"])
async def overview(
    app: House,
    who: Asker,
    *,
    model: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    points: Annotated[int, Query(ge=1, le=500)] = 60,
) -> dict[str, Any]:
    """Totals, a time series and a row for each model; by default of the last 24 hours. Read from roll-ups."""
    end = until or datetime.now(UTC)
    span = CallFilter(project_id=scope_of(who), model=model, since=since or end - timedelta(days=1), until=end)
    found = await app.calls.overview(span, points=points)
    return {"summary": found.summary, "series": found.series, "models": found.groups}


@router.get("/models", tags=["models"])
async def list_models(app: House, who: Asker) -> dict[str, Any]:
    """The cards of the models this key may call."""
    return {"models": [card for card in app.cards() if who.may_call(card["name"])]}


@router.get("/keys", tags=["keys"])
async def list_keys(
    app: House, _who: Administrator, *, project: str | None = None, revoked: bool = False
) -> shapes.KeysOut:
    """Keys, oldest first."""
    keys = await app.keys.list(project, revoked=revoked)
    return shapes.KeysOut(keys=[shapes.key_out(key) for key in keys])


@router.post("/keys", tags=["keys"], status_code=201)
async def create_key(app: House, by: Acting, new: shapes.NewKey) -> shapes.KeyMade:
    """A new key. Its secret is in this answer and nowhere else."""
    key, secret = await app.keys.create(
        new.project,
        new.name,
        admin=new.admin,
        models=None if new.models is None else tuple(new.models),
        tasks=None if new.tasks is None else tuple(new.tasks),
        operations=None if new.operations is None else tuple(new.operations),
        labels=None if new.labels is None else tuple(new.labels),
        expires_at=new.expires_at,
        by=by,
    )
    return shapes.KeyMade(key=shapes.key_out(key), secret=secret)


@router.delete("/keys/{key_id}", tags=["keys"])
async def revoke_key(app: House, by: Acting, key_id: int) -> shapes.KeyOut:
    """End a key."""
    if key_id == by.who.key_id:
        raise Refused("a key cannot revoke itself: use another administrator's key")
    return shapes.key_out(await app.keys.revoke(key_id, by=by))


@router.get("/projects", tags=["projects"])
async def list_projects(app: House, _who: Administrator) -> shapes.ProjectsOut:
    """Projects by name."""
    found = await app.projects.list()
    return shapes.ProjectsOut(projects=[shapes.ProjectOut.model_validate(project) for project in found])


@router.post("/projects", tags=["projects"], status_code=201)
async def create_project(app: House, by: Acting, new: shapes.NewProject) -> shapes.ProjectOut:
    """A new project."""
    return shapes.ProjectOut.model_validate(await app.projects.create(new.name, by=by))


@router.get("/status", tags=["house"])
async def status(app: House, _who: Asker) -> shapes.Status:
    """How the house is."""
    try:
        await app.db.row("select 1")
        database = "up"
    except Unavailable as error:
        database = error.message
    now, behind = datetime.now(UTC), await app.waiting()
    return shapes.Status(
        version=__version__,
        started_at=app.started_at,
        uptime_s=(now - app.started_at).total_seconds(),
        workers=app.settings.server.workers,
        database=database,
        database_where=app.db.where,
        engines=[shapes.EngineOut.model_validate(engine) for engine in app.engines().values()],
        models=len(app.targets),
        waiting_bytes=behind.bytes,
        waiting_seconds=behind.seconds,
    )
