"""The page of a document of a collection, with its pieces marked in its text; and how documents come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.asking import whole_of
from loopwright.console.collection_pages import address, again, number_of, opened
from loopwright.console.forms import check_same_site
from loopwright.console.key_ring import by
from loopwright.console.prompt_pages import scope_of
from loopwright.console.shell import Shell, View, Visit, check_token
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound
from loopwright.kit.multipart import Form, receive
from loopwright.retrieval.collection import Chunk, Collection, Content, Document
from loopwright.retrieval.intake import Taken
from loopwright.retrieval.offering import Offering

_WINDOW: Final = 30_000
"""Characters of a text on a page."""
_BEFORE: Final = 2_000
"""Of them before a passage that is looked for."""
_URLS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stretch of a text that is in the same pieces all along."""

    text: str
    look: str
    """A class of the stylesheet: in no piece, in one (two looks in turn), or in several, which repeat it."""
    begins: Sequence[Chunk]
    """Pieces that begin here."""
    page: int | None
    """The page that begins here."""
    found: bool
    """Of the passage that is looked for."""


class DocumentPages:
    """Documents with labels are there for keys with one of them."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """What comes in, one document, taking it out."""
        one = "/collections/{name}/documents/{document_id}"
        return [
            self._shell.route("/collections/{name}/documents", self._upload, methods=["POST"]),
            self._shell.action("/collections/{name}/texts", self._text),
            self._shell.action("/collections/{name}/urls", self._fetch),
            self._shell.action(f"{one}/delete", self._delete),
            *self._shell.page(one, "document.html", self._one),
        ]

    async def _one(self, visit: Visit) -> View:
        project, collection = await opened(self._app, visit)
        document = await self._document(visit, collection)
        params = visit.request.query_params
        begin, end = whole_of(params, "start"), whole_of(params, "end")
        content, reason = await self._content(document)
        length = len(content.text)
        at = max((begin or 0) - _BEFORE, 0) if end is not None else min(begin or 0, length)
        stop = min(at + _WINDOW, length)
        chunks = await self._app.workshop.collections.chunks(document, at, stop)
        data: dict[str, Any] = {
            "project": project.name,
            "collection": collection.name,
            "document": document.shown(),
            "text": content.text[at:stop],
            "start": at,
            "characters": length,
            "chunks": [_shown(each) for each in chunks],
        }
        drawn = {
            "scope": {} if project.name == visit.who.project else {"project": project.name},
            "runs": runs(content, chunks, at, stop, (begin or 0, end) if end is not None else None),
            "before": max(at - _WINDOW, 0) if at else None,
            "after": stop if stop < length else None,
            "unread": reason,
        }
        return View(data=data, drawn=drawn)

    async def _content(self, document: Document) -> tuple[Content, str]:
        """What it says, or why it says nothing."""
        try:
            return await self._app.workshop.collections.content(document), ""
        except NotFound as error:
            return Content(title="", text=""), error.message

    async def _upload(self, request: Request) -> Response:
        """A file of a form, read as it comes; what is wrong with it stands above the form."""
        check_same_site(request.headers, request.url.netloc)
        visit = self._shell.visit(request)
        if visit is None:
            return RedirectResponse("/sign-in", 303)
        intake, settings = self._app.workshop.intake, self._app.settings
        form = await receive(
            request, intake.blobs, limit=settings.collections.upload_limit, patience=settings.server.body_timeout
        )
        try:
            check_token(visit, form.fields.pop("csrf", ""))
            project, collection = await opened(self._app, visit)
            try:
                taken = await self._file(visit, collection, form)
            except LoopwrightError as error:
                return await again(self._shell, visit, error, form.fields)
        finally:
            if form.blob:
                await intake.drop(form.blob)
        await self._noted(visit, collection, taken)
        return RedirectResponse(address(collection.name) + scope_of(visit, project), 303)

    async def _file(self, visit: Visit, collection: Collection, form: Form) -> Taken:
        if form.filename is None or not form.size:
            raise BadRequest("choose a file that is not empty", param="file")
        offer = await asyncio.to_thread(
            Offering(self._app.workshop.intake, visit.who).stored,
            form.fields.get("name", "").strip() or form.filename,
            form.blob,
            form.size,
            _labels(form.fields),
            {},
        )
        [taken] = await self._app.workshop.intake.take(collection, [offer], visit.who)
        return _fine(taken)

    async def _text(self, visit: Visit, form: dict[str, str]) -> Response:
        """A text that was typed."""
        project, collection = await opened(self._app, visit)
        offering, name = Offering(self._app.workshop.intake, visit.who), form.get("name", "").strip()
        try:
            offer = offering.record(name, form.get("text", ""), form.get("title", ""), _labels(form), {})
            [taken] = await self._app.workshop.intake.take(collection, [offer], visit.who)
            _fine(taken)
        except LoopwrightError as error:
            return await again(self._shell, visit, error, form)
        await self._noted(visit, collection, taken)
        return RedirectResponse(address(collection.name) + scope_of(visit, project), 303)

    async def _fetch(self, visit: Visit, form: dict[str, str]) -> Response:
        """What URLs give, of those that may be fetched."""
        project, collection = await opened(self._app, visit)
        urls = list(dict.fromkeys(form.get("urls", "").split()))
        shop = self._app.workshop
        offering = Offering(shop.intake, visit.who)
        try:
            if not 0 < len(urls) <= _URLS:
                raise BadRequest(f"urls: 1 to {_URLS} at once, one a line", param="urls")
            labels = offering.labels(_labels(form))
            for url in urls:
                shop.intake.fetching.check(url)
            for url in urls:
                fetched = await shop.intake.fetching.fetch(url)
                offer = await asyncio.to_thread(offering.fetched, fetched, labels, {})
                [taken] = await shop.intake.take(collection, [offer], visit.who)
                await self._noted(visit, collection, _fine(taken))
        except LoopwrightError as error:
            return await again(self._shell, visit, error, form)
        return RedirectResponse(address(collection.name) + scope_of(visit, project), 303)

    async def _delete(self, visit: Visit, _form: dict[str, str]) -> Response:
        project, collection = await opened(self._app, visit)
        document = await self._document(visit, collection)
        subject, told = f"collection {collection.name}", {"document": document.name[:200]}
        await self._app.audit.note(by(visit), "document.delete", subject, told, project_id=collection.project_id)
        store = self._app.workshop.collections
        await self._app.workshop.intake.let_go(await store.remove(collection, [document.id], visit.who.labels))
        return RedirectResponse(address(collection.name) + scope_of(visit, project), 303)

    async def _document(self, visit: Visit, collection: Collection) -> Document:
        number = number_of(visit, "document_id")
        return await self._app.workshop.collections.document(collection, number, visit.who.labels)

    async def _noted(self, visit: Visit, collection: Collection, taken: Taken) -> None:
        if taken.outcome != "unchanged":
            await self._app.audit.note(
                by(visit),
                "document.add",
                f"collection {collection.name}",
                {taken.outcome: "1"},
                project_id=collection.project_id,
            )


def runs(content: Content, chunks: Sequence[Chunk], start: int, end: int, found: tuple[int, int] | None) -> list[Run]:
    """A text from `start` up to `end`, cut wherever a piece, a page or the passage that is looked for begins or ends."""
    pages = {at: number for number, at in enumerate(content.breaks, start=1) if start <= at < end}
    low, high = found or (-1, -1)
    edges = {start, end, *pages, *(at for each in chunks for at in (each.start, each.end)), low, high}
    places = sorted(at for at in edges if start <= at <= end)
    made = []
    for one, two in pairwise(places):
        within = [each for each in chunks if each.start <= one and two <= each.end]
        look = "" if not within else "twice" if len(within) > 1 else "odd" if within[0].position % 2 else "even"
        made.append(
            Run(
                text=content.text[one:two],
                look=look,
                begins=[each for each in chunks if each.start == one],
                page=pages.get(one),
                found=low <= one and two <= high,
            )
        )
    return made


def _shown(chunk: Chunk) -> dict[str, Any]:
    return {
        "id": chunk.id,
        "position": chunk.position,
        "heading": chunk.heading,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "suspicion": round(chunk.suspicion, 3),
    }


def _labels(fields: dict[str, str]) -> list[str]:
    return [each.strip() for each in fields.get("labels", "").split(",") if each.strip()]


def _fine(taken: Taken) -> Taken:
    """What became of an offer.

    Raises:
        BadRequest: it was refused.
    """
    if taken.outcome == "refused":
        raise BadRequest(taken.reason, param="name")
    return taken
