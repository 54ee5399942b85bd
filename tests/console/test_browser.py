"""The console in a real Chromium: scripts, keys on the keyboard, and no script of anybody else's."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.conftest import Visitor, signed_in
from tests.console.housing import ATTACK, House

pytestmark = pytest.mark.browser
SHORT_ATTACK = "<img src=x onerror=window.hacked=1>"


@pytest.fixture
def plain(chromium: Browser, house: House) -> Iterator[Page]:
    """A browser with scripts switched off."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{house.url}/sign-in")
    page.fill("#key", house.secrets["boss"])
    page.click("button.main")
    yield page
    context.close()


def test_scripts_in_any_field_never_run(house: House, visitor: Visitor) -> None:
    attacker, house.secrets["attacker"] = house.do(house.app.keys.create("default", SHORT_ATTACK))
    call_id = house.call(
        key="attacker",
        question=ATTACK,
        model=ATTACK,
        target=ATTACK,
        provider=ATTACK,
        session=ATTACK,
        client=ATTACK,
        task=ATTACK,
        variant=ATTACK,
        prompt_version=ATTACK,
        tags={ATTACK[:60]: ATTACK},
        outcome="error",
        status=502,
        error_code=ATTACK,
        error=ATTACK,
        finish=ATTACK,
        price_source=ATTACK,
        answer=b'{"choices": [{"finish_reason": "stop", "message": {"role": "<img src=x onerror=window.hacked=1>",'
        b' "content": "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>", "reasoning_content":'
        b' "<img src=x onerror=window.hacked=1>", "tool_calls": [{"id": "<b>", "function": {"name":'
        b' "<img src=x onerror=window.hacked=1>", "arguments": "<img src=x onerror=window.hacked=1>"}}]}}]}',
    )
    house.drained()
    page = visitor.page
    for path in ("/overview?range=1h", "/calls", f"/calls/{call_id}", "/keys", f"/playground?from={call_id}"):
        page.goto(house.url + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main script").count() == 0
    page.goto(f"{house.url}/calls/{call_id}")
    assert ATTACK in page.inner_text("main")
    assert "49" not in page.locator(".turn .text").first.inner_text()
    # Links that carry such values lead to the calls that have them.
    page.click("aside a[href^='/calls?'] >> text=<script>")
    assert call_id in page.content()
    assert page.evaluate("window.hacked") is None
    assert visitor.complaints == []
    house.do(house.app.keys.revoke(attacker.id))


def test_an_answer_that_attacks_is_text_in_the_playground(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/playground?model=parrot")
    page.fill("#prompt", "attack <img src=x onerror=window.hacked=1>")
    page.click("[data-send]")
    expect(page.locator(".turn.answer .text")).to_have_text(ATTACK)
    expect(page.locator(".column footer a")).to_have_text("Open the call")
    assert page.evaluate("window.hacked") is None
    assert visitor.complaints == []


def test_two_models_answer_side_by_side(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/playground")
    page.select_option("#model", "parrot")
    page.select_option("#model_b", "mynah")
    page.fill("#prompt", "one two three")
    page.press("#prompt", "Control+Enter")
    expect(page.locator(".turn.answer .text")).to_have_text(["one two three"] * 2)
    expect(page.locator(".column footer")).to_have_count(2)
    expect(page.locator(".column footer a")).to_have_count(2)
    assert "tokens" in page.locator(".column footer").first.inner_text()
    page.fill("#prompt", "again")
    page.click("[data-send]")
    expect(page.locator(".turn.answer .text").nth(1)).to_have_text("again")
    link = page.locator(".column footer a").first
    expect(link).to_be_visible()
    house.drained()
    link.click()
    page.wait_for_url("**/calls/*")
    # The conversation went along, and the call is the signed-in key's.
    assert page.locator(".turn").count() == 4
    assert "boss" in page.inner_text("aside")


def test_stop_ends_an_answer(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/playground?model=parrot")
    page.fill("#max_tokens", "")
    page.fill("#prompt", "long")
    page.click("[data-send]")
    expect(page.locator(".turn.answer .text")).to_contain_text("word word")
    page.click("[data-stop]")
    expect(page.locator(".turn.answer")).to_contain_text("Stopped.")
    expect(page.locator("[data-send]")).to_be_enabled()


def test_what_fails_is_said_in_the_column(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/playground?model=parrot")
    for prompt, message in (("refuse", "slow down"), ("fail", "it broke")):
        page.fill("#prompt", prompt)
        page.click("[data-send]")
        expect(page.locator(".turn.answer .notice").last).to_contain_text(message)
        expect(page.locator("[data-send]")).to_be_enabled()


def test_the_keyboard_alone_reaches_a_call(house: House, visitor: Visitor) -> None:
    made = [house.call(session="keyboard", ago=60 - at) for at in range(3)]
    house.drained()
    page = visitor.page
    page.goto(f"{house.url}/models")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("/")
    page.wait_for_url("**/calls#search")
    expect(page.locator("#search")).to_be_focused()
    page.goto(f"{house.url}/calls?session=keyboard")
    for key in "jjjjk":
        page.keyboard.press(key)
    focused = page.evaluate("document.activeElement.closest('tr').dataset.id")
    assert focused == made[1]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/calls/{made[1]}")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/overview")


def test_letters_in_a_field_are_text(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/calls")
    page.click("#search")
    page.keyboard.type("g/jk?")
    assert page.input_value("#search") == "g/jk?"
    assert page.url.endswith("/calls")


def test_the_live_tail_adds_rows(house: House, visitor: Visitor) -> None:
    house.call(session="live", ago=30)
    house.drained()
    page = visitor.page
    page.goto(f"{house.url}/calls?session=live")
    page.click("[data-live]")
    expect(page.locator("[data-live]")).to_have_attribute("aria-pressed", "true")
    fresh = house.call(session="live", ago=1, tags={"by": SHORT_ATTACK})
    house.drained()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert page.locator("tbody tr").first.get_attribute("data-id") == fresh
    assert page.evaluate("window.hacked") is None
    page.click("[data-live]")
    expect(page.locator("[data-live]")).to_have_attribute("aria-pressed", "false")
    assert visitor.complaints == []


def test_the_live_tail_puts_a_long_call_where_it_began(house: House, visitor: Visitor) -> None:
    older = house.call(session="long live", ago=200)
    newer = house.call(session="long live", ago=5)
    house.drained()
    page = visitor.page
    page.goto(f"{house.url}/calls?session=long live")
    page.click("[data-live]")
    slow = house.call(session="long live", ago=90, latency_us=89_000_000)
    house.drained()
    expect(page.locator("[data-calls] tbody tr")).to_have_count(3)
    assert [row.get_attribute("data-id") for row in page.locator("[data-calls] tbody tr").all()] == [newer, slow, older]
    assert visitor.complaints == []


def test_charts_tell_their_values_to_pointer_and_keys(house: House, visitor: Visitor) -> None:
    house.call()
    house.drained()
    page = visitor.page
    page.goto(f"{house.url}/overview?range=1h")
    plot = page.locator("[data-chart] .plot").first
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    tip = page.locator("[data-chart] .tip").first
    expect(tip).to_contain_text("UTC")
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    plot.focus()
    page.keyboard.press("ArrowLeft")
    last = page.locator("[data-chart]").first.locator("tbody tr").last.locator("td").first.text_content()
    expect(tip).to_contain_text(last or "?")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    assert visitor.complaints == []


def test_the_theme_changes_without_a_reload_and_stays(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/models")
    button = page.locator("[data-theme-form] button")
    seen = []
    for _ in range(2):
        button.click()
        seen.append(
            page.evaluate("[document.documentElement.dataset.theme, getComputedStyle(document.body).colorScheme]")
        )
    assert seen == [["light", "light"], ["dark", "dark"]]
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_key_is_made_and_revoked_in_the_browser(house: House, visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{house.url}/keys")
    page.fill("#name", "browser key")
    page.click("text=Create key")
    secret = page.inner_text("#secret")
    assert house.app.keys.find(secret) is not None
    page.click("tr:has-text('browser key') summary.danger")
    page.click("tr:has-text('browser key') button.danger")
    expect(page.locator("tr:has-text('browser key')")).to_contain_text("revoked")
    assert house.app.keys.find(secret) is None


def test_everything_but_the_live_parts_works_without_scripts(house: House, plain: Page) -> None:
    call_id = house.call(key="boss", session="plain", question="without scripts")
    house.drained()
    expect(plain.locator("svg.plot")).to_have_count(6)
    plain.locator("[data-chart] summary").first.click()
    expect(plain.locator("[data-chart] table").first).to_be_visible()
    plain.click("nav >> text=Calls")
    plain.click("text=More filters")
    plain.fill("#f-session", "plain")
    plain.click("button.main")
    plain.click(f"tr[data-id='{call_id}'] a.go")
    expect(plain.locator(".turn.user .text")).to_have_text("without scripts")
    assert plain.locator("[data-copy]:visible").count() == 0
    plain.click("text=Open in playground")
    assert plain.input_value("#prompt") == "without scripts"
    plain.click("[data-send]")
    expect(plain.locator(".turn.answer .text")).to_have_text("without scripts")
    plain.click("[data-theme-form] button")
    plain.click("nav >> text=Keys")
    assert plain.locator("html").get_attribute("data-theme") == "light"
    plain.fill("#name", "plain key")
    plain.click("text=Create key")
    assert re.fullmatch(r"lw-[\w-]{43}", plain.inner_text("#secret"))
    plain.click("text=Sign out")
    expect(plain.locator("h1")).to_have_text("Sign in with a key")


def test_an_empty_house_says_how_to_begin(house: House, chromium: Browser) -> None:
    house.do(house.app.projects.create("newcomers"))
    _, house.secrets["newcomer"] = house.do(house.app.keys.create("newcomers", "newcomer"))
    context = chromium.new_context()
    page = signed_in(context, house, "newcomer").page
    for path in ("overview", "calls"):
        page.goto(f"{house.url}/{path}")
        expect(page.locator("#first-call")).to_contain_text(f"curl {house.url}/v1/chat/completions")
    context.close()
