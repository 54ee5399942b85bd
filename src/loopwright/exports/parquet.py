"""Calls as Parquet, a row each: typed columns, lists of scores and corrections, texts as JSON. The only file here that needs pyarrow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.money import NANO
from loopwright.exports.outgoing import Outgoing, call_shown

_GROUP_BYTES: Final = 8 << 20
"""Texts of a row group, about: what is held at once."""
_GROUP_ROWS: Final = 5_000
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_TEXTS: Final = ("id", "operation", "model", "target", "provider", "outcome", "error_code", "error", "finish", "client")
_NAMES: Final = ("session", "trace_id", "span_id", "parent_id", "task", "variant", "prompt_version", "price_source")
_COUNTS: Final = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "ttft_us", "latency_us")
_encode: Final = msgspec.json.Encoder().encode


def schema(*, texts: bool) -> pa.Schema:
    """The columns."""
    score = [
        ("name", pa.string()), ("value", pa.float64()), ("label", pa.string()), ("passed", pa.bool_()),
        ("source", pa.string()), ("author", pa.string()), ("weight", pa.float64()), ("created_at", _MOMENT),
    ]  # fmt: skip
    correction = [("author", pa.string()), ("latest", pa.bool_()), ("created_at", _MOMENT)]
    if texts:
        score.append(("explanation", pa.string()))
        correction += [("output", pa.string()), ("note", pa.string())]
    columns = [(_TEXTS[0], pa.string()), ("started_at", _MOMENT), ("project_id", pa.int32()), ("key_id", pa.int32())]
    columns += [(name, pa.string()) for name in (*_TEXTS[1:], *_NAMES)]
    columns += [("status", pa.int16()), ("stream", pa.bool_()), ("usage_estimated", pa.bool_())]
    columns += [(name, pa.int64()) for name in _COUNTS]
    columns += [("tpot_us", pa.float64()), ("cost_usd", pa.decimal128(20, 9))]
    columns += [("tags", pa.map_(pa.string(), pa.string()))]
    columns += [("scores", pa.list_(pa.struct(score))), ("corrections", pa.list_(pa.struct(correction)))]
    if texts:
        columns += [(name, pa.large_string()) for name in ("request", "response", "sealed", "sent")]
    return pa.schema(columns)


class Table:
    """A file in the making: what is finished of it is handed on, a row group at a time."""

    def __init__(self, *, texts: bool) -> None:
        self._schema = schema(texts=texts)
        self._out = _Draining()
        self._writer = pq.ParquetWriter(self._out, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._size = 0

    def add(self, some: Sequence[Outgoing]) -> bytes:
        """Take calls in; what is finished by now."""
        for each in some:
            row = _row(each)
            self._size += sum(len(row[name] or "") for name in ("request", "response") if name in row)
            self._rows.append(row)
        if self._size >= _GROUP_BYTES or len(self._rows) >= _GROUP_ROWS:
            self._write()
        return self._out.taken()

    def end(self) -> bytes:
        """The last rows and the footer."""
        self._write()
        self._writer.close()
        return self._out.taken()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._size = [], 0


class _Draining(io.RawIOBase):
    """A file that is only ever written at its end, and whose bytes are taken from it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        """What was written since the last time."""
        found = b"".join(self._pieces)
        self._pieces.clear()
        return found


def _row(each: Outgoing) -> dict[str, Any]:
    call = each.detail.call
    row = call_shown(call)
    row["cost_usd"] = None if call.cost_nano is None else Decimal(call.cost_nano) / NANO
    row["tags"] = list(call.tags.items())
    row["scores"] = list(each.scores)
    row["corrections"] = [_correction(said) for said in each.corrections]
    if each.texts:
        detail = each.detail
        row["request"] = detail.request_raw if detail.request is None else _json(detail.request)
        row["response"] = None if detail.response is None else _json(detail.response)
        row["sealed"] = detail.sealed
        row["sent"] = None if detail.sent is None else _json(detail.sent)
    return row


def _correction(said: Mapping[str, Any]) -> dict[str, Any]:
    output = said.get("output")
    return {**said, "output": output if output is None or isinstance(output, str) else _json(output)}


def _json(value: Any) -> str:
    return _encode(value).decode()
