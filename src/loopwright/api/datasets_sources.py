"""Where examples come from that are made here: calls on record, corrections, a model and its embedder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.core.call import CallDetail
from loopwright.core.errors import NotFound
from loopwright.datasets.example import Example
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.kit.ids import Ids

_PAGE: Final = 200


async def calls(app: App, which: CallFilter, limit: int) -> AsyncIterator[tuple[int, CallDetail]]:
    """The newest calls of a filter with their texts, and how many they are by now."""
    at, before = 0, None
    while at < limit:
        page = await app.calls.page(which, before=before, limit=min(_PAGE, limit - at))
        for call in page.calls:
            at += 1
            try:
                yield at, await app.calls.get(call.id, project_id=which.project_id, wait=0.0)
            except NotFound:
                continue  # deleted since its page was read
        before = page.next
        if before is None:
            return


async def corrections(
    app: App, project_id: int, *, since: datetime | None, task: str | None, limit: int
) -> AsyncIterator[tuple[CallDetail, Any]]:
    """The newest corrections that count, each with its call."""
    at, before = 0, None
    while at < limit:
        page = await app.workshop.feedback.page(
            project_id=project_id, since=since, before=before, limit=min(_PAGE, limit - at)
        )
        for correction in page:
            at += 1
            try:
                detail = await app.calls.get(correction.call_id, project_id=project_id, wait=0.0)
            except NotFound:
                continue
            if task is None or detail.call.task == task:
                yield detail, correction.output
        if not page:
            return
        before = page[-1].id


async def first(examples: AsyncIterator[Example], most: int) -> AsyncIterator[Example]:
    """The first so many."""
    at = 0
    async for example in examples:
        if at == most:
            return
        at += 1
        yield example


def embedder_of(app: App, name: str | None) -> CalledEmbedder:
    """An embedding model by its name, or the first there is.

    Raises:
        NotFound: there is none.
    """
    able = [card.name for card in app.known if "embeddings" in card.operations and card.name in app.targets]
    if name is not None and name not in able:
        raise NotFound(
            f"there is no embedding model {name[:80]!r}: there are {', '.join(able) or 'none'}", param="embedder"
        )
    if not able:
        raise NotFound("variations are told apart by an embedding model, and none is configured", param="embedder")
    chosen = name or able[0]
    return CalledEmbedder(app.targets[chosen].chat, chosen, Ids())
