"""Calls taken out of the house: `GET /api/calls/export`, a file that comes as it is made, and mirrors elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from loopwright.api.asking import Administrator, Asker, House, actor
from loopwright.api.filters import Filtered, aware
from loopwright.core.errors import NotFound
from loopwright.exports import due
from loopwright.exports.formats import ENDINGS, TYPES, Format, pieces, writer
from loopwright.exports.outgoing import Source
from loopwright.exports.standing import standings
from loopwright.kit.nearest import hint

router = APIRouter(prefix="/api")


@router.get("/calls/export", tags=["calls"], response_class=StreamingResponse)
async def export_calls(
    app: House,
    who: Asker,
    which: Filtered,
    request: Request,
    *,
    form: Annotated[Format, Query(alias="format")] = "jsonl",
    texts: Annotated[bool, Query(description="With request, answer, explanations and corrections.")] = True,
    limit: Annotated[int | None, Query(ge=1, le=2**62, description="At most so many.")] = None,
) -> StreamingResponse:
    """Calls as a file, newest first, with what was said of each; as many as there are, in bounded memory.

    An answer that breaks off is not the whole file: its last chunk is missing, and Parquet has no footer.
    """
    source = Source(calls=app.calls, feedback=app.workshop.feedback)
    written = pieces(source.each(which, texts=texts, limit=limit), writer(form, texts=texts))
    # Before the answer begins: what cannot be asked is an error, not half a file.
    first = await anext(written, b"")
    await app.audit.note(
        actor(who, request), "calls.export", f"calls as {form}", {"texts": texts}, project_id=who.project_id
    )
    name = f"calls-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{ENDINGS[form]}"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    return StreamingResponse(_rest(first, written), media_type=TYPES[form], headers=headers)


@router.get("/exports", tags=["exports"])
async def list_exports(app: House, _who: Administrator) -> dict[str, Any]:
    """Where calls are mirrored to, how far each is, and what is wrong."""
    return {"exports": await standings(app.db, app.settings.exports)}


@router.post("/exports/{name}/run", tags=["exports"], status_code=202)
async def run_export(
    app: House,
    who: Administrator,
    name: str,
    request: Request,
    *,
    since: Annotated[datetime | None, Query(description="Calls that started then or later; by default all.")] = None,
    until: Annotated[datetime | None, Query(description="Calls that started before.")] = None,
) -> dict[str, Any]:
    """Have calls on record mirrored, those from before the mirror was configured, or again."""
    if name not in app.settings.exports:
        raise NotFound(f"there is no mirror {name[:80]!r}{hint(name, list(app.settings.exports))}")
    await app.audit.note(actor(who, request), "exports.run", f"mirror {name}", {}, project_id=who.project_id)
    return {"queued": await due.queue(app.db, name, aware(since), aware(until))}


async def _rest(first: bytes, written: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in written:
        yield piece
