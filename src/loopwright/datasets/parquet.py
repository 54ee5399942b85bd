"""Parquet, a batch of rows at a time. The only file that needs pyarrow: see formats.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import BadRequest
from loopwright.datasets.draft import Problem

_BATCH: Final = 500


def rows(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """The rows of a file; dates and the like as texts, as in JSON.

    Raises:
        BadRequest: it is no Parquet.
    """
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise BadRequest(f"no Parquet: {str(error)[:200]}", param="file") from None
    names = opened.schema_arrow.names
    if len(set(names)) < len(names):
        raise BadRequest("two columns of the file have the same name", param="file")
    number = 0
    try:
        for batch in opened.iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                try:
                    yield number, msgspec.json.decode(msgspec.json.encode(row))
                except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
                    yield Problem(number, f"it holds what JSON cannot: {error}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Problem(number + 1, f"cannot be read from here on: {str(error)[:200]}")


class Writing:
    """A file on its way out, a batch of rows at a time; every column is of texts."""

    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._schema = pa.schema([(name, pa.string()) for name in columns])
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def add(self, some: Sequence[dict[str, str | None]]) -> None:
        """Some rows."""
        self._writer.write_table(pa.Table.from_pylist(list(some), schema=self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
