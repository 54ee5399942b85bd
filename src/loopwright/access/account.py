"""The arithmetic of a lease: one window of one limit as one worker holds it. Knows no database, clock or request.

A worker may let `spent + reserved` grow to `ceiling` without asking. `renew_leases` in `sql/` is the other half: it
keeps the ceilings of all workers together within the limit. What follows from the two is in docs/limits.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from loopwright.access.limits import Limit

HORIZON: Final = 1.0
"""Seconds of spending at the present rate that a worker wants to hold ahead."""
_SHORTEST: Final = 0.1
"""Seconds below which a rate means nothing: one request is no burst."""
NEVER: Final = float("inf")


class Ask(NamedTuple):
    """What a worker reports and wants, in the limit's unit."""

    spent: int
    """Settled since the window began, by this worker."""
    reserved: int
    """Estimated for its requests in flight."""
    demand: int
    """Estimated for its requests that wait."""
    wanted: int
    """To hold ahead, `demand` included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the database answers."""

    ceiling: int
    """That `spent + reserved` may reach."""
    amount: int
    """The limit as it stands now."""
    used: int
    """Settled by all workers."""
    free: int
    """In nobody's hands after this grant."""
    idle: int
    """In the hands of other workers and not reserved by them."""


class Account:
    """One window of one limit, in one worker. Amounts are whole numbers of the limit's unit."""

    __slots__ = (
        "_asked_at", "_asked_floor", "amount", "answers", "asks", "ceiling", "demand", "ends", "expires", "free", "idle",
        "limit", "listed", "low", "rate", "recalled", "reported", "reserved", "share", "shut_amount", "shut_until",
        "spent", "starts", "unit", "used",
    )  # fmt: skip

    def __init__(self, limit: Limit, starts: int, ends: float, *, now: float, share: int = 0) -> None:
        """A window in which nothing is held yet; `share` is what the worker last held in the one before."""
        self.limit = limit
        self.unit = limit.unit
        self.amount = limit.amount
        self.starts = starts
        self.ends = ends
        self.spent = 0
        self.reserved = 0
        self.ceiling = 0
        self.expires = 0.0
        """Monotonic seconds until which `ceiling` holds."""
        self.low = 0
        """Less room than this is time to ask for more."""
        self.demand = 0
        self.recalled = False
        self.used = 0
        self.free = 0
        self.idle = 0
        self.reported = 0
        """Of `spent`, what the database knows."""
        self.rate = 0.0
        self.asks = 0
        self.answers = 0
        """The number of the latest ask that was answered."""
        self.shut_until = 0.0
        self.shut_amount = 0
        self.listed = False
        """Whether the worker looks after it."""
        self.share = share
        """What the worker was last granted, before the first time what it held in the window before."""
        self._asked_at = now
        self._asked_floor = 0

    @property
    def room(self) -> int:
        """What may still be reserved while the lease holds."""
        return self.ceiling - self.spent - self.reserved

    @property
    def quiet(self) -> bool:
        """Nothing in flight, nothing unreported, nobody waiting."""
        return not self.reserved and not self.demand and self.spent == self.reported

    def fits(self, amount: int, now: float) -> bool:
        """Whether `amount` may be reserved."""
        return self.spent + self.reserved + amount <= self.ceiling and now < self.expires

    def settle(self, estimate: int, actual: int) -> None:
        """What was reserved is over; `actual` of it was used."""
        self.reserved -= estimate
        self.spent += actual

    def ask(self, now: float) -> Ask:
        """What to send. From here to the answer no more is spent than the database will count as ours."""
        floor = self.spent + self.reserved
        elapsed = max(now - self._asked_at, _SHORTEST)
        grown = max(floor + self.demand - self._asked_floor, 0)
        self.rate = max(grown / elapsed, self.rate * 0.5**elapsed)
        # Estimates are high and come back: half of what is in flight keeps its ups and downs off the database.
        ahead = int(self.rate * HORIZON) + self.reserved // 2
        if self.recalled:
            self.recalled = False
            ahead = min(ahead, max(self.room, 0) // 2)
            self.rate = 0.0
        wanted = max(ahead, self.demand)
        self._asked_at, self._asked_floor = now, floor
        self.ceiling = min(self.ceiling, floor + wanted)
        self.asks += 1
        return Ask(self.spent, self.reserved, self.demand, wanted)

    def take(self, ask: Ask, number: int, grant: Grant, expires: float) -> None:
        """The answer to ask `number`."""
        self.ceiling, self.expires = grant.ceiling, expires
        self.share = grant.ceiling
        self.reported = ask.spent
        self.amount, self.used, self.free, self.idle = grant.amount, grant.used, grant.free, grant.idle
        self.low = (grant.ceiling - ask.spent - ask.reserved) // 2
        self.answers = number
        self.shut_until = 0.0

    def cope(self, grace: float) -> None:
        """The database does not answer: go on with what was last held, or `grace` of the limit where that is more.

        Neither the sum of what was held nor the limit is exceeded by more than `grace` of the limit a worker.
        """
        self.ceiling = max(self.ceiling, self.share, int(self.amount * grace))
        self.expires = NEVER

    def shut(self, amount: int, until: float) -> None:
        """There is no room for `amount`: nobody need ask again before `until`."""
        self.shut_amount, self.shut_until = amount, until

    def is_shut(self, amount: int, now: float) -> bool:
        """Whether it was found a moment ago that there is no room for `amount`."""
        return now < self.shut_until and amount >= self.shut_amount
