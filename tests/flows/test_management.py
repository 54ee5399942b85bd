"""The management REST from outside, against the shared house."""

from typing import Any

import pytest
from openai import OpenAI

from tests.flows.house import House, wait


@pytest.fixture(scope="module")
def ordinary(house: House) -> dict[str, Any]:
    """A project of its own with a key that may call one model, and one call of it."""
    house.api("POST", "/api/projects", json={"name": "tenant"}).raise_for_status()
    made = house.api("POST", "/api/keys", json={"name": "theirs", "project": "tenant", "models": ["fake"]})
    assert made.status_code == 201
    key: dict[str, Any] = made.json()
    client = OpenAI(base_url=f"{house.url}/v1", api_key=key["secret"], max_retries=0)
    raw = client.chat.completions.with_raw_response.create(
        model="fake",
        messages=[{"role": "user", "content": "the quokka sat <b>here</b>"}],
        extra_body={"loopwright": {"session": "tenant-session", "tags": {"team": "red", "place": "x:y"}}},
    )
    key["call"] = raw.headers["x-loopwright-call-id"]
    house.api("GET", f"/api/calls/{key['call']}").raise_for_status()
    return key


def test_a_key_sees_its_own_projects_calls_only(house: House, ordinary: dict[str, Any]) -> None:
    theirs = house.api("GET", "/api/calls", key=ordinary["secret"]).json()["calls"]
    assert {call["project_id"] for call in theirs} == {ordinary["key"]["project_id"]}
    client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key)
    raw = client.chat.completions.with_raw_response.create(model="fake", messages=[{"role": "user", "content": "x"}])
    other = raw.headers["x-loopwright-call-id"]
    assert house.api("GET", f"/api/calls/{other}").status_code == 200
    assert house.api("GET", f"/api/calls/{other}", key=ordinary["secret"]).status_code == 404
    assert house.api("DELETE", f"/api/calls/{other}", key=ordinary["secret"]).status_code == 404
    assert house.api("GET", f"/api/calls/{other}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/keys"),
        ("POST", "/api/keys"),
        ("DELETE", "/api/keys/1"),
        ("GET", "/api/projects"),
        ("POST", "/api/projects"),
    ],
)
def test_only_administrators_manage(house: House, ordinary: dict[str, Any], method: str, path: str) -> None:
    answer = house.api(method, path, key=ordinary["secret"], **({"json": {"name": "x"}} if method == "POST" else {}))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    "path", ["/api/calls", "/api/overview", "/api/status", "/api/models", "/api/keys", "/v1/models"]
)
def test_nobody_asks_without_a_key(house: House, path: str) -> None:
    answer = house.api("GET", path, key="lw-nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"session": "tenant-session"}, True),
        ({"session": "another"}, False),
        ({"tag": "team:red"}, True),
        ({"tag": "place:x:y"}, True),
        ({"tag": "team:blue"}, False),
        ({"tag": ["team:red", "place:x:y"]}, True),
        ({"tag": ["team:red", "place:x:z"]}, False),
        ({"tag": ["team:blue", "team:red"]}, False),
        ({"tag": ["team:red", "place:x:y"], "text": "QUOKKA"}, True),
        ({"model": "fake", "outcome": "ok"}, True),
        ({"outcome": "error"}, False),
        ({"text": "QUOKKA"}, True),
        ({"text": '"quokka sat"'}, True),
        ({"text": '"sat quokka"'}, False),
        ({"text": "wombat"}, False),
        ({"min_latency_ms": 60_000}, False),
        ({"min_cost_usd": "0.000001"}, True),
        ({"min_cost_usd": "5"}, False),
        ({"since": "2100-01-01T00:00:00Z"}, False),
        ({"until": "2020-01-01T00:00:00Z"}, False),
    ],
)
def test_calls_are_found_by_what_is_known_of_them(
    house: House, ordinary: dict[str, Any], filters: dict[str, Any], *, found: bool
) -> None:
    answer = house.api("GET", "/api/calls", key=ordinary["secret"], params=filters)
    assert answer.status_code == 200
    assert (ordinary["call"] in [call["id"] for call in answer.json()["calls"]]) == found


def test_pages_join_without_gap_or_repetition(house: House) -> None:
    client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key)
    for number in range(7):
        client.chat.completions.create(
            model="fake",
            messages=[{"role": "user", "content": f"count {number}"}],
            extra_body={"loopwright": {"session": "pages"}},
        )
    house.settled()
    whole = [call["id"] for call in house.calls(session="pages")]
    assert len(whole) == 7
    pages: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = house.api("GET", "/api/calls", params={"session": "pages", "limit": 3, **before}).json()
        pages += [call["id"] for call in page["calls"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert pages == whole == sorted(whole, reverse=True)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/api/calls?limit=0", "limit"),
        ("/api/calls?limit=many", "limit"),
        ("/api/calls?since=yesterday", "since"),
        ("/api/calls?tag=untold", "tag"),
        ("/api/calls?outcome=lost", "outcome"),
        ("/api/calls?min_cost_usd=-1", "min_cost_usd"),
        ("/api/overview?points=0", "points"),
    ],
)
def test_a_wrong_parameter_is_named(house: House, path: str, param: str) -> None:
    answer = house.api("GET", path)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("call_id", ["nonsense", "0", "01a1fd86-d2d7-7011-8710-b99a41410055", "%00", "'--"])
def test_a_call_that_is_not_there_is_a_404(house: House, call_id: str) -> None:
    answer = house.api("GET", f"/api/calls/{call_id}")
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]["message"]


def test_a_deleted_call_is_gone_everywhere(house: House, ordinary: dict[str, Any]) -> None:
    client = OpenAI(base_url=f"{house.url}/v1", api_key=ordinary["secret"])
    raw = client.chat.completions.with_raw_response.create(
        model="fake",
        messages=[{"role": "user", "content": "numbat numbat"}],
        extra_body={"loopwright": {"session": "to-delete"}},
    )
    call_id = raw.headers["x-loopwright-call-id"]
    house.api("GET", f"/api/calls/{call_id}").raise_for_status()
    nothing = house.api("DELETE", "/api/calls", key=ordinary["secret"])
    assert nothing.status_code == 400
    both = house.api("DELETE", "/api/calls?tag=a:b&tag=c:d", key=ordinary["secret"])
    assert (both.status_code, both.json()["error"]["param"]) == (400, "tag")
    gone = house.api("DELETE", "/api/calls?session=to-delete", key=ordinary["secret"])
    assert gone.json() == {"deleted": 1}
    assert house.api("GET", f"/api/calls/{call_id}").status_code == 404
    assert house.calls(text="numbat") == []


def test_a_key_lives_from_its_making_to_its_revocation(house: House) -> None:
    made = house.api("POST", "/api/keys", json={"name": "short-lived"}).json()
    assert made["secret"].startswith(made["key"]["prefix"])
    listed = house.api("GET", "/api/keys").text
    assert made["secret"] not in listed
    assert "short-lived" in listed
    assert house.api("GET", "/v1/models", key=made["secret"]).status_code == 200
    again = house.api("POST", "/api/keys", json={"name": "short-lived"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert house.api("DELETE", f"/api/keys/{made['key']['id']}").status_code == 200
    assert house.api("GET", "/v1/models", key=made["secret"]).status_code == 401
    assert house.api("DELETE", f"/api/keys/{made['key']['id']}").status_code == 404


def test_an_administrator_cannot_lock_itself_out(house: House) -> None:
    [mine] = [key for key in house.api("GET", "/api/keys").json()["keys"] if key["prefix"] == house.key[:9]]
    assert house.api("DELETE", f"/api/keys/{mine['id']}").status_code == 403


def test_what_is_known_of_models_and_the_house(house: House) -> None:
    cards = {card["name"]: card for card in house.api("GET", "/api/models").json()["models"]}
    small = cards["smollm2-135m-instruct"]
    assert (small["kind"], small["licence"]) == ("local", "Apache-2.0")
    assert 100_000_000 < small["parameters"] < 200_000_000
    assert "path" not in small
    assert cards["unpriced"]["price"] is None
    assert cards["fake"]["rates"] == {"input": "1", "output": "2"}
    status = house.api("GET", "/api/status").json()
    assert status["database"] == "up"
    # A check may come late where tests keep every core busy.
    wait(lambda: all(engine["healthy"] for engine in house.api("GET", "/api/status").json()["engines"]))
    assert "secret" not in house.api("GET", "/api/status").text
    assert house.api("GET", "/readyz").json()["status"] == "ready"


def test_the_overview_adds_up(house: House) -> None:
    house.settled()
    found = house.api("GET", "/api/overview").json()
    total = found["summary"]["counts"]["requests"]
    assert total == sum(point["counts"]["requests"] for point in found["series"]["points"])
    assert total == sum(group["counts"]["requests"] for group in found["models"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/v1/chat/completions", 404),
        ("PUT", "/v1/models", 405),
    ],
)
def test_a_route_that_is_not_there_says_so_in_json(house: House, method: str, path: str, status: int) -> None:
    answer = house.api(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_body_that_is_no_json_object_is_told_what_to_send(house: House) -> None:
    bodies: list[dict[str, Any]] = [{"content": '{"name": "form"}'}, {"json": "text"}, {"json": [1]}]
    for body in bodies:
        answer = house.api("POST", "/api/projects", **body)
        assert (answer.status_code, "application/json" in answer.json()["error"]["message"]) == (400, True), body


def test_openapi_names_every_route(house: House) -> None:
    paths = house.api("GET", "/api/openapi.json").json()["paths"]
    assert {"/api/calls", "/api/calls/{call_id}", "/api/overview", "/api/models", "/api/keys", "/api/status"} <= set(
        paths
    )
