"""What of a call an alert is about, as SQL: whether it failed, was slow or scored low, what it cost, that it was there."""

from __future__ import annotations

from typing import Final, Literal

from loopwright.monitoring.alerts import Alert
from loopwright.monitoring.causes_reading import Weight

_ANSWERABLE: Final = "c.outcome not in (2, 3)"
_FAILED: Final = Weight(sql="(c.outcome in (1, 4))::int", where=_ANSWERABLE)
_SPEND: Final = Weight(sql="coalesce(c.cost_nano, 0) / 1e9")
_PRICED: Final = Weight(sql="c.cost_nano / 1e9", where="c.cost_nano is not null")
_TOKENS: Final = Weight(sql="c.input_tokens + c.output_tokens")
_TRAFFIC: Final = Weight(sql="1")
_TIMES: Final = {
    "latency": ("c.latency_us", "true"),
    "ttft": ("c.ttft_us", "c.ttft_us is not null"),
    "tpot": (
        "(c.latency_us - c.ttft_us) / (c.output_tokens - 1)",
        "c.ttft_us is not null and c.output_tokens > 1",
    ),
}
_SCORED: Final = "exists (select from feedback_scores f where f.call_id = c.id and f.name = %(score)s)"
_LOW: Final = """exists (select from feedback_scores f where f.call_id = c.id and f.name = %(score)s
    and (case when %(least)s::float8 is null then not f.passed else f.value < %(least)s end))"""
_PLAIN: Final[dict[str, tuple[Literal["share", "volume"], str, Weight]]] = {
    "errors": ("share", "failed", _FAILED),
    "error_rate": ("share", "failed", _FAILED),
    "cost": ("share", "cost", _PRICED),
    "usd_per_request": ("share", "cost", _PRICED),
    "spend": ("volume", "spend", _SPEND),
    "usd": ("volume", "spend", _SPEND),
    "budget": ("volume", "spend", _SPEND),
    "tokens": ("volume", "tokens", _TOKENS),
    "input_tokens": ("volume", "tokens", Weight(sql="c.input_tokens")),
    "output_tokens": ("volume", "tokens", Weight(sql="c.output_tokens")),
    "traffic": ("volume", "calls", _TRAFFIC),
    "requests": ("volume", "calls", _TRAFFIC),
    "refused": ("volume", "calls", Weight(sql="(c.outcome = 2)::int")),
}


def weight_of(alert: Alert) -> tuple[Literal["share", "volume"], str, Weight] | None:
    """(how it is compared, what it is, the weight of a call); None for what tells of no calls, or of what holds it up."""
    if alert.kind in _PLAIN:
        return _PLAIN[alert.kind]
    evidence = alert.evidence
    measure, percent = alert.kind.partition("_p")[0], "_p" in alert.kind
    bound = evidence.get("bound" if percent else "under_s")
    if measure in _TIMES and isinstance(bound, int | float):
        column, where = _TIMES[measure]
        return "share", "slow", Weight(sql=f"({column} > %(bound)s)::int", where=where, params={"bound": bound * 1e6})
    if alert.kind == "quality" and isinstance(evidence.get("score"), str):
        params = {"score": evidence["score"], "least": evidence.get("at_least")}
        return "share", "low", Weight(sql=f"({_LOW})::int", where=_SCORED, params=params)
    return None
