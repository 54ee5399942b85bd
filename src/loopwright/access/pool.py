"""A limit and its windows as one worker sees them, what a request in flight holds, and what ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from loopwright.access.account import Account
from loopwright.access.limits import Limit, window_of
from loopwright.core.who import Principal


class Asking(Protocol):
    """What this needs to know of a call that begins."""

    @property
    def id(self) -> str:
        """Its own."""
        ...

    @property
    def who(self) -> Principal:
        """Whose limits it counts against."""
        ...

    @property
    def started_ns(self) -> int:
        """Unix time in nanoseconds, which says in which window it falls."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Limits of tags are told by them."""
        ...


class Settled(Protocol):
    """What this needs to know of a call that ended."""

    @property
    def id(self) -> str:
        """The request's."""
        ...

    @property
    def model(self) -> str:
        """The name that was asked for."""
        ...

    @property
    def input_tokens(self) -> int:
        """Of the prompt."""
        ...

    @property
    def output_tokens(self) -> int:
        """Of the answer."""
        ...

    @property
    def cost_nano(self) -> int | None:
        """Nanodollars; None is unpriced."""
        ...

    @property
    def latency_us(self) -> int:
        """Microseconds it took."""
        ...


class Pool:
    """One limit and its windows: the present one, and those before it whose calls are still in flight."""

    __slots__ = ("account", "closing", "limit", "unit", "warning")

    def __init__(self, limit: Limit, second: int, now: float) -> None:
        self.limit = limit
        self.unit = limit.unit
        self.closing: dict[int, Account] = {}
        self.account = Account(limit, *window_of(limit.kind, second), now=now)
        self.warning = False
        """The budget is past its alert threshold."""

    def at(self, second: int, now: float) -> Account:
        """The window that holds `second` (Unix)."""
        account = self.account
        if account.starts <= second < account.ends:
            return account
        if second < account.starts:
            found = self.closing.get(window_of(self.limit.kind, second)[0])
            if found is None:
                found = Account(self.limit, *window_of(self.limit.kind, second), now=now)
                self.closing[found.starts] = found
            return found
        self.closing = {start: each for start, each in self.closing.items() if not each.quiet}
        self.closing[account.starts] = account
        self.warning = False
        self.account = Account(
            self.limit, *window_of(self.limit.kind, second), now=now, share=max(account.ceiling, account.share)
        )
        return self.account


class Reservation:
    """What one request in flight holds."""

    __slots__ = ("at", "held")

    def __init__(self, held: list[tuple[Account, int]], at: float) -> None:
        self.held = held
        self.at = at
