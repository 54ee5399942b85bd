"""What can be shown of some calls over time, each measure from counters and histograms of the roll-ups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from loopwright.calls.histogram import quantiles
from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint

Unit = Literal["count", "share", "usd", "ms", "tokens"]
Row = Mapping[str, Any]
"""Counters by name, histograms as bytes laid end to end; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number of some calls."""

    title: str
    unit: Unit
    of: Callable[[Row], float | None]
    """None when there is nothing to tell: no zero."""
    histograms: tuple[str, ...] = ()
    """Those that `of` reads."""
    ranks: tuple[str, ...] = ("requests",)
    """Counters whose sum says which groups are the largest."""
    counters: tuple[str, ...] = ()
    """Those that `of` reads, besides `ranks` and `requests`."""
    adds: bool = True
    """Whether the sum of two groups' is the one of both."""
    about: str = ""
    """How it is reckoned, where the title does not tell."""


def measure_of(name: str) -> Measure:
    """The measure called `name`.

    Raises:
        BadRequest: there is none.
    """
    found = MEASURES.get(name)
    if found is None:
        raise BadRequest(f"there is no measure {name[:80]!r}{hint(name[:80], MEASURES)}", param="measure")
    return found


def _count(title: str, *counters: str, unit: Unit = "count", scale: float = 1.0) -> Measure:
    def of(row: Row) -> float | None:
        total: int = sum(row[name] for name in counters)
        return total * scale if scale != 1.0 else total

    return Measure(title=title, unit=unit, of=of, ranks=counters)


def _rate(
    title: str, above: tuple[str, ...], below: tuple[str, ...], *, unit: Unit = "share", scale: float = 1.0
) -> Measure:
    def of(row: Row) -> float | None:
        over: int = sum(row[name] for name in above)
        under: int = sum(row[name] for name in below)
        return over * scale / under if under else None

    return Measure(title=title, unit=unit, of=of, counters=(*above, *below), adds=False)


def _percentile(title: str, histogram: str, share: float) -> Measure:
    def of(row: Row) -> float | None:
        [found] = quantiles(bytes(row.get(histogram) or b""), (share,))
        return None if found is None else found / 1000

    return Measure(title=title, unit="ms", of=of, histograms=(histogram,), adds=False)


def _cost(row: Row) -> float | None:
    # Unpriced calls are no zero: where nothing else was asked there is nothing to tell.
    if not row["cost_nano"] and row["unpriced"] and row["unpriced"] >= row["requests"]:
        return None
    return float(row["cost_nano"]) * _USD


def _decoding(row: Row) -> float | None:
    """TPOT p50 times the mean of output tokens after the first, milliseconds."""
    [each] = quantiles(bytes(row.get("tpot") or b""), (0.5,))
    if each is None or not row["requests"]:
        return None
    after: float = max(row["output_tokens"] / row["requests"] - 1, 0)
    return each * after / 1000


_USD: Final = 1e-9
_TIMES: Final = {"latency": "Latency", "ttft": "Time to first token", "tpot": "Time per output token"}
MEASURES: Final[Mapping[str, Measure]] = {
    "requests": _count("Requests", "requests"),
    "failed": _count("Failed calls", "errors", "interrupted"),
    "errors": _count("Errors", "errors"),
    "interrupted": _count("Interrupted calls", "interrupted"),
    "refused": _count("Refused calls", "refused"),
    "cancelled": _count("Cancelled calls", "cancelled"),
    "error_rate": _rate("Error rate", ("errors", "interrupted"), ("requests",)),
    "tokens": _count("Tokens", "input_tokens", "output_tokens", unit="tokens"),
    "input_tokens": _count("Input tokens", "input_tokens", unit="tokens"),
    "output_tokens": _count("Output tokens", "output_tokens", unit="tokens"),
    "cached_tokens": _count("Cached input tokens", "cached_tokens", unit="tokens"),
    "reasoning_tokens": _count("Reasoning tokens", "reasoning_tokens", unit="tokens"),
    "tokens_per_request": _rate(
        "Output tokens a request", ("output_tokens",), ("requests",), unit="tokens"
    ),
    "cost": Measure(title="Cost", unit="usd", of=_cost, ranks=("cost_nano",), counters=("unpriced",), about="of calls whose price is known"),
    "cost_per_request": _rate("Cost a request", ("cost_nano",), ("requests",), unit="usd", scale=_USD),
    "unpriced": _count("Unpriced calls", "unpriced"),
    "cache_hits": _count("Answers from the cache", "cache_hits"),
    "cache_rate": _rate("Share answered from the cache", ("cache_hits",), ("requests",)),
    "cache_saved": _count("Saved by the cache", "cache_nano", unit="usd", scale=_USD),
    "cascade_saved": _count("Saved by cascades", "cascade_nano", unit="usd", scale=_USD),
    "saved": _count("Saved by cache and cascades", "cache_nano", "cascade_nano", unit="usd", scale=_USD),
    "wasted": _count("Spent on answers nobody got", "wasted_nano", unit="usd", scale=_USD),
    **{
        f"{name}_p{round(share * 100)}": _percentile(f"{title} p{round(share * 100)}", name, share)
        for name, title in _TIMES.items()
        for share in (0.5, 0.95, 0.99)
    },
    "decoding": Measure(
        title="Time of the tokens after the first", unit="ms", of=_decoding, histograms=("tpot",), counters=("output_tokens",), adds=False,
        about="time per output token (p50) times mean output tokens after the first",
    ),
}  # fmt: skip
