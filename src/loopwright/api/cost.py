"""`GET /api/cost`: what calls cost by any dimension, what was saved, energy and CO2, where the month is going."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from loopwright.api.asking import Asker, House, scope_of
from loopwright.api.filters import Filtered
from loopwright.monitoring.expenses import Accounts

router = APIRouter(prefix="/api")


@router.get("/cost", tags=["charts"])
async def get_cost(
    app: House,
    who: Asker,
    which: Filtered,
    *,
    by: Annotated[
        str, Query(description="model, task, variant, key, target, provider, client, session … or tag:NAME.")
    ] = "model",
) -> dict[str, Any]:
    """Money, savings, energy and CO2 of calls, by default of the last 24 hours; unpriced calls are told apart."""
    told = (await Accounts(app.db, app.calls, app.settings).of(which, by)).shown()
    if by == "key":
        project = None if scope_of(who) is None else who.project
        names = {key.id: key.name for key in await app.keys.list(project, revoked=True)}
        told["groups"] = [{**group, "key": names.get(group["name"])} for group in told["groups"]]
    return told
