"""What a query string asks for: a span of time and a filter of calls, checked once."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from uuid import UUID

from starlette.datastructures import QueryParams

from loopwright.calls.query import CallFilter
from loopwright.core.call import Outcome
from loopwright.core.errors import BadRequest
from loopwright.kit.ids import time_of

RANGES: Mapping[str, dt.timedelta] = {
    "1h": dt.timedelta(hours=1),
    "6h": dt.timedelta(hours=6),
    "24h": dt.timedelta(hours=24),
    "7d": dt.timedelta(days=7),
    "30d": dt.timedelta(days=30),
}
FAILED = "failed"
"""Asked for as an outcome: errors and interruptions."""
OUTCOMES: tuple[Outcome, ...] = ("ok", "error", "refused", "cancelled", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time; an open end is None."""

    name: str | None
    """One of RANGES, or None for given ends or for all time."""
    since: dt.datetime | None
    until: dt.datetime | None


def span_of(params: Mapping[str, str], *, default: str | None, now: dt.datetime) -> Span:
    """`range`, or `since` and `until` (ISO 8601, UTC unless they say otherwise).

    Raises:
        BadRequest: a value that is neither, or an end before the beginning.
    """
    since, until = moment_of(params, "since"), moment_of(params, "until")
    if since is not None and until is not None and since >= until:
        raise BadRequest("`until` must be later than `since`", param="until")
    if since is not None or until is not None:
        return Span(name=None, since=since, until=until)
    name = params.get("range", "").strip() or default
    if name is None:
        return Span(name=None, since=None, until=None)
    if name not in RANGES:
        raise BadRequest(f"range {name!r} is not one of {', '.join(RANGES)}", param="range")
    return Span(name=name, since=now - RANGES[name], until=None)


def filter_of(params: QueryParams, span: Span, *, project_id: int | None) -> CallFilter:
    """Which calls a list or a dashboard shows.

    Raises:
        BadRequest: a value that cannot be asked for.
    """

    def text(*names: str) -> str | None:
        return next((found for name in names if (found := params.get(name, "").strip())), None)

    return CallFilter(
        project_id=project_id,
        since=span.since,
        until=span.until,
        model=text("model"),
        key_id=whole_of(params, "key"),
        outcome=None if params.get("outcome", "").strip() == FAILED else outcome_of(params),
        failed=params.get("outcome", "").strip() == FAILED,
        error_code=text("error", "error_code"),
        task=text("task"),
        variant=text("variant"),
        prompt_version=text("prompt_version"),
        target=text("target"),
        provider=text("provider"),
        operation=text("operation"),
        client=text("client"),
        without=tuple(name.strip() for name in params.get("without", "").split(",") if name.strip()),
        session=text("session"),
        trace=text("trace"),
        tags=tags_of(params.getlist("tag")),
        min_cost_nano=nano_of(params, "min_cost_usd"),
        min_latency_ms=float_of(params, "min_latency_ms"),
        text=text("q"),
    )


def tags_of(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`name:value`, each; blank ones are left out.

    Raises:
        BadRequest: one has no colon.
    """
    found = (tag_of({"tag": text}) for text in texts)
    return tuple(dict.fromkeys(each for each in found if each is not None))


def given(params: QueryParams, names: Iterable[str]) -> dict[str, str | list[str]]:
    """Parameters as they were asked; of tags a list where there are several."""
    found: dict[str, str | list[str]] = {}
    for name in names:
        values = [text.strip() for text in params.getlist(name) if text.strip()]
        if values:
            found[name] = values if name == "tag" and len(values) > 1 else values[-1]
    return found


def tag_of(params: Mapping[str, str]) -> tuple[str, str] | None:
    """`tag=name:value`.

    Raises:
        BadRequest: there is no colon.
    """
    text = params.get("tag", "").strip()
    if not text:
        return None
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise BadRequest(f"tag {text!r} is not of the form name:value", param="tag")
    return name.strip(), value.strip()


def outcome_of(params: Mapping[str, str]) -> Outcome | None:
    """`outcome`, one of OUTCOMES.

    Raises:
        BadRequest: another word.
    """
    text = params.get("outcome", "").strip()
    if not text:
        return None
    for outcome in OUTCOMES:
        if text == outcome:
            return outcome
    raise BadRequest(f"outcome {text[:40]!r} is not one of {', '.join(OUTCOMES)}, {FAILED}", param="outcome")


def whole_of(params: Mapping[str, str], name: str, *, high: int = 2_147_483_647) -> int | None:
    """A whole number from zero to `high`.

    Raises:
        BadRequest: something else.
    """
    text = params.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 12 or int(text) > high:
        raise BadRequest(f"{name} {text[:40]!r} is not a whole number from 0 to {high}", param=name)
    return int(text)


def float_of(params: Mapping[str, str], name: str) -> float | None:
    """A number from zero.

    Raises:
        BadRequest: something else.
    """
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1e12:
        raise BadRequest(f"{name} {text[:40]!r} is not a number from 0", param=name)
    return number


def nano_of(params: Mapping[str, str], name: str) -> int | None:
    """An amount of US dollars, as nanodollars.

    Raises:
        BadRequest: not an amount from 0 to a million.
    """
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= 1_000_000:
        raise BadRequest(f"{name} {text[:40]!r} is not an amount of US dollars from 0 to 1000000", param=name)
    return int(amount * 1_000_000_000)


def moment_of(params: Mapping[str, str], name: str) -> dt.datetime | None:
    """A time in ISO 8601, UTC unless it says otherwise.

    Raises:
        BadRequest: something else.
    """
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{name} {text[:40]!r} is not a time like 2026-11-21T09:15", param=name) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def call_id_of(params: Mapping[str, str], name: str) -> str | None:
    """The id of a call.

    Raises:
        BadRequest: something else.
    """
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        time_of(str(UUID(text)))
    except ValueError:
        raise BadRequest(f"{name}: {text[:80]!r} is not a call id", param=name) from None
    return text
