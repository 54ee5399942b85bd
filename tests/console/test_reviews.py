"""Feedback and reviews in the console: forms without scripts, raters with nothing but a keyboard in a real Chromium."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import krippendorff
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from loopwright.core.who import Principal
from loopwright.feedback.given import Author
from loopwright.feedback.review import NewItem, Review
from loopwright.feedback.rubric import Mode, criteria_of
from tests.console.conftest import Visitor, signed_in
from tests.console.housing import ATTACK, House, csrf

CRITERIA = ("helpful:1-5=Does it help?", "grounded:yes,no")


def who(house: House, key: str) -> Principal:
    found = house.app.keys.find(house.secrets[key])
    assert found is not None
    return found


def review_of(
    house: House, name: str, items: list[NewItem], *criteria: str, mode: Mode = "rubric", raters: int = 2
) -> Review:
    boss = who(house, "boss")
    return house.do(
        house.app.workshop.turns.reviews.create(
            boss.project_id,
            name,
            mode=mode,
            criteria=criteria_of(criteria, mode),
            items=items,
            source={"items": len(items)},
            author=Author.of(boss),
            instructions="Read twice.",
            raters=raters,
        )
    )


def ratings(house: House, review: Review) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return [each async for each in house.app.workshop.turns.reviews.ratings(review)]

    return house.do(all_of_them())


@pytest.fixture
def raters(chromium: Browser, house: House) -> Iterator[tuple[Visitor, Visitor]]:
    contexts = [chromium.new_context() for _ in range(2)]
    yield signed_in(contexts[0], house, "boss"), signed_in(contexts[1], house, "clerk")
    for context in contexts:
        context.close()


def at_item(page: Page, number: int) -> None:
    expect(page.locator("[data-rating][data-ready] h1")).to_contain_text(f"Item {number} of")


@pytest.mark.browser
def test_two_raters_rate_by_keyboard_alone_and_alpha_is_krippendorffs(
    house: House, raters: tuple[Visitor, Visitor]
) -> None:
    items = [NewItem(question=f"Question {at}", answer=f"Answer {at}") for at in range(4)]
    review = review_of(house, "by keyboard", items, *CRITERIA)
    one, two = (each.page for each in raters)
    one.goto(f"{house.url}/reviews/{review.id}/rate")
    for at, keys in enumerate(("51", "41", "12")):
        at_item(one, at + 1)
        for key in keys:
            one.keyboard.press(key)
    at_item(one, 4)
    one.keyboard.press("s")
    expect(one.locator("[data-ready] h1")).to_have_text("Nothing is left for you")
    one.keyboard.press("u")
    at_item(one, 4)
    one.keyboard.press("u")
    at_item(one, 3)
    expect(one.locator("input:checked")).to_have_count(2)
    # Arrows: up and down between criteria, left and right between answers; Enter sends.
    one.keyboard.press("ArrowRight")
    expect(one.locator("input[name='label:helpful']:checked")).to_have_value("2")
    one.keyboard.press("ArrowDown")
    one.keyboard.press("ArrowLeft")
    expect(one.locator("input[name='label:grounded']:checked")).to_have_value("yes")
    one.keyboard.press("n")
    one.keyboard.type("s1u is text here")
    one.keyboard.press("Escape")
    one.keyboard.press("Enter")
    at_item(one, 4)
    one.keyboard.press("3")
    one.keyboard.press("2")
    expect(one.locator("[data-ready] h1")).to_have_text("Nothing is left for you")
    two.goto(f"{house.url}/reviews/{review.id}/rate")
    assert "s1u" not in two.content()
    for at, keys in enumerate(("51", "31", "21", "32")):
        at_item(two, at + 1)
        for key in keys:
            two.keyboard.press(key)
    expect(two.locator("h2", has_text="Every item has its ratings")).to_be_visible()
    found = ratings(house, review)
    assert len(found) == 8
    assert {each.note for each in found} == {"", "s1u is text here"}
    two.goto(f"{house.url}/reviews/{review.id}")
    shown = two.request.get(f"{house.url}/reviews/{review.id}.json").json()["agreement"]
    tables = {"helpful": [[5, 4, 2, 3], [5, 3, 2, 3]], "grounded": [[0, 0, 0, 1], [0, 0, 0, 1]]}
    for each in shown:
        expected = krippendorff.alpha(
            reliability_data=np.array(tables[each["criterion"]], dtype=float), level_of_measurement=each["level"]
        )
        assert each["alpha"] == pytest.approx(expected, abs=1e-9)
        assert f"{expected:.3f}" in two.inner_text("main")
    assert two.locator("svg.forest circle").count() == 2
    for each in raters:
        assert each.complaints == []


@pytest.mark.browser
def test_pairs_by_keyboard_are_blind(house: House, raters: tuple[Visitor, Visitor]) -> None:
    items = [
        NewItem(
            question=f"Question {at}", answer=f"first {at}", other=f"second {at}", labels={"a": "gpt", "b": "llama"}
        )
        for at in range(6)
    ]
    review = review_of(house, "pairs by keyboard", items, mode="pairwise")
    orders = []
    for visitor in raters:
        page = visitor.page
        page.goto(f"{house.url}/reviews/{review.id}/rate")
        shown = []
        for at in range(6):
            at_item(page, at + 1)
            assert "gpt" not in page.content()
            assert "llama" not in page.content()
            left = page.inner_text("section[class=panel] .read >> nth=1")
            shown.append(left.startswith("first"))
            # The first answer is always the better one, but the last is a tie.
            page.keyboard.press("3" if at == 5 else "1" if shown[-1] else "2")
        expect(page.locator("h1")).to_have_text("Nothing is left for you")
        orders.append(shown)
        assert visitor.complaints == []
    assert all(a is not b for a, b in zip(*orders, strict=True))
    found = ratings(house, review)
    assert [each.labels["preference"] for each in found] == ["a"] * 10 + ["tie"] * 2


@pytest.mark.browser
def test_texts_that_attack_are_text(house: House, visitor: Visitor) -> None:
    item = NewItem(question=ATTACK, answer=ATTACK, reference=ATTACK, labels={"a": ATTACK})
    review = review_of(
        house, "<img src=x onerror=window.hacked=1>", [item], "ok:yes,no=<img src=x onerror=window.hacked=1>"
    )
    page = visitor.page
    for path in ("/reviews", f"/reviews/{review.id}", f"/reviews/{review.id}/rate"):
        page.goto(house.url + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img").count() == 0
    assert ATTACK in page.inner_text("main")
    call_id = house.call(question="hi")
    house.drained()
    with house.client("boss") as boss:
        token = csrf(boss.get(f"/calls/{call_id}"))
        for path, fields in (
            ("correction", {"output": ATTACK, "note": ATTACK}),
            ("scores", {"name": "x", "value": ATTACK, "explanation": ATTACK}),
        ):
            assert boss.post(f"/calls/{call_id}/{path}", data={"csrf": token, **fields}).is_success
    page.goto(f"{house.url}/calls/{call_id}")
    assert page.inner_text("#feedback").count(ATTACK) >= 3
    assert page.evaluate("window.hacked") is None
    assert visitor.complaints == []


def test_a_call_is_scored_and_corrected_without_scripts(house: House, clerk: httpx.Client) -> None:
    call_id = house.call(question="What is two and two?")
    house.drained()
    page = clerk.get(f"/calls/{call_id}")
    assert "Hello there</textarea>" in page.text  # the answer, to be put right
    token = csrf(page)
    assert clerk.post(f"/calls/{call_id}/scores", data={"csrf": token, "verdict": "bad"}).is_success
    for value in ("0.5", "curt"):
        fields = {"csrf": token, "name": f"is-{value}", "value": value, "explanation": "hm"}
        assert clerk.post(f"/calls/{call_id}/scores", data=fields).is_success
    fields = {"csrf": token, "output": "four\r\nof course", "note": "arithmetic"}
    page = clerk.post(f"/calls/{call_id}/correction", data=fields)
    assert "four\nof course" in page.text
    data = clerk.get(f"/calls/{call_id}.json").json()
    assert [(each["name"], each["passed"], each["value"], each["label"]) for each in data["scores"]] == [
        ("good", False, None, None),
        ("is-0.5", None, 0.5, None),
        ("is-curt", None, None, "curt"),
    ]
    assert data["corrections"][0]["author"] == "clerk"
    bad = clerk.post(f"/calls/{call_id}/correction", data={"csrf": "forged", "output": "five"})
    assert bad.status_code == 403
    elsewhere = {"origin": "https://evil.example"}
    assert (
        clerk.post(f"/calls/{call_id}/scores", data={"csrf": token, "verdict": "good"}, headers=elsewhere).status_code
        == 403
    )
    assert clerk.get(f"/calls/{call_id}.json").json()["corrections"][0]["output"] == "four\nof course"


def test_a_call_without_texts_offers_no_correction(house: House, clerk: httpx.Client) -> None:
    call_id = house.call(tags={"loopwright.store": "false"}, request=b"", answer=b"")
    house.drained()
    page = clerk.get(f"/calls/{call_id}")
    assert 'name="output"' not in page.text
    refused = clerk.post(f"/calls/{call_id}/correction", data={"csrf": csrf(page), "output": "x"})
    assert refused.status_code == 403
    assert "only metadata is kept" in refused.text


def test_a_review_is_made_rated_and_read_without_scripts(house: House, boss: httpx.Client, clerk: httpx.Client) -> None:
    for at in range(2):
        house.call(key="clerk", question=f"To review {at}", session="to review")
    house.drained()
    token = csrf(clerk.get("/reviews"))
    fields = {
        "csrf": token, "name": "plain forms", "session": "to review", "limit": "50", "raters": "1",
        "criteria": "helpful:1-5\ntrue:yes,no", "instructions": "Be kind.",
    }  # fmt: skip
    page = clerk.post("/reviews", data=fields)
    assert page.status_code == 200, page.text
    review = str(page.url).rpartition("/")[2]
    again = clerk.post("/reviews", data=fields)
    assert again.status_code == 409
    assert "already" in again.text
    assert "Be kind." in again.text  # what was typed is not lost
    for at in range(2):
        page = clerk.get(f"/reviews/{review}/rate")
        assert f"To review {1 - at}" in page.text
        assert "parrot" not in page.text
        item = page.text.split(f'action="/reviews/{review}/items/', 1)[1].split('"', 1)[0]
        wrong = clerk.post(f"/reviews/{review}/items/{item}", data={"csrf": token, "label:helpful": "9"})
        assert wrong.status_code == 400
        if at == 0:
            said = {"csrf": token, "label:helpful": "4", "label:true": "no", "note": "n"}
            page = clerk.post(f"/reviews/{review}/items/{item}", data=said)
        else:
            refused = clerk.get(f"/reviews/{review}.json").json()
            assert refused["agreement"] is None
            assert "blind" in refused["why"]
            assert clerk.get(f"/reviews/{review}/export.jsonl").status_code == 403
            assert clerk.post(f"/reviews/{review}/items/{item}/skip", data={"csrf": token}).is_success
            page = clerk.post(f"/reviews/{review}/undo", data={"csrf": token})
            assert "To review 0" in page.text
            said = {"csrf": token, "label:helpful": "2", "label:true": "no"}
            page = clerk.post(f"/reviews/{review}/items/{item}", data=said)
    assert "Every item has its ratings" in page.text
    shown = clerk.get(f"/reviews/{review}")
    assert "not known" in shown.text
    rows = [json.loads(line) for line in clerk.get(f"/reviews/{review}/export.jsonl").text.splitlines()]
    assert [row["label"] for row in rows] == ["4", "no", "2", "no"]
    one = [json.loads(line) for line in clerk.get(f"/reviews/{review}/export.jsonl?criterion=true").text.splitlines()]
    assert [(row["input"], row["human"]) for row in one] == [("To review 1", ["no"]), ("To review 0", ["no"])]
    assert clerk.get(f"/reviews/{review}/export.jsonl?criterion=none").status_code == 404
    with house.client("seeker") as seeker:
        assert seeker.get(f"/reviews/{review}").status_code == 404
        assert "plain forms" not in seeker.get("/reviews").text
    token = csrf(boss.get(f"/reviews/{review}"))
    assert boss.post(f"/reviews/{review}/delete", data={"csrf": token}).is_success
    assert boss.get(f"/reviews/{review}").status_code == 404
