"""The newer pages in a real Chromium: nobody else's script runs, wide things scroll, forms do what they say."""

import re

import pytest
from playwright.sync_api import expect

from loopwright.core.money import NANO
from tests.console.conftest import Visitor
from tests.console.housing import ATTACK, House
from tests.console.test_batch_list import batch

pytestmark = pytest.mark.browser
SHORT_ATTACK = "<img src=x onerror=window.hacked=1>"


def test_scripts_in_any_field_of_the_newer_pages_never_run(house: House, visitor: Visitor) -> None:
    attacker, house.secrets["rogue"] = house.do(house.app.keys.create("default", f"{SHORT_ATTACK} too"))
    tag = (SHORT_ATTACK, ATTACK)
    limits = [
        house.do(house.app.limits.put("usd_per_day", NANO, key_id=attacker.id, alert_at=50)),
        house.do(house.app.limits.put("usd_per_month", NANO, project="default", tag=tag, alert_at=50)),
    ]
    first = house.call(key="rogue", model="lyrebird", question=ATTACK, tags={tag[0]: tag[1]}, cost_nano=NANO, ago=0)
    house.hit(first, key="rogue", question=f"again {ATTACK}", ago=0)
    house.call(key="rogue", model="relay", provider=ATTACK, target=ATTACK)
    house.do(
        house.app.db.run(
            "insert into cache_days select current_date, 1, %s, 1, 1, 1, 1, 1 on conflict do nothing", (ATTACK,)
        )
    )
    batch_id = batch(house, key="rogue", model=ATTACK, endpoint=ATTACK, input_file_id=ATTACK)
    house.drained()
    page = visitor.page
    try:
        for path in (
            "/routes", "/cache", "/batches", "/budgets", "/keys", f"/batches/{batch_id}",
            *(f"/budgets/{limit.id}" for limit in limits), f"/budgets?key={attacker.id}",
        ):  # fmt: skip
            page.goto(house.url + path)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("window.hacked") is None, path
            assert page.locator("main img, main script").count() == 0, path
            assert SHORT_ATTACK in page.inner_text("main"), path
        assert visitor.complaints == []
    finally:
        house.do(house.app.keys.revoke(attacker.id))
        for limit in limits:
            house.do(house.app.limits.remove(limit.id))


def test_a_limit_is_set_changed_and_lifted_in_the_browser(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/budgets")
    page.select_option("#whose", "project:search")
    page.select_option("#kind", "usd_per_day")
    page.fill("#amount", "25")
    page.fill("#alert_at", "80")
    page.click("text=Set limit")
    page.wait_for_url(re.compile(r"/budgets/\d+$"))
    expect(page.locator("h1")).to_contain_text("$25.00 a day")
    expect(page.locator("svg.plot")).to_have_count(2)
    page.fill("#amount", "30")
    page.click("text=Change limit")
    expect(page.locator("h1")).to_contain_text("$30.00 a day")
    plot = page.locator("[data-chart] .plot").first
    plot.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-chart] .tip").first).to_contain_text("UTC")
    page.click("text=Lift this limit")
    page.click("text=Lift it")
    page.wait_for_url("**/budgets?project=search")
    expect(page.locator("main")).to_contain_text("No limits")
    assert visitor.complaints == []


def test_a_hit_is_reported_wrong_in_the_browser(house: House, visitor: Visitor) -> None:
    first = house.call(model="lyrebird", question="How many apples?", ago=0)
    house.hit(first, question="How many pears?", similarity=0.91, ago=0)
    house.drained()
    page = visitor.page
    page.goto(f"{house.url}/cache")
    hit = page.locator(".hit", has_text="How many pears?")
    expect(hit).to_contain_text("How many apples?")
    hit.locator("button").click()
    expect(page.locator(".hit", has_text="How many pears?")).to_contain_text("reported wrong")
    assert visitor.complaints == []


def test_a_key_gets_a_new_secret_in_the_browser(house: House, visitor: Visitor) -> None:
    key, old = house.do(house.app.keys.create("default", "browser turn"))
    page = visitor.page
    page.goto(f"{house.url}/keys")
    row = page.locator("tr", has_text="browser turn")
    row.locator("summary", has_text="Rotate").click()
    row.locator("select").select_option("0")
    row.locator("text=Make a new secret").click()
    assert house.app.keys.find(page.inner_text("#secret")) is not None
    assert house.app.keys.find(old) is None
    house.do(house.app.keys.revoke(key.id))


def test_the_letters_lead_to_the_newer_pages(house: House, visitor: Visitor) -> None:
    page = visitor.page
    for letter, path in (("r", "routes"), ("h", "cache"), ("t", "batches"), ("b", "budgets")):
        page.goto(f"{house.url}/models")
        page.keyboard.press("g")
        page.keyboard.press(letter)
        page.wait_for_url(f"**/{path}")


def test_the_playground_tells_who_answered(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/playground?model=relay")
    page.fill("#prompt", "refuse this one")
    page.click("[data-send]")
    # The first target refuses, the second one answers.
    expect(page.locator(".column footer")).to_contain_text("by spare/second")
    expect(page.locator(".column footer")).to_contain_text("2 attempts")
    page.goto(f"{house.url}/playground?model=lyrebird")
    page.fill("#prompt", "sing")
    page.click("[data-send]")
    expect(page.locator(".column footer")).to_contain_text("by spare/lyrebird")
    assert [said for said in visitor.complaints if "429" not in said] == []
