"""Calls taken out of the house: `GET /api/calls/export`, a file that comes as it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from loopwright.api.asking import Asker, House, actor
from loopwright.api.filters import Filtered
from loopwright.exports.formats import ENDINGS, TYPES, Format, pieces, writer
from loopwright.exports.outgoing import Source

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


async def _rest(first: bytes, written: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in written:
        yield piece
