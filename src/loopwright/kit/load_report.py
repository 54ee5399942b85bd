"""What a load showed: percentiles, throughput, goodput, errors. Knows nothing of how it was made or is printed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.kit.load import Sample

_MEASURES: Final = ("ttft", "tpot", "latency")
_TARGET: Final = re.compile(r"(ttft|tpot|latency|e2e)\s*=\s*(\d+(?:\.\d+)?)\s*(us|ms|s)")
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a measure is spread; seconds."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of one load. Times are seconds; rates are per second of `seconds`."""

    seconds: float
    requests: int
    answered: int
    """Whole, without an error."""
    errors: Mapping[str, int]
    examples: Mapping[str, str]
    """A message for each class of errors."""
    requests_per_second: float
    """Answered ones."""
    input_tokens: int
    output_tokens: int
    output_tokens_per_second: float
    tokens_per_second: float
    """Prompt and answer together."""
    counted: bool
    """Every count of tokens is the endpoint's own usage."""
    asked_prompt_tokens: float
    """Mean of what was asked for; compare with `mean_prompt_tokens`."""
    mean_prompt_tokens: float
    mean_output_tokens: float
    ttft: Spread | None
    tpot: Spread | None
    inter_token: Spread | None
    latency: Spread | None
    late: Spread | None
    """How late the generator itself sent: when it is not far below the latencies, the generator was the bottleneck."""
    slo: Mapping[str, float] = field(default_factory=dict)
    good: int | None = None
    """Answers that met every target of `slo`; None when there is none."""

    @property
    def goodput(self) -> float | None:
        """Good answers a second."""
        return None if self.good is None else self.good / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {**asdict(self), "goodput_per_second": self.goodput}


def slo_of(text: str) -> dict[str, float]:
    """Targets in seconds from `ttft=500ms,tpot=50ms,latency=5s` (`e2e` means `latency`).

    Raises:
        BadRequest: a part is none of these.
    """
    targets: dict[str, float] = {}
    for part in text.split(","):
        found = _TARGET.fullmatch(part.strip().lower())
        if found is None:
            message = f"{part.strip()!r} is no target\nWrite targets like ttft=500ms,tpot=50ms,latency=5s"
            raise BadRequest(message)
        targets["latency" if found[1] == "e2e" else found[1]] = float(found[2]) * _UNITS[found[3]]
    return targets


def report_of(samples: Sequence[Sample], seconds: float, slo: Mapping[str, float] | None = None) -> Report:
    """Sum up what was heard in `seconds`. Times are those of answered requests only; errors are counted apart."""
    answered = [sample for sample in samples if sample.error is None]
    failed = [sample for sample in samples if sample.error is not None]
    # Tokens that came before an error were generated too.
    tokens_in, tokens_out = sum(s.input_tokens for s in samples), sum(s.output_tokens for s in samples)
    span = seconds or 1e-9
    whole = len(answered) or 1
    return Report(
        seconds=seconds,
        requests=len(samples),
        answered=len(answered),
        errors=dict(Counter(str(sample.error) for sample in failed).most_common()),
        examples={str(sample.error): sample.message for sample in failed},
        requests_per_second=len(answered) / span,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        output_tokens_per_second=tokens_out / span,
        tokens_per_second=(tokens_in + tokens_out) / span,
        counted=all(sample.counted for sample in answered),
        asked_prompt_tokens=sum(sample.asked.prompt for sample in answered) / whole,
        mean_prompt_tokens=sum(sample.input_tokens for sample in answered) / whole,
        mean_output_tokens=sum(sample.output_tokens for sample in answered) / whole,
        ttft=spread_of([sample.ttft for sample in answered if sample.ttft is not None]),
        tpot=spread_of([sample.tpot for sample in answered if sample.tpot is not None]),
        inter_token=spread_of([gap for sample in answered for gap in sample.gaps]),
        latency=spread_of([sample.latency for sample in answered]),
        late=spread_of([sample.late for sample in samples]),
        slo=dict(slo or {}),
        good=sum(_meets(sample, slo) for sample in answered) if slo else None,
    )


def spread_of(values: Sequence[float]) -> Spread | None:
    """The spread of some numbers; None of none."""
    if not values:
        return None
    ranked = sorted(values)
    return Spread(
        count=len(ranked),
        mean=sum(ranked) / len(ranked),
        p50=quantile(ranked, 0.50),
        p95=quantile(ranked, 0.95),
        p99=quantile(ranked, 0.99),
        high=ranked[-1],
    )


def quantile(ranked: Sequence[float], share: float) -> float:
    """The value below which `share` of sorted numbers lie, by linear interpolation (type 7 of Hyndman and Fan)."""
    at = (len(ranked) - 1) * share
    low = int(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (at - low)


def _meets(sample: Sample, slo: Mapping[str, float]) -> bool:
    """Whether an answer met every target. One without a measure (a single token has no TPOT) meets that target."""
    values = {"ttft": sample.ttft, "tpot": sample.tpot, "latency": sample.latency}
    return all((value := values[name]) is None or value <= target for name, target in slo.items() if name in _MEASURES)
