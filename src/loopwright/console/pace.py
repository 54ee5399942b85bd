"""Where spending will stand when its window ends, if it goes on as it did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

_ENOUGH: Final = 0.05
"""Part of a window that must be over before it says anything of the rest."""


def projected(used: int, starts: datetime, ends: datetime, now: datetime) -> int | None:
    """Nanodollars at the end of the window at its pace until now; None when too little of it is over to tell."""
    over = (now - starts) / (ends - starts)
    if over < _ENOUGH:
        return None
    return round(Decimal(used) / Decimal(min(over, 1.0)))


def runs_out(used: int, amount: int, starts: datetime, now: datetime, ends: datetime) -> datetime | None:
    """When the budget is used up at the pace until now; None when it holds to the end, or one cannot tell."""
    whole = projected(used, starts, ends, now)
    if whole is None or whole <= amount or used >= amount:
        return None
    return starts + (now - starts) * (amount / used)


def added_up(steps: Sequence[int | None]) -> list[int | None]:
    """Sums so far; None, of times to come, stays None."""
    total = 0
    out: list[int | None] = []
    for step in steps:
        total += step or 0
        out.append(None if step is None else total)
    return out


def onward(spent: Sequence[float | None], whole: float | None) -> list[float | None]:
    """A straight line from the last known sum to `whole` at the end; nothing where there is nothing to come."""
    last = max((at for at, value in enumerate(spent) if value is not None), default=-1)
    if whole is None or last < 0 or last == len(spent) - 1:
        return [None] * len(spent)
    start = spent[last] or 0.0
    rest = len(spent) - 1 - last
    ahead = [start + (max(whole, start) - start) * (at - last) / rest for at in range(last, len(spent))]
    return [*([None] * last), *ahead]
