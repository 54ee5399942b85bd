"""Server-sent events from a stream of bytes cut anywhere: whole events as they came, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from loopwright.core.errors import UpstreamBroke

_BLANK: Final = re.compile(rb"\n\r?\n|\r\r")
_EVENT_LIMIT: Final = 16 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class Splitter:
    """Holds back what is not yet a whole event. Lines end in LF, CRLF or CR, as the specification has it."""

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int = _EVENT_LIMIT) -> None:
        """`limit`: bytes one event may have."""
        self._limit = limit
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        """The event that has begun and not ended."""
        return bytes(self._rest)

    def feed(self, piece: bytes) -> bytes:
        """The events that are whole now, byte for byte, or nothing.

        Raises:
            UpstreamBroke: an event is over the limit.
        """
        rest = self._rest
        if not rest and (piece.endswith((b"\n\n", b"\r\n\r\n"))):
            return piece
        seen = max(len(rest) - 3, 0)
        rest += piece
        end = max(
            _after(rest.rfind(b"\n\n", seen), 2),
            _after(rest.rfind(b"\n\r\n", seen), 3),
            _after(rest.rfind(b"\r\r", seen), 2),
        )
        if len(rest) - end > self._limit:
            raise UpstreamBroke(f"one event of the stream is over {self._limit} bytes")
        if not end:
            return b""
        whole = bytes(rest[:end])
        del rest[:end]
        return whole


def _after(found: int, length: int) -> int:
    return 0 if found < 0 else found + length


def events(whole: bytes) -> list[bytes]:
    """The events in `whole`, each with the blank line that ends it; joined they are `whole` again."""
    if whole.endswith(b"\n\n") and whole.find(b"\n\n") == len(whole) - 2 and b"\r" not in whole:
        return [whole]
    cut: list[bytes] = []
    start = 0
    for blank in _BLANK.finditer(whole):
        cut.append(whole[start : blank.end()])
        start = blank.end()
    if start < len(whole):
        cut.append(whole[start:])
    return cut


def data_of(event: bytes) -> bytes | None:
    """The data of an event, its lines joined by LF; None for a comment or an event without any."""
    if event.startswith(b"data: ") and event.endswith(b"\n\n") and event.find(b"\n") == len(event) - 2:
        return event[6:-2] if b"\r" not in event else _values(event, b"data")
    return _values(event, b"data")


def rewritten(whole: bytes, each: Callable[[bytes, bytes], bytes], rest: Callable[[], bytes]) -> bytes:
    """Whole events with what becomes of each; the very same object when none is another one.

    Args:
        whole: events as they came.
        each: from an event and its data to what is said in its place; the same object to leave it.
        rest: what is left to say before `[DONE]`.
    """
    pieces, changed = list[bytes](), False
    for event in events(whole):
        data, said = data_of(event), event
        if data == b"[DONE]":
            said = rest() + event
        elif data is not None:
            said = each(event, data)
        changed |= said is not event
        pieces.append(said)
    return b"".join(pieces) if changed else whole


def name_of(event: bytes) -> str:
    """What the event calls itself (`event:`), empty when it does not."""
    return (_values(event, b"event") or b"").decode("utf-8", "replace")


def is_comment(event: bytes) -> bool:
    """Whether every line is a comment (a keep-alive) or empty."""
    return all(not line or line.startswith(b":") for line in _lines(event))


def _values(event: bytes, field: bytes) -> bytes | None:
    values: list[bytes] = []
    for line in _lines(event):
        name, _, value = line.partition(b":")
        if name == field:
            values.append(value.removeprefix(b" "))
    return b"\n".join(values) if values else None


def _lines(event: bytes) -> list[bytes]:
    # bytes.splitlines ends lines at CR, LF and CRLF only, unlike str.splitlines.
    return event.removeprefix(_BOM).splitlines()
