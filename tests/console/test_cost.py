"""The page of costs: by any dimension, what was saved, energy, whose calls, and names that attack."""

import re
import time
from typing import Any

import httpx
import pytest

from loopwright.core.money import NANO
from loopwright.engines import endpoints
from loopwright.kit.settings import EngineSettings
from tests.console.housing import ATTACK, House


@pytest.fixture(scope="module", autouse=True)
def stocked(house: House) -> None:
    """Calls of a task of its own, so that other tests' are nothing to these."""
    dear: dict[str, Any] = {
        "task": "dear",
        "tags": {"crew": "red"},
        "provider": "openai",
        "target": "gpt-4o-mini",
        "output_tokens": 100,
    }
    house.call(**dear, cost_nano=2 * NANO)
    house.call(**{**dear, "tags": {"crew": ATTACK}}, cost_nano=NANO)
    house.call(task="dear", cost_nano=None, model="mynah", provider="nobody")
    house.call(
        task="dear", model="lyrebird", provider="cache", cost_nano=0,
        tags={"loopwright.cache": "hit", "loopwright.saved_usd": "0.5"},
    )  # fmt: skip
    house.call(task="dear", key="seeker", cost_nano=5 * NANO)
    house.drained()


def test_sums_tell_unpriced_saved_and_energy_apart(boss: httpx.Client) -> None:
    told = boss.get("/cost.json", params={"task": "dear", "by": "model", "range": "24h"}).json()
    assert (told["requests"], told["cost_usd"], told["unpriced"]) == (5, "8", 1)
    assert (told["saved"]["cache_hits"], told["saved"]["cache_usd"]) == (1, "0.5")
    assert told["energy"]["of_calls"] == pytest.approx(2 / 5)
    assert 0 < told["energy"]["wh"]["low"] < told["energy"]["wh"]["high"]
    assert [each["name"] for each in told["methods"]] == ["EcoLogits"]
    assert told["groups"][0]["name"] == "parrot"
    assert [each["cost_usd"] for each in told["groups"] if each["name"] == "mynah"] == [None]
    assert sum(each["requests"] for each in told["groups"]) == 5


def test_a_project_sees_its_own(clerk: httpx.Client) -> None:
    told = clerk.get("/cost.json", params={"task": "dear", "range": "24h"}).json()
    assert (told["requests"], told["cost_usd"]) == (4, "3")


def test_any_dimension_splits_and_opens_its_calls(house: House, boss: httpx.Client) -> None:
    for by in ("task", "variant", "prompt_version", "key", "provider", "target", "operation", "client", "session"):
        answer = boss.get("/cost", params={"task": "dear", "by": by, "range": "24h"})
        assert answer.status_code == 200, (by, answer.text)
    page = boss.get("/cost", params={"task": "dear", "by": "tag:crew", "range": "24h"}).text
    assert ATTACK not in page
    address, *_ = re.findall(r'href="(/calls\?[^"]*tag=crew%3Ared[^"]*)"[^>]*>red</a>', page)
    listed = boss.get(address.replace("&amp;", "&").replace("/calls?", "/calls.json?")).json()["calls"]
    assert [call["cost_usd"] for call in listed] == ["2"]
    assert ">clerk</a>" in boss.get("/cost", params={"task": "dear", "by": "key", "range": "24h"}).text
    assert boss.get("/cost", params={"by": "colour"}).status_code == 400
    assert "No calls" in boss.get("/cost", params={"task": "no-such-task"}).text


def test_an_engine_of_ours_shares_what_was_metered(house: House, boss: httpx.Client) -> None:
    assert isinstance(house.app.settings.models["local"].engine, EngineSettings)
    assert "local" in endpoints.read(house.home)
    ours: dict[str, Any] = {
        "model": "local",
        "provider": "llamacpp",
        "target": "local",
        "input_tokens": 0,
        "cost_nano": 0,
    }
    house.call(**ours, output_tokens=300, task="mine")
    house.call(**ours, output_tokens=100, task="yours")
    house.drained()
    put = "insert into energy_hours values (to_timestamp(%s), 'here', 'local', 'watts', 10, 3600)"
    house.do(house.app.db.run(put, (time.time() // 3600 * 3600,)))
    mine = boss.get("/cost.json", params={"task": "mine", "range": "1h"}).json()
    assert mine["energy"]["wh"]["low"] == pytest.approx(0.75 * 0.5, rel=1e-3)
    assert mine["energy"]["wh"]["high"] == pytest.approx(0.75 * 2, rel=1e-3)
    assert [each["name"] for each in mine["methods"]] == ["watts"]
