"""Cost beside quality: which targets nobody beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from loopwright.evals.measure import Measure
from loopwright.evals.trust import Trusted


def front(targets: Sequence[Mapping[str, Any]], measures: Sequence[Measure], trusted: Trusted) -> dict[str, Any] | None:
    """The points of a plot of cost against quality; None when nothing has a price or a score.

    Quality is the mean of the first evaluator that may gate, turned so that more is better. On the front is who is
    beaten by nobody in one of the two without being worse in the other.
    """
    alone = [measure for measure in measures if not measure.pair]
    chosen = next((each for each in alone if each.name not in trusted or trusted[each.name].may_gate), None)
    chosen = chosen or (alone[0] if alone else None)
    if chosen is None:
        return None
    points = [
        {
            "target": target["name"],
            "cost_usd": float(Decimal(target["cost_each_usd"])),
            "latency_s": target["latency_p50_s"],
            "quality": target["scores"][chosen.name]["mean"],
            "low": target["scores"][chosen.name]["low"],
            "high": target["scores"][chosen.name]["high"],
        }
        for target in targets
        if target["cost_each_usd"] is not None and target["scores"][chosen.name]["mean"] is not None
    ]
    if not points:
        return None
    sign = 1 if chosen.higher_is_better else -1
    for point in points:
        point["on_front"] = not any(_beats(other, point, sign) for other in points)
    return {"evaluator": chosen.name, "higher_is_better": chosen.higher_is_better, "points": points}


def _beats(one: Mapping[str, Any], other: Mapping[str, Any], sign: int) -> bool:
    better = sign * (one["quality"] - other["quality"])
    dearer = one["cost_usd"] - other["cost_usd"]
    return bool(better >= 0 and dearer <= 0 and (better > 0 or dearer < 0))
