"""What can be said of adapters: the LoRA files of a local model, and which of them a variant's requests have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from loopwright.kit.nearest import hint
from loopwright.kit.settings_marks import Between
from loopwright.kit.settings_read import KeyPath

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOWEST: Final = -10.0
HIGHEST: Final = 10.0
"""Scales beyond these make noise of any model."""
MOST: Final = 64
"""Adapters of one model."""
UNNAMED: Final = "not the name of an adapter; allowed: letters, digits, dots, hyphens and underscores, up to 64"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSettings:
    """A low-rank adapter (LoRA) in a GGUF file; only requests of variants that name it have it."""

    path: str = ""
    """The file; a relative path starts at the folder of the configuration."""
    scale: Annotated[float, Between(low=LOWEST, high=HIGHEST)] = 1.0
    """How strongly it counts where a variant does not say: 1 is as it was trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The adapter that a variant or a step names."""

    name: str
    scale: float | None = None
    """None is as the model's configuration says."""


def wanted_adapter(said: object) -> Wanted | None:
    """What a checked `adapter` of a variant or step says: a name, or `{name, scale}`."""
    if isinstance(said, str):
        return Wanted(name=said)
    if isinstance(said, Mapping):
        scale = said.get("scale")
        return Wanted(name=str(said["name"]), scale=None if scale is None else float(scale))
    return None


def adapter_problems(said: object) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with an `adapter` as it is told, whatever models there are."""
    if said is None:
        return
    if isinstance(said, str):
        if not NAME.fullmatch(said):
            yield (), UNNAMED
        return
    if not isinstance(said, Mapping) or not isinstance(said.get("name"), str):
        yield (), "allowed: the name of an adapter of its model, or a mapping with name and scale"
        return
    for word in said.keys() - {"name", "scale"}:
        yield (str(word),), f"unknown{hint(str(word), ('name', 'scale'))}"
    if not NAME.fullmatch(said["name"]):
        yield ("name",), UNNAMED
    scale: Any = said.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not LOWEST <= scale <= HIGHEST:
        yield ("scale",), f"allowed: a number from {LOWEST:g} to {HIGHEST:g}"
