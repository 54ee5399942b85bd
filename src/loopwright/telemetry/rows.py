"""A span as a row of the table `spans`, there and back. Its texts lie apart: see packing.py."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, cast, get_args
from uuid import UUID

from loopwright.calls.rows import clipped, counted
from loopwright.kit.copying import INT8_BYTES, JSONB_BYTES, UUID_BYTES, jsonb_of, uuid_of
from loopwright.telemetry.span import Kind, Span, Status

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""By the number that stands for them in the table: append only."""
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_KIND: Final[Mapping[str, int]] = {name: number for number, name in enumerate(KINDS)}
_STATUS: Final[Mapping[str, int]] = {name: number for number, name in enumerate(STATUSES)}
_ERROR_BYTES: Final = 2000

COLUMNS: Final = (
    ("id", UUID_BYTES), ("trace_id", UUID_BYTES), ("call_id", UUID_BYTES), ("span_id", INT8_BYTES), ("parent_id", INT8_BYTES),
    ("started_ns", "int8"), ("duration_us", "int8"), ("cost_nano", "int8"), ("block", "int8"), ("project_id", "int4"),
    ("key_id", "int4"), ("input_tokens", "int4"), ("output_tokens", "int4"), ("slot", "int2"), ("kind", "int2"),
    ("status", "int2"), ("name", "text"), ("service", "text"), ("session", "text"), ("model", "text"), ("tool", "text"),
    ("error", "text"), ("tags", JSONB_BYTES),
)  # fmt: skip
"""Of `spans`, in the order of `row_of`, and how COPY is given them."""
SELECT: Final = ", ".join(name for name, _ in COLUMNS)
"""What `span_of` reads."""


def id_of(started_ns: int, trace_id: str, span_id: str) -> str:
    """A UUIDv7 for a span or the call that it is: the same whenever the same span comes again."""
    return made_id(started_ns, bytes.fromhex(trace_id) + bytes.fromhex(span_id))


def made_id(at_ns: int, of: bytes) -> str:
    """A UUIDv7 of a moment, whose other bits are a hash."""
    ms, rest = divmod(at_ns, 1_000_000)
    early = f"{(ms << 12) | (rest * 4096 // 1_000_000):015x}"
    tail = int.from_bytes(blake2b(of, digest_size=8).digest()) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    late = f"{tail:016x}"
    return f"{early[:8]}-{early[8:12]}-7{early[12:]}-{late[:4]}-{late[4:]}"


def row_of(
    span: Span,
    *,
    row_id: str,
    key_id: int,
    block: int | None,
    slot: int,
    tags: Mapping[str, str],
    wordless: bool,
) -> tuple[Any, ...]:
    """The row, in the order of `COLUMNS`; a `wordless` one does not tell what was said of a failure."""
    return (
        uuid_of(row_id),
        uuid_of(span.trace_id),
        None if span.call_id is None else uuid_of(span.call_id),
        bytes.fromhex(span.span_id),
        None if span.parent_id is None else bytes.fromhex(span.parent_id),
        span.started_ns,
        span.duration_us,
        span.cost_nano,
        block,
        span.project_id,
        key_id,
        counted(span.input_tokens),
        counted(span.output_tokens),
        slot,
        _KIND[span.kind],
        _STATUS[span.status],
        clipped(span.name),
        clipped(span.service),
        _optional(span.session),
        _optional(span.model),
        _optional(span.tool),
        None if span.error is None or wordless else clipped(span.error, _ERROR_BYTES),
        jsonb_of(tags) if tags else None,
    )


def span_of(row: Mapping[str, Any], **texts: Any) -> Span:
    """A Span from the columns of `SELECT`; `texts` are what lies apart from them."""
    parent, call = row["parent_id"], row["call_id"]
    return Span(
        project_id=row["project_id"],
        trace_id=cast("UUID", row["trace_id"]).hex,
        span_id=digits(row["span_id"]),
        parent_id=None if parent is None else digits(parent),
        name=row["name"],
        kind=KINDS[row["kind"]],
        started_ns=row["started_ns"],
        duration_us=row["duration_us"],
        status=STATUSES[row["status"]],
        service=row["service"],
        session=row["session"],
        call_id=None if call is None else str(call),
        model=row["model"],
        tool=row["tool"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cost_nano=row["cost_nano"],
        **{"error": row["error"], "user": (row["tags"] or {}).get("user"), **texts},
    )


def signed(span_id: str) -> int:
    """16 hexadecimal digits as the number that stands for them in tables."""
    number = int(span_id, 16) & 0xFFFF_FFFF_FFFF_FFFF
    return number - 2**64 if number >= 2**63 else number


def digits(number: int) -> str:
    """The 16 hexadecimal digits again."""
    return f"{number & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def _optional(text: str | None) -> str | None:
    return None if text is None else clipped(text)
