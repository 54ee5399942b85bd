"""How many attempts a route may add to its requests, so that a dying upstream is not stormed."""

from __future__ import annotations

import time
from typing import Final

_FLOOR_A_SECOND: Final = 0.5
_SAVED: Final = 50.0


class RetryBudget:
    """Each request adds a share of an attempt, each further attempt takes one; a small floor lets quiet routes retry."""

    __slots__ = ("_filled", "_share", "_tokens", "refused", "taken")

    def __init__(self, share: float, *, floor: float = 10.0) -> None:
        """`share`: further attempts a request. `floor`: attempts it starts with."""
        self._share = share
        self._tokens = floor
        self._filled = time.monotonic()
        self.taken = 0
        self.refused = 0

    @property
    def left(self) -> float:
        """Attempts that could be added now."""
        return self._tokens

    def deposit(self) -> None:
        """A request has come."""
        if self._tokens < _SAVED:
            self._tokens += self._share

    def take(self) -> bool:
        """Whether one more attempt may be made; it is counted."""
        now = time.monotonic()
        if self._share:
            self._tokens = min(self._tokens + (now - self._filled) * _FLOOR_A_SECOND, max(_SAVED, self._tokens))
        self._filled = now
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        self.taken += 1
        return True
