"""What a client is told when a limit has no room: which limit, how much of it is used, when to come back."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from loopwright.access.account import Account
from loopwright.access.limits import CONCURRENT, MONEY
from loopwright.core.errors import Busy, LoopwrightError, Spent

_WORDS: Final = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "concurrent_requests": "requests at once",
    "usd_per_day": "a day",
    "usd_per_month": "a month",
}
_SOON: Final = 1.0


def refusal(account: Account, amount: int) -> LoopwrightError:
    """The error for a request that needs `amount` of a limit that has less."""
    limit = account.limit
    what = f"{limit.shown(account.amount)} {_WORDS[limit.kind]}"
    if account.unit == CONCURRENT:
        return Busy(f"{limit.scope} may have {what}: wait for one to end", retry_after=_SOON)
    if account.unit != MONEY:
        if amount > account.amount:
            return Busy(
                f"this request needs about {amount} and {limit.scope} may use {what}: ask for less (max_tokens) or raise it"
            )
        return Busy(f"{limit.scope} may use {what} and has", retry_after=max(account.ends - time.time(), _SOON))
    if account.used >= account.amount:
        ends = datetime.fromtimestamp(account.ends, UTC)
        return Spent(
            f"the budget of {limit.scope}, {what}, is used up ({limit.shown(account.used)} spent): "
            f"it begins anew at {ends:%Y-%m-%d %H:%M} UTC; an administrator may raise it"
        )
    left = limit.shown(account.amount - account.used)
    if amount > account.amount - account.used:
        return Spent(
            f"this request may cost {limit.shown(amount)} and the budget of {limit.scope}, {what}, has {left} left: "
            f"ask for less (max_tokens), or an administrator may raise it"
        )
    return Busy(
        f"the budget of {limit.scope}, {what}, has {left} left, which requests in flight may need: try again in a moment",
        retry_after=_SOON,
    )
