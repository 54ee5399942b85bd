"""Writes small GGUF files with the `gguf` package: real ones, of a model that knows nothing."""

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


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
