"""Takes the lines of batches down the road of every request: an exchange without a connection, by the key's id.

The recorder has a road of its own for this while there are batches: same limits, budgets, cache, routes and record.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from msgspec import structs

from loopwright.api.hot import HotRoutes
from loopwright.api.spoken import dialects
from loopwright.app import App, build
from loopwright.batches.batch import Batch, Problem
from loopwright.batches.lines import Line
from loopwright.batches.road import Reply
from loopwright.core.chat import Delta, Request, answering
from loopwright.core.errors import LoopwrightError, Refused
from loopwright.core.money import Usage
from loopwright.core.who import Principal
from loopwright.engines.spare import EngineLoad
from loopwright.kit.ids import Ids
from loopwright.kit.nearest import hint
from loopwright.kit.settings import Settings
from loopwright.tasks.task import PREFIX

TAG: Final = "loopwright.batch"
"""Which batch a call belongs to."""
_POOL: Final = 4
_LONGEST: Final = 86_400.0
_log = logging.getLogger(__name__)


class LineRoad:
    """The road for lines, over an App of this process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._ids = Ids()
        self._dialects = dialects(app)
        self._load = EngineLoad(app.catalog.configured(), app.engines(), app.settings.batches.free_slots)

    async def ask(self, batch: Batch, line: Line, seconds: float) -> Reply:
        """See `batches.road.Road`."""
        said = _Said(batch.id, self._app)
        exchange = _LineExchange(batch, line, min(max(seconds, 0.001), _LONGEST))
        hot = HotRoutes(
            chat=said, dialects=self._dialects, find=self._holder, refusals=said, ids=self._ids
        )  # of this one line, for what it is told on the way
        with self._load.asking(self._behind(line.model)):
            await hot.answer(exchange)
        usage = said.usage
        return Reply(
            status=exchange.status,
            body=exchange.answer,
            request_id=exchange.said("x-loopwright-call-id"),
            retry_after=_seconds(exchange.said("retry-after")),
            input_tokens=usage.input,
            output_tokens=usage.output,
            cached_tokens=usage.cached,
            reasoning_tokens=usage.reasoning,
            cost_nano=said.cost_nano if exchange.status == 200 else 0,
        )

    async def free(self, model: str) -> bool:
        """See `batches.road.Road`."""
        return await self._load.free(self._behind(model))

    def _behind(self, model: str) -> str:
        """The model that works for a name: of a task, that of its first variant."""
        name = model.removeprefix(PREFIX).partition("@")[0]
        if name == model:
            return model
        found = next((task for task in self._app.workshop.held_tasks.listed(None) if task.name == name), None)
        return model if found is None else next(iter(found.variants.values())).models[0]

    def judge(self, batch: Batch, model: str) -> Problem | None:
        """See `batches.road.Road`."""
        who = self._app.keys.holder(batch.key_id)
        if who is None:
            return Problem(code="invalid_api_key", message="the key that made the batch has ended or was revoked")
        if not self._app.keeps(who, model):
            return Problem(code="no_store", message=f"the texts of {model!r} are not kept (privacy, no-store)")
        judge = self._judge_task if model.startswith(PREFIX) else self._judge_model
        return judge(batch, who, model)

    def _judge_model(self, batch: Batch, who: Principal, model: str) -> Problem | None:
        if not who.may_call(model):
            said = f"key {who.key_name!r} may not call {model!r}{hint(model, who.models or ())}"
            return Problem(code="permission_denied", message=said)
        target = self._app.targets.get(model)
        if target is None:
            known = [name for name in self._app.targets if who.may_call(name)]
            return Problem(code="model_not_found", message=f"there is no model {model!r}{hint(model, known)}")
        dialect = self._dialects[batch.endpoint]
        if dialect.operation not in target.operations:
            return Problem(code="invalid_model", message=f"model {model!r} does not do {dialect.operation}")
        return None

    def _judge_task(self, batch: Batch, who: Principal, model: str) -> Problem | None:
        """A task's inputs are judged when it is asked."""
        name, _, which = model.removeprefix(PREFIX).partition("@")
        try:
            task = self._app.workshop.held_tasks.find(who.project_id, name)
            variants = [task.variant(which)] if which else [each for each in task.variants.values() if each.weight]
        except LoopwrightError as error:
            return Problem(code=error.code, message=error.message)
        if not who.may_have_done(name, {each for variant in variants for each in variant.models}):
            return Problem(code="permission_denied", message=f"key {who.key_name!r} may not call {model!r}")
        if self._dialects[batch.endpoint].operation != "chat":
            return Problem(code="invalid_model", message=f"{model!r} does chat only")
        return None

    async def close(self) -> None:
        """Let go of what the road does not."""
        await self._load.close()

    def _holder(self, key_id: str) -> Principal | None:
        return self._app.keys.holder(int(key_id))


@dataclass(slots=True)
class _Said:
    """The whole road for one line: names the batch on record, and notes what the answer took."""

    batch_id: str
    app: App
    usage: Usage = field(default_factory=Usage)
    cost_nano: int | None = None

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        async with answering(self.app.chat, self._tagged(request)) as answer:
            async for delta in answer:
                self.usage = delta.usage or self.usage
                if delta.done:
                    self.cost_nano = delta.cost_nano
                yield delta

    def refuse(self, request: Request, error: LoopwrightError) -> None:
        """Record what was refused before it could take the road."""
        self.app.recorded.refuse(self._tagged(request), error)

    def _tagged(self, request: Request) -> Request:
        return structs.replace(request, tags={**request.tags, TAG: self.batch_id})


class _LineExchange:
    """One line as a hot route sees it, and its answer."""

    def __init__(self, batch: Batch, line: Line, seconds: float) -> None:
        self.path = batch.endpoint
        self.status = 500
        self.answer = b""
        self._body = line.body
        self._headers: Mapping[bytes, str] = {
            # By the id of the key, which only this process can say: secrets are kept nowhere.
            b"authorization": f"Bearer {batch.key_id}",
            b"user-agent": f"loopwright {batch.id} {line.custom_id}"[:200],
            b"x-loopwright-timeout": f"{seconds:.3f}",
        }
        self._said = b""

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name."""
        return self._headers.get(name)

    async def body(self) -> bytes:
        """The line's."""
        return self._body

    async def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Keep the answer."""
        self.status, self._said, self.answer = status, headers, body

    async def start(self, _headers: bytes) -> None:
        """Lines are not streamed."""
        raise LoopwrightError("a batch answers whole")

    async def write(self, _data: bytes) -> None:
        """Lines are not streamed."""
        raise LoopwrightError("a batch answers whole")

    async def end(self, _data: bytes = b"") -> None:
        """Lines are not streamed."""
        raise LoopwrightError("a batch answers whole")

    def said(self, name: str) -> str:
        """A header of the answer; empty without it."""
        for line in self._said.split(b"\r\n"):
            key, _, value = line.partition(b": ")
            if key.decode("latin-1") == name:
                return value.decode("latin-1")
        return ""


def check_kept(app: App, who: Principal) -> None:
    """Refuse what would keep texts of a project that keeps none.

    Raises:
        Refused: its policy is no-store.
    """
    if not app.keeps(who):
        raise Refused(
            f"project {who.project!r} keeps no texts (privacy, no-store), and files and batches are kept:"
            " use a project that may"
        )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[LineRoad]:
    """A road while there are batches: at rest it would cost its memory for nothing.

    Raises:
        StartError: the database does not answer.
    """
    app = await build(
        replace(
            settings,
            batches=replace(settings.batches, asked_here=True),
            database=replace(settings.database, pool=_POOL),
        )
    )
    watching = asyncio.create_task(app.watch())
    road = LineRoad(app)
    try:
        yield road
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await road.close()
        await app.close()
        gc.collect()


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None
