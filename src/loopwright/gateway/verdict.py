"""What a failed attempt means for the next one."""

from __future__ import annotations

from typing import Final, Literal

from loopwright.core.errors import Busy, LoopwrightError, Unavailable, UpstreamError, UpstreamRefused, UpstreamTimeout

Verdict = Literal["final", "credentials", "limited", "failed", "timeout"]
"""final: the request's own fault, or ours; another attempt would end the same. credentials: ours are wrong there.
limited: the provider limits our rate. failed: it may go well the next time. timeout: it took too long."""
_PASSING: Final = frozenset({408, 409, 425})


def verdict(error: LoopwrightError) -> Verdict:
    """Sorts an error of a target."""
    if isinstance(error, UpstreamRefused):
        status = error.upstream_status or 0
        if status in (401, 402, 403) or 300 <= status < 400:
            return "credentials"
        return "failed" if status in _PASSING else "final"
    if isinstance(error, Busy):
        return "limited"
    if isinstance(error, UpstreamTimeout):
        return "timeout"
    if isinstance(error, UpstreamError | Unavailable):
        return "failed"
    return "final"
