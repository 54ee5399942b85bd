"""Adapters (LoRA) beside the weights of a llama.cpp engine: whether each file is one, and one of these weights.

llama.cpp checks the same when it loads them, and says no more than that it could not. The names of metadata and tensors
are those that its `convert_lora_to_gguf.py` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from loopwright.core.errors import StartError
from loopwright.kit.gguf import Header, NotGguf, read
from loopwright.kit.settings_adapters import AdapterSettings

_FIRST, _SECOND = ".lora_a", ".lora_b"
_EMBEDDING: Final = "token_embd.weight"
_WAKING: Final = "adapter.alora.invocation_tokens"


def read_adapters(model: str, base: Header, adapters: Mapping[str, AdapterSettings]) -> dict[str, Header]:
    """The heads of all adapter files, by the names of the adapters.

    Raises:
        StartError: a file is missing, no GGUF, no LoRA, or one of other weights; the message names it.
    """
    return {name: _read(f"model {model!r}, adapter {name!r}", base, Path(said.path)) for name, said in adapters.items()}


def _read(where: str, base: Header, path: Path) -> Header:
    path = path.expanduser()
    try:
        header = read(path)
    except NotGguf as error:
        raise StartError(f"{where}: {error}. An adapter is a GGUF file, as convert_lora_to_gguf.py makes it") from error
    except OSError as error:
        raise StartError(f"{where}: cannot read {path}: {error.strerror or error}") from error
    kind = header.metadata.get("general.type"), header.metadata.get("adapter.type")
    if kind != ("adapter", "lora"):
        what = f"says it is {kind[0]!r}" if kind[0] else "does not say it is an adapter"
        raise StartError(f"{where}: {path} is no LoRA: it {what}. Name a GGUF file of type adapter/lora")
    if header.architecture != base.architecture:
        raise StartError(
            f"{where}: {path} was made for {header.architecture or 'unnamed'} models, and {base.path.name} is "
            f"{base.architecture}. Name one that was trained on these weights"
        )
    if _WAKING in header.lengths:
        raise StartError(f"{where}: {path} is an activated LoRA (aLoRA), which is not known here. Name a plain LoRA")
    if path.stat().st_size < header.weights_bytes:
        raise StartError(f"{where}: {path} is cut off. Fetch it again")
    problem = _unfit(header.shapes, base.shapes)
    if problem is not None:
        raise StartError(f"{where}: {path} was made for other weights than {base.path.name}: {problem}")
    return header


def _unfit(shapes: Mapping[str, tuple[int, ...]], base: Mapping[str, tuple[int, ...]]) -> str | None:
    """Why its tensors cannot be laid over those of the weights; None when they can."""
    names = {name.removesuffix(_FIRST).removesuffix(_SECOND) for name in shapes}
    if not names:
        return "it has no tensors"
    for name in sorted(names):
        first, second, below = shapes.get(name + _FIRST), shapes.get(name + _SECOND), base.get(name)
        if first is None or second is None:
            return f"{name[:80]} is not a pair of {_FIRST} and {_SECOND}"
        if below is None:
            return f"they have no tensor {name[:80]}"
        if name == _EMBEDDING:
            continue  # laid out the other way round, and left to llama.cpp
        if len(first) < 2 or len(second) < 2 or (first[0], second[1]) != below[:2] or first[1] != second[0]:
            return f"{name[:80]} is {' x '.join(map(str, below))} there, and pairs {first[0]} with {second[-1]} here"
    return None
