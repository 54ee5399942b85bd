"""`/metrics` of a house of two workers: exact through kill -9 and outages of the database, readable by whom it says."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from tests.flows.house import SCRIPTED, House, wait

CONFIG = (
    SCRIPTED
    + """
  routed: {targets: [{provider: fake, model: fake}, {provider: flood, model: flood}], concurrency: 4}
server: {workers: 2}
monitoring: {metrics: {series: 200}}
"""
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("metrics"), config=CONFIG, arguments=("--no-engine",)).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, number: int, **more: Any) -> int:
    body = {"model": "fake", "messages": [{"role": "user", "content": f"count {number}"}], **more}
    headers = {"authorization": f"Bearer {house.key}"}
    try:
        return httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers, timeout=60).status_code
    except httpx.HTTPError:
        return 0


def ask_many(house: House, count: int, **more: Any) -> list[int]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: ask(house, number, stream=number % 2 == 0, **more), range(count)))


Page = list[tuple[str, dict[str, str], float]]


def samples(house: House) -> Page:
    """What one of the workers tells, as of the last second: another's page may be older or newer than this one."""
    text = httpx.get(f"{house.url}/metrics", timeout=60)
    assert text.status_code == 200, text.text
    assert house.key not in text.text
    return [(each.name, each.labels, each.value) for family in read_plain(text.text) for each in family.samples]


def value(told: House | Page, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels, on this page or on whichever is told now."""
    page = samples(told) if isinstance(told, House) else told
    return sum(found for named, had, found in page if named == name and labels.items() <= had.items())


def counts(house: House, expected: float, name: str = "loopwright_requests_total", **labels: str) -> Page | None:
    """A page on which it comes to that, to see what else is on it; None while it does not."""
    page = samples(house)
    return page if value(page, name, **labels) == expected else None


def test_two_workers_count_together_and_a_killed_one_loses_nothing(house: House) -> None:
    assert set(ask_many(house, 60)) == {200}
    page = wait(lambda: counts(house, 60, model="fake", outcome="ok"))
    house.settled()
    on_record = house.calls(model="fake")
    made = sum(call["output_tokens"] for call in on_record)
    assert value(page, "loopwright_tokens_total", model="fake", type="output") == made
    assert value(page, "gen_ai_server_request_duration_seconds_count", gen_ai_request_model="fake") == 60
    assert value(page, "gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="fake") == 30
    cost = sum(float(call["cost_usd"]) for call in on_record)
    assert value(page, "loopwright_cost_usd_total", model="fake") == pytest.approx(cost)
    victim = house.children("_gateway")[0]
    victim.kill()
    statuses = ask_many(house, 40)
    done = 60 + statuses.count(200)
    wait(lambda: len(house.children("_gateway")) == 2)
    # What broke off with its worker is on record as interrupted, or had been answered unseen.
    house.settled()
    outcomes = [call["outcome"] for call in house.calls(model="fake")]
    wait(lambda: counts(house, outcomes.count("ok"), model="fake", outcome="ok"))
    assert outcomes.count("ok") >= done
    wait(lambda: counts(house, outcomes.count("interrupted"), model="fake", outcome="interrupted"))


def test_an_outage_of_the_database_loses_nothing_and_is_told(house: House) -> None:
    house.settled()
    before = len([call for call in house.calls() if call["outcome"] == "ok"])
    wait(lambda: counts(house, before, outcome="ok"))
    database = house.children("postgres")
    for process in database:
        process.send_signal(signal.SIGSTOP)
    try:
        assert set(ask_many(house, 20)) == {200}
        page = wait(lambda: counts(house, before + 20, outcome="ok"))
        assert value(page, "loopwright_database_up") == 0
        assert value(page, "loopwright_drain_backlog_bytes") > 0
    finally:
        for process in database:
            process.send_signal(signal.SIGCONT)
    wait(lambda: counts(house, 1, "loopwright_database_up"))
    page = wait(lambda: counts(house, 0, "loopwright_drain_backlog_bytes"))
    assert value(page, "loopwright_requests_total", outcome="ok") == before + 20


def test_strangers_names_are_no_labels(house: House) -> None:
    for number in range(30):
        assert ask(house, number, model=f"secret-model-{number}\n{house.key}") == 404
    page = wait(lambda: counts(house, 30, model="other", outcome="refused"))
    assert value(page, "loopwright_errors_total", code="model_not_found") == 30
    assert not [had for _, had, _ in page if any("secret-model" in each for each in had.values())]


def test_routes_and_processes_are_told_for_all_workers(house: House) -> None:
    assert set(ask_many(house, 10, model="routed")) == {200}
    wait(lambda: value(house, "loopwright_target_attempts_total", model="routed") >= 10)
    # One that was killed counts for ten seconds more, in which another has started.
    wait(lambda: value(house, "loopwright_target_workers", model="routed", state="healthy") == 4)
    wait(lambda: value(house, "loopwright_queue_places", model="routed") == 16)
    page = wait(lambda: counts(house, 2, "loopwright_processes", role="gateway"))
    assert value(page, "loopwright_processes", role="recorder") == 1
    assert value(page, "loopwright_process_resident_memory_bytes", role="gateway") > 10_000_000


def test_limits_are_told(house: House) -> None:
    wanted = {"kind": "usd_per_day", "amount": 5, "project": "default"}
    assert house.api("PUT", "/api/limits", json=wanted).status_code in (200, 201)
    wait(lambda: value(house, "loopwright_budget_amount_usd", project="default") == 5, seconds=40)


def test_it_speaks_openmetrics_to_whoever_asks_for_it(house: House) -> None:
    accept = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = httpx.get(f"{house.url}/metrics", headers={"accept": accept}, timeout=60)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family.type for family in read_open(answer.text)}  # type: ignore[no-untyped-call]
    assert families["loopwright_requests"] == "counter"
    assert families["gen_ai_server_time_to_first_token_seconds"] == "histogram"


def test_it_is_for_this_machine_and_for_keys_that_may(house: House) -> None:
    url = f"{house.url}/metrics"
    for headers in ({"x-forwarded-for": "10.0.0.1"}, {"host": "evil.example"}):
        assert httpx.get(url, headers=headers, timeout=60).status_code == 401
        allowed = headers | {"authorization": f"Bearer {house.key}"}
        assert httpx.get(url, headers=allowed, timeout=60).status_code == 200
    keys: dict[str, str] = {}
    for name, more in (("plain", {}), ("scrapes", {"operations": ["metrics"]})):
        made = house.api("POST", "/api/keys", json={"name": name, **more})
        assert made.status_code in (200, 201), made.text
        keys[name] = made.json()["secret"]
    far = {"x-forwarded-for": "10.0.0.1"}
    assert httpx.get(url, headers=far | {"authorization": f"Bearer {keys['plain']}"}, timeout=60).status_code == 403
    assert httpx.get(url, headers=far | {"authorization": f"Bearer {keys['scrapes']}"}, timeout=60).status_code == 200
    assert httpx.post(url, timeout=60).status_code == 405
