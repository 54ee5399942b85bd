"""The decorator and context manager: which functions are steps, and of which kind. What a step is: step.py."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, overload

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from loopwright.observing.captured import arguments
from loopwright.observing.sending import Pace, Sending
from loopwright.observing.step import Kind, Silent, Step, begun, quietly

P = ParamSpec("P")
R = TypeVar("R")
OFF: Final = "LOOPWRIGHT_OBSERVE"
"""Set to `off`, nothing is observed."""


class Observer:
    """Makes steps and sends them. Opens its queue with its first step; a program that observes nothing pays nothing."""

    def __init__(self, url: str | None = None, api_key: str | None = None, pace: Pace | None = None) -> None:
        self._url, self._key, self._pace = url, api_key, pace
        self._lock = threading.Lock()
        self._provider: TracerProvider | None = None
        self._sending: Sending | None = None

    @overload
    def __call__(self, name: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(
        self,
        name: str | None = None,
        *,
        kind: Kind = "chain",
        session: str | None = None,
        user: str | None = None,
        tags: Mapping[str, str] | None = None,
        capture: bool = True,
    ) -> Observed: ...
    def __call__(
        self,
        name: Callable[P, R] | str | None = None,
        *,
        kind: Kind = "chain",
        session: str | None = None,
        user: str | None = None,
        tags: Mapping[str, str] | None = None,
        capture: bool = True,
    ) -> Callable[P, R] | Observed:
        """Observe a function (`@observe`, `@observe(kind="tool")`) or a block (`with observe("step") as span`).

        Args:
            name: of the step; by default the function's.
            kind: what it does: `tool`, `retrieval`, `agent`, `workflow`, `chain`, `llm` …
            session: the conversation it belongs to; holds for all steps inside.
            user: on whose behalf; likewise.
            tags: words to filter by.
            capture: whether arguments and result are kept. Values that go by names like key, token, password or
                authorization, and texts that look like keys, never are.
        """
        if name is None or isinstance(name, str):
            return Observed(self, name, kind=kind, session=session, user=user, tags=dict(tags or {}), capture=capture)
        return Observed(self, None, kind=kind, session=None, user=None, tags={}, capture=True)(name)

    def headers(self) -> dict[str, str]:
        """What a request must carry so that what it causes elsewhere is inside the step that runs: `traceparent`."""
        found: dict[str, str] = {}
        with quietly():
            propagate.inject(found)
        return found

    def carry(self, request: Any) -> None:
        """For `event_hooks={"request": [observe.carry]}` of an httpx client: gives each request `headers()`."""
        for name, value in self.headers().items():
            request.headers.setdefault(name, value)

    async def carry_async(self, request: Any) -> None:
        """As `carry`, for httpx's asynchronous client."""
        self.carry(request)

    def flush(self, seconds: float = 10.0) -> bool:
        """Send what waits now; whether all of it went. The end of the program does so by itself."""
        return self._sending is None or self._sending.force_flush(int(seconds * 1000))

    @property
    def dropped(self) -> int:
        """Spans that were not sent, and never will be."""
        return 0 if self._sending is None else self._sending.dropped

    def install(self) -> None:
        """Send every span of the program here: instrumented libraries find this as OpenTelemetry's provider.

        Where the program has set up a provider of its own, that one also sends here.
        """
        provider = self._opened()
        known = trace.get_tracer_provider()
        if isinstance(known, TracerProvider):
            if known is not provider and self._sending is not None:
                known.add_span_processor(self._sending)
        else:
            trace.set_tracer_provider(provider)

    def begin(self, observed: Observed, name: str) -> Step:
        """A step of `observed`; one that does nothing where none can be begun."""
        step: Step | None = None
        with quietly():
            if os.environ.get(OFF, "").lower() not in ("off", "0", "false", "no"):
                step = begun(
                    self._opened().get_tracer("loopwright"),
                    observed.name or name,
                    observed.kind,
                    session=observed.session,
                    user=observed.user,
                    tags=observed.tags,
                    capture=observed.capture,
                )
        return step or Silent()

    def _opened(self) -> TracerProvider:
        with self._lock:
            if self._provider is None:
                self._sending = Sending(self._url, self._key, self._pace)
                # The queue says itself goodbye at the end; the provider would a second time.
                self._provider = TracerProvider(sampler=ALWAYS_ON, resource=_resource(), shutdown_on_exit=False)
                self._provider.add_span_processor(self._sending)
            return self._provider


class Observed:
    """What is said of a step before it runs: decorates a function, or is entered."""

    __slots__ = ("_entered", "_observer", "capture", "kind", "name", "session", "tags", "user")

    def __init__(
        self,
        observer: Observer,
        name: str | None,
        *,
        kind: Kind,
        session: str | None,
        user: str | None,
        tags: Mapping[str, str],
        capture: bool,
    ) -> None:
        self._observer = observer
        self.name, self.kind, self.session, self.user, self.tags, self.capture = (
            name,
            kind,
            session,
            user,
            tags,
            capture,
        )
        self._entered: list[tuple[Step, Any]] = []

    def __enter__(self) -> Step:
        step = self._observer.begin(self, "step")
        inside = step.current()
        inside.__enter__()
        self._entered.append((step, inside))
        return step

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        step, inside = self._entered.pop()
        with quietly():
            inside.__exit__(None, None, None)
        _ended(step, error)

    async def __aenter__(self) -> Step:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, at)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """`function`, each call of which is a step.

        Raises:
            TypeError: it is no function.
        """
        found: Any = function
        if isinstance(found, staticmethod | classmethod):
            return type(found)(self(found.__func__))  # type: ignore[return-value]
        if isinstance(found, type) or not callable(found):
            raise TypeError(f"observe takes functions, and {found!r} is none: decorate its methods")
        if inspect.isasyncgenfunction(found):
            return functools.wraps(found)(self._yielding_async(found))
        if inspect.isgeneratorfunction(found):
            return functools.wraps(found)(self._yielding(found))
        if inspect.iscoroutinefunction(found):
            return functools.wraps(found)(self._awaiting(found))
        return functools.wraps(found)(self._calling(found))

    def begin(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Step:
        """The step of one call."""
        step = self._observer.begin(self, str(getattr(function, "__qualname__", function)).replace("<locals>.", ""))
        if self.capture:
            with quietly():
                step.input(arguments(function, args, kwargs))
        return step

    def _calling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            step = self.begin(function, args, kwargs)
            try:
                with step.current():
                    result = function(*args, **kwargs)
            except BaseException as error:
                _ended(step, error)
                raise
            step.result(result)
            step.end()
            return result

        return called

    def _awaiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*args: Any, **kwargs: Any) -> Any:
            step = self.begin(function, args, kwargs)
            try:
                with step.current():
                    result = await function(*args, **kwargs)
            except BaseException as error:
                _ended(step, error)
                raise
            step.result(result)
            step.end()
            return result

        return called

    def _yielding(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            step = self.begin(function, args, kwargs)
            inner = function(*args, **kwargs)
            ask: Callable[[], Any] = functools.partial(next, inner)
            try:
                while True:
                    try:
                        # Only while the function runs: between its pieces whoever takes them runs.
                        with step.current():
                            piece = ask()
                    except StopIteration as over:
                        return over.value
                    step.piece(piece)
                    try:
                        sent = yield piece
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - thrown in from outside: the function's to take
                        ask = functools.partial(inner.throw, error)
                    else:
                        ask = functools.partial(inner.send, sent)
            except GeneratorExit:
                with step.current():
                    inner.close()
                raise
            except BaseException as error:
                step.failed(error)
                raise
            finally:
                step.end()

        return called

    def _yielding_async(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            step = self.begin(function, args, kwargs)
            inner = function(*args, **kwargs)
            ask: Callable[[], Any] = inner.__anext__
            try:
                while True:
                    try:
                        with step.current():
                            piece = await ask()
                    except StopAsyncIteration:
                        return
                    step.piece(piece)
                    try:
                        sent = yield piece
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - thrown in from outside: the function's to take
                        ask = functools.partial(inner.athrow, error)
                    else:
                        ask = functools.partial(inner.asend, sent)
            except GeneratorExit:
                with step.current():
                    await inner.aclose()
                raise
            except BaseException as error:
                step.failed(error)
                raise
            finally:
                step.end()

        return called

    def __repr__(self) -> str:
        return f"observe({self.name!r}, kind={self.kind!r})"


def _resource() -> Resource:
    """Whose steps these are: what OpenTelemetry's variables say, else the name of the program."""
    found = Resource.create()
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        program = Path(sys.argv[0] if sys.argv else "").stem
        found = found.merge(Resource({"service.name": program if program not in ("", "-c", "-m") else "python"}))
    return found


def _ended(step: Step, error: BaseException | None) -> None:
    if error is not None and not isinstance(error, GeneratorExit):
        step.failed(error)
    step.end()
