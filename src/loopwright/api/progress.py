"""Long acts told as they go: with `Accept: application/x-ndjson` a line for each step, and the answer as the last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import psycopg
from fastapi import Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from loopwright.core.errors import LoopwrightError
from loopwright.kit.db import unfit
from loopwright.kit.wire_out import error_body

LINES: Final = "application/x-ndjson"
_PAUSE: Final = 0.2
"""Seconds between two lines."""

Told = Callable[[str, int, int | None], None]
"""Hears what is being done, how much of it is done, and of how much if that is known."""
Act = Callable[[Told], Awaitable[dict[str, Any]]]


async def acted(request: Request, act: Act, *, status: int = 201) -> Response:
    """Do it, and answer with what it makes: at its end, or line by line for who asks so.

    Lines are `{"doing": "reading", "done": 500, "of": null}`; the last one is the answer, or `{"error": {…}}`.
    """
    if LINES not in request.headers.get("accept", ""):
        return JSONResponse(_plain(await act(_silent)), status)
    return StreamingResponse(_told(act), status_code=200, media_type=LINES)


async def _told(act: Act) -> AsyncIterator[bytes]:
    said: asyncio.Queue[tuple[str, int, int | None]] = asyncio.Queue()

    def tell(doing: str, done: int, of: int | None) -> None:
        said.put_nowait((doing, done, of))

    working = asyncio.ensure_future(act(tell))
    try:
        last = 0.0
        while not working.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE):
                    doing, done, of = await said.get()
                    while not said.empty():
                        doing, done, of = said.get_nowait()
                    if time.monotonic() - last >= _PAUSE:
                        last = time.monotonic()
                        yield msgspec.json.encode({"doing": doing, "done": done, "of": of}) + b"\n"
        try:
            yield msgspec.json.encode(await working) + b"\n"
        except LoopwrightError as error:
            yield msgspec.json.encode(error_body(error)) + b"\n"
        except psycopg.DataError as error:
            yield msgspec.json.encode(error_body(unfit(error))) + b"\n"
    finally:
        # Who asked hung up: nothing is stored by halves.
        working.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await working


def _silent(_doing: str, _done: int, _of: int | None) -> None:
    pass


def _plain(answer: dict[str, Any]) -> Any:
    """Built-in types for an encoder that knows no dates."""
    return msgspec.to_builtins(answer)
