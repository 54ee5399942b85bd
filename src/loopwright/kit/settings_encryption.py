"""What a house can be told about the sealing of texts at rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from loopwright.kit.settings_marks import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionSettings:
    """Prompts and answers are sealed before they are written; without a key they are written as they are."""

    keys: Secret | None = field(default=None, repr=False)
    """`id:base64` of 32 bytes, several parted by commas: the first seals, all open. Better from the environment."""
    keys_file: Path | None = None
    """A file of such keys instead, one a line."""
