"""Parts of a worker are put together at their first request: whoever asks first, of whatever and all at once, is answered."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from loopwright.api.rest import PARTS
from tests.flows.house import SCRIPTED, House

ASKED = (
    "/api/calls", "/api/status", "/api/models", "/api/limits", "/api/batches", "/api/dashboards", "/api/cost",
    "/api/alerts", "/api/canaries", "/api/drift", "/api/tasks", "/api/traces", "/api/prompts", "/api/scores",
    "/api/reviews", "/api/judges", "/api/evaluations", "/api/experiments", "/api/datasets", "/api/collections",
    "/api/openapi.json", "/api/nothing", "/api/", "/overview.json", "/calls.json", "/metrics", "/v1/models", "/healthz",
)  # fmt: skip


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("fresh"), config=SCRIPTED).start()
    yield house
    assert "Traceback" not in "".join(path.read_text() for path in house.folder.rglob("*.log"))
    assert house.stop() == 0, house.log.read_text()


def test_all_first_requests_at_once_are_answered_while_models_are(fresh: House) -> None:
    told = {"authorization": f"Bearer {fresh.key}"}
    body = {"model": "fake", "messages": [{"role": "user", "content": "count 3"}]}

    def look(path: str) -> httpx.Response:
        return httpx.get(fresh.url + path, headers=told, timeout=60)

    def ask(_number: int) -> httpx.Response:
        return httpx.post(fresh.url + "/v1/chat/completions", json=body, headers=told, timeout=60)

    with ThreadPoolExecutor(32) as hands:
        first, asked = hands.map(look, ASKED * 2), hands.map(ask, range(20))
        answers, models = dict(zip(ASKED * 2, first, strict=True)), list(asked)
    assert {answer.status_code for answer in models} == {200}
    again = {path: look(path).status_code for path in ASKED}
    assert {path: answer.status_code for path, answer in answers.items()} == again
    assert {path for path, status in again.items() if status != 200} == {"/api/nothing", "/api/"}
    assert "see /api/openapi.json" in answers["/api/nothing"].json()["error"]["message"]


def test_a_part_refuses_as_the_whole_does(fresh: House) -> None:
    for _, words in PARTS:
        for word in words.split():
            nobody = fresh.api("GET", f"/api/{word}/no/such/thing/here")
            assert (nobody.status_code, "there is no" in nobody.text) == (404, True), word
    assert fresh.api("PATCH", "/api/projects").status_code == 405
    assert fresh.api("GET", "/api/audit", key="lw-nobody").status_code == 401
