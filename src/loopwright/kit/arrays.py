"""Columns of numbers and bytes as parameters: PostgreSQL's binary arrays, made of numpy's in one go.

`unnest(%s::bigint[])` takes an `Int8s`. Lists do as well, and take a hundred times as long to be written, number by number.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD: Final = struct.Struct(">iiIii")
_NONE: Final = struct.Struct(">iiI")
_SIZE: Final = struct.Struct(">i")
_INT4: Final = 23
_INT8: Final = 20
_BYTEA: Final = 17


class Int4s(bytes):
    """An `int[]`."""

    __slots__ = ()


class Int8s(bytes):
    """A `bigint[]`."""

    __slots__ = ()


class Byteas(bytes):
    """A `bytea[]`."""

    __slots__ = ()


def int4s(values: NDArray[np.int64]) -> Int4s:
    """`values`, which 32 bits can hold."""
    return Int4s(_head(_INT4, len(values)) + _numbers(values, ">i4"))


def int8s(values: NDArray[np.int64]) -> Int8s:
    """`values`."""
    return Int8s(_head(_INT8, len(values)) + _numbers(values, ">i8"))


def byteas(values: Sequence[bytes]) -> Byteas:
    """`values`."""
    pieces = [_head(_BYTEA, len(values))]
    for each in values:
        pieces += (_SIZE.pack(len(each)), each)
    return Byteas(b"".join(pieces))


def _head(kind: int, size: int) -> bytes:
    return _HEAD.pack(1, 0, kind, size, 1) if size else _NONE.pack(0, 0, kind)


def _numbers(values: NDArray[np.int64], kind: str) -> bytes:
    made = np.empty(len(values), dtype=[("size", ">i4"), ("value", kind)])
    made["size"] = np.dtype(kind).itemsize
    made["value"] = values
    return made.tobytes()


class _Made(Dumper):
    """Of what is made already."""

    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer | None:
        """As it is."""
        return bytes(obj)


class _Int4s(_Made):
    oid = 1007


class _Int8s(_Made):
    oid = 1016


class _Byteas(_Made):
    oid = 1001


for _kind, _dumper in ((Int4s, _Int4s), (Int8s, _Int8s), (Byteas, _Byteas)):
    psycopg.adapters.register_dumper(_kind, _dumper)
