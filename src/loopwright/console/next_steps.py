"""What to do with what a trace or a session shows: have people review its answers, or keep them as examples."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.console.key_ring import by
from loopwright.console.session_pages import sessions_of
from loopwright.console.shell import Shell, Visit
from loopwright.core.errors import BadRequest, NotFound
from loopwright.datasets.example import Example
from loopwright.datasets.made import of_call
from loopwright.evals.review_items import Found, forget_gone, of_calls
from loopwright.feedback.given import Author
from loopwright.feedback.review import NewItem
from loopwright.feedback.rubric import criteria_of
from loopwright.telemetry.traces import TraceFilter, checked

_MOST: Final = 500
"""Calls that are taken."""
_TRACES: Final = 200
"""Of a session, the newest."""
_CRITERIA: Final = ("good:yes,no=Is this a good answer?",)


class NextSteps:
    """Everybody may do so with calls of their project; an administrator with those of the trace's."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """Two forms, of traces and sessions alike."""
        return [self._shell.action("/next/dataset", self._dataset), self._shell.action("/next/review", self._review)]

    async def _dataset(self, visit: Visit, form: dict[str, str]) -> Response:
        which = await self._which(visit, form)
        project_id = which[0].project_id or visit.who.project_id
        name = form.get("name", "").strip()

        async def examples() -> AsyncIterator[Example]:
            taken: set[str] = set()
            for each in which:
                page = await self._app.calls.page(each, limit=_MOST)
                for call in page.calls:
                    if call.id in taken or len(taken) >= _MOST:
                        continue
                    taken.add(call.id)
                    try:
                        made = of_call(await self._app.calls.get(call.id, project_id=each.project_id, wait=0.0))
                    except NotFound:
                        continue  # deleted since its page was read
                    if made is not None:
                        yield made

        version = await self._app.workshop.datasets.append(
            project_id, name, examples(), author=visit.who.key_name, source="calls", note=_note(form)
        )
        told = {"version": version.number, "from": _note(form)}
        await self._app.audit.note(by(visit), "dataset.append", name, told, project_id=project_id)
        return RedirectResponse(f"/datasets/{quote(name, safe='')}", 303)

    async def _review(self, visit: Visit, form: dict[str, str]) -> Response:
        which = await self._which(visit, form)
        project_id = which[0].project_id or visit.who.project_id
        found = await self._items(which)
        if not found.items:
            raise BadRequest("there is nothing to rate: no call of it has an answer with a text", param="name")
        review = await self._app.workshop.turns.reviews.create(
            project_id,
            form.get("name", "").strip(),
            mode="rubric",
            criteria=criteria_of(list(_CRITERIA), "rubric"),
            items=found.items,
            source={"calls": {name: form[name] for name in ("trace", "session") if form.get(name)}},
            author=Author.of(visit.who),
            instructions=_note(form),
            raters=1,
        )
        await forget_gone(self._app.calls, self._app.workshop.feedback, found.items)
        told = {"name": review.name, "items": len(found.items)}
        await self._app.audit.note(by(visit), "review.create", review.id, told, project_id=project_id)
        return RedirectResponse(f"/reviews/{review.id}", 303)

    async def _items(self, which: list[CallFilter]) -> Found:
        items: dict[str, NewItem] = {}
        for each in which:
            found = await of_calls(self._app.calls, replace(each, outcome="ok"), limit=_MOST)
            items |= {item.call.id: item for item in found.items if item.call is not None}
        return Found(items=tuple(items.values())[:_MOST])

    async def _which(self, visit: Visit, form: dict[str, str]) -> list[CallFilter]:
        """The calls that are meant, as filters: of a session also those that only their trace places in it."""
        traces = sessions_of(self._app).traces
        if trace_id := form.get("trace", "").strip():
            project_id = (await traces.get(visit.project_id, trace_id)).project_id
            return [CallFilter(project_id=project_id, trace=checked(trace_id))]
        session = form.get("session", "")
        row = await sessions_of(self._app).get(visit.project_id, session)
        page = await traces.page(TraceFilter(project_id=row.project_id, session=row.session), limit=_TRACES)
        return [
            CallFilter(project_id=row.project_id, session=row.session),
            *(CallFilter(project_id=row.project_id, trace=each.trace_id) for each in page.traces),
        ]


def _note(form: dict[str, str]) -> str:
    return f"of trace {form['trace'][:40]}" if form.get("trace") else f"of session {form.get('session', '')[:300]}"
