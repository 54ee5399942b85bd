"""One observed step: a span of OpenTelemetry, what it was given and what came of it. Nothing of it ever raises."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from loopwright.observing.captured import captured, masked

Kind = Literal[
    "llm", "embedding", "rerank", "retrieval", "tool", "agent", "workflow", "chain", "guardrail", "evaluator", "memory",
    "other",
]  # fmt: skip
_log: Final = logging.getLogger("loopwright.observe")
_SESSION: Final = contexts.create_key("loopwright-session")
_USER: Final = contexts.create_key("loopwright-user")
_PIECES: Final = 1_000
"""Pieces of what a generator yields that are kept."""
_MESSAGE: Final = 2_000


class Step:
    """A step that runs. What is said of it stands in its trace."""

    __slots__ = ("_capture", "_context", "_more", "_over", "_pieces", "_said", "_span")

    def __init__(self, span: Span, context: Context, *, capture: bool) -> None:
        self._span = span
        self._context = context
        self._capture = capture
        self._said = False
        self._over = False
        self._pieces: list[object] = []
        self._more = 0

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits: `/traces/…` of the console shows it."""
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits."""
        return f"{self._span.get_span_context().span_id:016x}"

    def input(self, value: object) -> None:
        """What it is given, instead of its arguments."""
        self._tell("loopwright.input", value)

    def output(self, value: object) -> None:
        """What comes of it, instead of its result."""
        self._said = True
        self._tell("loopwright.output", value)

    def tag(self, name: str, value: str | float | bool) -> None:  # noqa: FBT001 - a value, no switch
        """A word about it, to filter by."""
        with quietly():
            self._span.set_attribute(f"loopwright.tag.{name}", masked(str(value)))

    def usage(self, *, model: str, input_tokens: int = 0, output_tokens: int = 0, provider: str | None = None) -> None:
        """What it took of a model that was not asked through this house."""
        with quietly():
            self._span.set_attribute("gen_ai.request.model", model)
            self._span.set_attribute("gen_ai.usage.input_tokens", input_tokens)
            self._span.set_attribute("gen_ai.usage.output_tokens", output_tokens)
            if provider is not None:
                self._span.set_attribute("gen_ai.provider.name", provider)

    def failed(self, error: BaseException) -> None:
        """Why nothing came of it; an exception that leaves the step says so by itself."""
        with quietly():
            kind = type(error).__name__
            message = masked(str(error))[:_MESSAGE] if self._capture else ""
            self._span.set_attribute("error.type", f"{type(error).__module__}.{kind}".removeprefix("builtins."))
            self._span.set_status(Status(StatusCode.ERROR, f"{kind}: {message}" if message else kind))
            self._span.add_event("exception", {"exception.type": kind, "exception.message": message})

    def result(self, value: object) -> None:
        """What a function returned, unless more was said of it."""
        if not self._said and self._capture:
            self._tell("loopwright.output", value)

    def piece(self, value: object) -> None:
        """What a generator yields."""
        if self._capture:
            if len(self._pieces) < _PIECES:
                self._pieces.append(value)
            else:
                self._more += 1

    def end(self) -> None:
        """It is over; harmless when repeated."""
        if self._over:
            return
        self._over = True
        with quietly():
            if self._pieces and not self._said:
                texts = [each for each in self._pieces if isinstance(each, str)]
                whole = "".join(texts) if len(texts) == len(self._pieces) and not self._more else self._pieces
                self._tell("loopwright.output", whole)
            if self._more:
                self._span.set_attribute("loopwright.pieces", len(self._pieces) + self._more)
            self._span.end()

    @contextmanager
    def current(self) -> Iterator[None]:
        """What runs inside is inside the step: its spans are its children, and those of instrumented libraries."""
        token = contexts.attach(self._context)
        try:
            yield
        finally:
            contexts.detach(token)

    def _tell(self, name: str, value: object) -> None:
        with quietly():
            self._span.set_attribute(name, captured(value))


class Silent(Step):
    """A step where none could be begun: takes everything and does nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(trace.INVALID_SPAN, contexts.get_current(), capture=False)


def begun(
    tracer: trace.Tracer,
    name: str,
    kind: Kind,
    *,
    session: str | None,
    user: str | None,
    tags: Mapping[str, str],
    capture: bool,
) -> Step:
    """A step inside the one that runs; session and user hold for all inside it."""
    here = contexts.get_current()
    session = session or _inherited(_SESSION, here)
    user = user or _inherited(_USER, here)
    attributes: dict[str, Any] = {"loopwright.kind": kind}
    if session:
        attributes["loopwright.session"] = session
        here = contexts.set_value(_SESSION, session, here)
    if user:
        attributes["loopwright.user"] = user
        here = contexts.set_value(_USER, user, here)
    attributes |= {f"loopwright.tag.{tag}": masked(str(value)) for tag, value in tags.items()}
    span = tracer.start_span(name[:300], context=here, kind=SpanKind.INTERNAL, attributes=attributes)
    return Step(span, trace.set_span_in_context(span, here), capture=capture)


@contextmanager
def quietly() -> Iterator[None]:
    """Whatever goes wrong in watching does not become the program's problem."""
    try:
        yield
    except Exception:  # noqa: BLE001 - an edge: the program that is watched goes on
        _log.debug("observe failed", exc_info=True)


def _inherited(key: str, here: Context) -> str | None:
    found = contexts.get_value(key, here)
    return found if isinstance(found, str) else None
