"""Dashboards: what is drawn, the calls behind it, zoom and keys in a real browser, what is kept."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from loopwright.core.score import Score
from loopwright.feedback.given import Author
from loopwright.monitoring.score_rollups import RollUps
from tests.console.conftest import Visitor
from tests.console.housing import ATTACK, House, csrf

TAGGED = "/dashboards.json?range=6h&tag=case:charts&show=cost@tag:team&show=requests@outcome&show=latency"


@pytest.fixture(scope="module", autouse=True)
def calls(house: House) -> None:
    """Two hours of calls with the tag `case`."""
    for number in range(24):
        team = {"team": ("red", "blue", ATTACK)[number % 3]} if number % 4 else {}
        failed = number % 6 == 0
        house.call(
            ago=60.0 + number * 290,
            tags={"case": "charts", **team},
            outcome="error" if failed else "ok",
            error_code="upstream_error" if failed else None,
            cost_nano=1_000_000,
            key="clerk" if number % 2 else "boss",
        )
    for number in range(4):  # not of the case: a link that drops the filter opens them, too
        house.call(ago=300.0 + number, tags={"team": "red"} if number else {"case": "other"})
    house.drained()


def told(client: httpx.Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(path).raise_for_status().json()
    return found


def test_panels_say_what_the_calls_add_up_to(boss: httpx.Client) -> None:
    cost, outcomes, latency = told(boss, TAGGED)["panels"]
    assert cost["total"]["totals"]["cost"] == pytest.approx(0.024)
    teams = {group["label"]: group["requests"] for group in cost["groups"]}
    assert teams == {"no team": 6, "red": 6, "blue": 6, ATTACK: 6}
    assert {group["name"]: group["requests"] for group in outcomes["groups"]} == {"ok": 20, "error": 4}
    assert latency["total"]["totals"]["ttft_p50"] == pytest.approx(120, rel=0.02)
    assert latency["total"]["totals"]["decoding"] == pytest.approx(360, rel=0.02)


def test_every_link_opens_exactly_the_calls_that_were_counted(boss: httpx.Client) -> None:
    page = boss.get(TAGGED.replace(".json", "") + "&show=failed@error_code&show=requests@key")
    assert ATTACK not in page.text
    links = re.findall(r'<a class="name" href="(/calls\?[^"]+)"[^>]*>([^<]*)</a><b>([^<]*)</b>', page.text)
    counts = {"ok": 20, "error": 4, "upstream_error": 4, "clerk": 12, "boss": 12, "red": 6, "no team": 6}
    seen = set()
    for address, name, _ in links:
        address = address.replace("&amp;", "&")  # noqa: PLW2901
        found = told(boss, address.replace("/calls?", "/calls.json?"))["calls"]
        assert len(found) == counts.get(name, 6), name
        seen.add(name)
    assert seen >= counts.keys()
    steps = re.findall(r'<td class="nowrap"><a href="(/calls\?[^"]+)"', page.text.split("</figure>")[0])
    counted = told(boss, TAGGED.replace("cost@tag:team", "requests@key"))["panels"][0]["total"]["values"]["requests"]
    assert sum(counted) == 24
    assert len(steps) == len(counted)
    for address, count in list(zip(steps, counted, strict=True))[-10:]:
        path = address.replace("&amp;", "&").replace("/calls?", "/calls.json?")
        assert len(told(boss, path)["calls"]) == count


def test_an_earlier_time_stands_beside(boss: httpx.Client) -> None:
    path = "/dashboards?range=1h&tag=case:charts&compare=previous&show=requests&show=cost@tag:team"
    requests, cost = told(boss, path.replace("/dashboards", "/dashboards.json"))["panels"]
    assert requests["before"]["total"]["requests"] in range(11, 14)
    assert [group["name"] for group in cost["before"]["groups"]] <= [group["name"] for group in cost["groups"]]
    page = boss.get(path).text
    assert "stroke before" in page
    assert "against the time before" in page


def test_a_dashboard_is_kept_found_and_forgotten(boss: httpx.Client, clerk: httpx.Client) -> None:
    page = clerk.get("/dashboards?range=7d&split=model&show=cost&show=latency&tag=case:charts")
    query = re.findall(r'name="query" value="([^"]*)"', page.text)[0].replace("&amp;", "&")
    name = f"spend {ATTACK[:40]}"
    kept = clerk.post("/dashboards", data={"csrf": csrf(page), "query": query, "name": name})
    asked = parse_qs(urlsplit(str(kept.url)).query)
    assert (asked["named"], asked["range"], asked["split"], asked["show"]) == (
        [name],
        ["7d"],
        ["model"],
        ["cost", "latency"],
    )
    assert asked["tag"] == ["case:charts"]
    [found] = told(boss, "/dashboards.json")["kept"]
    assert found["name"] == name
    assert ATTACK[:40] not in kept.text
    assert (
        clerk.post("/dashboards", data={"csrf": csrf(page), "query": "show=nonsense", "name": "x"}).status_code == 400
    )
    clerk.post("/dashboards/forget", data={"csrf": csrf(page), "name": name})
    assert told(clerk, "/dashboards.json")["kept"] == []


def test_scores_are_panels_beside_latency_and_cost(house: House, boss: httpx.Client) -> None:
    for number in range(5):
        call_id = house.call(ago=5000.0 if number == 4 else 100.0, variant="ab"[number % 2], tags={"case": "scored"})
        house.drained()
        call = house.do(house.app.calls.get(call_id, project_id=None)).call
        score = Score(name="charm", value=number / 4, passed=number > 1)
        house.do(house.app.workshop.feedback.score(call, score, Author(name="pytest", key_id=call.key_id)))
    house.do(RollUps(house.app.db)())
    path = "/dashboards?range=1h&show=score:charm@variant&show=score:charm&show=score:charm@client"
    by, whole, unknown = told(boss, path.replace("?", ".json?"))["panels"]
    assert {group["name"]: group["totals"]["score:charm"] for group in by["groups"]} == {"a": 0.25, "b": 0.5}
    assert whole["total"]["totals"]["score:charm"] == pytest.approx(0.375)
    assert unknown["groups"] == []
    page = boss.get(path).text
    assert "Score charm" in page
    links = re.findall(r'<a class="name" href="(/scores/one\?[^"]+)"[^>]*>([^<]*)</a>', page)
    for name, variants in (("a", {"a"}), ("b", {"b"}), ("all", {"a", "b"})):
        [address] = [address.replace("&amp;", "&") for address, found in links if found == name]
        calls = told(boss, address.replace("/one?", "/one.json?"))["calls"]
        assert {each["call"]["variant"] for each in calls} == variants
        assert len(calls) == 2 * len(variants)
    assert re.search(r'<td class="nowrap"><a href="/scores/one\?[^"]+since=', page)
    [by, whole, _] = told(boss, f"{path}&compare=previous".replace("?", ".json?", 1))["panels"]
    assert {group["name"]: group["totals"]["score:charm"] for group in whole["before"]["groups"]} == {"all": 1.0}
    assert {group["name"]: group["totals"]["score:charm"] for group in by["before"]["groups"]} == {"a": 1.0}
    assert "stroke before" in boss.get(f"{path}&compare=previous").text
    assert boss.get(f"{path}&split=key&compare=previous&client=pytest").status_code == 200
    assert boss.get(f"{path}&show=score:charm@key&show=score:charm@tag:case").status_code == 200


def test_a_project_sees_its_own_calls_only(house: House, boss: httpx.Client) -> None:
    with house.client("seeker") as seeker:
        assert told(seeker, TAGGED)["panels"][0]["total"]["requests"] == 0
        page = seeker.get("/dashboards?tag=case:charts").text
        assert "No calls of these in this time." in page
    assert told(boss, TAGGED)["panels"][0]["total"]["requests"] == 24
    assert told(boss, f"{TAGGED}&project=search")["panels"][0]["total"]["requests"] == 0
    page = boss.get(f"{TAGGED.replace('.json', '')}&project=default").text
    assert "<option selected>default</option>" in page
    [address, *_] = re.findall(r'href="(/calls\?[^"]+)"', page.split('id="panel-0-t"')[1])
    assert "project=default" in address
    kept = boss.post(
        "/dashboards", data={"csrf": csrf(boss.get("/dashboards")), "query": "project=search", "name": "x"}
    )
    assert parse_qs(urlsplit(str(kept.url)).query)["project"] == ["search"]
    with house.client("seeker") as seeker:
        assert [each["name"] for each in told(seeker, "/dashboards.json")["kept"]] == ["x"]
        assert seeker.get("/dashboards?project=default").status_code == 404
    form = {"csrf": csrf(boss.get("/dashboards")), "name": "x", "project": "search"}
    assert boss.post("/dashboards/forget", data=form).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "show=nonsense", "show=cost@", "split=nonsense", "split=tag:", "compare=yesterday", "range=2y", "since=never",
        "since=2020-01-01&until=2026-01-01", "outcome=fine", "key=x", "tag=x", "without=luck", "show=cost&" * 30,
        "since=2026-01-02&until=2026-01-01", "compare=99999w",
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_said(boss: httpx.Client, query: str) -> None:
    assert boss.get(f"/dashboards?{query}").status_code == 400


@pytest.mark.browser
def test_a_chart_is_zoomed_and_opened_by_hand_and_by_keyboard(house: House, visitor: Visitor) -> None:
    page = visitor.page
    address = f"{house.url}/dashboards?range=6h&tag=case%3Acharts&show=requests%40outcome&show=cost%40tag%3Ateam"
    page.goto(address)
    plot = page.locator("[data-panel] .plot").first
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    page.wait_for_url("**since=**")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked["tag"] == ["case:charts"]
    assert asked["since"][0] < asked["until"][0]
    page.goto(address)
    plot.focus()
    for key in ("ArrowLeft", "ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    expect(page.locator("[data-said]").first).to_have_text("3 steps selected; Enter zooms in")
    page.keyboard.press("Enter")
    page.wait_for_url("**since=**")
    page.goto(address)
    plot.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/calls?**")
    asked = parse_qs(urlsplit(page.url).query)
    assert (asked["outcome"], asked["tag"]) == (["ok"], ["case:charts"])
    page.goto(address)
    page.select_option("#f-split", "key")
    page.wait_for_url("**split=key**")
    page.select_option("#f-field", "task")
    page.fill("#f-value", ATTACK[:60])
    page.locator("form[data-filter] button").click()
    page.wait_for_url("**task=**")
    expect(page.locator(".chosen")).to_contain_text(ATTACK[:60])
    assert page.evaluate("window.hacked") is None
    assert visitor.complaints == []
