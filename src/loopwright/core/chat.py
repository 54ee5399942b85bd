"""A chat is anything that answers a Request with a stream of Deltas.

A provider, an engine, a cache, a guardrail, a canary split and the whole gateway have this one shape, so any of them
can stand where another stood. The canonical form of a question is OpenAI's: what a client of that dialect sent is
already canonical, and what nobody changed is forwarded byte for byte.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
from msgspec.structs import replace

from loopwright.core.adapter import Adapter
from loopwright.core.assignment import Assignment
from loopwright.core.money import Usage, usd
from loopwright.core.notes import Note
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal

Operation = Literal["chat", "completion", "embeddings", "moderations", "rerank"]


class Trace(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """W3C trace context of a call."""

    trace_id: str
    """32 lower-case hex digits."""
    span_id: str
    """16 lower-case hex digits: the call's own span."""
    parent_id: str | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question, parsed and checked at the edge; nothing downstream checks it again."""

    id: str
    """Call id: UUIDv7 in its canonical text form, so ids sort by time."""
    operation: Operation
    model: str
    """The name that is checked, dispatched and recorded."""
    body: Mapping[str, Any]
    """The whole body in OpenAI's form (messages, tools, parameters), without our own `loopwright` member."""
    raw: bytes | None
    """The body as bytes while it is still what the client sent; None once a wrapper has changed `body`."""
    stream: bool
    who: Principal
    started_ns: int
    """Unix time in nanoseconds at which the request had arrived."""
    trace: Trace
    client: str = ""
    """The client's User-Agent, clipped."""
    session: str | None = None
    tags: Mapping[str, str] = {}
    variables: Mapping[str, Any] | None = None
    """Inputs of a task, as the client sent them."""
    labels: frozenset[str] | None = None
    """Of documents that are looked up for it: only those with one of these, as far as the key may; None is all it may."""
    passages: bool = False
    """The client wants the texts of the passages that the answer stands on."""
    assignment: Assignment | None = None
    """Of a call of a task: who does it, and what it takes."""
    adapter: Adapter | None = None
    """Of its model, which answers with it; None is without any."""
    prompt_version: str | None = None
    """`name@number` that its messages were rendered of, where no task did it."""
    wants_usage: bool = False
    """The client asked for a usage event at the end of the stream."""
    deadline: float | None = None
    """`time.monotonic()` by which the answer must be whole; None is without."""
    aside: Mapping[str, Any] | None = None
    """What the client's own dialect said that `body` has no place for; on record as its `loopwright` member."""
    cache_control: str = ""
    """The client's `Cache-Control` header."""
    formed: bool = True
    """It may demand a form: tools, their results, a response format. False only when the edge saw that it has none."""
    privacy: Privacy | None = None
    """The policy it is under; None is none."""
    notes: list[Note] = []
    """What layers add for the recorder; whoever makes another of this request hands on the very same list."""


class CacheNote(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache did for a call; on the first Delta of its answer."""

    kind: Literal["hit", "semantic-hit", "miss"]
    call_id: str = ""
    """The call whose answer is given again."""
    similarity: float | None = None
    """Cosine of the two questions, of a semantic hit."""
    saved_nano: int | None = None
    """Nanodollars that call cost; None when it was unpriced."""
    tags: Mapping[str, str] = {}
    """A hit as it stands on record; nothing of a miss. Made once: a note is given again as often as its answer."""

    def __post_init__(self) -> None:
        """Make the tags."""
        msgspec.structs.force_setattr(self, "tags", self._tags())

    def _tags(self) -> dict[str, str]:
        if self.kind == "miss":
            return {}
        found = {"loopwright.cache": self.kind, "loopwright.cache_of": self.call_id}
        if self.similarity is not None:
            found["loopwright.cache_similarity"] = f"{self.similarity:.4f}"
        if self.saved_nano is not None:
            found["loopwright.saved_usd"] = usd(self.saved_nano)
        return found


@dataclass(slots=True)
class Keep:
    """An answer that a cache would have found again by the key of its question, wherever its call is on record."""

    key: bytes
    """32 bytes."""
    body: bytes
    until: float
    """Unix time in seconds."""
    recorded: bool = False
    """Set by who records the call, when this very body is what it puts on record: nobody else need store it."""
    cost_nano: int | None = None
    """What the call cost, set with it."""


class Delta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A piece of an answer.

    `raw`, when there, is the piece in OpenAI's wire form (whole SSE events of a stream, or the whole body of a
    non-streamed answer) and is what the client gets. Without it, `text`, `extra` and `finish` are encoded by
    `kit.wire`. A wrapper that changes an answer reads `raw` through `kit.wire.read`, and yields Deltas without it.
    """

    raw: bytes = b""
    text: str = ""
    extra: Mapping[str, Any] | None = None
    """What else OpenAI's `delta` object holds: `role`, `tool_calls`, `reasoning_content`, `refusal`."""
    index: int = 0
    """Which of `n` choices this belongs to (without `raw`)."""
    finish: str | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    """Nanodollars of the whole call, set by the recorder on the last Delta; None when it is unpriced."""
    speaks: bool = True
    """Carries something of the answer: the first one that does marks the time to first token."""
    done: bool = False
    """The answer is complete; nothing follows."""
    model: str = ""
    """Which model answered (set on the first Delta)."""
    provider: str = ""
    """Which provider or engine answered (set on the first Delta)."""
    cache: CacheNote | None = None
    """What the cache did, where it is on for the model (set on the first Delta)."""
    attempts: int = 1
    """Attempts that were made for it at one target or another (set on the first Delta)."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the response (on the first Delta; on the only one when not streamed)."""
    keep: Keep | None = None
    """For whoever records the call, on the only Delta of an answer that may be given again."""

    def costing(self, nano: int) -> Delta:
        """The same with the cost of its call."""
        return replace(self, cost_nano=nano)

    def noting(self, cache: CacheNote, keep: Keep | None = None) -> Delta:
        """The same with what the cache did, and what it would have kept."""
        return replace(self, cache=cache, keep=keep)


class Ready(AsyncGenerator[Delta, None]):
    """An answer of one Delta that is there already; a generator of its own would cost more than to find it."""

    __slots__ = ("_delta",)

    def __init__(self, delta: Delta) -> None:
        self._delta: Delta | None = delta

    async def __anext__(self) -> Delta:
        """The Delta, once."""
        delta, self._delta = self._delta, None
        if delta is None:
            raise StopAsyncIteration
        return delta

    async def asend(self, _value: None, /) -> Delta:
        """As a generator's that takes nothing."""
        return await self.__anext__()

    async def athrow(self, error: Any, value: Any = None, traceback: Any = None, /) -> Delta:
        """As a generator's that catches nothing."""
        self._delta = None
        return await super().athrow(error, value, traceback)

    async def aclose(self) -> None:
        """Nothing follows."""
        self._delta = None


class Chat(Protocol):
    """Anything that answers."""

    def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        """Answer `request`; raises a `LoopwrightError` before the first Delta when it is refused."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors."""

    name: str
    dimensions: int

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        """One unit-length vector of `dimensions` floats for each text, in order; `privacy` is whose texts they are."""
        ...


def answering(chat: Chat, request: Request) -> AbstractAsyncContextManager[AsyncGenerator[Delta, None]]:
    """Open an answer so that leaving the block closes every layer beneath, innermost first."""
    return aclosing(chat(request))
