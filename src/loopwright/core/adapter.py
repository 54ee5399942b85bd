"""Which adapter a request wants: weights of a few megabytes that a model's answers are bent by, told by their name."""

from __future__ import annotations

from typing import Any, Final

import msgspec

TAG: Final = "loopwright.adapter"
"""Of a call whose model had one: its name and scale, or several by commas."""


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A low-rank adapter (LoRA) as one request has it."""

    name: str
    """As the model's configuration has it."""
    scale: float
    """How strongly it counts: 1 is as it was trained, 0 is not at all."""

    @property
    def spoken(self) -> str:
        """As it stands on record: `polite`, or `polite*0.5`."""
        return self.name if self.scale == 1 else f"{self.name}*{self.scale:g}"

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "scale": self.scale}
