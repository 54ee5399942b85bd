"""One HTTP request and its answer, as the hot routes see them: the fast lane and plain ASGI are two of these."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Given(NamedTuple):
    """An answer that was there already."""

    headers: bytes
    """Ready lines, each ending in CRLF."""
    body: bytes
    stream: bool
    """The body goes out as a stream of one piece."""


class Exchange(Protocol):
    """What a hot route needs of a server. The task that answers is cancelled when the client hangs up."""

    path: str

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name."""
        ...

    async def body(self) -> bytes:
        """The whole request body.

        Raises:
            TooLarge: it is over the limit.
            BadRequest: it did not arrive in time.
        """
        ...

    async def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer. `headers` are ready lines, each ending in CRLF."""
        ...

    async def start(self, headers: bytes) -> None:
        """Begin a streamed answer with status 200; it goes out with the first piece."""
        ...

    async def write(self, data: bytes) -> None:
        """A piece of a streamed answer; waits while the client reads slower than it is written."""
        ...

    async def end(self, data: bytes = b"") -> None:
        """The last piece of a streamed answer, and its end."""
        ...
