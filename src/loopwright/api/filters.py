"""Which calls: the query parameters of the management REST."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Depends, Query

from loopwright.api.asking import Seen
from loopwright.calls.query import CallFilter
from loopwright.calls.question import MOST_TAGS
from loopwright.core.errors import BadRequest
from loopwright.core.money import NANO


def tag_of(text: str | None) -> tuple[str, str] | None:
    """A `name:value` pair.

    Raises:
        BadRequest: there is no colon.
    """
    if text is None:
        return None
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise BadRequest(f"tag: {text!r} is not of the form name:value", param="tag")
    return name, value


Without = Annotated[
    str | None,
    Query(description="What calls must not have, by commas: task, variant, session, error_code …, tag:NAME."),
]
Tags = Annotated[
    list[str] | None, Query(description="name:value; given several times all must hold.", max_length=MOST_TAGS)
]


def tags_of(texts: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """`name:value` pairs.

    Raises:
        BadRequest: one has no colon.
    """
    return tuple(dict.fromkeys(found for text in texts or () if (found := tag_of(text)) is not None))


def listed(text: str | None) -> tuple[str, ...]:
    """Names by commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def filtered(
    project_id: Seen,
    *,
    model: str | None = None,
    key: Annotated[int | None, Query(description="Id of a key.")] = None,
    outcome: Annotated[
        Literal["ok", "error", "refused", "cancelled", "interrupted", "failed"] | None,
        Query(description="failed: error or interrupted."),
    ] = None,
    error_code: str | None = None,
    task: str | None = None,
    variant: str | None = None,
    prompt_version: str | None = None,
    target: Annotated[str | None, Query(description="The model's name as its provider knows it.")] = None,
    provider: str | None = None,
    operation: str | None = None,
    client: Annotated[str | None, Query(description="The program that asked, as it names itself.")] = None,
    without: Without = None,
    session: str | None = None,
    trace: Annotated[str | None, Query(description="32 hexadecimal digits: the calls of one trace.")] = None,
    tag: Tags = None,
    since: datetime | None = None,
    until: datetime | None = None,
    min_cost_usd: Annotated[Decimal | None, Query(ge=0)] = None,
    min_latency_ms: Annotated[float | None, Query(ge=0)] = None,
    sent_to: Annotated[str | None, Query(description="A region or provider its bytes left for.")] = None,
    sent_outside: Annotated[
        str | None, Query(description="Regions, by commas: calls not shown to have stayed within them; own is ours.")
    ] = None,
    text: Annotated[str | None, Query(description="Words that all occur in prompt or answer.", max_length=1000)] = None,
) -> CallFilter:
    """The filter a query asks for, within what the asker may see."""
    return CallFilter(
        project_id=project_id,
        model=model,
        key_id=key,
        outcome=None if outcome == "failed" else outcome,
        failed=outcome == "failed",
        error_code=error_code,
        task=task,
        variant=variant,
        prompt_version=prompt_version,
        target=target,
        provider=provider,
        operation=operation,
        client=client,
        without=listed(without),
        session=session,
        trace=trace,
        tags=tags_of(tag),
        since=aware(since),
        until=aware(until),
        min_cost_nano=None if min_cost_usd is None else int(min_cost_usd * NANO),
        min_latency_ms=min_latency_ms,
        sent_to=sent_to,
        sent_outside=listed(sent_outside),
        text=text,
    )


Filtered = Annotated[CallFilter, Depends(filtered)]


def picked(
    session: str | None = None,
    tag: Annotated[list[str] | None, Query(description="name:value; one of them.")] = None,
    key: int | None = None,
) -> dict[str, Any]:
    """What a deletion names, by the arguments of `Calls.delete`.

    Raises:
        BadRequest: several tags: whoever thinks that all must hold would delete too much.
    """
    if tag is not None and len(tag) > 1:
        raise BadRequest("tag: calls are deleted by one tag at a time", param="tag")
    return {"session": session, "tag": tag_of(tag[0]) if tag else None, "key_id": key}


Picked = Annotated[dict[str, Any], Depends(picked)]


def aware(moment: datetime | None) -> datetime | None:
    """A moment without a zone is in UTC."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
