"""Reads the head of a GGUF file: metadata and tensor sizes, never the weights.

The `gguf` package's own reader decodes the whole vocabulary (0.3 s to 3 s); this one steps over long lists and reads the
rest within milliseconds. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3).
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loopwright.kit.geometry import Geometry, Layer
from loopwright.kit.postponed import Postponed

_gguf: Final = Postponed("gguf.constants")
MAGIC = b"GGUF"
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT = 4_096  # longer lists are vocabularies; only their length is of use here
_MOST = 1_000_000  # metadata entries or tensors: more is a broken or hostile file
# Where llama.cpp knows the pattern of sliding-window layers by architecture: every n-th layer sees everything.
_FULL_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "gpt-oss": 2, "exaone4": 4, "olmo3": 4}


class NotGguf(ValueError):
    """The file is no GGUF, is cut off, or is of a version nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a GGUF file says of itself."""

    path: Path
    metadata: Mapping[str, object]
    """Numbers, strings and short lists; a list of more than 4,096 elements, or of strings, is only in `lengths`."""
    lengths: Mapping[str, int]
    """Elements of every list."""
    weights_bytes: int
    parameters: int
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of every tensor, the fastest dimension first."""

    @property
    def architecture(self) -> str:
        """The family of the model, e.g. `llama`."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def chat_template(self) -> str:
        """The Jinja template that turns messages into a prompt; empty for base models."""
        return str(self.metadata.get("tokenizer.chat_template", ""))

    @property
    def renders_tools(self) -> bool:
        """Whether the template shows `tools` to the model; when not, llama.cpp drops them without a word."""
        other = str(self.metadata.get("tokenizer.chat_template.tool_use", ""))
        return renders_tools(self.chat_template) or renders_tools(other)

    @property
    def quantization(self) -> str:
        """How the weights are stored, e.g. `Q4_1`; empty when the file does not say."""
        kind = self.metadata.get("general.file_type")
        try:
            name = _gguf.LlamaFileType(kind).name if isinstance(kind, int) else ""
        except ValueError:
            return ""
        return name.removeprefix("MOSTLY_").removeprefix("ALL_")

    @property
    def licence(self) -> str:
        """As the file states it, e.g. `apache-2.0`."""
        return str(self.metadata.get("general.license", ""))

    def number(self, key: str, default: int = 0) -> int:
        """A whole number of this architecture, e.g. `block_count`; the largest where it is a list by layer."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, list):
            value = max((item for item in value if isinstance(item, int)), default=default)
        return value if isinstance(value, int) else default

    def by_layer(self, key: str, layers: int, default: int) -> list[int]:
        """A number that may be one for all layers or a list of one each."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, list) and len(value) >= layers:
            return [int(item) for item in value[:layers]]
        return [value if isinstance(value, int) else default] * layers

    def geometry(self) -> Geometry:
        """The measures that decide its memory.

        Raises:
            NotGguf: the metadata lacks layers or heads, as that of adapters and vocabularies does.
        """
        count, heads, width = (
            self.number("block_count"),
            self.number("attention.head_count"),
            self.number("embedding_length"),
        )
        if not (count and heads and width):
            raise NotGguf(f"{self.path} describes no model: layers, heads or width are missing")
        count = min(count, _KEPT)
        head = width // heads  # only where the file does not state it
        key = self.number("attention.key_length", head)
        value = self.number("attention.value_length", head)
        kv_heads = self.by_layer("attention.head_count_kv", count, heads)
        latent = self.number("attention.kv_lora_rank")
        if latent:
            kv_heads, key, value = [1] * count, latent + self.number("rope.dimension_count"), 0
        windows = self._windows(count)
        state = self._state_bytes()
        return Geometry(
            layers=tuple(
                Layer(
                    kv_heads=kv_heads[i],
                    key_length=key,
                    value_length=value,
                    window=windows[i],
                    state_bytes=0 if kv_heads[i] else state,
                )
                for i in range(count)
            ),
            context=self.number("context_length", 2048),
            vocabulary=self.number("vocab_size") or self.lengths.get("tokenizer.ggml.tokens", 0),
            width=width,
            feed_forward=self.number("feed_forward_length", 4 * width),
            heads=heads,
        )

    def _windows(self, count: int) -> list[int | None]:
        """The sliding window of each layer; a pattern nobody states counts as full attention, which is the safe side."""
        window = self.number("attention.sliding_window")
        stated = self.metadata.get(f"{self.architecture}.attention.sliding_window_pattern")
        if not window:
            return [None] * count
        if isinstance(stated, list) and len(stated) >= count:
            return [window if slides else None for slides in stated[:count]]
        every = stated if isinstance(stated, int) and stated > 0 else _FULL_EVERY.get(self.architecture, 1)
        return [None if (i + 1) % every == 0 else window for i in range(count)]

    def _state_bytes(self) -> int:
        """f32 convolution and state-space memory of one sequence in one recurrent layer."""
        inner, state = self.number("ssm.inner_size"), self.number("ssm.state_size")
        tail = max(self.number("ssm.conv_kernel") - 1, 0)
        short = max(self.number("shortconv.l_cache") - 1, 0) * self.number("embedding_length")
        return 4 * (tail * (inner + 2 * self.number("ssm.group_count") * state) + inner * state + short)


def renders_tools(template: str) -> bool:
    """Whether a Jinja template looks at the variable `tools`."""
    return re.search(r"\{[%{](?:(?![%}]\}).)*\btools\b", template, re.DOTALL) is not None


def read(path: Path) -> Header:
    """Read the head of `path`, and of the other parts when it is the first of a split model.

    Raises:
        NotGguf: with the reason.
        OSError: the file cannot be read.
    """
    header = _read_one(path)
    parts = header.metadata.get("split.count")
    first = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", path.name)
    if not isinstance(parts, int) or parts < 2 or first is None:
        return header
    others = [_read_one(path.with_name(f"{first[1]}-{i:05d}-of-{first[2]}.gguf")) for i in range(2, parts + 1)]
    return Header(
        path=path,
        metadata=header.metadata,
        lengths=header.lengths,
        weights_bytes=header.weights_bytes + sum(part.weights_bytes for part in others),
        parameters=header.parameters + sum(part.parameters for part in others),
        shapes={name: shape for part in (header, *others) for name, shape in part.shapes.items()},
    )


def _read_one(path: Path) -> Header:
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise NotGguf(f"{path} is no GGUF file: it does not begin with {MAGIC.decode()}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Cursor(path, data).header()
            except (struct.error, IndexError) as error:
                raise NotGguf(f"{path} is cut off or damaged within its first {len(data):,} bytes") from error


class _Cursor:
    """Walks the head of one mapped file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = 4

    def header(self) -> Header:
        version = self._number("I")
        if version not in {2, 3}:
            raise NotGguf(f"{self._path} is GGUF version {version}; versions 2 and 3 (little-endian) are known")
        tensors, entries = self._number("Q"), self._number("Q")
        if tensors > _MOST or entries > _MOST:
            raise NotGguf(f"{self._path} claims {tensors:,} tensors and {entries:,} metadata entries: it is damaged")
        metadata: dict[str, object] = {}
        lengths: dict[str, int] = {}
        for _ in range(entries):
            key = self._string()
            kind = self._number("I")
            if kind == _ARRAY:
                values, lengths[key] = self._array()
                if values is not None:
                    metadata[key] = values
            else:
                metadata[key] = self._value(kind)
        shapes: dict[str, tuple[int, ...]] = {}
        weights, parameters = self._tensors(tensors, shapes)
        return Header(
            path=self._path,
            metadata=metadata,
            lengths=lengths,
            weights_bytes=weights,
            parameters=parameters,
            shapes=shapes,
        )

    def _tensors(self, count: int, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
        weights = parameters = 0
        for _ in range(count):
            name = self._string()
            shape = shapes[name] = tuple(self._number("Q") for _ in range(self._number("I")))
            kind = self._number("I")
            self._skip(8)  # offset
            elements = math.prod(shape)
            try:
                block, size = _gguf.GGML_QUANT_SIZES[_gguf.GGMLQuantizationType(kind)]
            except (KeyError, ValueError):
                raise NotGguf(
                    f"{self._path} holds tensors of unknown type {kind}: a newer `gguf` may know it"
                ) from None
            weights += elements // block * size
            parameters += elements
        return weights, parameters

    def _number(self, form: str) -> int:
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        assert isinstance(value, int)
        return value

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise IndexError(self._at)

    def _string(self) -> str:
        start = self._at + 8
        self._skip(8 + int(struct.unpack_from("<Q", self._data, self._at)[0]))
        return self._data[start : self._at].decode("utf-8", "replace")

    def _value(self, kind: int) -> object:
        if kind == _STRING:
            return self._string()
        form = self._form(kind)
        value: object = struct.unpack_from("<" + form, self._data, self._at)[0]
        self._at += struct.calcsize("<" + form)
        return value

    def _form(self, kind: int) -> str:
        form = _NUMBERS.get(kind)
        if form is None:
            raise NotGguf(f"{self._path} holds a value of unknown type {kind}: it is damaged")
        return form

    def _array(self) -> tuple[list[object] | None, int]:
        kind, count = self._number("I"), self._number("Q")
        if kind == _STRING:
            unpack, data, at, end = struct.Struct("<Q").unpack_from, self._data, self._at, len(self._data)
            for _ in range(count):  # the hot loop: a vocabulary has 50,000 to 260,000 strings
                at += 8 + unpack(data, at)[0]
                if at > end:
                    raise IndexError(at)
            self._at = at
            return None, count
        form = self._form(kind)
        start = self._at
        self._skip(count * struct.calcsize("<" + form))
        if count > _KEPT:
            return None, count
        return list(struct.unpack_from(f"<{count}{form}", self._data, start)), count
