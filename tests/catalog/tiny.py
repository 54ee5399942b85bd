"""Writes small GGUF files with the `gguf` package: real ones, of a model that knows nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def write_lora(
    path: Path,
    tensors: Mapping[str, tuple[int, int]],
    *,
    arch: str = "llama",
    kind: str = "lora",
    rank: int = 2,
    strength: float = 1.0,
    seed: int = 1,
    **more: Any,
) -> Path:
    """An adapter of random weights over `tensors`, each with what it takes in and gives out."""
    writer = GGUFWriter(path, arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", float(rank))
    for key, value in more.items():
        writer.add_array(key.replace("__", "."), value)
    draw = np.random.default_rng(seed)
    for name, (taken, given) in tensors.items():
        first = draw.standard_normal((rank, taken)) * strength / np.sqrt(taken)
        writer.add_tensor(f"{name}.lora_a", first.astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", draw.standard_normal((given, rank)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_gguf(
    path: Path, *, arch: str = "llama", weights: int = 4096, template: str | None = TEMPLATE, **keys: Any
) -> Path:
    """`keys`: numbers or lists of the architecture, dots written as double underscores."""
    writer = GGUFWriter(path, arch)
    numbers = {
        "block_count": 2,
        "context_length": 512,
        "embedding_length": 64,
        "feed_forward_length": 128,
        "attention__head_count": 2,
        "attention__head_count_kv": 1,
        "vocab_size": 100,
        **keys,
    }
    for key, value in numbers.items():
        name = f"{arch}.{key.replace('__', '.')}"
        if isinstance(value, list):
            writer.add_array(name, value)
        elif value is not None:
            writer.add_uint32(name, value)
    if template is not None:
        writer.add_chat_template(template)
    writer.add_string("general.license", "mit")
    writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(100)])
    writer.add_tensor("token_embd.weight", np.arange(weights, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
