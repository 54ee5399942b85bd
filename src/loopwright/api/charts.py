"""`GET /api/charts`: any measure of calls over time, split by any dimension, beside an earlier time; saved dashboards."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.asking import Asker, House, Owner, Seen, actor, scope_of
from loopwright.api.filters import Filtered, listed
from loopwright.calls.charted import back_of, shown
from loopwright.calls.charts import ChartAsk
from loopwright.calls.dashboards import Dashboard, checked
from loopwright.calls.measures import MEASURES, measure_of

router = APIRouter(prefix="/api")


@router.get("/charts", tags=["charts"])
async def get_chart(
    app: House,
    who: Asker,
    which: Filtered,
    *,
    measure: Annotated[
        str, Query(description="Measures by commas, 1 to 8; the first one says which groups are the largest.")
    ] = "requests",
    split: Annotated[str | None, Query(description="A dimension: model, key, client … or tag:NAME.")] = None,
    points: Annotated[int, Query(ge=1, le=500)] = 60,
    top: Annotated[int, Query(ge=1, le=50, description="Groups to tell apart; the rest is one more.")] = 8,
    compare: Annotated[
        str | None, Query(description="An earlier time beside it: `previous`, or how long ago: 24h, 7d.")
    ] = None,
) -> dict[str, Any]:
    """Measures over time, by default of the last 24 hours. Read from roll-ups, or from at most 30,000 calls."""
    ask = ChartAsk(filter=which, measures=listed(measure), split=split, points=points, top=top)
    if compare is None:
        chart, before = await app.calls.chart(ask), None
    else:
        chart, before = await app.calls.compared(ask, back_of(compare))
    keys = {key.id: key.name for key in await app.keys.list(_project(who), revoked=True)} if split == "key" else {}
    return {
        "measures": [
            {"name": name, "title": found.title, "unit": found.unit, "about": found.about}
            for name in ask.measures
            for found in (measure_of(name),)
        ],
        **shown(chart, split, keys),
        "before": None if before is None else shown(before, split, keys),
    }


def _project(who: Asker) -> str | None:
    return None if scope_of(who) is None else who.project


@router.get("/charts/measures", tags=["charts"])
async def list_measures(_who: Asker) -> dict[str, Any]:
    """What can be drawn."""
    return {
        "measures": [
            {"name": name, "title": each.title, "unit": each.unit, "about": each.about}
            for name, each in MEASURES.items()
        ]
    }


class NewDashboard(BaseModel):
    """A dashboard to keep."""

    model_config = ConfigDict(extra="forbid")

    panels: list[str] = Field(description="Each a measure, or MEASURE@DIMENSION.")
    range: str | None = Field(default=None, description="1h, 6h, 24h, 7d or 30d.")
    split: str | None = Field(default=None, description="The dimension of panels that name none.")
    compare: str | None = Field(default=None, description="previous, or how long ago.")
    filter: dict[str, str | list[str]] = Field(
        default_factory=dict, description="Parameters of GET /api/calls; `tag` may be a list."
    )


@router.get("/dashboards", tags=["charts"])
async def list_dashboards(app: House, project: Seen) -> dict[str, Any]:
    """Dashboards by name."""
    return {"dashboards": [dashboard_out(each) for each in await app.calls.dashboards.list(project)]}


@router.get("/dashboards/{name:path}", tags=["charts"])
async def get_dashboard(app: House, project: Owner, name: str) -> dict[str, Any]:
    """One dashboard."""
    return {"dashboard": dashboard_out(await app.calls.dashboards.get(project, name))}


@router.put("/dashboards/{name:path}", tags=["charts"])
async def put_dashboard(
    app: House, who: Asker, project: Owner, name: str, new: NewDashboard, request: Request
) -> dict[str, Any]:
    """Keep a dashboard under a name, in place of the one that has it."""
    definition = checked(new.model_dump())
    kept = await app.calls.dashboards.put(project, name, definition, by=who.key_name)
    await app.audit.note(actor(who, request), "dashboards.put", f"dashboard {name}", {}, project_id=project)
    return {"dashboard": dashboard_out(kept)}


@router.delete("/dashboards/{name:path}", tags=["charts"])
async def delete_dashboard(app: House, who: Asker, project: Owner, name: str, request: Request) -> dict[str, Any]:
    """Forget a dashboard; the calls stay."""
    await app.calls.dashboards.delete(project, name)
    await app.audit.note(actor(who, request), "dashboards.delete", f"dashboard {name}", {}, project_id=project)
    return {"deleted": 1}


def dashboard_out(kept: Dashboard) -> dict[str, Any]:
    """A dashboard as built-in types."""
    return {
        "name": kept.name,
        "project_id": kept.project_id,
        "made_by": kept.made_by,
        "changed_at": kept.changed_at,
        **kept.definition.shown(),
    }
