"""The kinds of engines there are, ours and those that plug-ins bring. Knows none of them until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loopwright.engines.protocol import Engine
from loopwright.kit.plugins import Registry

_BUILTIN: Final[Mapping[str, str]] = {
    "llamacpp": "loopwright.engines.llamacpp:LlamaCpp",
    "embedding": "loopwright.engines.embedding:Embedding",
}


def engine_of(kind: str) -> Engine:
    """The engine plug-in of a kind.

    Raises:
        NotFound: names the nearest.
    """
    registry: Registry[Engine] = Registry("engines", builtin=_BUILTIN)
    return registry.find(kind)()
