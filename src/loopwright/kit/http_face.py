"""What a caller sees of an HTTP exchange, whichever client carried it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RawHeaders = tuple[tuple[bytes, bytes], ...] | list[tuple[bytes, bytes]]


def fold(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; repeated ones are joined by a comma (RFC 9110, 5.2)."""
    folded: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name = name_bytes.decode("latin-1").lower()
        value = value_bytes.decode("latin-1").strip()
        folded[name] = f"{folded[name]}, {value}" if name in folded else value
    return folded


@dataclass(slots=True, kw_only=True)
class Reply:
    """A whole response. Not frozen only because freezing costs a microsecond on every request."""

    status: int
    raw_headers: RawHeaders
    """As they came."""
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name, decoded when asked for: most answers are read without them."""
        return fold(self.raw_headers)


class Answer(ABC):
    """A streaming response. Iterate it to its end, or leave it by `aclose` or `settle`."""

    __slots__ = ()

    @property
    @abstractmethod
    def status(self) -> int:
        """The HTTP status."""

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name."""

    @property
    @abstractmethod
    def buffered(self) -> int:
        """Bytes that have arrived and were not yet taken; bounded whatever the upstream sends."""

    @abstractmethod
    async def read(self) -> bytes:
        """The rest of the body.

        Raises:
            UpstreamBroke: cut off, malformed, or larger than the client's `body_limit`.
            UpstreamTimeout: it did not come in time.
        """

    def __aiter__(self) -> Answer:
        return self

    @abstractmethod
    async def __anext__(self) -> bytes:
        """Whatever has arrived since the last call, joined; waits when nothing has. Raises as `read` does."""

    @abstractmethod
    async def aclose(self) -> None:
        """Leave at once: an answer still on its way is cut off by closing its connection."""

    @abstractmethod
    def settle(self) -> None:
        """The caller has seen all it wants and expects the body to end by itself, shortly.

        What little may follow is thrown away without waiting, so that the connection can be used again.
        """
