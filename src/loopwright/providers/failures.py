"""What a failure upstream means, whatever dialect tells of it, and the error of ours that it is."""

from __future__ import annotations

from typing import Final, Literal

from loopwright.core.errors import (
    BadRequest,
    Busy,
    ContextOverflow,
    LoopwrightError,
    TooLarge,
    Unavailable,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)

Meaning = Literal["bad", "overflow", "large", "limited", "overloaded", "late", "refused", "failed"]
_OURS: Final[dict[Meaning, type[BadRequest | Busy | Unavailable]]] = {
    "bad": BadRequest,
    "overflow": ContextOverflow,
    "large": TooLarge,
    "limited": Busy,
    "overloaded": Unavailable,
}
_THEIRS: Final[dict[Meaning, type[UpstreamError]]] = {
    "late": UpstreamTimeout,
    "refused": UpstreamRefused,
    "failed": UpstreamError,
}
_WORDS: Final[dict[Meaning, str]] = {"limited": "it limits our rate: ", "overloaded": "it is overloaded: "}


def error_of(meaning: Meaning, message: str, *, status: int, wait: float | None) -> LoopwrightError:
    """The error of ours. `status` is HTTP's, 0 within a stream; `wait` is Retry-After in seconds."""
    said = _WORDS.get(meaning, "") + message
    if meaning in _OURS:
        return _OURS[meaning](said, retry_after=wait)
    return _THEIRS[meaning](said, upstream_status=status or None, retry_after=wait)


def by_status(status: int) -> Meaning:
    """What an HTTP status says by itself; 0 within a stream."""
    known: dict[int, Meaning] = {
        400: "bad",
        408: "late",
        413: "large",
        422: "bad",
        429: "limited",
        503: "overloaded",
        504: "late",
        529: "overloaded",
    }
    return known.get(status, "refused" if 0 < status < 500 else "failed")
