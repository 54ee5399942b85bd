"""Whether a target is worth asking, judged by what became of the last attempts."""

from __future__ import annotations

import random
from typing import Literal

from loopwright.kit.settings_routes import BreakerSettings

State = Literal["closed", "open", "half-open"]
_ENOUGH = 10
"""Attempts before a share of failures demotes; to open it, a whole window must be seen."""


class Breaker:
    """Closed: asked. Open: not asked until its pause is over. Half-open: one attempt at a time finds out."""

    __slots__ = ("_bits", "_mask", "_pause", "_row", "_seen", "_settings", "probing", "state", "until")

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._mask = (1 << settings.window) - 1
        self._bits = 0
        self._seen = 0
        self._row = 0
        self._pause = settings.pause
        self.state: State = "closed"
        self.until = 0.0
        """`time.monotonic()` when an open one may be tried."""
        self.probing = False

    @property
    def share(self) -> float:
        """Of the last attempts, how many failed."""
        return self._bits.bit_count() / self._seen if self._seen else 0.0

    @property
    def demoted(self) -> bool:
        """Fails so often that others should be asked first."""
        return self._seen >= _ENOUGH and self._bits.bit_count() >= self._settings.demote * self._seen

    def ready(self, now: float) -> bool:
        """Whether an attempt may be made now."""
        return self.state == "closed" or (now >= self.until and not self.probing)

    def began(self) -> bool:
        """An attempt is made; whether it is a probe, whose end must be told to `succeeded`, `failed` or `left`."""
        if self.state == "closed":
            return False
        self.state, self.probing = "half-open", True
        return True

    def succeeded(self, *, probe: bool) -> None:
        """An attempt ended well."""
        if probe:
            self._bits = self._seen = self._row = 0
            self._pause = self._settings.pause
            self.state, self.probing = "closed", False
        elif self.state == "closed":
            self._row = 0
            self._note(0)

    def failed(self, now: float, *, probe: bool) -> None:
        """An attempt failed. Those that began before it opened change nothing any more."""
        if probe:
            self.probing = False
            self._open(now)
        elif self.state == "closed":
            self._row += 1
            self._note(1)
            settings = self._settings
            often = self._seen == settings.window and self._bits.bit_count() >= settings.failures * self._seen
            if self._row >= settings.in_a_row or often:
                self._open(now)

    def left(self, *, probe: bool) -> None:
        """An attempt ended without telling anything: its client hung up."""
        if probe:
            self.probing = False

    def _note(self, bit: int) -> None:
        self._bits = ((self._bits << 1) | bit) & self._mask
        if self._seen < self._settings.window:
            self._seen += 1

    def _open(self, now: float) -> None:
        # Jitter, so that workers do not all try at once.
        self.until = now + self._pause * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self._pause = min(self._pause * 2, self._settings.longest_pause)
        self.state = "open"
