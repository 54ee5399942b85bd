"""What an OpenAI-compatible upstream's failures mean to us. Never repeats our credentials."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from loopwright.core.errors import (
    BadRequest,
    Busy,
    ContextOverflow,
    LoopwrightError,
    TooLarge,
    UpstreamError,
    UpstreamRefused,
)

_CLIP = 2000
_LONGEST_WAIT = 86_400.0
_OVERFLOW = frozenset({"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """An error object as upstreams write it: OpenAI's, and its relatives."""

    message: str
    code: str = ""
    type: str = ""
    param: str | None = None
    shaped: bool = False
    """It was an object with a message, not merely some text."""


def complaint_in(body: bytes) -> Complaint | None:
    """The error in a JSON body, or None when there is none.

    Understands OpenAI's `{"error": {"message", …}}`, the same in a list (Gemini), `{"error": "text"}` (Ollama),
    `{"object": "error", "message": …}` (older vLLM) and `{"detail": …}` (FastAPI).
    """
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if error is None and value.get("object") == "error":
        error = value
    if isinstance(error, Mapping):
        return complaint_of(error)
    if isinstance(error, str) and error:
        return Complaint(message=error[:_CLIP])
    detail = value.get("detail")
    if detail:
        text = detail if isinstance(detail, str) else msgspec.json.encode(detail).decode()
        return Complaint(message=text[:_CLIP])
    return None


def complaint_of(error: Mapping[str, Any]) -> Complaint:
    """An error object, read leniently."""
    message = error.get("message")
    param = error.get("param")
    return Complaint(
        message=str(message)[:_CLIP] if message else "no reason was given",
        code=str(error.get("code") or ""),
        type=str(error.get("type") or ""),
        param=param[:200] if isinstance(param, str) else None,
        shaped=bool(message),
    )


def failure(
    name: str, status: int, headers: Mapping[str, str], body: bytes, *, secrets: tuple[str, ...] = ()
) -> LoopwrightError:
    """The error an answer of `status` (not 2xx) is to us. `name` is the provider's, `secrets` are kept out of messages."""
    complaint = complaint_in(body)
    message = scrubbed(complaint.message if complaint else _plain(headers, body), secrets)
    wait = retry_after(headers, now=time.time())
    if complaint is not None and complaint.shaped and status in (400, 413, 422):
        return _callers_fault(status, complaint, message)
    if status == 413:
        return TooLarge(f"provider {name!r} finds the request too large: {message}")
    if status == 429:
        return Busy(f"provider {name!r} limits our rate: {message}", retry_after=wait)
    if status >= 500:
        text = f"provider {name!r} failed with HTTP {status}: {message}"
        return UpstreamError(text, upstream_status=status, retry_after=wait)
    return UpstreamRefused(_refusal(name, status, message), upstream_status=status, retry_after=wait)


def _refusal(name: str, status: int, message: str) -> str:
    if status in (401, 403):
        # Its message often repeats part of the key, so the caller never sees it.
        return f"provider {name!r} refused our credentials (HTTP {status}): check `providers.{name}.api_key`"
    if status == 404:
        return (
            f"provider {name!r} knows no such model or path: {message}; check `model` of the model's settings and"
            f" `providers.{name}.base_url`"
        )
    if 300 <= status < 400:
        return (
            f"provider {name!r} answered with a redirect (HTTP {status}), which is not followed:"
            f" set `providers.{name}.base_url` to where it points"
        )
    return f"provider {name!r} refused the request with HTTP {status}: {message}"


def _callers_fault(status: int, complaint: Complaint, message: str) -> LoopwrightError:
    if {complaint.code, complaint.type} & _OVERFLOW:
        return ContextOverflow(message, param=complaint.param)
    if status == 413:
        return TooLarge(message, param=complaint.param)
    return BadRequest(message, param=complaint.param)


def scrubbed(text: str, secrets: tuple[str, ...]) -> str:
    """`text` without any of `secrets`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _plain(headers: Mapping[str, str], body: bytes) -> str:
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if "html" in kind or body.lstrip()[:1] == b"<":
        return "an HTML page, as from a proxy in between"
    text = body[:300].decode("utf-8", "replace").strip()
    return text or "an empty body"


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait from `retry-after-ms` or `retry-after` (seconds or an HTTP date); None when neither says.

    `now` is Unix time in seconds.
    """
    exact = _seconds(headers.get("retry-after-ms"))
    if exact is not None:
        return min(exact / 1000, _LONGEST_WAIT)
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is None and value:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT)


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return max(seconds, 0.0) if seconds == seconds else None  # noqa: PLR0124 - only NaN differs from itself
