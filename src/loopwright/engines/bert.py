"""A BERT encoder from a `safetensors` folder to an int8 ONNX model, built in memory within a second. No torch.

Weights are rounded to 8 bits in blocks of 32, and ONNX Runtime rounds activations by the same blocks as they come
(`MatMulNBits`). That costs a third more than one scale for a whole batch (`DynamicQuantizeMatMul`), agrees with f32 ten
times better, and a text's vector does not depend on the texts beside it. Attention and norms stay in f32.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.engines.onnx_graph import MICROSOFT, Graph

Weights = Mapping[str, NDArray[np.float32]]
_HEADER_LIMIT = 100_000_000
_BLOCK = 32
_ROUND_ACTIVATIONS = 4  # `accuracy_level`: multiply in int8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The measures in a BERT folder's `config.json` and `sentence_bert_config.json`."""

    layers: int
    heads: int
    width: int
    feed_forward: int
    positions: int
    vocabulary: int
    epsilon: float
    longest: int
    """Tokens of one text, special ones included."""


def read_shape(folder: Path) -> Shape:
    """Read and check the configuration.

    Raises:
        ValueError: the folder holds another kind of model, or lacks a measure.
        OSError: a file is missing.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise ValueError(f"{folder} is not a BERT encoder with GELU, but {config.get('model_type')!r}")
    try:
        positions = int(config["max_position_embeddings"])
        if config["hidden_size"] % _BLOCK or config["intermediate_size"] % _BLOCK:
            raise ValueError(f"{folder}: hidden and intermediate sizes must be multiples of {_BLOCK}")
        return Shape(
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            width=int(config["hidden_size"]),
            feed_forward=int(config["intermediate_size"]),
            positions=positions,
            vocabulary=int(config["vocab_size"]),
            epsilon=float(config["layer_norm_eps"]),
            longest=min(_longest(folder) or positions, positions),
        )
    except KeyError as error:
        raise ValueError(f"{folder / 'config.json'} lacks {error}") from error


def _longest(folder: Path) -> int | None:
    path = folder / "sentence_bert_config.json"
    return json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") if path.exists() else None


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Map the f32 tensors of a safetensors file; others are left out.

    Raises:
        ValueError: the file is damaged.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    try:
        (size,) = struct.unpack("<Q", data[:8].tobytes())
        header: dict[str, Any] = json.loads(data[8 : 8 + min(size, _HEADER_LIMIT)].tobytes())
        found = {}
        for name, entry in header.items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                start, end = entry["data_offsets"]
                found[name] = data[8 + size + start : 8 + size + end].view(np.float32).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error
    return found


def build(shape: Shape, weights: Weights) -> bytes:
    """The ONNX model: `ids` and `mask` of [texts, tokens], `positions` of [tokens] → `hidden` [texts, tokens, width].

    Raises:
        KeyError: a weight is missing.
    """
    graph = Graph("bert")
    ids = graph.input("ids", "int32", ["texts", "tokens"])
    mask = graph.input("mask", "int32", ["texts", "tokens"])
    places = graph.input("positions", "int32", ["tokens"])
    value = _embed(graph, shape, weights, ids, places)
    for i in range(shape.layers):
        at = f"encoder.layer.{i}."
        joined = graph.split(
            _linear(graph, weights, value, [f"{at}attention.self.{part}" for part in ("query", "key", "value")]), 3, 2
        )
        seen = graph.node("MultiHeadAttention", *joined, "", mask, domain=MICROSOFT, num_heads=shape.heads)
        value = _norm(
            graph,
            shape,
            weights,
            _linear(graph, weights, seen, [f"{at}attention.output.dense"]),
            value,
            f"{at}attention.output.LayerNorm",
        )
        wide = graph.node("Gelu", _linear(graph, weights, value, [f"{at}intermediate.dense"]), domain=MICROSOFT)
        value = _norm(
            graph,
            shape,
            weights,
            _linear(graph, weights, wide, [f"{at}output.dense"]),
            value,
            f"{at}output.LayerNorm",
            out="hidden" if i == shape.layers - 1 else "",
        )
    graph.output("hidden", "float32", ["texts", "tokens", shape.width])
    return graph.model()


def _embed(graph: Graph, shape: Shape, weights: Weights, ids: str, places: str) -> str:
    """Words (int8 rows with a scale each), places and the one segment there is, normalised."""
    words = np.asarray(weights["embeddings.word_embeddings.weight"])
    scale = np.maximum(np.abs(words).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)
    table = graph.constant(np.rint(words / scale).astype(np.int8))
    rows = graph.node("Cast", graph.node("Gather", table, ids), to=1)
    word = graph.node("Mul", rows, graph.node("Gather", graph.constant(scale), ids))
    place = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    both = graph.node("Add", word, graph.node("Gather", graph.constant(place), places))
    norm = [graph.constant(weights[f"embeddings.LayerNorm.{part}"]) for part in ("weight", "bias")]
    return graph.node("LayerNormalization", both, *norm, axis=2, epsilon=shape.epsilon)


def _linear(graph: Graph, weights: Weights, value: str, names: list[str]) -> str:
    """One product for the matrices of all `names`, side by side."""
    matrix = np.concatenate([weights[f"{name}.weight"] for name in names])
    bias = np.concatenate([weights[f"{name}.bias"] for name in names])
    rows, columns = matrix.shape
    blocks = matrix.reshape(rows, columns // _BLOCK, _BLOCK)
    scale = np.maximum(np.abs(blocks).max(axis=2, keepdims=True) / 127, 1e-12).astype(np.float32)
    rounded = (np.rint(blocks / scale) + 128).astype(np.uint8)
    return graph.node(
        "MatMulNBits",
        *(value, graph.constant(rounded), graph.constant(scale.reshape(rows, -1)), "", "", graph.constant(bias)),
        domain=MICROSOFT,
        K=columns,
        N=rows,
        bits=8,
        block_size=_BLOCK,
        accuracy_level=_ROUND_ACTIVATIONS,
    )


def _norm(graph: Graph, shape: Shape, weights: Weights, value: str, skip: str, name: str, out: str = "") -> str:
    parts = [graph.constant(weights[f"{name}.{part}"]) for part in ("weight", "bias")]
    return graph.node("SkipLayerNormalization", value, skip, *parts, out=out, domain=MICROSOFT, epsilon=shape.epsilon)
