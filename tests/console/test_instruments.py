"""Metrics that programs sent, as a page: each with its line; nothing of their names runs."""

import time

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from playwright.sync_api import expect

from tests.console.conftest import Visitor
from tests.console.housing import ATTACK, House
from tests.telemetry.sent import pairs


@pytest.fixture(scope="module", autouse=True)
def sent(house: House) -> None:
    """Twelve points of two instruments of a program that means harm."""
    for number in range(12):
        made = ExportMetricsServiceRequest()
        group = made.resource_metrics.add()
        group.resource.attributes.extend(pairs({"service.name": ATTACK}))
        scope, at = group.scope_metrics.add(), time.time_ns() - (12 - number) * 10**9
        gauge = scope.metrics.add(name=ATTACK, unit=ATTACK[:40]).gauge.data_points.add(time_unix_nano=at, as_int=number)
        gauge.attributes.extend(pairs({ATTACK[:60]: ATTACK}))
        scope.metrics.add(name="took", unit="s").histogram.data_points.add(time_unix_nano=at, count=4, sum=number * 2.0)
        scope.metrics.add(name="odd").gauge.data_points.add(time_unix_nano=at, as_double=float("nan"))
        who = house.app.keys.holder(house.key_id("clerk"))
        assert who is not None
        assert house.do(house.app.telemetry.points(made.SerializeToString(), "protobuf", who)).new == 3


def test_instruments_have_a_line_a_unit_and_a_service(house: House, clerk: httpx.Client) -> None:
    found = {each["name"]: each for each in clerk.get("/instruments.json").raise_for_status().json()["instruments"]}
    assert found["took"]["kind"] == "histogram"
    assert found["took"]["recent"] == [number / 2 for number in range(12)]  # the mean of four
    assert found[ATTACK[:200]]["recent"] == list(range(12))
    assert found["odd"]["recent"] == [None] * 12
    page = clerk.get("/instruments").text
    assert ATTACK not in page
    assert page.count('class="spark"') == 3
    assert [each["name"] for each in clerk.get("/instruments.json?name=took").json()["instruments"]] == ["took"]
    assert clerk.get("/instruments?name=%00").status_code == 400
    assert clerk.get("/instruments?name=none").status_code == 200
    assert 'href="/instruments"' in clerk.get("/traces").text
    with house.client("seeker") as other:
        assert other.get("/instruments.json").json()["instruments"] == []


@pytest.mark.browser
def test_nothing_of_it_runs(house: House, visitor: Visitor) -> None:
    visitor.page.goto(f"{house.url}/instruments")
    expect(visitor.page.locator("table.list")).to_contain_text("took")
    assert visitor.page.evaluate("window.hacked") is None
    assert visitor.complaints == []
