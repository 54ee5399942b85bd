"""The pages of measured searches of a collection: each with its ways beside each other, and its worst queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.asking import whole_of
from loopwright.console.collection_pages import address, number_of, opened
from loopwright.console.curves import number, scale
from loopwright.console.key_ring import by
from loopwright.console.prompt_pages import scope_of
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, Refused
from loopwright.kit.nearest import hint
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.evaluations import Evaluation, Row, ordered

_PAGE: Final = 50
_QUERIES: Final = 25
_RELEVANT: Final = 20
_ORDERS: Final = {"change": "lost most against the baseline", "worst": "worst first", "given": "as given"}
_WIDTH, _LEFT, _RIGHT, _ROW = 640, 150, 24, 30


class MeasuredPages:
    """Keys that see documents by their labels see no measurement: it tells of all documents."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one measurement, forgetting it."""
        one = "/collections/{name}/evaluations/{evaluation_id}"
        return [
            *self._shell.page("/collections/{name}/evaluations", "collection_evaluations.html", self._list),
            self._shell.action(f"{one}/delete", self._delete),
            *self._shell.page(one, "collection_evaluation.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        project, collection = await self._opened(visit)
        before = whole_of(visit.request.query_params, "before", high=10**11)
        found = await self._app.workshop.measured.list(collection, before=before, limit=_PAGE + 1)
        page = found[:_PAGE]
        data: dict[str, Any] = {
            "project": project,
            "collection": collection.name,
            "version": collection.version,
            "evaluations": [each.shown() for each in page],
            "next": page[-1].id if len(found) > _PAGE else None,
        }
        drawn = {
            "scope": {} if project == visit.who.project else {"project": project},
            "made": {each.id: each.made_at for each in page},
            "plot": forest(page[0]) if page else None,
            "number": number,
        }
        return View(data=data, drawn=drawn)

    async def _one(self, visit: Visit) -> View:
        project, collection = await self._opened(visit)
        found = await self._found(visit, collection)
        ways = [each["name"] for each in found.summary["ways"]]
        way, order = visit.asked("way") or ways[-1], visit.asked("order") or "change"
        if way not in ways:
            raise BadRequest(f"way: {way[:60]!r} was not measured{hint(way, ways)}", param="way")
        if order not in _ORDERS:
            raise BadRequest(f"order: one of {', '.join(_ORDERS)}", param="order")
        offset = whole_of(visit.request.query_params, "offset", high=10_000_000) or 0
        rows = await self._app.workshop.measured.rows(found)
        measure, baseline = found.summary["by"], found.summary["baseline"]
        listed = ordered(rows, by=measure, way=way, baseline=baseline, order=order)
        data: dict[str, Any] = {
            "project": project,
            "collection": collection.name,
            "version": collection.version,
            "evaluation": found.shown(),
            "way": way,
            "order": order,
            "offset": offset,
            "total": len(rows),
            "queries": [_query(each, measure, way, baseline) for each in listed[offset : offset + _QUERIES]],
            "next": offset + _QUERIES if offset + _QUERIES < len(rows) else None,
        }
        drawn = {
            "scope": {} if project == visit.who.project else {"project": project},
            "made_at": found.made_at,
            "plot": forest(found),
            "orders": _ORDERS,
            "number": number,
            "page_size": _QUERIES,
        }
        return View(data=data, drawn=drawn)

    async def _delete(self, visit: Visit, _form: dict[str, str]) -> Response:
        project, collection = await self._opened(visit)
        found = await self._found(visit, collection)
        subject, told = f"collection {collection.name}", {"evaluation": str(found.id)}
        await self._app.audit.note(by(visit), "collection.eval.delete", subject, told, project_id=collection.project_id)
        await self._app.workshop.measured.delete(found)
        scope = scope_of(visit, await self._app.projects.get(project))
        return RedirectResponse(f"{address(collection.name)}/evaluations{scope}", 303)

    async def _opened(self, visit: Visit) -> tuple[str, Collection]:
        project, collection = await opened(self._app, visit)
        if visit.who.labels is not None:
            raise Refused(
                f"key {visit.who.key_name!r} sees documents by their labels, and measurements tell of all documents"
            )
        return project.name, collection

    async def _found(self, visit: Visit, collection: Collection) -> Evaluation:
        return await self._app.workshop.measured.get(collection, number_of(visit, "evaluation_id"))


def forest(found: Evaluation) -> dict[str, Any]:
    """Where the ways' figures and intervals lie, in SVG units: of the measure that they are compared by."""
    measure = found.summary["by"]
    figures = [(each["name"], each["figures"].get(measure)) for each in found.summary["ways"]]
    ends = [value for _, of in figures if of for value in (of["low"], of["high"], of["estimate"]) if value is not None]
    marks = scale(max(min(ends, default=0.0), 0.0), max(ends, default=1.0))
    low, high = marks[0], marks[-1]

    def x(value: float | None) -> float | None:
        if value is None:
            return None
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    rows = [
        {
            "name": name,
            "y": 18 + _ROW * at,
            "look": "other" if name == found.summary["baseline"] else "main",
            "x": x(of["estimate"]) if of else None,
            "low": x(of["low"]) if of else None,
            "high": x(of["high"]) if of else None,
            "says": _says(name, of),
        }
        for at, (name, of) in enumerate(figures)
    ]
    base = 18 + _ROW * len(rows) - 10
    return {
        "measure": measure, "rows": rows, "base": base, "left": _LEFT, "width": _WIDTH, "height": base + 24,
        "ticks": [{"at": x(mark), "text": number(mark)} for mark in marks],
        "says": "; ".join(each["says"] for each in rows),
    }  # fmt: skip


def _says(name: str, of: Mapping[str, Any] | None) -> str:
    if not of:
        return f"{name}: not measured"
    return f"{name}: {number(of['estimate'])}, {number(of['low'])} to {number(of['high'])}"


def _query(row: Row, measure: str, way: str, baseline: str) -> dict[str, Any]:
    """A query with what was found for it by the way that is looked at, and by the baseline."""
    value, before = row.ways[way].measures[measure], row.ways[baseline].measures[measure]
    relevant = sorted((name for name, grade in row.grades.items() if grade > 0), key=lambda name: -row.grades[name])
    return {
        "id": row.id,
        "text": row.text,
        "synthetic": row.synthetic,
        "value": value,
        "baseline": before,
        "change": round(value - before, 6),
        "relevant": [{"document": name, "grade": row.grades[name]} for name in relevant[:_RELEVANT]],
        "ways": {name: _found(row, name) for name in dict.fromkeys((baseline, way))},
    }


def _found(row: Row, way: str) -> dict[str, Any]:
    found: Sequence[str] = row.ways[way].found
    return {
        "found": [
            {"rank": rank, "document": name, "grade": row.grades.get(name, 0.0)}
            for rank, name in enumerate(found, start=1)
        ],
        "note": row.ways[way].note,
        "took_ms": round(row.ways[way].micros / 1000, 2),
    }
