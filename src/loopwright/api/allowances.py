"""Management REST of limits, budgets, rotation of keys and the audit log."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from loopwright.access.audit import Act
from loopwright.access.limits import MONEY, Kind, Limit, Standing, nano_of
from loopwright.api import shapes
from loopwright.api.asking import Acting, Administrator, Asker, House, scope_of
from loopwright.api.filters import tag_of
from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.money import usd

router = APIRouter(prefix="/api")
_LONGEST_OVERLAP = 366 * 86_400


class LimitOut(shapes.Shape):
    """A limit and how much of it is used now. Amounts of budgets are dollars, of others whole numbers."""

    id: int
    project: str
    key_id: int | None
    key: str | None
    tag: str | None = Field(description="name:value")
    kind: Kind
    amount: str
    alert_at: int | None = Field(description="Percent of a budget at which to warn.")
    used: str = Field(description="Settled in the present window.")
    held: str = Field(description="Reserved for requests in flight or leased ahead by workers.")
    alerting: bool
    starts: datetime | None
    ends: datetime | None
    created_at: datetime


class LimitsOut(shapes.Shape):
    """Limits, oldest first."""

    limits: list[LimitOut]


class NewLimit(BaseModel):
    """A limit to set: of a key, of a project, or of a tag within a project."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    amount: Decimal = Field(ge=0, lt=10**9, description="Requests, tokens, or US dollars.")
    key: int | None = Field(default=None, description="Id of a key.")
    project: str | None = None
    tag: str | None = Field(default=None, description="name:value, within the project.")
    alert_at: int | None = Field(default=None, ge=1, le=100)


class SpendOut(shapes.Shape):
    """One window of a budget."""

    starts: datetime
    cost_usd: str


class SpendsOut(shapes.Shape):
    """Windows of a budget, oldest first."""

    limit: int
    kind: Kind
    amount: str
    windows: list[SpendOut]


class Rotation(BaseModel):
    """How long the old secret opens beside the new one."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: float = Field(default=86_400, ge=0, le=_LONGEST_OVERLAP)


class ActOut(shapes.Shape):
    """One line of the audit log."""

    id: int
    at: datetime
    key_id: int
    who: str
    origin: str
    act: str
    subject: str
    project_id: int | None
    detail: dict[str, Any]


class ActsOut(shapes.Shape):
    """Lines of the audit log, newest first."""

    acts: list[ActOut]
    next: int | None = Field(description="Pass it as `before` for the next page; null at the end.")


def limit_out(standing: Standing) -> LimitOut:
    """A limit as REST shows it."""
    limit = standing.limit
    share = standing.used * 100
    return LimitOut(
        **{name: getattr(limit, name) for name in ("id", "project", "key_id", "key", "kind", "alert_at", "created_at")},
        tag=None if limit.tag is None else ":".join(limit.tag),
        amount=_shown(limit, limit.amount),
        used=_shown(limit, standing.used),
        held=_shown(limit, standing.held),
        alerting=limit.alert_at is not None and share >= limit.alert_at * limit.amount,
        starts=standing.starts,
        ends=standing.ends,
    )


@router.get("/limits", tags=["limits"])
async def list_limits(
    app: House, who: Asker, *, key: Annotated[int | None, Query(description="Id of a key.")] = None
) -> LimitsOut:
    """Limits and budgets with what is used of them now; of the asker's project, for administrators of all."""
    found = await app.limits.standings(project_id=scope_of(who), key_id=key)
    return LimitsOut(limits=[limit_out(standing) for standing in found])


@router.put("/limits", tags=["limits"])
async def put_limit(app: House, by: Acting, new: NewLimit) -> LimitOut:
    """Set a limit, in place of one of the same scope and kind."""
    if new.kind.startswith("usd"):
        amount = nano_of(new.amount)
    elif new.amount == int(new.amount):
        amount = int(new.amount)
    else:
        raise BadRequest("amount: a whole number", param="amount")
    limit = await app.limits.put(
        new.kind,
        amount,
        key_id=new.key,
        project=new.project,
        tag=tag_of(new.tag),
        alert_at=new.alert_at,
        by=by,
    )
    found = await app.limits.standings(project_id=limit.project_id)
    return limit_out(next(each for each in found if each.limit.id == limit.id))


@router.delete("/limits/{limit_id}", tags=["limits"])
async def remove_limit(app: House, by: Acting, limit_id: int) -> shapes.Deleted:
    """Lift a limit."""
    await app.limits.remove(limit_id, by=by)
    return shapes.Deleted(deleted=1)


@router.get("/limits/{limit_id}/spend", tags=["limits"])
async def spend(
    app: House, who: Asker, limit_id: int, *, windows: Annotated[int, Query(ge=1, le=366)] = 31
) -> SpendsOut:
    """What the last days or months of a budget cost, oldest first; the last is the present one."""
    limit = next((each for each in await app.limits.all() if each.id == limit_id), None)
    if limit is None or scope_of(who) not in {None, limit.project_id}:
        raise NotFound(f"there is no limit {limit_id}", param="limit_id")
    found = await app.limits.spent(limit_id, windows=windows)
    return SpendsOut(
        limit=limit_id,
        kind=limit.kind,
        amount=_shown(limit, limit.amount),
        windows=[SpendOut(starts=starts, cost_usd=usd(nano)) for starts, nano in found],
    )


@router.post("/keys/{key_id}/rotate", tags=["keys"])
async def rotate_key(app: House, by: Acting, key_id: int, how: Rotation) -> shapes.KeyMade:
    """A new secret for a key. It is in this answer and nowhere else; the old one opens for `overlap_s` seconds more."""
    key, secret = await app.keys.rotate(key_id, overlap=timedelta(seconds=how.overlap_s), by=by)
    return shapes.KeyMade(key=shapes.key_out(key), secret=secret)


@router.get("/audit", tags=["audit"])
async def list_acts(
    app: House,
    _who: Administrator,
    *,
    act: Annotated[str | None, Query(description="`key.revoke`, or `key` for all of keys.")] = None,
    subject: Annotated[str | None, Query(description="`key 7`, `limit 3`, …")] = None,
    before: Annotated[int | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> ActsOut:
    """Administrative acts: who, when, what, from where; newest first."""
    found = await app.audit.page(act=act, subject=subject, before=before, limit=limit)
    return ActsOut(acts=[_act(each) for each in found], next=found[-1].id if len(found) == limit else None)


def _act(act: Act) -> ActOut:
    return ActOut.model_validate(act)


def _shown(limit: Limit, amount: int) -> str:
    return usd(amount) if limit.unit == MONEY else str(amount)
