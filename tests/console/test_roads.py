"""The page of routes: what workers see, added up, and what is on record."""

import time
import uuid
from typing import Any

import httpx
from psycopg.types.json import Jsonb

from loopwright.console.roads import joined
from loopwright.gateway.board import telling, told
from tests.console.housing import House, csrf


def seen(**target: Any) -> dict[str, Any]:
    usual = {"provider": "a", "model": "m", "state": "healthy", "ready_in_s": 0.0, "failure_share": 0.0}
    counts = {"attempts": 1, "failures": 0, "in_flight": 1, "queued": 0}
    return {
        "name": "r",
        "strategy": "fallback",
        "targets": [{**usual, **counts, **target}],
        "retries": {"made": 1, "refused": 0, "left": 10.0},
        "hedge": {"asked": 2, "won": 1, "p95_s": {"stream": None, "whole": None}},
        "cascade": {"kept": 1, "escalated": 1, "reasons": {"schema": 1}, "saved_usd": "0.1", "spent_usd": "0.02"},
    }


def test_what_workers_see_is_added_up_and_the_worst_is_told() -> None:
    whole = joined([seen(), seen(state="open", ready_in_s=2.5, failure_share=0.8, failures=6), seen()])
    [target] = whole["targets"]
    assert target["state"] == "open"
    assert target["states"] == {"healthy": 2, "open": 1}
    assert (target["attempts"], target["failures"], target["in_flight"]) == (3, 6, 3)
    assert (target["failure_share"], target["ready_in_s"]) == (0.8, 2.5)
    assert whole["retries"] == {"made": 3, "refused": 0, "left": 30.0}
    assert (whole["hedge"]["asked"], whole["hedge"]["won"]) == (6, 3)
    assert whole["cascade"] == {
        "kept": 3, "escalated": 3, "reasons": {"schema": 3}, "saved_usd": "0.3", "spent_usd": "0.06",
    }  # fmt: skip


def test_a_worker_of_an_older_configuration_is_left_out_where_it_differs() -> None:
    [target] = joined([seen(), seen(provider="gone")])["targets"]
    assert target["attempts"] == 1


def route_of(client: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in client.get("/routes.json").json()["routes"] if each["name"] == name)
    return found


def test_targets_show_what_is_on_record_whatever_name_was_asked_for(house: House, boss: httpx.Client) -> None:
    for model in ("courier", "herald"):
        house.call(model=model, provider="fake", target="first", stream=True, ttft_us=200_000)
    house.call(model="courier", provider="fake", target="first", outcome="error", status=502, ttft_us=None)
    house.call(model="courier", provider="", target="", outcome="error", status=502, ttft_us=None)
    house.call(model="courier", provider="old", target="former")
    house.drained()
    route = route_of(boss, "courier")
    assert route["watched"]
    assert route["unanswered"] == 1
    first, second = route["targets"]
    assert first["region"] == "eu"
    assert not first["own"]
    assert first["day"]["requests"] == 3
    assert first["day"]["errors"] == 1
    assert 190 < first["day"]["ttft_ms"]["p50"] < 210
    assert sum(hour["requests"] for hour in first["day"]["hours"]) == 3
    assert second["day"] is None
    assert [target["model"] for target in route["former"]] == ["former"]
    page = boss.get("/routes").text
    for shown in ("fake/first", "spare/second", "old/former", "gone", "fallback", "eu"):
        assert shown in page
    assert page.count('class="spark"') >= 4


def test_what_other_workers_told_is_shown_until_they_are_gone(house: House, boss: httpx.Client) -> None:
    app = house.app
    mine = next(each.shown() for each in app.routes if each.name == "relay")
    mine["targets"][0] |= {"state": "open", "in_flight": 40}
    put = "insert into route_standings (worker, process, told_at, routes) values (%s, %s, now() - make_interval(secs => %s), %s)"
    for ago in (1, 40):
        house.do(app.db.run(put, (uuid.uuid4(), 4000 + ago, ago, Jsonb([mine]))))
    try:
        found = boss.get("/routes.json").json()
        assert 4001 in found["workers"]
        assert 4040 not in found["workers"]
        target = route_of(boss, "relay")["targets"][0]
        assert target["state"] == "open"
        assert target["states"]["open"] == 1
        assert target["in_flight"] >= 40
        assert "the 2 gateway processes" in boss.get("/routes").text
    finally:
        house.do(app.db.run("delete from route_standings"))


def test_a_worker_tells_and_others_see_it(house: House) -> None:
    async def main() -> None:
        worker = uuid.uuid4()
        task = house.loop.create_task(telling(house.app.db, worker, house.app.routes))
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                found = await told(house.app.db, uuid.uuid4(), house.app.routes)
                if any(each.worker == worker for each in found):
                    break
            [its] = [each for each in found if each.worker == worker]
            assert {route["name"] for route in its.routes} == {"relay", "courier"}
        finally:
            task.cancel()
            await house.app.db.run("delete from route_standings")

    house.do(main())


def test_a_key_sees_routes_it_may_call_and_its_project_only(house: House, boss: httpx.Client) -> None:
    house.call(key="seeker", model="mynah", provider="fake", target="mynah", cost_nano=None)
    house.drained()
    _, house.secrets["narrow"] = house.do(house.app.keys.create("default", "narrow", models=("mynah",)))
    with house.client("narrow") as narrow:
        routes = narrow.get("/routes.json").json()["routes"]
        assert [route["name"] for route in routes] == ["mynah"]
        before = routes[0]["requests"]
        house.call(key="seeker", model="mynah", provider="fake", target="mynah", cost_nano=None)
        house.drained()
        assert route_of(narrow, "mynah")["requests"] == before
        assert route_of(boss, "mynah")["requests"] > before
        assert "fake/first" not in narrow.get("/routes").text


def test_the_playground_offers_routes_and_tells_who_answered(house: House, boss: httpx.Client) -> None:
    page = boss.get("/playground?model=relay").text
    assert "relay (fallback)" in page
    body = {"model": "relay", "messages": [{"role": "user", "content": "fail"}]}
    token = {"x-csrf-token": csrf(boss.get("/playground"))}
    for stream in (True, False):
        answer = boss.post("/playground/chat", json={**body, "stream": stream}, headers=token)
        assert answer.headers["x-loopwright-model"]
        assert answer.headers["x-loopwright-provider"] in {"fake", "spare"}
    fields = {"csrf": token["x-csrf-token"], "model": "relay", "prompt": "hello"}
    assert "by fake/first" in boss.post("/playground", data=fields).text
