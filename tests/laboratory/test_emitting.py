"""What of a call leaves for a receiver, by the policy it is under; and metrics by the names that are asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from loopwright.core.privacy import Privacy, Sensitive
from loopwright.gateway.counted import Meters, buried
from loopwright.kit.cells import read
from loopwright.laboratory.emitting import redacted
from loopwright.laboratory.figures_sent import instance_of, metrics_of
from loopwright.telemetry.emitted import Form, request_of
from tests.gateway.test_counted import record
from tests.telemetry.test_emitted import detail

SAID = replace(
    detail(outcome="error", error="cannot write to anna@example.com"),
    request={"messages": [{"role": "user", "content": "write to anna@example.com in Ulm"}]},
    response={"choices": [{"message": {"content": "wrote to anna@example.com"}, "finish_reason": "stop"}]},
)


def sent(policy: Privacy | None) -> bytes:
    body: bytes = request_of([redacted(SAID, policy)], Form(content=True)).SerializeToString()
    return body


def test_without_a_policy_it_leaves_as_it_is() -> None:
    assert sent(None).count(b"anna@example.com") == 3


def test_what_a_policy_replaces_is_replaced_everywhere() -> None:
    for kinds in ({"email"}, {"all"}):
        body = sent(Privacy(redact=frozenset(kinds)))
        assert b"anna@example.com" not in body
        assert b"write to <EMAIL_1> in" in body
        assert body.count(b"<EMAIL_1>") == 3


@pytest.mark.parametrize(
    "policy",
    [
        Privacy(residency=(frozenset({"eu"}),)),
        Privacy(own_only=True),
        Privacy(sensitive=Sensitive(pii=frozenset({"email"}))),
        Privacy(store=False),
    ],
    ids=["residency", "own", "sensitive", "not stored"],
)
def test_what_may_reach_only_some_places_leaves_without_its_texts(policy: Privacy) -> None:
    body = sent(policy)
    assert not [word for word in (b"anna", b"Ulm", b"wrote") if word in body]
    assert b"gen_ai.usage.input_tokens" in body


def test_metrics_have_the_names_that_are_asked_for(tmp_path: Path) -> None:
    meters = Meters.begin(tmp_path, ["fast"], series=10)
    meters.count(record())
    meters.count(record(outcome="error", error_code="upstream_error"))
    rows = read(tmp_path, buried).rows
    meters.close()
    instance, since = instance_of(tmp_path)
    assert instance_of(tmp_path) == (instance, since)
    for latest, names in (
        (False, {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}),
        (
            True,
            {
                "gen_ai.client.inference.duration",
                "gen_ai.client.inference.operation.input_tokens",
                "gen_ai.client.inference.operation.output_tokens",
            },
        ),
    ):
        [about] = metrics_of(rows, Form(latest=latest), instance, since).resource_metrics
        found = {metric.name: metric.histogram for metric in about.scope_metrics[0].metrics}
        assert {name for name in found if name.startswith("gen_ai.client")} == names
        for histogram in found.values():
            assert sum(point.count for point in histogram.data_points) in (2, 4)
            for point in histogram.data_points:
                assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
                assert point.count == sum(point.bucket_counts)
                assert point.start_time_unix_nano == since <= point.time_unix_nano
