"""What a provider's refusals for asking too often (429) mean for the next requests: one may be a stray, two are a limit.

A provider answers 429 now and then though it would take the next request: for its size, for a neighbour's crowd. To
leave it alone for the time it names would starve a route; not to, when its limit is real, would storm it.
"""

from __future__ import annotations

from typing import Final, Literal

LONGEST: Final = 60.0
"""Seconds it is left alone at a stretch, however long it asks for: a limit may be lifted before its time."""


class RateLimit:
    """None: nothing speaks against asking. Doubtful: it refused once and had answered just before. Real: it rests."""

    __slots__ = ("_answered", "_struck", "doubt", "trying", "until")

    def __init__(self) -> None:
        self.doubt: Literal["none", "doubtful", "real"] = "none"
        self.until = 0.0
        """`time.monotonic()` to which it rests."""
        self.trying = False
        """An attempt is under way that will tell."""
        self._answered = False
        """It has answered since it last refused."""
        self._struck = 0.0

    def ready(self, now: float) -> bool:
        """Whether it may be asked: not while it rests, then by one attempt at a time until one is answered."""
        return self.doubt != "real" or (now >= self.until and not self.trying)

    def began(self) -> None:
        """An attempt is made."""
        self.trying = self.doubt != "none"

    def answered(self, began: float) -> None:
        """An attempt of `began` (`time.monotonic()`) was let in, whatever became of it."""
        if self.doubt == "none":
            self._answered = True
        elif began >= self._struck:
            self.doubt, self.until, self.trying, self._answered = "none", 0.0, False, True

    def ended(self, began: float) -> None:
        """An attempt ended without telling anything of it."""
        if began >= self._struck:
            self.trying = False

    def refused(self, began: float, now: float, wait: float) -> None:
        """An attempt of `began` was refused, with `wait` seconds to come back after."""
        if self.doubt == "none" and self._answered:
            self.doubt = "doubtful"
        elif self.doubt == "doubtful" and began < self._struck:
            return  # sent before the first refusal came back: of one crowd
        else:
            self.doubt = "real"
            self.until = max(self.until, now + min(wait, LONGEST))
        self._struck, self._answered, self.trying = now, False, False
