"""Starting points: prompts of well-known shapes, as commented files to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loopwright.core.errors import NotFound
from loopwright.kit.nearest import hint
from loopwright.prompts.files import parsed

NAMES: Final = ("role", "few-shot", "chain-of-thought", "json")
_FOLDER: Final = Path(__file__).parent / "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One starting point."""

    name: str
    description: str
    text: str
    """YAML with comments."""
    definition: Mapping[str, Any]


def pattern(name: str) -> Pattern:
    """A starting point by name.

    Raises:
        NotFound: there is none of this name.
    """
    if name not in NAMES:
        raise NotFound(f"there is no pattern {name[:60]!r}{hint(name, NAMES)}", param="pattern")
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    prompt = parsed(text, f"{name}.yaml")
    return Pattern(name=name, description=prompt.description, text=text, definition=prompt.document)


def patterns() -> tuple[Pattern, ...]:
    """All of them."""
    return tuple(pattern(name) for name in NAMES)
