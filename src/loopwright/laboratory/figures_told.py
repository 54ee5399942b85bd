"""How the house is now as families of Prometheus: routes, queues, engines, spool, limits, alerts. Pure: values in, families out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from loopwright.access.limits import MONEY, Standing
from loopwright.calls.waiting import Waiting
from loopwright.core.money import NANO
from loopwright.engines.endpoints import Endpoint
from loopwright.engines.protocol import Load
from loopwright.gateway.pulse import Told

STATES: Final = ("healthy", "demoted", "doubtful", "resting", "half_open", "open")
_MOST_LIMITS: Final = 1_000
_NUMBERS: Final = {
    "cache_entries": ("loopwright_cache_entries", "Answers that workers hold to give again."),
    "cache_bytes": ("loopwright_cache_bytes", "Bytes of them."),
    "emission_waiting": ("loopwright_emission_waiting_calls", "Calls that wait to be sent as OpenTelemetry."),
    "connections": ("loopwright_http_connections", "Connections of clients that are open."),
}
"""Numbers that processes tell; those of one name are added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What evaluators said of a task within the last hour."""

    project: str
    task: str
    name: str
    mean: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is left of the budget of an objective, in the group that has the least."""

    name: str
    project: str
    left: float


def processes(told: Sequence[Told]) -> Iterator[Metric]:
    """How the processes are that tell of themselves."""
    alive = GaugeMetricFamily("loopwright_processes", "Processes that are up, by what they do.", labels=["role"])
    memory = GaugeMetricFamily("loopwright_process_resident_memory_bytes", "Memory of processes.", labels=["role"])
    lag = GaugeMetricFamily("loopwright_event_loop_lag_seconds", "How late the latest of them is.", labels=["role"])
    by_role: defaultdict[str, list[Told]] = defaultdict(list)
    for each in told:
        by_role[each.role].append(each)
    for role, members in sorted(by_role.items()):
        alive.add_metric([role], len(members))
        memory.add_metric([role], sum(each.memory for each in members))
        lag.add_metric([role], max(each.lag for each in members))
    yield from (alive, memory, lag)
    for name, (family, about) in _NUMBERS.items():
        found = [each.numbers[name] for each in told if name in each.numbers]
        yield GaugeMetricFamily(family, about, value=sum(found))
    yield from _routes([route for each in told for route in each.routes])


def _routes(routes: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    """Workers learn of targets each for itself: so many of them see it so."""
    labels = ["model", "provider", "target"]
    state = GaugeMetricFamily("loopwright_target_workers", "Workers that see a target so.", labels=[*labels, "state"])
    in_flight = GaugeMetricFamily("loopwright_target_in_flight", "Attempts under way.", labels=labels)
    queued = GaugeMetricFamily("loopwright_queue_waiting", "Requests that wait for a target.", labels=labels)
    places = GaugeMetricFamily("loopwright_queue_places", "Answers of a target at once.", labels=labels)
    seen: Counter[tuple[str, ...]] = Counter()
    sums: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for route in routes:
        for target in route["targets"]:
            who: tuple[str, ...] = (route["name"], target["provider"], target["model"])
            seen[*who, str(target["state"]).replace("-", "_")] += 1
            known = sums[who]
            for index, name in enumerate(("in_flight", "queued", "concurrency")):
                known[index] += target.get(name) or 0
    for who, (flying, waiting, limit) in sorted(sums.items()):
        states = sorted({*STATES, *(state for *each, state in seen if tuple(each) == who)})
        for each in states:
            state.add_metric([*who, each], seen[*who, each])
        in_flight.add_metric(who, flying)
        queued.add_metric(who, waiting)
        if limit:
            places.add_metric(who, limit)
    yield from (state, in_flight, queued, places)


def engines(endpoints: Mapping[str, Endpoint], loads: Mapping[str, Load]) -> Iterator[Metric]:
    """Engines of this house, in names that no engine owns."""
    gauges = {
        name: GaugeMetricFamily(f"loopwright_engine_{name}", about, labels=["model", "kind"])
        for name, about in (
            ("up", "Whether it answers."),
            ("slots", "Requests it answers at once."),
            ("context_tokens", "Tokens of prompt and answer of one request."),
            ("requests_running", "Requests being answered."),
            ("requests_queued", "Requests that wait for a slot."),
            ("kv_used_ratio", "How full the key-value memory is, 0 to 1."),
        )
    }
    counters = {
        name: CounterMetricFamily(f"loopwright_engine_{name}", about, labels=["model", "kind"])
        for name, about in (
            ("restarts", "Times it was started again."),
            ("prompt_tokens", "Prompt tokens since it started, cached ones included."),
            ("generated_tokens", "Tokens it made since it started."),
            ("cached_tokens", "Prompt tokens that came from the prefix cache."),
        )
    }
    for name, endpoint in sorted(endpoints.items()):
        who = (name, endpoint.kind)
        gauges["up"].add_metric(who, int(endpoint.healthy))
        gauges["slots"].add_metric(who, endpoint.slots)
        gauges["context_tokens"].add_metric(who, endpoint.context)
        counters["restarts"].add_metric(who, endpoint.restarts)
        load = loads.get(name)
        if load is None:
            continue
        gauges["requests_running"].add_metric(who, load.running)
        gauges["requests_queued"].add_metric(who, load.queued)
        if load.kv_used_share is not None:
            gauges["kv_used_ratio"].add_metric(who, load.kv_used_share)
        counters["prompt_tokens"].add_metric(who, load.prompt_tokens_total)
        counters["generated_tokens"].add_metric(who, load.generated_tokens_total)
        counters["cached_tokens"].add_metric(who, load.cached_tokens_total)
    yield from (*gauges.values(), *counters.values())


def spool(waiting: Waiting, used: int, limit: int, *, database: bool) -> Iterator[Metric]:
    """What waits for the database, and whether that answers."""
    yield GaugeMetricFamily("loopwright_database_up", "Whether the database answers.", value=int(database))
    yield GaugeMetricFamily(
        "loopwright_drain_lag_seconds", "Age of the oldest call that is not stored.", value=waiting.seconds
    )
    yield GaugeMetricFamily(
        "loopwright_drain_backlog_bytes", "Bytes of calls that are not stored.", value=waiting.bytes
    )
    yield GaugeMetricFamily(
        "loopwright_spool_bytes", "Bytes of the spool, with what is stored and not removed.", value=used
    )
    yield GaugeMetricFamily("loopwright_spool_limit_bytes", "At which requests are refused.", value=limit)


def limits(standings: Sequence[Standing]) -> Iterator[Metric]:
    """Budgets in dollars, other limits in what they count. Tags are told by their names only."""
    labels = ["limit", "kind", "project", "key", "tag"]
    families = {
        (money, what): GaugeMetricFamily(
            f"loopwright_{'budget' if money else 'limit'}_{what}{'_usd' if money else ''}",
            f"{'US dollars' if money else 'Requests or tokens'} {about} in the present window.",
            labels=labels,
        )
        for money in (True, False)
        for what, about in (("amount", "allowed"), ("used", "used"))
    }
    for each in standings[:_MOST_LIMITS]:
        limit, money = each.limit, each.limit.unit == MONEY
        who = (str(limit.id), limit.kind, limit.project, limit.key or "", limit.tag[0] if limit.tag else "")
        unit = NANO if money else 1
        families[money, "amount"].add_metric(who, limit.amount / unit)
        families[money, "used"].add_metric(who, each.used / unit)
    yield from families.values()


def watched(scores: Sequence[Scored], alerts: Mapping[str, int], objectives: Sequence[Objective]) -> Iterator[Metric]:
    """What is watched: scores of the last hour, alerts that hold, objectives."""
    labels = ["project", "task", "name"]
    mean = GaugeMetricFamily("loopwright_score_mean", "Mean of the scores of the last hour.", labels=labels)
    count = GaugeMetricFamily("loopwright_score_count", "Scores of the last hour.", labels=labels)
    for score in scores:
        mean.add_metric([score.project, score.task, score.name], score.mean)
        count.add_metric([score.project, score.task, score.name], score.count)
    firing = GaugeMetricFamily("loopwright_alerts_firing", "Alerts that hold now.", labels=["severity"])
    for severity in ("info", "warning", "critical"):
        firing.add_metric([severity], alerts.get(severity, 0))
    left = GaugeMetricFamily(
        "loopwright_objective_budget_left_ratio",
        "What is left of an objective's budget, under 0 when it is overspent; of the group with the least.",
        labels=["objective", "project"],
    )
    for objective in objectives:
        left.add_metric([objective.name, objective.project], objective.left)
    yield from (mean, count, firing, left)
