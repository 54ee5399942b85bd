"""Prompts in the console: pages and forms without scripts, and the editor while it is written in a real Chromium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from loopwright.prompts.version import Version
from tests.console.conftest import Visitor
from tests.console.housing import ATTACK, House, csrf

TEXT = """\
description: Greets.
variables:
  name: {type: string, example: Ada}
messages:
  - role: system
    content: |
      Be brief.
  - role: user
    content: |
      Hello {{ name }}
"""


def pushed(house: House, name: str, content: str, key: str = "boss", **members: Any) -> Version:
    who = house.app.keys.find(house.secrets[key])
    assert who is not None
    definition: Mapping[str, Any] = {
        "variables": {"name": {"type": "string", "example": "Ada"}},
        "messages": [{"role": "user", "content": content}],
        **members,
    }
    return house.do(house.app.workshop.prompts.push(who.project_id, name, definition, author=key))


@pytest.fixture
def name() -> str:
    return f"p-{uuid4().hex[:8]}"


def test_a_prompt_is_begun_checked_and_pushed_without_scripts(house: House, name: str) -> None:
    with house.client("boss") as client:
        begun = client.get("/new-prompt", params={"pattern": "few-shot"})
        assert "Show the work done" not in begun.text
        assert "show the work done" in begun.text
        fields = {"csrf": csrf(begun), "name": name, "note": "first", "label": "staging", "text": TEXT}
        checked = client.post("/new-prompt", data={**fields, "what": "check"})
        assert checked.status_code == 200
        assert "Hello Ada" in checked.text
        assert house.do(house.app.workshop.prompts.list(None, name=name)) == ()
        shown = client.post("/new-prompt", data={**fields, "what": "push"})
        assert shown.url.path == f"/prompts/{name}"
        assert "staging" in shown.text
        wrong = client.post(
            f"/prompts/{name}/edit", data={**fields, "text": TEXT.replace("{{ name }}", "{{ nmae }}"), "what": "push"}
        )
        assert wrong.status_code == 400
        assert "line 10: variable &#39;nmae&#39; is not declared; did you mean &#39;name&#39;?" in wrong.text
        second = client.post(
            f"/prompts/{name}/edit", data={**fields, "text": TEXT.replace("Hello", "Hi"), "what": "push"}
        )
        assert second.url.params["ref"] == "2"
        twin = client.get(f"/prompts/{name}.json").json()
        assert twin["prompt"]["labels"] == {"staging": 2}
        assert {weight["model"] for weight in twin["weights"]} >= {"parrot", "mynah"}
        assert [move["to"] for move in twin["moves"]] == [2, 1]


def test_labels_move_and_roll_back_by_forms(house: House, name: str) -> None:
    for text in ("one", "two"):
        pushed(house, name, text)
    with house.client("boss") as client:
        token = csrf(client.get(f"/prompts/{name}"))
        for number in ("1", "2"):
            client.post(f"/prompts/{name}/labels", data={"csrf": token, "label": "production", "number": number})
        assert client.get(f"/prompts/{name}.json").json()["version"]["number"] == 2
        client.post(f"/prompts/{name}/rollback", data={"csrf": token, "label": "production"})
        assert client.get(f"/prompts/{name}.json").json()["version"]["number"] == 1
        again = client.post(f"/prompts/{name}/rollback", data={"csrf": token, "label": "production"})
        assert (again.status_code, "has not pointed elsewhere" in again.text) == (409, True)
        bad = client.post(f"/prompts/{name}/labels", data={"csrf": token, "label": "No", "number": "1"})
        assert (bad.status_code, "is no label" in bad.text) == (400, True)
    acts = house.do(house.app.audit.page(act="prompt", subject=f"prompt {name}"))
    assert [act.act for act in acts] == ["prompt.rollback", "prompt.label", "prompt.label"]


def test_two_versions_are_asked_side_by_side_on_record(house: House, name: str) -> None:
    pushed(house, name, "Say hello to {{ name }}")
    pushed(house, name, "fail {{ name }}")
    with house.client("clerk") as client:
        page = client.get(f"/prompts/{name}/compare")
        fields = {"csrf": csrf(page), "a": "1", "b": "2", "model": "parrot", "variables": '{"name": "Eve"}'}
        ran = client.post(f"/prompts/{name}/compare", data=fields)
        assert ran.status_code == 200
        assert "Say hello to Eve" in ran.text
        assert "it broke" in ran.text
        for wrong, said in (("{", "no JSON"), ("[]", "write an object")):
            assert said in client.post(f"/prompts/{name}/compare", data={**fields, "variables": wrong}).text
        missing = client.post(f"/prompts/{name}/compare", data={**fields, "variables": "{}"})
        assert missing.text.count("is required, and was not given") == 2
        house.drained()
        calls = client.get("/calls.json").json()["calls"]
        details = [client.get(f"/calls/{call['id']}.json").json()["call"] for call in calls[:4]]
        assert {f"{name}@1", f"{name}@2"} <= {each.get("prompt_version") for each in details}


def test_who_is_no_administrator_tries_but_does_not_push(house: House, name: str) -> None:
    pushed(house, name, "one")
    with house.client("clerk") as client:
        page = client.get(f"/prompts/{name}/edit")
        assert 'value="push"' not in page.text
        fields = {"csrf": csrf(page), "text": TEXT, "what": "push"}
        assert client.post(f"/prompts/{name}/edit", data=fields).status_code == 403
        assert client.post(f"/prompts/{name}/edit", data={**fields, "what": "check"}).status_code == 200
        assert client.post(f"/prompts/{name}/labels", data={**fields, "label": "x", "number": "1"}).status_code == 403
    with house.client("seeker") as client:
        assert client.get(f"/prompts/{name}").status_code == 404
        assert client.get(f"/prompts/{name}", params={"project": "default"}).status_code == 404
        assert name not in client.get("/prompts").text


def test_the_administrator_reaches_prompts_of_other_projects(house: House, name: str) -> None:
    pushed(house, name, "theirs", key="seeker")
    with house.client("boss") as client:
        assert f"/prompts/{name}?project=search" in client.get("/prompts").text
        assert client.get(f"/prompts/{name}").status_code == 404
        page = client.get(f"/prompts/{name}", params={"project": "search"})
        assert page.status_code == 200
        assert f"/prompts/{name}/edit?project=search&amp;ref=1" in page.text


def test_what_others_wrote_is_text(house: House, name: str, visitor: Visitor) -> None:
    attack = ATTACK.replace("{{", "{ {")
    pushed(house, name, attack, description=attack)
    pushed(house, name, attack + " again")
    house.do(house.app.workshop.prompts.label(1, name, "production", 1, attack[:90]))
    page = visitor.page
    for path in ("", "/edit", "/compare"):
        page.goto(f"{house.url}/prompts/{name}{path}")
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("window.hacked") is None
    page.goto(f"{house.url}/prompts")
    assert page.evaluate("window.hacked") is None
    assert not visitor.complaints


def test_the_editor_shows_what_a_text_becomes_while_it_is_written(house: House, name: str, visitor: Visitor) -> None:
    pushed(house, name, "Hello {{ name }}")
    page = visitor.page
    page.goto(f"{house.url}/prompts/{name}/edit")
    expect(page.locator("[data-shown]")).to_contain_text("Hello Ada")
    text = page.locator("#text")
    text.fill(text.input_value().replace("Hello", "Good day"))
    expect(page.locator("[data-shown]")).to_contain_text("Good day Ada")
    expect(page.locator("[data-diff] .come")).to_have_text("+Good day {{ name }}")
    expect(page.locator("[data-diff] .gone")).to_have_text("-Hello {{ name }}")
    expect(page.locator("[data-sum]")).to_have_text("+1 \N{MINUS SIGN}1 lines")
    text.fill(text.input_value().replace("{{ name }}", "{{ nmae }}"))
    expect(page.locator("[data-problem]")).to_contain_text("variable 'nmae' is not declared; did you mean 'name'?")
    text.fill(text.input_value().replace("{{ nmae }}", "{{ name }}"))
    expect(page.locator("[data-problem]")).to_be_hidden()
    page.fill("#label", "staging")
    page.click("button[value=push]")
    page.wait_for_url(f"**/prompts/{name}?ref=2")
    expect(page.locator("h1")).to_contain_text("staging")
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.wait_for_url("**/prompts")
    assert not visitor.complaints


def test_a_prompt_is_deleted_from_its_page(house: House, name: str) -> None:
    pushed(house, name, "Hello {{ name }}")
    with house.client("boss") as client:
        page = client.get(f"/prompts/{name}")
        assert "Delete it and its 1 version for ever" in page.text
        assert client.post(f"/prompts/{name}/delete", data={"csrf": "odd"}).status_code == 403
        gone = client.post(f"/prompts/{name}/delete", data={"csrf": csrf(page)})
        assert (gone.status_code, gone.url.path) == (200, "/prompts")
        assert client.get(f"/prompts/{name}").status_code == 404
