"""Alerts, silences and objectives over REST. Channels are told of, never made here: their addresses are configuration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.asking import Acting, Administrator, Asker, House, Owner, Seen, actor
from loopwright.app import App
from loopwright.core.errors import NotFound, Refused
from loopwright.kit.settings_alerts import SeverityName
from loopwright.monitoring.alerts import Alerts
from loopwright.monitoring.alerts_delivery import deliveries, standing, try_channel
from loopwright.monitoring.alerts_round import objectives_of
from loopwright.monitoring.alerts_shown import alert_shown, channel_shown, explanation_shown, silence_shown
from loopwright.monitoring.alerts_silences import Silences
from loopwright.monitoring.causes import explain
from loopwright.monitoring.objectives_standing import objective_shown, standing_shown, standings

router = APIRouter(prefix="/api", tags=["alerts"])
_Id = Annotated[int, Query(ge=1, le=2**62)]


class NewSilence(BaseModel):
    """Of what nobody is to be told for a while."""

    model_config = ConfigDict(extra="forbid")

    matchers: dict[str, str] = Field(
        description="Label to pattern; * stands for any text. All must match.", min_length=1
    )
    seconds: float = Field(description="How long, from now; up to a year.", gt=0, le=31_622_400)
    reason: str = Field(default="", max_length=500)
    every_project: bool = Field(default=False, description="For alerts of all projects; only for administrators.")


@router.get("/alerts")
async def list_alerts(
    app: House,
    project_id: Seen,
    *,
    state: Literal["all", "firing", "open", "acknowledged", "resolved"] = "all",
    severity: SeverityName | None = None,
    source: Annotated[str | None, Query(max_length=200)] = None,
    rule: Annotated[str | None, Query(max_length=200)] = None,
    before: Annotated[int | None, Query(description="The `next` of the page before.", ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """Alerts, the newest first, and how many are firing now by severity."""
    alerts = Alerts(app.db)
    page = await alerts.page(
        project_id=project_id,
        state=state,
        severity=severity,
        source=None if source is None else source.replace("\x00", ""),
        rule=None if rule is None else rule.replace("\x00", ""),
        before=before,
        limit=limit,
    )
    names = await _projects(app)
    return {
        "alerts": [alert_shown(each, names) for each in page.alerts],
        "next": page.next,
        "firing": await alerts.counts(project_id=project_id),
    }


@router.get("/alerts/{alert_id}")
async def get_alert(
    app: House,
    project_id: Seen,
    alert_id: int,
    *,
    explained: Annotated[bool, Query(description="Also what explains it, which reads its calls.")] = True,
) -> dict[str, Any]:
    """One alert, what explains it (null where its kind tells of no calls), and who was told of it."""
    alert = await Alerts(app.db).get(alert_id, project_id=project_id)
    found = await explain(app.db, alert) if explained else None
    return {
        "alert": alert_shown(alert, await _projects(app)),
        "explanation": None if found is None else explanation_shown(found),
        "notices": await deliveries(app.db, alert_id=alert.id),
    }


@router.post("/alerts/{alert_id}/acknowledge")
async def acknowledge_alert(
    app: House, who: Asker, project_id: Seen, alert_id: int, request: Request
) -> dict[str, Any]:
    """Say that somebody has seen it: no more reminders."""
    alert = await Alerts(app.db).acknowledge(alert_id, project_id=project_id, by=who.key_name)
    await app.audit.note(actor(who, request), "alert.acknowledge", f"alert {alert.id}", {}, project_id=alert.project_id)
    return {"alert": alert_shown(alert, await _projects(app))}


@router.post("/alerts/{alert_id}/resolve")
async def resolve_alert(app: House, who: Asker, project_id: Seen, alert_id: int, request: Request) -> dict[str, Any]:
    """Say that it is over; should it still hold, it is raised anew."""
    alert = await Alerts(app.db).resolve(alert_id, project_id=project_id, by=who.key_name)
    await app.audit.note(actor(who, request), "alert.resolve", f"alert {alert.id}", {}, project_id=alert.project_id)
    return {"alert": alert_shown(alert, await _projects(app))}


@router.get("/channels")
async def list_channels(app: House, _who: Administrator) -> dict[str, Any]:
    """The channels of the configuration, and how each does; of their addresses only the host."""
    channels = app.settings.monitoring.alerts.channels
    found = await standing(app.db, channels)
    return {"channels": [channel_shown(name, each, found[name]) for name, each in channels.items()]}


@router.post("/channels/{name}/test", status_code=202)
async def test_channel(app: House, by: Acting, name: str) -> dict[str, Any]:
    """Send a test notice: its place in the outbox. `GET /api/notices?delivery=` tells what became of it."""
    delivery = await try_channel(app.db, app.settings.monitoring.alerts.channels, name)
    await app.audit.note(by, "channel.test", f"channel {name}", {})
    return {"delivery": delivery}


@router.get("/notices")
async def list_notices(
    app: House,
    _who: Administrator,
    *,
    alert: _Id | None = None,
    delivery: _Id | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """Notices, the newest first: delivered, waiting, tried again or given up, and why."""
    return {"notices": await deliveries(app.db, alert_id=alert, delivery_id=delivery, limit=limit)}


@router.get("/silences")
async def list_silences(app: House, project_id: Seen, *, ended: bool = False) -> dict[str, Any]:
    """Silences that hold; with `ended` also those of the past."""
    names = await _projects(app)
    found = await Silences(app.db).list(project_id=project_id, ended=ended)
    return {"silences": [silence_shown(each, names) for each in found]}


@router.post("/silences", status_code=201)
async def create_silence(
    app: House, who: Asker, project_id: Owner, new: NewSilence, request: Request
) -> dict[str, Any]:
    """Tell nobody of alerts whose labels are so; they are raised and shown all the same."""
    if new.every_project and not who.admin:
        raise Refused(f"key {who.key_name!r} is not an administrator's: it silences its own project only")
    whose = None if new.every_project else project_id
    made = await Silences(app.db).add(whose, new.matchers, seconds=new.seconds, reason=new.reason, by=who.key_name)
    told = {"matchers": dict(made.matchers), "until": made.ends_at.isoformat()}
    await app.audit.note(actor(who, request), "silence.create", f"silence {made.id}", told, project_id=whose)
    return {"silence": silence_shown(made, await _projects(app))}


@router.delete("/silences/{silence_id}")
async def end_silence(app: House, who: Asker, project_id: Seen, silence_id: int, request: Request) -> dict[str, Any]:
    """End a silence now; what still fires is told."""
    ended = await Silences(app.db).end(silence_id, project_id=project_id)
    await app.audit.note(actor(who, request), "silence.end", f"silence {ended.id}", {}, project_id=ended.project_id)
    return {"silence": silence_shown(ended, await _projects(app))}


@router.get("/objectives")
async def list_objectives(
    app: House, project_id: Seen, *, name: Annotated[str | None, Query(max_length=200)] = None
) -> dict[str, Any]:
    """Objectives, and how each stands for each group of its calls; those with the least left first."""
    objectives = objectives_of(app.settings)
    if name is not None:
        if name not in objectives:
            raise NotFound(f"there is no objective {name[:80]!r}", param="name")
        objectives = {name: objectives[name]}
    now, names = datetime.now(UTC), await _projects(app)
    found = await standings(app.db, objectives, project_id=project_id, now=now)
    return {
        "objectives": [objective_shown(each, one) for each, one in objectives.items()],
        "standings": [
            standing_shown(each, objectives[each.objective], names.get(each.project_id), now) for each in found
        ],
    }


async def _projects(app: App) -> dict[int, str]:
    return {project.id: project.name for project in await app.projects.list()}
