"""Totals and time series as the console's JSON and charts show them: milliseconds, dollars, shares."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.calls.query import Counts, Group, Point, Spread, Summary, TargetGroup
from loopwright.console import formats
from loopwright.console.charts import Drawn, Line, draw
from loopwright.core.money import usd

_QUANTILES = ("p50", "p95", "p99")


def totals(of: Summary | Point | Group | TargetGroup) -> dict[str, Any]:
    """One summary, group or point of a series as built-in types."""
    counts = of.counts
    return {
        "requests": counts.requests,
        "errors": counts.errors,
        "refused": counts.refused,
        "cancelled": counts.cancelled,
        "interrupted": counts.interrupted,
        "error_rate": counts.error_rate if counts.requests else None,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "cached_tokens": counts.cached_tokens,
        "cost_usd": usd(counts.cost_nano) if _priced(counts) else None,
        "unpriced": counts.unpriced,
        "ttft_ms": quantiles(of.ttft),
        "tpot_ms": quantiles(of.tpot),
        "latency_ms": quantiles(of.latency),
    }


def _priced(counts: Counts) -> bool:
    """Whether there is a cost to tell: unpriced calls are no zero, not even beside refused ones, which cost nothing."""
    return counts.cost_nano > 0 or (counts.requests > 0 and not counts.unpriced)


def quantiles(of: Spread) -> dict[str, float | None]:
    """p50, p95 and p99 of microseconds, in milliseconds."""
    return {"p50": milliseconds(of.p50), "p95": milliseconds(of.p95), "p99": milliseconds(of.p99)}


def milliseconds(us: float | None) -> float | None:
    """Microseconds in milliseconds, to the microsecond."""
    return None if us is None else round(us / 1000, 3)


def charts(points: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    """The overview's charts of a series made by `totals`, each point with its time `at`."""
    times: list[dt.datetime] = [point["at"] for point in points]

    def column(name: str) -> list[float | None]:
        return [point[name] for point in points]

    def curves(name: str) -> list[Line]:
        return [
            Line(name=quantile, look=quantile, values=[point[name][quantile] for point in points])
            for quantile in _QUANTILES
        ]

    failed = [point["errors"] + point["interrupted"] for point in points]
    stopped = [point["refused"] + point["cancelled"] for point in points]
    fine = [point["requests"] - bad - left for point, bad, left in zip(points, failed, stopped, strict=True)]
    cost = [None if point["cost_usd"] is None else float(point["cost_usd"]) for point in points]
    return [
        draw(
            "requests",
            "Requests",
            times,
            [
                Line(name="ok", look="main", values=fine),
                Line(name="refused or cancelled", look="quiet", values=stopped),
                Line(name="failed", look="bad", values=failed),
            ],
            kind="bars",
            show=formats.count,
        ),
        draw(
            "errors",
            "Error rate",
            times,
            [Line(name="errors", look="bad", values=column("error_rate"))],
            kind="lines",
            show=formats.percent,
        ),
        draw("ttft", "Time to first token", times, curves("ttft_ms"), kind="lines", show=formats.millis),
        draw("tpot", "Time per output token", times, curves("tpot_ms"), kind="lines", show=formats.millis),
        draw(
            "tokens",
            "Tokens",
            times,
            [
                Line(name="input", look="quiet", values=column("input_tokens")),
                Line(name="output", look="main", values=column("output_tokens")),
            ],
            kind="bars",
            show=formats.count,
        ),
        draw("cost", "Cost", times, [Line(name="cost", look="main", values=cost)], kind="bars", show=_money),
    ]


def _money(amount: float | None) -> str:
    # On an axis and in a table of times, a time without priced calls is a gap.
    return formats.NOTHING if amount is None else formats.dollars(f"{amount:.9f}")
