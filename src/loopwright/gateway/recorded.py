"""Remembers every call, also the refused, the failed and those hung up on; knows what each one cost.

Outermost of the road. A record is in the spool before the last piece of the answer goes out, so what a client saw to
its end survives the death of this process; a stream leaves a note when it begins, so what a client saw in part does too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from loopwright.calls.record import Opened, Record
from loopwright.core.chat import Chat, Delta, Keep, Request
from loopwright.core.errors import InvalidOutput, LoopwrightError, Refused, Unavailable, UpstreamBroke, UpstreamError
from loopwright.core.money import Price, Usage
from loopwright.core.notes import told
from loopwright.kit.wire import with_fields

ANSWER_LIMIT: Final = 8_000_000
"""Bytes of an answer that are kept; a longer one is kept to here."""
CLIENT_CLOSED: Final = 499
NOT_STORED: Final = {"loopwright.store": "false"}
"""Tags of a call of which only metadata is kept because its policy, or its client, wished so."""
_UNSAID: Final = "the message is not kept: it could quote what was asked"
PriceOf = Callable[[str, str, str], Price | None]
"""From the name that was asked for, the provider and its own name of the model to the price."""
_log = logging.getLogger(__name__)


class Spooling(Protocol):
    """Where records go."""

    def write(self, record: Record | Opened) -> None:
        """Append; raises Unavailable when it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """Writes one Record a call."""

    inner: Chat
    spool: Spooling
    price: PriceOf
    """What an answer costs; None when nobody knows."""
    payloads: bool = True
    """Keep prompts and answers; embeddings' vectors are never kept."""
    alone: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Names that one target alone answers for, and its provider and own name of the model: who failed when they fail."""

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer; the last Delta carries the cost."""
        taken = _Taken(request, self.price, payloads=self.payloads)
        if request.stream:
            # Runs while the upstream is being waited for: noting the beginning delays no first piece.
            asyncio.get_running_loop().call_soon(self._open, taken)
        try:
            answer = self.inner(request)
            try:
                async for delta in answer:
                    opening = taken.add(delta)
                    if delta.done:
                        self.spool.write(taken.finished(delta.keep))
                        cost = taken.cost_nano
                        yield delta if cost is None or cost == delta.cost_nano else delta.costing(cost)
                    else:
                        if opening and request.stream:
                            self._open(taken)
                            taken.check_opened()
                        yield delta
            finally:
                await answer.aclose()
            taken.check_ended()
        except LoopwrightError as error:
            if isinstance(error, InvalidOutput):  # what the attempts took is paid for all the same
                taken.add(Delta(usage=error.usage, model=error.model, provider=error.provider, speaks=False))
            taken.failed(error, self.alone)
            outcome = "refused" if error.status < 500 else "error"
            self._close(taken, outcome, error.status, error.code, error.message)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self._close(taken, "cancelled", CLIENT_CLOSED, "client_closed", "the client hung up")
            raise
        except Exception as error:
            self._close(taken, "error", 500, "internal", f"{type(error).__name__} inside Loopwright: see its log")
            raise

    def whole(self, request: Request, delta: Delta) -> Record:
        """The Record of a request whose answer was `delta` alone, not written."""
        taken = _Taken(request, self.price, payloads=self.payloads)
        taken.add(delta)
        return taken.record("ok", 200)

    def refuse(self, request: Request, error: LoopwrightError) -> None:
        """Record a request that was refused before it could take the road."""
        self._close(
            _Taken(request, self.price, payloads=self.payloads), "refused", error.status, error.code, error.message
        )

    def _open(self, taken: _Taken) -> None:
        """Note that a stream has begun, once, and not after its end."""
        if taken.opened:
            return
        taken.opened = True
        try:
            self.spool.write(Opened(record=taken.record("interrupted", 200)))
        except LoopwrightError as error:
            taken.problem = error

    def _close(self, taken: _Taken, outcome: str, status: int, code: str, message: str) -> None:
        taken.opened = True
        if taken.written:
            return
        try:
            self.spool.write(taken.record(outcome, status, code, message))
        except LoopwrightError as error:
            # The caller is already being told of a failure; the spool counts what it could not take. No traceback: it
            # would go on with the failure of the call, whose message may quote what was asked.
            _log.error("call %s could not be recorded: %s", taken.request.id, error.message)


class _Taken:
    """What is known of a call so far."""

    __slots__ = (
        "_asked", "_began", "_events", "_keep", "_mute", "_payloads", "_price_of", "_size", "asked_last", "cost_nano", "first", "kept", "model",
        "opened", "pieces", "price", "problem", "provider", "request", "tags", "usage", "written",
    )  # fmt: skip

    def __init__(self, request: Request, price: PriceOf, *, payloads: bool) -> None:
        self.request = request
        self._asked = request.model if request.assignment is None else request.assignment.needs[0].model
        """Whose price it has."""
        self._price_of = price
        self._began = time.perf_counter_ns()
        self._payloads = payloads
        self._keep = payloads and request.operation != "embeddings"
        self._size = 0
        self._events = 0
        self.opened = False
        self.problem: LoopwrightError | None = None
        """Why the beginning could not be noted."""
        self.pieces: list[bytes] = []
        self.first: int | None = None
        self.model = ""
        self.provider = ""
        self.asked_last = ("", "")
        """Of a call that failed before anybody answered."""
        self.price: Price | None = None
        self.usage: Usage | None = None
        self.cost_nano: int | None = None
        self.written = False
        self.kept: tuple[bytes | None, int] = _UNKEPT
        """Key and end of an answer that may be given again."""
        self.tags = request.tags
        if request.assignment is not None and request.assignment.adapters:
            self.tags = {**self.tags, **request.assignment.tags}
        self._mute = request.privacy is not None and not request.privacy.store
        if self._mute:
            self._payloads = self._keep = False
            self.tags = {**self.tags, **NOT_STORED}

    def add(self, delta: Delta) -> bool:
        """Take note of a Delta; True when the answer begins with it."""
        if delta.provider:
            self.provider, self.model = delta.provider, delta.model
            if delta.cache is not None and delta.cache.kind != "miss":
                self.price, self.tags = _FREE, {**self.tags, **delta.cache.tags}
            else:
                self.price = self._price_of(self._asked, delta.provider, delta.model)
            if delta.attempts > 1:
                self.tags = {**self.tags, "loopwright.attempts": str(delta.attempts)}
        if delta.usage is not None:
            self.usage = delta.usage
        size = len(delta.raw)
        if self._keep and self._size + size <= ANSWER_LIMIT:
            self._size += size
            self.pieces.append(delta.raw)
        if not delta.speaks:
            return False
        self._events += 1
        if self.first is None:
            self.first = time.perf_counter_ns()
            return True
        return False

    def failed(self, error: LoopwrightError, alone: Mapping[str, tuple[str, str]]) -> None:
        """Take note of who failed, where nobody answered."""
        if error.served is not None:
            self.asked_last = error.served
        elif isinstance(error, UpstreamError | Unavailable):
            self.asked_last = alone.get(self._asked, self.asked_last)

    def check_opened(self) -> None:
        """A stream whose beginning could not be noted is not begun.

        Raises:
            LoopwrightError: why it could not.
        """
        if self.problem is not None:
            raise self.problem

    def check_ended(self) -> None:
        """An answer comes to its end, or says why not.

        Raises:
            UpstreamBroke: it just stopped.
        """
        if not self.written:
            raise UpstreamBroke("the answer stopped without its end")

    def finished(self, keep: Keep | None) -> Record:
        """The Record of an answer that came whole; it can be found by the key of its question if it is what was to be kept."""
        if keep is not None and not (len(self.pieces) == 1 and self.pieces[0] is keep.body):
            keep = None
        if keep is not None:
            self.kept = (keep.key, int(keep.until * 1e9))
        record = self.record("ok", 200)
        if keep is not None:
            keep.recorded, keep.cost_nano = True, record.cost_nano
        self.written = self.opened = True
        self.cost_nano = record.cost_nano
        return record

    def record(self, outcome: str, status: int, code: str | None = None, message: str | None = None) -> Record:
        """The Record as of now."""
        request, now = self.request, time.perf_counter_ns()
        usage = self.usage
        if usage is None:
            usage = self._estimate() if self.first is not None or outcome == "interrupted" else _NOTHING
        tags, wasted = told(self.tags, request.notes) if request.notes else (self.tags, 0)
        cost, source = None, None if self.price is None else self.price.source
        if self.price is _FREE:
            cost = wasted
        elif self.price is not None:
            cost = self.price.cost(usage, seconds=(now - self._began) / 1e9) + wasted
        taken = bool(self.provider) or outcome == "interrupted"
        assignment = request.assignment
        if assignment is not None and assignment.several:
            bill, taken = assignment.bill(), True
            cost = None if bill.cost_nano is None else bill.cost_nano + wasted
            usage, source = bill.usage, bill.source
        return Record(
            id=request.id,
            started_ns=request.started_ns,
            project_id=request.who.project_id,
            key_id=request.who.key_id,
            operation=request.operation,
            model=request.model,
            target=self.model if self.provider else self.asked_last[1],
            provider=self.provider or self.asked_last[0],
            outcome=outcome,
            status=status,
            error_code=code,
            error=message if code == Refused.code or not (self._mute and message) else _UNSAID,
            stream=request.stream,
            ttft_us=None if self.first is None or not request.stream else (self.first - self._began) // 1000,
            latency_us=(now - self._began) // 1000,
            input_tokens=usage.input,
            output_tokens=usage.output,
            cached_tokens=usage.cached,
            reasoning_tokens=usage.reasoning,
            usage_estimated=usage.estimated,
            cost_nano=cost if taken else wasted,
            price_source=source,
            client=request.client,
            session=request.session,
            trace_id=request.trace.trace_id,
            span_id=request.trace.span_id,
            parent_id=request.trace.parent_id,
            task=None if assignment is None else assignment.task,
            variant=None if assignment is None else assignment.variant,
            prompt_version=request.prompt_version if assignment is None else assignment.prompt_version,
            tags=dict(tags),
            request=_asked(request) if self._payloads else b"",
            answer=b"".join(self.pieces) if len(self.pieces) != 1 else self.pieces[0],
            sent=None if request.privacy is None or request.privacy.trail is None else request.privacy.trail.shown(),
            cache_key=self.kept[0],
            cache_until_ns=self.kept[1],
        )

    def _estimate(self) -> Usage:
        """Tokens of an answer nobody counted: four characters a token in, one event a token out."""
        request = self.request
        spoken = sum(piece.count(b"data:") for piece in self.pieces) if request.stream else self._size // 4
        asked = len(request.raw or b"") // 4 if request.assignment is None else request.assignment.needs[0].input
        return Usage(input=max(asked, 1), output=max(spoken, self._events), estimated=True)


def _asked(request: Request) -> bytes:
    raw, aside = request.raw or b"", request.aside
    if request.assignment is not None:
        aside = {**(aside or {}), **request.assignment.shown()}
    return with_fields(raw, loopwright=aside) if raw and aside else raw


_NOTHING: Final = Usage()
_UNKEPT: Final = (None, 0)
_FREE: Final = Price(input=0, output=0, source="cache")
