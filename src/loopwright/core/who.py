"""Who is asking, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The holder of a key, as the request path knows it."""

    key_id: int
    """Row of the key; 0 for Loopwright itself (evaluations, jobs)."""
    key_name: str
    project_id: int
    project: str
    admin: bool = False
    """May manage keys, see every project's calls and sign in to the console as administrator."""
    models: frozenset[str] | None = None
    """Names this key may call; None means every model."""

    def may_call(self, model: str) -> bool:
        """Whether the key may call `model` (the very name that will be dispatched)."""
        return self.models is None or model in self.models


HOUSE = Principal(key_id=0, key_name="loopwright", project_id=0, project="loopwright", admin=True)
