"""A call as a row of the table `calls`, there and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from loopwright.calls.record import Record
from loopwright.core.call import Call, Outcome
from loopwright.kit import ids
from loopwright.kit.copying import JSONB_BYTES, TIME_NUMBER, UUID_BYTES, jsonb_of, moment_of, uuid_of
from loopwright.kit.ids import time_of

OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "error", "refused", "cancelled", "interrupted")
"""By the number that stands for them in the table."""
_NUMBERS: Final[Mapping[str, int]] = {name: number for number, name in enumerate(OUTCOMES)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST: Final = 2**31 - 1
_FAR: Final = 2**62
NAME_BYTES: Final = 300
"""Longest name that is kept: an index row has room for seven."""
_TEXT_BYTES: Final = 4000

COLUMNS: Final = (
    ("id", UUID_BYTES), ("trace_id", UUID_BYTES), ("span_id", "int8"), ("parent_id", "int8"), ("started_at", TIME_NUMBER),
    ("latency_us", "int8"), ("ttft_us", "int8"), ("cost_nano", "int8"), ("block", "int8"), ("series_id", "int4"),
    ("project_id", "int4"), ("key_id", "int4"), ("input_tokens", "int4"), ("output_tokens", "int4"),
    ("cached_tokens", "int4"), ("reasoning_tokens", "int4"), ("outcome", "int2"), ("status", "int2"), ("slot", "int2"),
    ("stream", "bool"), ("usage_estimated", "bool"), ("client", "text"), ("finish", "text"), ("price_source", "text"),
    ("session", "text"), ("error_code", "text"), ("error", "text"), ("tags", JSONB_BYTES),
    ("sent", JSONB_BYTES), ("cache_key", "bytea"), ("cache_until", TIME_NUMBER),
)  # fmt: skip
"""Of `calls`, in the order of `row_of`, and how COPY is given them."""

SELECT: Final = """
    c.id, c.trace_id, c.span_id, c.parent_id, c.started_at, c.latency_us, c.ttft_us, c.cost_nano, c.project_id, c.key_id,
    c.input_tokens, c.output_tokens, c.cached_tokens, c.reasoning_tokens, c.outcome, c.status, c.stream,
    c.usage_estimated, c.client, c.finish, c.price_source, c.session, c.error_code, c.error, c.tags,
    s.operation, s.model, s.target, s.provider, s.task, s.variant, s.prompt_version
"""
"""What `call_of` reads, of `calls c join call_series s on s.id = c.series_id`."""


class SeriesKey(NamedTuple):
    """What a series of calls has in common."""

    project_id: int
    operation: str
    model: str
    target: str
    provider: str
    task: str | None
    variant: str | None
    prompt_version: str | None


def series_of(record: Record) -> SeriesKey:
    """The series a record belongs to."""
    return SeriesKey(
        record.project_id,
        clipped(record.operation),
        clipped(record.model),
        clipped(record.target),
        clipped(record.provider),
        _optional(record.task),
        _optional(record.variant),
        _optional(record.prompt_version),
    )


def check(record: Record) -> None:
    """See that a record can be stored.

    Raises:
        ValueError: its id, a trace id, its outcome or a number cannot.
    """
    time_of(record.id)
    uuid_of(record.id)
    uuid_of(record.trace_id)
    int(record.span_id, 16)
    if record.parent_id is not None:
        int(record.parent_id, 16)
    if record.outcome not in _NUMBERS:
        raise ValueError(f"outcome {record.outcome!r} is none of {', '.join(OUTCOMES)}")
    started_at(record)
    for number in (record.started_ns, record.latency_us, record.ttft_us, record.cost_nano):
        if number is not None and not 0 <= number < _FAR:
            raise ValueError(f"{number} is no time and no cost")


def row_of(
    record: Record, *, series_id: int, finish: str | None, block: int | None, slot: int, wordless: bool = False
) -> tuple[Any, ...]:
    """The row, in the order of `COLUMNS`; a `wordless` one keeps the code of an error, not its message."""
    tags = record.tags and {clean(name): clean(value) for name, value in record.tags.items()}
    return (
        uuid_of(record.id),
        uuid_of(record.trace_id),
        _signed(record.span_id),
        None if record.parent_id is None else _signed(record.parent_id),
        moment_of(record.started_ns),
        max(record.latency_us, 0),
        record.ttft_us,
        record.cost_nano,
        block,
        series_id,
        record.project_id,
        record.key_id,
        counted(record.input_tokens),
        counted(record.output_tokens),
        counted(record.cached_tokens),
        counted(record.reasoning_tokens),
        _NUMBERS[record.outcome],
        min(max(record.status, 0), 999),
        slot,
        record.stream,
        record.usage_estimated,
        clipped(record.client),
        _optional(finish),
        _optional(record.price_source),
        _optional(record.session),
        _optional(record.error_code),
        None if record.error is None or wordless else clipped(record.error, _TEXT_BYTES),
        jsonb_of(tags) if tags else None,
        None if record.sent is None else jsonb_of(record.sent),
        None if block is None else record.cache_key,
        None if block is None or record.cache_key is None else moment_of(record.cache_until_ns),
    )


def call_of(row: Mapping[str, Any]) -> Call:
    """A Call from the columns of `SELECT`."""
    parent = row["parent_id"]
    return Call(
        id=str(row["id"]),
        started_at=row["started_at"].astimezone(UTC),
        project_id=row["project_id"],
        key_id=row["key_id"],
        operation=row["operation"],
        model=row["model"],
        target=row["target"],
        provider=row["provider"],
        outcome=OUTCOMES[row["outcome"]],
        status=row["status"],
        error_code=row["error_code"],
        error=row["error"],
        finish=row["finish"],
        stream=row["stream"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        usage_estimated=row["usage_estimated"],
        cost_nano=row["cost_nano"],
        price_source=row["price_source"],
        ttft_us=row["ttft_us"],
        latency_us=row["latency_us"],
        client=row["client"],
        session=row["session"],
        trace_id=cast("UUID", row["trace_id"]).hex,
        span_id=_digits(row["span_id"]),
        parent_id=None if parent is None else _digits(parent),
        task=row["task"],
        variant=row["variant"],
        prompt_version=row["prompt_version"],
        tags=row["tags"] or {},
    )


def outcome_number(outcome: Outcome) -> int:
    """What stands for `outcome` in the table."""
    return _NUMBERS[outcome]


def started_at(record: Record) -> datetime:
    """When a call arrived, to the microsecond."""
    return _EPOCH + timedelta(microseconds=record.started_ns // 1000)


def day_of(call_id: str) -> date:
    """The day (UTC) whose partition holds a call.

    Raises:
        ValueError: it is no call id.
    """
    return ids.day_of(call_id)


def clipped(text: str, size: int = NAME_BYTES) -> str:
    """`text` in at most `size` bytes of UTF-8, without the NUL that Postgres refuses."""
    if "\x00" in text:
        text = clean(text)
    if len(text) * 4 <= size or len(data := text.encode("utf-8", "replace")) <= size:
        return text
    return data[:size].decode("utf-8", "ignore")


def _optional(text: str | None) -> str | None:
    return None if text is None else clipped(text)


def clean(text: str) -> str:
    """`text` without the NUL that Postgres refuses."""
    return text.replace("\x00", "\ufffd")


def counted(tokens: int) -> int:
    """Tokens as a column can hold them, whatever a provider said."""
    return min(max(tokens, 0), _MOST)


def _signed(digits: str) -> int:
    number = int(digits, 16) & 0xFFFF_FFFF_FFFF_FFFF
    return number - 2**64 if number >= 2**63 else number


def _digits(number: int) -> str:
    return f"{number & 0xFFFF_FFFF_FFFF_FFFF:016x}"
