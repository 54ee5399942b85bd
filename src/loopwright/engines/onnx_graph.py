"""Writes an ONNX model: the handful of protobuf messages a small graph needs, without the 31 MB `onnx` package.

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own fused operators."""
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
_OPSET, _IR = 17, 8


class Graph:
    """Collects nodes and constants; `model()` gives the file's bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[bytes] = []
        self._named = 0

    def input(self, name: str, kind: str, shape: Sequence[str | int]) -> str:
        """Declare an input; a text in `shape` is a dimension that varies."""
        self._parts.append(_message(11, _value(name, kind, shape)))
        return name

    def output(self, name: str, kind: str, shape: Sequence[str | int]) -> None:
        """Declare an output."""
        self._parts.append(_message(12, _value(name, kind, shape)))

    def constant(self, array: NDArray[np.generic]) -> str:
        """Add a tensor; gives its name."""
        name = self._next()
        dims = b"".join(_number(1, size) for size in array.shape)
        tensor = dims + _number(2, _TYPES[array.dtype.name]) + _text(8, name) + _message(9, array.tobytes())
        self._parts.append(_message(5, tensor))
        return name

    def node(
        self, operator: str, *inputs: str, out: str = "", domain: str = "", **attributes: float | Sequence[int]
    ) -> str:
        """Add an operator with one output (`out`, or a made-up name); gives that output's name."""
        result = out or self._next()
        body = b"".join(_text(1, name) for name in inputs) + _text(2, result) + _text(4, operator) + _text(7, domain)
        self._parts.append(_message(1, body + b"".join(_attribute(*pair) for pair in attributes.items())))
        return result

    def split(self, value: str, count: int, axis: int) -> list[str]:
        """Cut a value into `count` equal pieces."""
        pieces = [self._next() for _ in range(count)]
        outputs = b"".join(_text(2, name) for name in pieces)
        self._parts.append(_message(1, _text(1, value) + outputs + _text(4, "Split") + _attribute("axis", axis)))
        return pieces

    def model(self) -> bytes:
        """The whole model, ready for a session."""
        graph = b"".join(self._parts) + _text(2, self._name)
        opsets = _message(8, _number(2, _OPSET)) + _message(8, _text(1, MICROSOFT) + _number(2, 1))
        return _number(1, _IR) + _message(7, graph) + opsets

    def _next(self) -> str:
        self._named += 1
        return f"v{self._named}"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _attribute(name: str, value: float | Sequence[int]) -> bytes:
    if isinstance(value, float):
        body = _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    elif isinstance(value, int):
        body = _number(3, value) + _number(20, 2)
    else:
        body = b"".join(_number(8, item) for item in value) + _number(20, 7)
    return _message(5, _text(1, name) + body)


def _value(name: str, kind: str, shape: Sequence[str | int]) -> bytes:
    dims = b"".join(_message(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    tensor = _number(1, _TYPES[kind]) + _message(2, dims)
    return _text(1, name) + _message(2, _message(1, tensor))
