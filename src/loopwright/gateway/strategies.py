"""In which order the targets of a route are asked. Health is looked at afterwards: who may not be asked is passed over."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from loopwright.core.chat import Request
from loopwright.core.money import Usage
from loopwright.gateway.standing import Standing

Order = Callable[[Request, Sequence[Standing]], Sequence[Standing]]
_EXPLORE: Final = 0.05
"""Share of requests that least-latency sends elsewhere, or it would never learn that another has become faster."""
_BYTES_A_TOKEN: Final = 4
_ANSWER: Final = 256
"""Tokens an answer is taken to have when the request sets no limit."""


def fallback(_request: Request, standings: Sequence[Standing]) -> Sequence[Standing]:
    """As configured."""
    return standings


def weighted(_request: Request, standings: Sequence[Standing]) -> Sequence[Standing]:
    """The first by chance, in proportion to its weight; then the others as configured."""
    weights = [each.weight for each in standings]
    if not any(weights):
        return standings
    first = random.choices(standings, weights)[0]  # noqa: S311 - no secret
    return [first, *(each for each in standings if each is not first)]


def least_latency(request: Request, standings: Sequence[Standing]) -> Sequence[Standing]:
    """The fastest first; those not measured yet before all, and now and then another to learn of its speed."""
    order = sorted(standings, key=lambda each: each.speed(request) or 0.0)
    if len(order) > 1 and random.random() < _EXPLORE:  # noqa: S311 - no secret
        order.insert(0, order.pop(random.randrange(1, len(order))))  # noqa: S311
    return order


def least_cost(request: Request, standings: Sequence[Standing]) -> Sequence[Standing]:
    """What this request is likely to cost, cheapest first; the unpriced last."""
    answer = request.body.get("max_completion_tokens") or request.body.get("max_tokens") or _ANSWER
    usage = Usage(input=len(request.raw or b"") // _BYTES_A_TOKEN, output=int(answer))

    def cost(each: Standing) -> float:
        return math.inf if each.target.price is None else each.target.price.cost(usage)

    return sorted(standings, key=cost)


def least_busy(_request: Request, standings: Sequence[Standing]) -> Sequence[Standing]:
    """The fewest answers in the making, in proportion to its weight."""
    return sorted(standings, key=lambda each: each.in_flight / (each.weight or 1e-9))


def sticky(request: Request, standings: Sequence[Standing]) -> Sequence[Standing]:
    """The same target for the same session, by rendezvous hashing: when one goes, only its sessions move.

    Without a session, the same for the same key.
    """
    session = request.session or str(request.who.key_id)

    def score(each: Standing) -> float:
        digest = hashlib.blake2b(f"{session}\0{each.label}\0{each.region}".encode(), digest_size=8).digest()
        drawn = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
        return -each.weight / math.log(drawn)

    return sorted(standings, key=score, reverse=True)


STRATEGIES: Final[Mapping[str, Order]] = {
    "fallback": fallback,
    "weighted": weighted,
    "least-latency": least_latency,
    "least-cost": least_cost,
    "least-busy": least_busy,
    "sticky": sticky,
}
