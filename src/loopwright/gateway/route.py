"""Puts a route together: targets with their standing, the strategy, retries, hedge or cascade, deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loopwright.core.chat import Chat, Operation
from loopwright.core.money import usd
from loopwright.gateway.breaker import Breaker
from loopwright.gateway.cascaded import Cascaded, Evaluator
from loopwright.gateway.fair_queue import FairQueue
from loopwright.gateway.hedged import Hedged
from loopwright.gateway.retried import Retried
from loopwright.gateway.routed import Target
from loopwright.gateway.standing import Standing
from loopwright.gateway.strategies import STRATEGIES
from loopwright.gateway.timed import Timed
from loopwright.kit.settings import ModelSettings, TargetSettings
from loopwright.kit.settings_adapters_check import shared
from loopwright.kit.settings_routes import RetrySettings

_ONCE = RetrySettings(attempts=1, budget=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What answers for one name, and how it is."""

    name: str
    strategy: str
    target: Target
    """All of it, as one target."""
    targets: tuple[Target, ...]
    standings: tuple[Standing, ...] = ()
    """Of each target; none for a plain one, which is asked and not watched."""
    parts: tuple[Retried, ...] = ()
    hedged: Hedged | None = None
    cascaded: Cascaded | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        now = time.monotonic()
        plain = [{"provider": each.provider, "model": each.model, "state": "unwatched"} for each in self.targets]
        out: dict[str, Any] = {
            "name": self.name,
            "strategy": self.strategy,
            "targets": [standing.shown(now) for standing in self.standings] or plain,
            "retries": {
                "made": sum(part.budget.taken for part in self.parts),
                "refused": sum(part.budget.refused for part in self.parts),
                "left": round(sum(part.budget.left for part in self.parts), 1),
            },
        }
        if self.hedged is not None:
            delays = self.hedged.delays
            p95 = {"stream": delays[True].p95, "whole": delays[False].p95}
            out["hedge"] = {"asked": self.hedged.asked, "won": self.hedged.won, "p95_s": p95}
        if self.cascaded is not None:
            ledger = self.cascaded.ledger
            out["cascade"] = {
                "kept": ledger.kept,
                "escalated": ledger.escalated,
                "reasons": dict(ledger.reasons),
                "saved_usd": usd(ledger.saved_nano),
                "spent_usd": usd(ledger.spent_nano),
            }
        return out


def plain(name: str, target: Target) -> Route:
    """A route of one target without options: nothing stands between."""
    return Route(name=name, strategy="single", target=target, targets=(target,))


def watched(settings: ModelSettings) -> bool:
    """Whether a model with one target needs more than a plain route."""
    return bool(settings.retries or settings.concurrency or settings.hedge or settings.deadline)


def route(
    name: str,
    settings: ModelSettings,
    targets: Sequence[Target],
    *,
    evaluators: Mapping[str, Evaluator] | None = None,
) -> Route:
    """The route of a model with several targets or with options. `targets` stand in the order of `settings.targets`."""
    standings = _standings(settings, targets)
    retries = settings.retries or (RetrySettings() if settings.targets else _ONCE)
    order = STRATEGIES[settings.strategy]
    hedged: Hedged | None = None
    cascaded: Cascaded | None = None
    chat: Chat
    parts: tuple[Retried, ...]
    if settings.cascade is not None:
        cheap = Retried(standings[:1], order, retries)
        dear = Retried(standings[1:], order, retries)
        parts = (cheap, dear)
        chat = cascaded = Cascaded(
            cheap=cheap,
            dear=dear,
            settings=settings.cascade,
            cheap_price=targets[0].price,
            dear_price=targets[1].price,
            allows=(cheap.allows, dear.allows),
            evaluator=(evaluators or {})[settings.cascade.evaluator] if settings.cascade.evaluator else None,
        )
    else:
        retried = Retried(standings, order, retries)
        parts = (retried,)
        chat = retried
        if settings.hedge is not None:
            chat = hedged = Hedged(retried, settings.hedge)
    if settings.deadline is not None:
        chat = Timed(chat, settings.deadline)
    operations: frozenset[Operation] = frozenset.intersection(*(target.operations for target in targets))
    return Route(
        name=name,
        strategy="cascade" if cascaded else settings.strategy if len(targets) > 1 else "single",
        target=Target(
            chat=chat,
            provider=targets[0].provider,
            model=targets[0].model,
            operations=operations,
            price=targets[0].price,
            adapters=shared([target.adapters for target in targets]),
        ),
        targets=tuple(targets),
        standings=standings,
        parts=parts,
        hedged=hedged,
        cascaded=cascaded,
    )


def _standings(settings: ModelSettings, targets: Sequence[Target]) -> tuple[Standing, ...]:
    told: Sequence[TargetSettings] = settings.targets or [TargetSettings()]
    return tuple(
        Standing(
            target,
            Breaker(settings.breaker),
            queue=None if settings.concurrency is None else FairQueue(settings.concurrency, settings.queue),
            weight=each.weight,
            region=each.region or target.place.region,
        )
        for target, each in zip(targets, told, strict=True)
    )
