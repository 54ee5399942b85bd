"""Times and sizes as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from loopwright.core.errors import BadRequest

_SECONDS: Final = {
    "": 1.0,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


def seconds_of(text: str, what: str) -> float:
    """Seconds from `500ms`, `90`, `90s`, `5m`, `2h`, `1d`.

    Raises:
        BadRequest: none of these; `what` names the option.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or found[2] not in _SECONDS:
        raise BadRequest(f"{what}: {text!r} is not a duration\nWrite it like 500ms, 30s, 5m, 2h or 7d", param=what)
    return float(found[1]) * _SECONDS[found[2]]


def moment_of(text: str | None, what: str, now: datetime | None = None) -> str | None:
    """An ISO 8601 moment in UTC from one, or from how long ago (`2h`, `7d`); None stays None.

    Raises:
        BadRequest: neither.
    """
    if text is None:
        return None
    if _DURATION.fullmatch(text.strip().lower()) and not text.strip().isdigit():
        moment = (now or datetime.now(UTC)) - timedelta(seconds=seconds_of(text, what))
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            message = (
                f"{what}: {text!r} is no time\nWrite how long ago (2h, 7d) or a date (2026-11-21, 2026-11-21T09:00Z)"
            )
            raise BadRequest(message, param=what) from error
        if moment.tzinfo is None:
            moment = moment.astimezone()  # a date without a zone is meant where the person is
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_ahead(text: str | None, what: str, now: datetime | None = None) -> str | None:
    """An ISO 8601 moment in UTC from one to come, or from how long it is to it (`12h`, `30d`); None stays None.

    Raises:
        BadRequest: neither, or it lies behind us.
    """
    if text is None:
        return None
    now = now or datetime.now(UTC)
    if _DURATION.fullmatch(text.strip().lower()) and not text.strip().isdigit():
        try:
            moment = now + timedelta(seconds=seconds_of(text, what))
        except OverflowError:
            raise BadRequest(f"{what}: {text!r} is too long", param=what) from None
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            message = (
                f"{what}: {text!r} is no time\nWrite how long (12h, 30d) or a date (2027-01-31, 2027-01-31T18:00Z)"
            )
            raise BadRequest(message, param=what) from None
        if moment.tzinfo is None:
            moment = moment.astimezone()  # a date without a zone is meant where the person is
    if moment <= now:
        raise BadRequest(f"{what}: {text!r} lies behind us", param=what)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bytes_text(count: float) -> str:
    """`1.5 GB`, in powers of 1,000 as disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the loop ends at TB")


def seconds_text(seconds: float | None) -> str:
    """`850 µs`, `12.3 ms`, `1.24 s`, `3 min 20 s`; `-` when there is none."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else "1.00 s"
    if seconds < 100:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.1f} days"


def local_text(moment: object) -> str:
    """An ISO 8601 moment as this machine's clock shows it, to the second; other texts as they are."""
    try:
        return datetime.fromisoformat(str(moment)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return str(moment or "")
