"""A fast lane inside uvicorn: its parser, limits and shutdown, without ASGI's messages on the hot routes.

`Lane` takes POSTs of hot paths out of uvicorn's protocol and gives them to `answer` as an Exchange; every other path
goes to the ASGI application as usual. Pipelined requests keep their order through uvicorn's own queue, because a
`LaneCycle` has the face of uvicorn's request cycle. Saves about 20 µs a request against raw ASGI (bench/gateway.py).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loopwright.api.lane_cycle import Answer, AtOnce, LaneCycle

LINGER: Final = 2.0
"""Seconds of an over-long body that are read and thrown away, so that the refusal is not lost in a reset."""
BARE_LIMIT: Final = 65_536
"""Bytes that may come without any of them being body: heads, chunk extensions, trailers."""
_H2C: Final = re.compile(rb"\r\nupgrade: *h2c(?=\r\n|$)", re.IGNORECASE)
_HEAD_SEARCH: Final = 4096
_SOON: Final = 0.05
"""Seconds: a wait that is as good as over."""
_log = logging.getLogger(__name__)


class Lane(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a fast lane; `lane()` makes a class of it with its settings."""

    answer: Answer
    at_once: AtOnce | None = None
    paths: Mapping[bytes, str] = {}
    body_limit = 20_000_000
    body_timeout = 60.0
    running: LaneCycle | None = None
    _arrival: asyncio.TimerHandle | None = None
    _idle: asyncio.TimerHandle | None = None
    _idle_since: float | None = None
    """Loop time of the last answer's end; None while a request is coming or being answered."""
    _bare = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: it must say something whole within the time for a body."""
        super().connection_made(transport)
        self._await_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client hung up: end what is being answered on this connection, and what waits in line."""
        self._arrived()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self.running is not None and not self.running.response_complete:
            self.running.hang_up()
        self.pipeline.clear()
        if isinstance(self.cycle, LaneCycle):
            self.cycle = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; the clock runs while one has begun and not arrived."""
        head = data.find(b"\r\n\r\n", 0, _HEAD_SEARCH)
        if data.find(b"h2c", 0, _HEAD_SEARCH if head < 0 else head) >= 0:
            data = self._declined(data)
        self._idle_since = None
        self._bare += len(data)
        super().data_received(data)
        if self._bare > BARE_LIMIT:
            self.transport.close()
        cycle: Any = self.cycle
        waits = cycle is None or cycle.response_complete or cycle.more_body
        if self._rests() or not waits:
            self._arrived()
        elif self._arrival is None and not self.transport.is_closing():
            self._await_arrival()

    def on_response_complete(self) -> None:
        """An answer is whole: go on with the next request that waits, or wait for one for so long.

        As uvicorn does, but one timer a connection goes off now and then and looks; two for each request cost more than
        reading its head.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look_idle)

    def _look_idle(self) -> None:
        since = self.loop.time() if self._idle_since is None else self._idle_since
        left = since + self.timeout_keep_alive - self.loop.time()
        if left > _SOON:
            self._idle = self.loop.call_later(left, self._look_idle)
        else:
            self._idle = None
            self.transport.close()

    def _rests(self) -> bool:
        """What came has been answered already."""
        return self._idle_since is not None

    def linger(self) -> None:
        """Close after an answer to a body that is still being sent, in a way that lets the client read the answer."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)

    def _declined(self, data: bytes) -> bytes:
        """Without the offer of HTTP/2 that Java's client makes: the parser would take it and lose the body."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            return data
        head, end, body = data.partition(b"\r\n\r\n")
        return _H2C.sub(b"", head) + end + body

    def _await_arrival(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(self.body_timeout, self._too_late)

    def _arrived(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _too_late(self) -> None:
        self._arrival = None
        if self.flow.read_paused:  # it does not arrive because whoever answers has not read what came
            self._await_arrival()
            return
        _log.info("closed a connection whose request did not arrive within %g s", self.body_timeout)
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins; uvicorn's description of it is made when the application is to read it."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def _describe(self) -> None:
        url, headers, expecting = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expecting
        self.headers += headers  # which the description holds

    def on_headers_complete(self) -> None:
        """Where a hot POST leaves the ASGI road."""
        path = self.paths.get(self.url.partition(b"?")[0])
        if path is None or self.parser.get_method() != b"POST" or self.parser.should_upgrade():
            self._describe()
            super().on_headers_complete()
            return
        modern = self.parser.get_http_version() != "1.0"
        waiting: Any = self.cycle
        cycle = LaneCycle(self, path, keep_alive=modern and self.parser.should_keep_alive(), chunked=modern)
        self.cycle = cycle  # type: ignore[assignment]
        if self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if waiting is not None and not waiting.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]
            return
        length = cycle.length()
        if length > self.body_limit:
            cycle.announce(length)
            self._begin(cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of a request body."""
        self._bare = 0
        cycle: Any = self.cycle
        if not isinstance(cycle, LaneCycle):
            super().on_body(body)
            return
        if cycle.more_body:
            cycle.feed(body)
            if not cycle.more_body:
                self._begin(cycle)

    def on_message_complete(self) -> None:
        """A request is whole: answer it, unless it waits for its turn."""
        self._bare = 0
        cycle: Any = self.cycle
        if not isinstance(cycle, LaneCycle):
            super().on_message_complete()
            return
        if cycle.more_body:
            cycle.finish()
            self._begin(cycle)

    def _begin(self, cycle: LaneCycle) -> None:
        queue: Any = self.pipeline
        # One whose turn came before its last byte is being answered already.
        if cycle.task is not None or any(waiting is cycle for waiting, _app in queue):
            return
        if self.at_once is None or not cycle.answered_at_once(self.at_once):
            self._start_asgi_task(cycle, self.app)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if type(cycle) is LaneCycle:
            cycle.task = self.loop.create_task(cycle.run_asgi(app))
            self.tasks.add(cycle.task)
        else:
            super()._start_asgi_task(cycle, app)


def lane(
    answer: Answer, paths: Mapping[str, str], *, body_limit: int, body_timeout: float, at_once: AtOnce | None = None
) -> type[Lane]:
    """The `http=` class for uvicorn that answers POSTs of `paths` through `answer`.

    Args:
        answer: takes an Exchange to its end.
        paths: request path → the path the Exchange is told.
        body_limit: bytes of a body; more is TooLarge.
        body_timeout: seconds for a whole request to arrive.
        at_once: is asked before `answer`, in the moment in which a request is whole, and needs no task.
    """
    members = {
        "answer": staticmethod(answer),
        "at_once": None if at_once is None else staticmethod(at_once),
        "paths": {path.encode(): told for path, told in paths.items()},
        "body_limit": body_limit,
        "body_timeout": body_timeout,
    }
    return type("HouseLane", (Lane,), members)
