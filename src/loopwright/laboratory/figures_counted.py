"""What all processes have counted as families of Prometheus. Pure: rows of cells in, families out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from loopwright.core.money import NANO
from loopwright.gateway.counted import CALL_CELLS, CALLS, EVENTS, GUARDED, HISTOGRAMS, OPEN, TIMES, places
from loopwright.kit.cells import Rows
from loopwright.telemetry.emitted import operation_of, provider_of

Name = Callable[[str], str]
"""From a project's number to its name."""
_MICRO: Final = 1_000_000
_CELL: Final = {name: index for index, name in enumerate(CALL_CELLS)}
_CONVENTIONS: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type")
_TIMES: Final = {
    "duration": ("gen_ai_server_request_duration_seconds", "Time from a request's arrival to the end of its answer."),
    "ttft": ("gen_ai_server_time_to_first_token_seconds", "Time to the first piece of a streamed answer."),
    "tpot": ("gen_ai_server_time_per_output_token_seconds", "Time of each output token after the first, of streams."),
}
_EVENTS: Final[Mapping[str, tuple[str, str, tuple[str, ...], int]]] = {
    "unrecorded": ("loopwright_unrecorded_requests", "Requests refused because they could not be recorded.", (), 1),
    "otlp": ("loopwright_otlp_items", "Spans, logs and points that programs sent.", ("signal", "result"), 1),
    "emitted": ("loopwright_emitted_calls", "Calls sent to receivers of OpenTelemetry.", ("receiver", "result"), 1),
    "drained": ("loopwright_drained_calls", "Calls put into the database.", (), 1),
    "set_aside": ("loopwright_set_aside_calls", "Records that could not be read or stored.", (), 1),
    "cache_misses": ("loopwright_cache_misses", "Answers that were sought in the cache and not found.", (), 1),
    "cpu_us": ("loopwright_process_cpu_seconds", "CPU time of processes, by what they do.", ("role",), _MICRO),
    "target_attempts": ("loopwright_target_attempts", "Attempts at a target.", ("model", "provider", "target"), 1),
    "target_failures": ("loopwright_target_failures", "Attempts that failed.", ("model", "provider", "target"), 1),
    "retries": ("loopwright_route_retries", "Attempts after the first one.", ("model",), 1),
    "hedges": ("loopwright_hedges", "Second targets asked, and those that were first.", ("model", "result"), 1),
    "cascades": ("loopwright_cascades", "Cheap answers kept, or asked again of the dear one.", ("model", "result"), 1),
}
"""By the first word of an event: the family, what it is, its labels, what one unit is divided by."""


def counted(rows: Rows, name: Name) -> Iterator[Metric]:
    """All families of what was counted; each is there also before anything was."""
    calls = [(labels[1:], values) for labels, values in rows.items() if labels[0] == CALLS and len(labels) == 8]
    yield from _requests(calls, name)
    yield from _amounts(calls, name)
    yield from _cached(calls, name)
    yield from _times(rows)
    yield from _events(rows)
    guarded = CounterMetricFamily(
        "loopwright_guardrail_findings", "Personal data replaced by kind; `sensitive` counts requests.", labels=["kind"]
    )
    for labels, values in rows.items():
        if labels[0] == GUARDED:
            guarded.add_metric(list(labels[1:2]), values[0])
    yield guarded
    streams = GaugeMetricFamily("loopwright_streams_open", "Streamed answers under way.", labels=["project", "model"])
    under_way: defaultdict[tuple[str, str], int] = defaultdict(int)
    for labels, values in rows.items():
        if labels[0] == OPEN and len(labels) == 5:
            under_way[name(labels[1]), labels[3]] += values[0]
    for who, count in under_way.items():
        streams.add_metric(who, max(count, 0))
    yield streams


Calls = Sequence[tuple[tuple[str, ...], Sequence[int]]]


def _requests(calls: Calls, name: Name) -> Iterator[Metric]:
    labels = ["project", "task", "model", "provider", "operation"]
    requests = CounterMetricFamily(
        "loopwright_requests", "Requests by what became of them.", labels=[*labels, "outcome"]
    )
    errors = CounterMetricFamily("loopwright_errors", "Requests that were not answered whole, by class.", labels=[
        "project", "model", "provider", "operation", "outcome", "code",
    ])  # fmt: skip
    by_outcome: defaultdict[tuple[str, ...], int] = defaultdict(int)
    by_code: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for (project, task, model, provider, operation, outcome, code), values in calls:
        count = values[_CELL["requests"]]
        by_outcome[name(project), task, model, provider, operation, outcome] += count
        if outcome != "ok":
            by_code[name(project), model, provider, operation, outcome, code or outcome] += count
    for family, found in ((requests, by_outcome), (errors, by_code)):
        for who, count in found.items():
            family.add_metric(who, count)
        yield family


def _amounts(calls: Calls, name: Name) -> Iterator[Metric]:
    labels = ["project", "task", "model", "provider", "operation"]
    tokens = CounterMetricFamily(
        "loopwright_tokens",
        "Tokens; cached ones are part of the input, reasoning is part of the output.",
        labels=[*labels, "type"],
    )
    cost = CounterMetricFamily("loopwright_cost_usd", "US dollars.", labels=labels)
    unpriced = CounterMetricFamily("loopwright_unpriced_requests", "Requests whose price nobody knows.", labels=labels)
    sums: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(CALL_CELLS))
    for (project, task, model, provider, operation, _, _), values in calls:
        known = sums[name(project), task, model, provider, operation]
        for index, value in enumerate(values[: len(known)]):
            known[index] += value
    for who, values in sums.items():
        for kind in ("input", "output", "cached", "reasoning"):
            tokens.add_metric([*who, kind], values[_CELL[kind]])
        cost.add_metric(who, values[_CELL["cost_nano"]] / NANO)
        unpriced.add_metric(who, values[_CELL["unpriced"]])
    yield from (tokens, cost, unpriced)


def _cached(calls: Calls, name: Name) -> Iterator[Metric]:
    hits = CounterMetricFamily(
        "loopwright_cache_hits", "Answers given again: to the same question, or to one that means the same.",
        labels=["project", "model", "kind"],
    )  # fmt: skip
    saved = CounterMetricFamily("loopwright_cache_saved_usd", "US dollars not spent.", labels=["project", "model"])
    retries = CounterMetricFamily("loopwright_retries", "Attempts of answered calls after the first.", labels=["model"])
    by_model: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    by_name: defaultdict[str, int] = defaultdict(int)
    for (project, _, model, *_), values in calls:
        known = by_model[name(project), model]
        for index, kind in enumerate(("hits", "semantic", "saved_nano")):
            known[index] += values[_CELL[kind]]
        by_name[model] += values[_CELL["attempts"]]
    for (project, model), (exact, semantic, nano) in by_model.items():
        hits.add_metric([project, model, "exact"], exact)
        hits.add_metric([project, model, "semantic"], semantic)
        saved.add_metric([project, model], nano / NANO)
    for model, count in by_name.items():
        retries.add_metric([model], count)
    yield from (hits, saved, retries)


def _times(rows: Rows) -> Iterator[Metric]:
    found = [(labels[1:], values) for labels, values in rows.items() if labels[0] == TIMES and len(labels) == 5]
    at = places()
    for kind, (family_name, about) in _TIMES.items():
        family = HistogramMetricFamily(family_name, about, labels=list(_CONVENTIONS))
        for (model, provider, operation, error), values in found:
            who = (operation_of(operation), provider_of(provider), model, error)
            _add(family, who, values, at[kind], HISTOGRAMS[kind], _MICRO)
        yield family
    tokens = HistogramMetricFamily(
        "gen_ai_client_token_usage", "Tokens of a request.", labels=[*_CONVENTIONS[:3], "gen_ai_token_type"]
    )
    sums: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for (model, provider, operation, _), values in found:
        known = sums[model, provider, operation]
        known.extend([0] * (len(values) - len(known)))
        for index, value in enumerate(values):
            known[index] += value
    for (model, provider, operation), summed in sums.items():
        for kind in ("input", "output"):
            who = (operation_of(operation), provider_of(provider), model, kind)
            _add(tokens, who, summed, at[kind], HISTOGRAMS[kind], 1)
    yield tokens


def _add(
    family: HistogramMetricFamily,
    who: Sequence[str],
    values: Sequence[int],
    at: int,
    bounds: Sequence[int],
    unit: int,
) -> None:
    counts = values[at + 1 : at + 2 + len(bounds)]
    total, buckets = 0, []
    for bound, count in zip((*bounds, None), counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound is None else repr(bound / unit), total))
    if total:
        family.add_metric(who, buckets, values[at] / unit)


def _events(rows: Rows) -> Iterator[Metric]:
    families = {
        word: CounterMetricFamily(family, about, labels=list(labels))
        for word, (family, about, labels, _) in _EVENTS.items()
    }
    for labels, values in rows.items():
        known = _EVENTS.get(labels[1]) if labels[0] == EVENTS else None
        if known is None or len(labels) != len(known[2]) + 2:
            continue
        families[labels[1]].add_metric(list(labels[2:]), values[0] / known[3])
    for word, (_, _, named, _) in _EVENTS.items():
        if not named and not families[word].samples:
            families[word].add_metric([], 0)
    yield from families.values()
