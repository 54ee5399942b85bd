"""The page of the cache: figures, hits side by side, wrong ones reported, answers forgotten."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.console.housing import ATTACK, House, csrf

INSERT = """insert into cache_days (day, project_id, model, hits, semantic, misses, saved_nano, unpriced)
            select current_date - %s::int, id, %s, %s, %s, %s, %s, %s from projects where name = %s
            on conflict do nothing"""


def counted(house: House, model: str, *, ago: int = 0, project: str = "default", **counts: int) -> None:
    numbers = [counts.get(name, 0) for name in ("hits", "semantic", "misses", "saved_nano", "unpriced")]
    house.do(house.app.db.run(INSERT, (ago, model, *numbers, project)))


def hits(client: httpx.Client, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/cache.json", params=query).json()["hits"]
    return found


def test_figures_by_day_and_model(house: House, boss: httpx.Client, clerk: httpx.Client) -> None:
    counted(house, "echoed", hits=6, semantic=2, misses=8, saved_nano=4_000_000, unpriced=1)
    counted(house, "echoed", ago=3, hits=4, misses=0)
    counted(house, "echoed", ago=50, hits=1000)
    counted(house, "echoed", project="search", hits=100, misses=100)
    data = clerk.get("/cache.json?model=echoed").json()
    assert (data["summary"]["hits"], data["summary"]["semantic_hits"], data["summary"]["misses"]) == (10, 2, 8)
    assert data["summary"]["hit_rate"] == 0.6
    assert data["summary"]["saved_usd"] == "0.004"
    assert [point["hits"] for point in data["series"]][-4:] == [4, 0, 0, 6]
    assert len(data["series"]) == 30
    assert [row["hits"] for row in data["models"] if row["model"] == "echoed"] == [10]
    assert boss.get("/cache.json?model=echoed").json()["summary"]["hits"] == 110
    page = clerk.get("/cache?range=7d&model=echoed").text
    assert page.count('<svg class="plot"') == 3
    assert "1 hits unpriced" in page
    assert boss.get("/cache?range=5y").status_code == 400


def test_hits_by_likeness_stand_side_by_side(house: House, boss: httpx.Client) -> None:
    first = house.call(model="lyrebird", question="How tall is the tower?")
    again = house.hit(first, question="What is the height of the tower?")
    exact = house.hit(first, similarity=None, question="How tall is the tower?")
    # Tags are a client's to set: a call that no cache answered is no hit.
    posing = house.call(tags={"loopwright.cache": "semantic-hit", "loopwright.cache_of": first})
    house.drained()
    found = {hit["call_id"]: hit for hit in hits(boss)}
    assert again in found
    assert exact not in found
    assert posing not in found
    hit = found[again]
    assert (hit["asked"], hit["matched"]) == ("What is the height of the tower?", "How tall is the tower?")
    assert (hit["similarity"], hit["saved_usd"], hit["matched_call_id"]) == (0.93, "0.004", first)
    page = boss.get("/cache").text
    assert "93.0% alike" in page
    assert "What is the height of the tower?" in page
    house.do(house.app.calls.delete(project_id=None, call_id=first))
    hit = next(hit for hit in hits(boss) if hit["call_id"] == again)
    assert hit["matched"] is None
    assert "the call was deleted" in boss.get("/cache").text


def test_a_wrong_hit_is_reported_and_tightens_the_threshold(house: House, boss: httpx.Client) -> None:
    first = house.call(model="lyrebird", question="Is it open on Monday?")
    wrong = house.hit(first, similarity=0.955, question="Is it open on Sunday?")
    house.drained()
    page = boss.get("/cache")
    assert f'action="/cache/hits/{wrong}/wrong"' in page.text
    answer = boss.post(f"/cache/hits/{wrong}/wrong", data={"csrf": csrf(page), "back": "/cache?range=7d"})
    assert str(answer.url).endswith("/cache?range=7d")
    assert f'action="/cache/hits/{wrong}/wrong"' not in answer.text
    assert "reported wrong" in answer.text
    data = boss.get("/cache.json").json()
    assert next(hit for hit in data["hits"] if hit["call_id"] == wrong)["reported"]
    raised = next(row for row in data["thresholds"] if row["model"] == "lyrebird" and row["project"] == "default")
    assert (raised["configured"], raised["threshold"], raised["wrong"]) == (0.9, 0.96, 1)
    assert "raised" in answer.text


def test_a_hit_of_another_project_is_not_there(house: House, clerk: httpx.Client) -> None:
    first = house.call(key="seeker", model="lyrebird", question="secret of search")
    theirs = house.hit(first, key="seeker", question="the secret of search")
    house.drained()
    assert theirs not in {hit["call_id"] for hit in hits(clerk)}
    page = clerk.get("/cache")
    assert "secret of search" not in page.text
    assert clerk.post(f"/cache/hits/{theirs}/wrong", data={"csrf": csrf(page)}).status_code == 404
    assert clerk.post(f"/cache/hits/{theirs}/wrong", data={"csrf": "no"}).status_code == 403


def test_answers_are_forgotten_and_that_is_audited(house: House, clerk: httpx.Client) -> None:
    call_id = house.call(model="lyrebird", session="forget me")
    house.drained()
    soon = datetime.now(UTC) + timedelta(hours=1)
    put = """insert into cache_entries (key, call_id, expires_at, started_ns, project_id, key_id, size, model, target, session,
                 tags, body) select %s::bytea, %s::uuid, %s, 0, id, 1, 100, 'lyrebird', 'lyrebird', 'forget me', '{}', '{}'
             from projects where name = %s"""
    for project in ("default", "search"):
        house.do(house.app.db.run(put, (project.encode(), call_id, soon, project)))
    token = csrf(clerk.get("/cache"))
    answer = clerk.post("/cache/forget", data={"csrf": token, "what": "session", "value": "forget me"})
    assert "1 answers were in the database" in answer.text
    left = house.do(house.app.db.rows("select p.name from cache_entries e join projects p on p.id = e.project_id"))
    assert [row["name"] for row in left] == ["search"]
    [act] = house.do(house.app.audit.page(act="cache.forget", limit=1))
    assert (act.who, act.subject) == ("clerk", "session forget me")
    house.do(house.app.db.run("delete from cache_entries"))


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [("model", "x", "say whose"), ("tag", "novalue", "name:value"), ("key", "seven", "whole number"), ("session", " ", "say whose"), ("call", ATTACK, "call")],
)  # fmt: skip
def test_what_cannot_be_forgotten_is_said(boss: httpx.Client, what: str, value: str, says: str) -> None:
    answer = boss.post("/cache/forget", data={"csrf": csrf(boss.get("/cache")), "what": what, "value": value})
    assert answer.status_code == 400
    assert says in html.unescape(answer.text)


def test_many_hits_make_a_page_of_bounded_size(house: House, boss: httpx.Client) -> None:
    first = house.call(model="lyrebird", question="w " * 4000)
    for _ in range(40):
        house.hit(first, question="w " * 4000)
    house.drained()
    page = boss.get("/cache").text
    assert len(re.findall(r'<li class="hit">', page)) == 10
    assert len(page) < 200_000
