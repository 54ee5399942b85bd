"""Measuring searches over REST: labelled queries asked in several ways, figures with intervals, and what got worse."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner, actor
from loopwright.api.progress import Told, acted
from loopwright.app import App
from loopwright.core.errors import BadRequest, Conflict, Refused
from loopwright.core.who import Principal
from loopwright.kit.nearest import hint
from loopwright.laboratory.retrieval_figures import rows_of, summary_of
from loopwright.retrieval.assessing import Assessing
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.evaluations import Row, ordered
from loopwright.retrieval.labelled import CUTOFFS, DEFAULT_WAYS, JUDGEMENTS, QUERIES, WAYS, Plan, Way, judged_of

router = APIRouter(prefix="/api")
_RELEVANT: Final = 50
"""Relevant documents of a query that are shown."""
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


class NewWay(BaseModel):
    """One way to search."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=60)
    options: dict[str, JsonValue] = Field(default={}, description='As of a search: `{"mode": "hybrid", "rerank": …}`.')


class NewEvaluation(BaseModel):
    """Labelled queries, and the ways that are compared on them."""

    model_config = ConfigDict(extra="forbid")

    queries: list[dict[str, JsonValue]] = Field(
        max_length=QUERIES,
        description='`{"_id", "text"}`, as BEIR\'s; `relevant` may name documents, or hold their grades by name.',
    )
    qrels: list[dict[str, JsonValue]] = Field(
        default=[], max_length=JUDGEMENTS, description='`{"query-id", "corpus-id", "score"}`; documents by name.'
    )
    ways: list[NewWay] | None = Field(
        default=None, max_length=WAYS, description="The first is the baseline; else lexical, dense, hybrid."
    )
    cutoffs: list[int] = Field(
        default=list(CUTOFFS), max_length=10, description="Each k of precision@k and the others; compared by the last."
    )
    note: str = Field(default="", max_length=2_000)


@router.post("/collections/{name}/evaluations", tags=["collections"], status_code=201)
async def create_retrieval_evaluation(
    app: House, who: Asker, project_id: Owner, name: str, new: NewEvaluation, request: Request
) -> Response:
    """Ask every query in every way, and keep what came of it. Takes as long as the searches; nothing is kept by halves."""
    collection = await opened(app, who, project_id, name)
    ways = DEFAULT_WAYS if new.ways is None else [Way(name=each.name, options=each.options) for each in new.ways]
    plan = Plan(queries=judged_of(new.queries, new.qrels), ways=ways, cutoffs=new.cutoffs, note=new.note).checked()

    async def act(told: Told) -> dict[str, Any]:
        return await _measure(app, who, collection, plan, told)

    named = {"queries": str(len(plan.queries)), "ways": ", ".join(way.name for way in plan.ways)}
    await app.audit.note(actor(who, request), "collection.eval", f"collection {name}", named, project_id=project_id)
    return await acted(request, act)


@router.get("/collections/{name}/evaluations", tags=["collections"])
async def list_retrieval_evaluations(
    app: House,
    who: Asker,
    project_id: Owner,
    name: str,
    *,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """How searches of a collection were measured, the newest first."""
    collection = await opened(app, who, project_id, name)
    found = await app.workshop.measured.list(collection, before=before, limit=limit + 1)
    page = found[:limit]
    return {
        "evaluations": [each.shown() for each in page],
        "next": page[-1].id if len(found) > limit else None,
        "version": collection.version,
    }


@router.get("/collections/{name}/evaluations/{id}", tags=["collections"])
async def get_retrieval_evaluation(
    app: House,
    who: Asker,
    project_id: Owner,
    name: str,
    id: Number,  # noqa: A002 - the route's own word
    *,
    way: Annotated[str | None, Query(max_length=60, description="Whose queries; else the last.")] = None,
    order: Annotated[
        Literal["change", "worst", "given"],
        Query(description="Worst against the baseline first, worst first, or as given."),
    ] = "change",
    limit: Annotated[int, Query(ge=0, le=1_000)] = 50,
    offset: Annotated[int, Query(ge=0, le=QUERIES)] = 0,
) -> dict[str, Any]:
    """One measurement, with its queries: those that got worse against the baseline first."""
    collection = await opened(app, who, project_id, name)
    found = await app.workshop.measured.get(collection, id)
    names = [each["name"] for each in found.summary["ways"]]
    chosen = names[-1] if way is None else way
    if chosen not in names:
        raise BadRequest(f"way: {chosen[:60]!r} was not measured{hint(chosen, names)}", param="way")
    rows = await app.workshop.measured.rows(found)
    by, baseline = found.summary["by"], found.summary["baseline"]
    sorted_rows = ordered(rows, by=by, way=chosen, baseline=baseline, order=order)
    return {
        "evaluation": found.shown(),
        "way": chosen,
        "order": order,
        "queries": [_shown(row, by, chosen, baseline) for row in sorted_rows[offset : offset + limit]],
        "total": len(rows),
    }


@router.delete("/collections/{name}/evaluations/{id}", tags=["collections"])
async def delete_retrieval_evaluation(
    app: House,
    who: Asker,
    project_id: Owner,
    name: str,
    id: Number,  # noqa: A002 - the route's own word
    request: Request,
) -> dict[str, Any]:
    """Remove a measurement with its queries, for ever."""
    collection = await opened(app, who, project_id, name)
    found = await app.workshop.measured.get(collection, id)
    await app.audit.note(
        actor(who, request),
        "collection.eval.delete",
        f"collection {name}",
        {"evaluation": str(id)},
        project_id=project_id,
    )
    await app.workshop.measured.delete(found)
    return {"id": found.id, "deleted": True}


async def opened(app: App, who: Principal, project_id: int, name: str) -> Collection:
    """A collection that `who` sees all of.

    Raises:
        NotFound: there is none.
        Refused: the key sees documents by their labels.
    """
    collection = await app.workshop.collections.get(project_id, name)
    if who.labels is not None:
        raise Refused(f"key {who.key_name!r} sees documents by their labels, and may not measure a whole collection")
    return collection


async def _measure(app: App, who: Principal, collection: Collection, plan: Plan, told: Told) -> dict[str, Any]:
    if not collection.chunks:
        raise Conflict(f"collection {collection.name!r} has nothing that could be found: ingest documents first")
    asking = Assessing(
        search=app.search,
        collection=collection,
        who=replace(who, project_id=collection.project_id),
        privacy=await app.policy_of(collection.project_id, collection.embedder),
    )
    found = await asking(plan, lambda done, of: told("searching", done, of))
    queries = [each for each in plan.queries if each.measurable]
    rows = await asyncio.to_thread(rows_of, queries, found, plan)
    missing = await app.workshop.measured.missing(
        collection, {name for each in queries for name, grade in each.grades.items() if grade > 0}
    )
    summary = await asyncio.to_thread(summary_of, rows, plan)
    summary |= {"unmeasured": len(plan.queries) - len(queries), "missing_documents": missing}
    kept = await app.workshop.measured.keep(collection, summary, rows, author=who.key_name, note=plan.note)
    return {"evaluation": kept.shown()}


def _shown(row: Row, by: str, way: str, baseline: str) -> dict[str, Any]:
    relevant = sorted((name for name, grade in row.grades.items() if grade > 0), key=lambda name: -row.grades[name])
    value, before = row.ways[way].measures[by], row.ways[baseline].measures[by]
    return {
        "id": row.id,
        "text": row.text,
        "synthetic": row.synthetic,
        "relevant": [{"document": name, "grade": row.grades[name]} for name in relevant[:_RELEVANT]],
        "value": value,
        "baseline": before,
        "change": round(value - before, 6),
        "ways": {
            name: {
                "measures": each.measures,
                "found": [{"document": found, "grade": row.grades.get(found, 0.0)} for found in each.found],
                "took_ms": round(each.micros / 1000, 2),
                "note": each.note,
            }
            for name, each in row.ways.items()
        },
    }
