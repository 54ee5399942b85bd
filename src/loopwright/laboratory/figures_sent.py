"""What is counted as OTLP metrics, by the names of the GenAI conventions: histograms that only rise since they began.

Every machine of a house sends its own, told apart by `service.instance.id`.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE, Metric, ScopeMetrics

from loopwright import __version__
from loopwright.gateway.counted import HISTOGRAMS, TIMES, places
from loopwright.kit.cells import Rows
from loopwright.telemetry.emitted import SCOPE, Form, operation_of, pairs, provider_of, resource_pairs

_MICRO: Final = 1e6
_SERVER: Final = {
    "gen_ai.server.request.duration": "duration",
    "gen_ai.server.time_to_first_token": "ttft",
    "gen_ai.server.time_per_output_token": "tpot",
}
_CLIENT: Final = {False: "gen_ai.client.operation.duration", True: "gen_ai.client.inference.duration"}
_TOKENS: Final = "gen_ai.client.token.usage"
_LATEST_TOKENS: Final = {
    "input": "gen_ai.client.inference.operation.input_tokens",
    "output": "gen_ai.client.inference.operation.output_tokens",
}
Times = Sequence[tuple[tuple[str, ...], Sequence[int]]]


def instance_of(folder: Path) -> tuple[str, int]:
    """This machine's own name among those of a house, and when it began to count (Unix nanoseconds); made when missing."""
    path = folder / "instance"
    try:
        return path.read_text("ascii").strip(), path.stat().st_mtime_ns
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(str(uuid.uuid4()), "ascii")
        return instance_of(folder)


def metrics_of(rows: Rows, form: Form, instance: str, since_ns: int) -> ExportMetricsServiceRequest:
    """What was counted, as one request of OTLP."""
    request = ExportMetricsServiceRequest()
    about = request.resource_metrics.add()
    about.resource.attributes.extend([*resource_pairs(form), *pairs({"service.instance.id": instance})])
    scope = about.scope_metrics.add()
    scope.scope.name, scope.scope.version = SCOPE, __version__
    found = [(labels[1:], values) for labels, values in rows.items() if labels[0] == TIMES and len(labels) == 5]
    moment = (since_ns, time.time_ns())
    for name, kind in (*_SERVER.items(), (_CLIENT[form.latest], "duration")):
        metric = _metric(scope, name, "s")
        for (model, provider, operation, error), values in found:
            said = _attributes(model, provider, operation) | ({"error.type": error} if error else {})
            _add(metric, said, values, kind, _MICRO, moment)
    _tokens(scope, found, moment, latest=form.latest)
    return request


def _tokens(scope: ScopeMetrics, found: Times, moment: tuple[int, int], *, latest: bool) -> None:
    sums: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for (model, provider, operation, _), values in found:
        known = sums[model, provider, operation]
        known.extend([0] * (len(values) - len(known)))
        for index, value in enumerate(values):
            known[index] += value
    whole = None if latest else _metric(scope, _TOKENS, "{token}")
    for kind, name in _LATEST_TOKENS.items():
        metric = _metric(scope, name, "{token}") if whole is None else whole
        for who, summed in sums.items():
            said = _attributes(*who) | ({} if latest else {"gen_ai.token.type": kind})
            _add(metric, said, summed, kind, 1, moment)


def _attributes(model: str, provider: str, operation: str) -> dict[str, str]:
    return {
        "gen_ai.operation.name": operation_of(operation),
        "gen_ai.provider.name": provider_of(provider),
        "gen_ai.request.model": model,
    }


def _metric(scope: ScopeMetrics, name: str, unit: str) -> Metric:
    metric: Metric = scope.metrics.add(name=name, unit=unit)
    metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    return metric


def _add(
    metric: Metric,
    attributes: dict[str, str],
    values: Sequence[int],
    kind: str,
    unit: float,
    moment: tuple[int, int],
) -> None:
    bounds, at = HISTOGRAMS[kind], places()[kind]
    counts = values[at + 1 : at + 2 + len(bounds)]
    if any(counts):
        metric.histogram.data_points.add(
            attributes=pairs(attributes),
            start_time_unix_nano=moment[0],
            time_unix_nano=moment[1],
            count=sum(counts),
            sum=values[at] / unit,
            bucket_counts=counts,
            explicit_bounds=[bound / unit for bound in bounds],
        )
