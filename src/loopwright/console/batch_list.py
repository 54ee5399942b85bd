"""The pages of batches: how far each is, what it cost, its files, its calls, and its early end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, BinaryIO, Final, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from loopwright.app import App
from loopwright.batches.batch import Batch, Status
from loopwright.console.key_ring import by
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, NotFound, Unauthenticated
from loopwright.core.money import usd

_PAGE: Final = 50
_PIECE: Final = 65_536
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_LOOKS: Final = {"completed": "ok", "failed": "error", "expired": "warn", "cancelled": "warn", "cancelling": "warn"}
_STEPS: Final = (
    ("created", "created_at"),
    ("running since", "in_progress_at"),
    ("writing its files since", "finalizing_at"),
    ("completed", "completed_at"),
    ("failed", "failed_at"),
    ("expired", "expired_at"),
    ("cancelling since", "cancelling_at"),
    ("cancelled", "cancelled_at"),
)


class BatchList:
    """Everybody sees, and may cancel, the batches of their project."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one batch, its files, and the action that ends it."""
        return [
            *self._shell.page("/batches", "batches.html", self._list),
            self._shell.route("/batches/{batch_id}/{which}.jsonl", self._file),
            *self._shell.page("/batches/{batch_id}", "batch.html", self._one),
            self._shell.action("/batches/{batch_id}/cancel", self._cancel),
        ]

    async def _list(self, visit: Visit) -> View:
        status = next((each for each in STATUSES if each == visit.asked("status")), None)
        if status is None and visit.asked("status") is not None:
            raise BadRequest(f"status is one of {', '.join(STATUSES)}", param="status")
        found = await self._app.batches.list(
            project_id=visit.project_id, status=status, after=visit.asked("after"), limit=_PAGE + 1
        )
        rows = [row_of(batch) for batch in found[:_PAGE]]
        data = {
            "filter": {"status": status, "after": visit.asked("after")},
            "batches": rows,
            "next": rows[-1]["id"] if len(found) > _PAGE else None,
        }
        return View(data=data, drawn={"statuses": STATUSES, "looks": _LOOKS})

    async def _one(self, visit: Visit) -> View:
        batch = await self._app.batches.show(visit.request.path_params["batch_id"], project_id=visit.project_id)
        keys = {key.id: key.name for key in await self._app.keys.list(revoked=True)}
        row = {**row_of(batch), "key": keys.get(batch.key_id), "errors": [dict(each) for each in batch.errors or ()]}
        steps = [(said, getattr(batch, name)) for said, name in _STEPS if getattr(batch, name) is not None]
        return View(data={"batch": row}, drawn={"looks": _LOOKS, "steps": steps})

    async def _cancel(self, visit: Visit, _form: dict[str, str]) -> Response:
        batch_id = visit.request.path_params["batch_id"]
        batch = await self._app.batches.show(batch_id, project_id=visit.project_id)
        await self._app.audit.note(by(visit), "batch.cancel", f"batch {batch.id}", {}, project_id=batch.project_id)
        await self._app.batches.cancel(batch.id, project_id=visit.project_id)
        return RedirectResponse(f"/batches/{batch.id}", 303)

    async def _file(self, request: Request) -> Response:
        """The lines of a batch, its answers or its errors, as they are stored."""
        visit = self._shell.visit(request)
        if visit is None:
            raise Unauthenticated("sign in at /sign-in")
        batch = await self._app.batches.show(request.path_params["batch_id"], project_id=visit.project_id)
        which = request.path_params["which"]
        names = {"input": batch.input_file_id, "output": batch.output_file_id, "errors": batch.error_file_id}
        file_id = names.get(which)
        if file_id is None:
            raise NotFound(f"{batch.id} has no file of this kind: {which[:40]!r}")
        file = await self._app.batches.files.get(file_id, project_id=batch.project_id)
        headers = {
            "content-disposition": f'attachment; filename="{batch.id}-{which}.jsonl"',
            "content-length": str(file.bytes),
        }
        opened = await self._app.batches.files.open(file)
        return StreamingResponse(_pieces(opened), media_type="application/jsonl", headers=headers)


def row_of(batch: Batch) -> dict[str, Any]:
    """A batch as built-in types."""
    tally = batch.tally
    return {
        "id": batch.id,
        "project_id": batch.project_id,
        "key_id": batch.key_id,
        "endpoint": batch.endpoint,
        "model": batch.model,
        "status": batch.status,
        "open": batch.open,
        "total": batch.total,
        "completed": tally.completed,
        "failed": tally.failed,
        "input_tokens": tally.input_tokens,
        "output_tokens": tally.output_tokens,
        "cost_usd": usd(tally.cost_nano) if tally.cost_nano or not tally.unpriced else None,
        "unpriced": tally.unpriced,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        "input_file_id": batch.input_file_id,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "metadata": {} if batch.metadata is None else dict(batch.metadata),
    }


async def _pieces(opened: BinaryIO) -> AsyncGenerator[bytes, None]:
    try:
        while piece := await asyncio.to_thread(opened.read, _PIECE):
            yield piece
    finally:
        opened.close()
