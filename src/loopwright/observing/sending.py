"""Spans on their way out: a bounded queue, a thread that empties it, OTLP over HTTP. What does not fit is counted."""

from __future__ import annotations

import atexit
import gzip
import http.client
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Written
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from loopwright.core.errors import LoopwrightError
from loopwright.kit.rest import Rest

_log: Final = logging.getLogger("loopwright.observe")
PATH: Final = "/otlp/v1/traces"
_BATCH: Final = 256
_GZIP_FROM: Final = 2_000
"""Bytes."""
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_STATUSES: Final = {"UNSET": 0, "OK": 1, "ERROR": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How spans are sent."""

    queue: int = 8_192
    """Spans that wait at most; more are dropped and counted."""
    every: float = 1.0
    """Seconds a span waits at most while the queue is short."""
    farewell: float = 5.0
    """Seconds the end of the program waits for what is left."""
    longest: float = 30.0
    """Seconds between two attempts at most."""


class _Post(Rest):
    """Posts bytes to the house."""

    def post(self, body: bytes) -> tuple[int, float | None]:
        """The status of the answer, and after how many seconds to ask again where it says so.

        Raises:
            Unavailable: nothing answers.
        """
        headers = {"content-type": "application/x-protobuf", "accept": "application/x-protobuf"}
        if len(body) > _GZIP_FROM:
            body, headers = gzip.compress(body, 4), headers | {"content-encoding": "gzip"}
        answer = self._send("POST", self._prefix + PATH, body, headers)
        try:
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
        wait = answer.headers.get("retry-after", "")
        return answer.status, float(wait) if wait.isdigit() else None


class Sending(SpanProcessor):
    """Takes spans as they end and never holds up who ends them. For many threads; a forked child begins anew."""

    def __init__(self, url: str | None = None, api_key: str | None = None, pace: Pace | None = None) -> None:
        self._url, self._key, self._pace = url, api_key, pace or Pace()
        self.dropped = 0
        """Spans that were never sent: the queue was full, the house refused them, or the program ended."""
        self._reset()
        atexit.register(self.shutdown)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._waiting: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._said: set[str] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span."""
        if self._ending or (span.context is not None and not span.context.trace_flags.sampled):
            return
        if len(self._waiting) >= self._pace.queue:
            self._drop(1, f"more than {self._pace.queue:,} spans wait: further ones are dropped until some are sent")
            return
        self._waiting.append(span)
        self._idle.clear()
        if self._thread is None:
            self._start()
        if len(self._waiting) >= _BATCH:
            self._wake.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; whether all of it went within the time."""
        if self._thread is None:
            return not self._waiting
        self._wake.set()
        return self._idle.wait(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Send what waits, for a few seconds, and take no more; harmless when repeated."""
        if self._ending:
            return
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(self._pace.farewell + 1)
        if self._waiting:
            self._drop(len(self._waiting), "the program ended before they were sent")
            self._waiting.clear()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._ending:
                thread = threading.Thread(target=self._work, name="loopwright-observe", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending: no thread starts any more
                    return
                self._thread = thread

    def _work(self) -> None:
        post = _Post(self._url, self._key, timeout=10.0)
        pause = 0.0
        until: float | None = None
        while True:
            if not self._ending or pause:
                self._wake.wait(pause or self._pace.every)
            if self._ending and until is None:
                until = time.monotonic() + self._pace.farewell
            if pause and not self._ending:
                # Woken by a full batch, but the house is not to be asked yet.
                time.sleep(min(pause, 0.2))
            self._wake.clear()
            pause = self._send_some(post, pause)
            if not self._waiting:
                self._idle.set()
                if self._ending:
                    return
            if until is not None and time.monotonic() > until:
                return

    def _send_some(self, post: _Post, pause: float) -> float:
        """Send batches until none is left or one fails; seconds to wait before the next attempt."""
        while self._waiting:
            batch = [self._waiting[at] for at in range(min(_BATCH, len(self._waiting)))]
            try:
                status, wait = post.post(written(batch).SerializeToString())
            except LoopwrightError as error:
                self._say("unreachable", f"{error.message.splitlines()[0]}: spans wait for it")
                return self._later(pause)
            except Exception as error:  # noqa: BLE001 - an edge: whatever cannot be sent does not break the program
                self._taken(batch)
                self._drop(len(batch), f"they cannot be written: {type(error).__name__}: {error}")
                continue
            if status in _AGAIN:
                self._say(str(status), f"{post.url} answers {status}: spans wait for it")
                return max(wait or 0.0, self._later(pause))
            self._taken(batch)
            pause = 0.0
            if status >= 400:
                reason = "LOOPWRIGHT_API_KEY is not one of its keys" if status == 401 else f"it answers {status}"
                self._drop(len(batch), f"{post.url} does not take them: {reason}")
        return 0.0

    def _taken(self, batch: Sequence[ReadableSpan]) -> None:
        for _ in batch:
            self._waiting.popleft()

    def _later(self, pause: float) -> float:
        return 0.3 if self._ending else min(max(pause * 2, 0.5), self._pace.longest)

    def _drop(self, spans: int, why: str) -> None:
        self.dropped += spans
        self._say(why, f"{spans:,} span{'' if spans == 1 else 's'} dropped: {why}")

    def _say(self, about: str, message: str) -> None:
        """Each thing once: a program that runs for weeks is not filled with it."""
        if about not in self._said and len(self._said) < 20:
            self._said.add(about)
            _log.warning("observe: %s", message)


def written(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Spans of the SDK as OTLP."""
    request = ExportTraceServiceRequest()
    resources: dict[int, ResourceSpans] = {}
    scopes: dict[tuple[int, str], ScopeSpans] = {}
    for span in spans:
        about = id(span.resource)
        if about not in resources:
            resources[about] = request.resource_spans.add()
            resources[about].resource.attributes.extend(_pairs(span.resource.attributes))
        scope = span.instrumentation_scope
        named = (about, scope.name if scope else "")
        if named not in scopes:
            scopes[named] = resources[about].scope_spans.add()
            scopes[named].scope.name = named[1]
            scopes[named].scope.version = (scope.version if scope else None) or ""
        _write(span, scopes[named].spans.add())
    return request


def _write(span: ReadableSpan, into: Written) -> None:
    if span.context is not None:
        into.trace_id = span.context.trace_id.to_bytes(16)
        into.span_id = span.context.span_id.to_bytes(8)
    if span.parent is not None:
        into.parent_span_id = span.parent.span_id.to_bytes(8)
    into.name = span.name
    into.kind = span.kind.value + 1  # type: ignore[assignment] # the wire has a number for unspecified before them
    into.start_time_unix_nano = span.start_time or 0
    into.end_time_unix_nano = span.end_time or 0
    into.attributes.extend(_pairs(span.attributes))
    into.status.code = _STATUSES[span.status.status_code.name]  # type: ignore[assignment]
    into.status.message = span.status.description or ""
    for event in span.events:
        told = into.events.add(name=event.name, time_unix_nano=event.timestamp)
        told.attributes.extend(_pairs(event.attributes))
    for link in span.links:
        linked = into.links.add(trace_id=link.context.trace_id.to_bytes(16), span_id=link.context.span_id.to_bytes(8))
        linked.attributes.extend(_pairs(link.attributes))


def _pairs(attributes: Mapping[str, Any] | None) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in (attributes or {}).items()]


def _value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value) if -(2**63) <= value < 2**63 else AnyValue(string_value=str(value))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    # Half of a surrogate pair is a character of Python and none of UTF-8.
    return AnyValue(string_value=str(value).encode("utf-8", "replace").decode())
