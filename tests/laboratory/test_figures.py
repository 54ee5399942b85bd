"""Families of `/metrics`: what they say is what was counted, and all that dashboards and rules name is there."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from loopwright.access.limits import Limit, Standing
from loopwright.calls.waiting import Waiting
from loopwright.engines.endpoints import Endpoint
from loopwright.engines.protocol import Load
from loopwright.gateway.counted import HISTOGRAMS, Meters, buried
from loopwright.gateway.pulse import Told
from loopwright.kit.cells import read
from loopwright.laboratory import figures_told
from loopwright.laboratory.figures_counted import counted
from loopwright.laboratory.figures_told import Objective, Scored
from tests.gateway.test_counted import record

DEPLOY = Path(__file__).parents[2] / "deploy"
ROUTE: Mapping[str, Any] = {
    "name": "fast",
    "targets": [
        {"provider": "openai", "model": "gpt", "state": "healthy", "in_flight": 2, "queued": 1, "concurrency": 8},
        {"provider": "other", "model": "gpt", "state": "half-open", "in_flight": 0, "queued": 0, "concurrency": None},
    ],
}


class Page:
    """What prometheus_client encodes."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> list[Metric]:
        """All."""
        return self.families


def limit(kind: Any, amount: int, tag: tuple[str, str] | None = None) -> Standing:
    made = Limit(
        id=1 if tag is None else 2, project_id=1, project="default", key_id=2, key="web", tag=tag, kind=kind,
        amount=amount, alert_at=None, created_at=datetime.now(UTC),
    )  # fmt: skip
    return Standing(limit=made, used=amount // 2, held=0, in_flight=0, starts=None, ends=None)


def families(folder: Path) -> list[Metric]:
    """Everything there is to tell."""
    meters = Meters.begin(folder, ["fast"], series=100)
    meters.count(record())
    meters.count(record(project_id=9, outcome="error", error_code="upstream_error", cost_nano=None))
    meters.count(record(provider="", outcome="refused", error_code="rate_limit_exceeded"))
    meters.count(record(sent=[{"redacted": {"email": 1}}], provider="gemini", operation="completion"))
    meters.opened(record(id="open"))
    for labels in (
        ("otlp", "traces", "accepted"), ("emitted", "here", "sent"), ("cpu_us", "gateway"), ("retries", "fast"),
        ("target_attempts", "fast", "openai", "gpt"), ("target_failures", "fast", "openai", "gpt"),
        ("hedges", "fast", "won"), ("cascades", "fast", "kept"),
    ):  # fmt: skip
        meters.event(*labels, amount=3_000_000)
    rows = read(folder, buried).rows
    meters.close()
    told = Told(role="gateway", process=1, at=0, cpu=1, memory=2, lag=0.1, routes=[dict(ROUTE)])
    endpoint = Endpoint(
        name="local", kind="llamacpp", url="http://127.0.0.1:1/v1", secret="hidden-secret", operations=("chat",),
        context=4096, slots=4, restarts=1, healthy=True,
    )  # fmt: skip
    return [
        *counted(rows, lambda project: {"1": "default"}.get(project, project)),
        *figures_told.processes([told, told]),
        *figures_told.engines({"local": endpoint}, {"local": Load(running=1, kv_used_share=0.5)}),
        *figures_told.spool(Waiting(bytes=5, seconds=1.5), 10, 100, database=True),
        *figures_told.limits([limit("usd_per_day", 5 * 10**9), limit("requests_per_minute", 10, ("user", "anna"))]),
        *figures_told.watched(
            [Scored(project="default", task="sort", name="relevance", mean=0.5, count=3)],
            {"critical": 1},
            [Objective(name="answers", project="default", left=0.25)],
        ),
    ]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    build = Metric("loopwright_build_info", "", "gauge")
    build.add_sample("loopwright_build_info", {"version": "1"}, 1)
    return Page([build, *families(tmp_path_factory.mktemp("cells"))])


def found(page: Page) -> dict[str, set[str]]:
    """The labels of each name of a sample."""
    known: dict[str, set[str]] = {}
    for family in page.families:
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels)
    return known


def test_it_is_valid_in_both_forms(page: Page) -> None:
    for accept, parse in (("text/plain", read_plain), ("application/openmetrics-text; version=1.0.0", read_open)):
        encode, _ = choose_encoder(accept)
        text = encode(page).decode()
        samples = [(each.name, tuple(sorted(each.labels.items()))) for family in parse(text) for each in family.samples]
        assert len(samples) == len(set(samples)) > 150
        assert "hidden-secret" not in text
        assert "anna" not in text


def test_what_is_told_is_what_was_counted(page: Page) -> None:
    def value(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for family in page.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    assert value("loopwright_requests_total") == 4
    assert value("loopwright_requests_total", project="default", outcome="ok") == 2
    assert value("loopwright_errors_total", project="9", code="upstream_error") == 1
    assert value("loopwright_errors_total", outcome="refused", code="rate_limit_exceeded") == 1
    assert value("loopwright_cost_usd_total") == pytest.approx(3 * 1500e-9)
    assert value("loopwright_unpriced_requests_total", project="9") == 1
    assert value("loopwright_tokens_total", type="output") == 4 * 41
    assert value("gen_ai_server_request_duration_seconds_count") == 3
    assert value("gen_ai_server_request_duration_seconds_bucket", le="1.28", error_type="") == 2
    assert value("gen_ai_server_time_to_first_token_seconds_sum", gen_ai_request_model="fast") == pytest.approx(0.75)
    assert value("gen_ai_server_time_per_output_token_seconds_bucket", le="0.025", error_type="") == 2
    assert value("gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 360
    assert value("gen_ai_client_token_usage_count", gen_ai_provider_name="gcp.gemini") == 2
    assert value("gen_ai_server_request_duration_seconds_count", gen_ai_operation_name="text_completion") == 1
    assert value("loopwright_streams_open") == 1
    assert value("loopwright_process_cpu_seconds_total", role="gateway") == 3
    assert value("loopwright_target_workers", provider="other", state="half_open") == 2
    assert value("loopwright_queue_places", provider="openai") == 16
    assert value("loopwright_budget_used_usd", key="web") == 2.5
    assert value("loopwright_limit_used", tag="user") == 5


def test_buckets_are_those_of_the_conventions() -> None:
    assert [bound / 1e6 for bound in HISTOGRAMS["duration"]][:4] == [0.01, 0.02, 0.04, 0.08]
    assert HISTOGRAMS["duration"][-1] == 81_920_000
    assert HISTOGRAMS["input"][-1] == 67_108_864


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and what."""
    board = json.loads((DEPLOY / "grafana" / "loopwright.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            # Grafana puts its own words in first.
            expr = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], re.sub(r"\$\w+", ".*", expr)
    for rule in rules():
        yield rule.get("record", rule.get("alert", "")), rule["expr"]


def rules() -> list[dict[str, Any]]:
    told = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    assert set(told) == {"groups"}
    return [rule for group in told["groups"] for rule in group["rules"]]


def test_every_figure_of_dashboard_and_rules_is_there_with_its_labels(page: Page) -> None:
    known, recorded = found(page), {rule["record"] for rule in rules() if "record" in rule}
    seen = 0
    for where, text in expressions():
        tree = promql.parse(text)
        labels: set[str] = set()

        def visit(node: Any, where: str = where, labels: set[str] = labels) -> None:
            if isinstance(node, promql.MatrixSelector):
                visit(node.vector_selector)
            if isinstance(node, promql.VectorSelector) and node.name not in recorded:
                assert node.name in known, f"{where}: there is no {node.name}"
                wrong = {matcher.name for matcher in node.matchers.matchers} - known[node.name]
                assert not wrong, f"{where}: {node.name} has no {wrong}"
                labels |= known[node.name]
            if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
                below: set[str] = set()
                promql.walk(node.expr, lambda each: visit(each, where, below))
                if below:
                    assert set(node.modifier.labels) <= below, f"{where}: {node.modifier.labels} of {below}"

        promql.walk(tree, visit)
        seen += 1
    assert seen > 60


def test_rules_say_what_to_do() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}
    names = [rule.get("alert", rule.get("record")) for rule in rules()]
    assert len(names) == len(set(names))


def test_the_dashboard_is_one() -> None:
    board = json.loads((DEPLOY / "grafana" / "loopwright.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(places) == len(set(places))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])
    assert {each["name"] for each in board["templating"]["list"]} == {"datasource", "project", "model"}
