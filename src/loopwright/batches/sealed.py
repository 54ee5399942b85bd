"""Which keys the lines of batches at work are sealed with. They are not sealed anew: they go with their batch."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from loopwright.batches.journal import SUFFIX
from loopwright.core.errors import Changed
from loopwright.kit.seal import key_of

_HEAD: Final = 160
"""Characters of base64 that hold the head of any seal."""


def batches_by_key(folder: Path) -> Mapping[str | None, int]:
    """Batches at work in `folder` with finished lines, by the id of each key that any of the lines is sealed with."""
    found: Counter[str | None] = Counter()
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            with path.open("rb") as file:
                found.update({_key(line) for line in file if line.endswith(b"\n")})
        except FileNotFoundError:
            continue  # its batch came to its end
    return found


def _key(line: bytes) -> str | None:
    text = line.partition(b"\t")[2].rstrip(b"\n")
    if text.startswith(b"{"):
        return None
    try:
        return key_of(base64.b64decode(text[:_HEAD]))
    except (ValueError, Changed):
        return None
