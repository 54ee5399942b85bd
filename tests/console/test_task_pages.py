"""The pages of tasks: lists, one task, a try that asks nobody, the editor; and what a call was made of."""

import json

import httpx
import pytest

from tests.console.conftest import Visitor
from tests.console.housing import ATTACK, House, csrf

DEFINITION = """
description: Sums up
model: parrot
variants:
  base:
    messages: [{role: user, content: "Sum up: {{ input }}"}]
  careful:
    weight: 3
    messages: [{role: user, content: "{{ input }}"}]
    strategy: {kind: self_consistency, samples: 3}
"""


def post(client: httpx.Client, address: str, **form: str) -> httpx.Response:
    token = csrf(client.get("/tasks"))
    return client.post(address, data={"csrf": token, **form}, follow_redirects=False)


def create(house: House, client: httpx.Client, name: str, definition: str = DEFINITION) -> None:
    made = post(client, "/tasks", name=name, project="default", definition=definition)
    assert made.status_code == 303, made.text
    assert made.headers["location"].startswith(f"/tasks/{name}")


def test_a_task_is_made_changed_tried_and_deleted(house: House, boss: httpx.Client) -> None:
    create(house, boss, "sums")
    page = boss.get("/tasks/sums").text
    assert "can be done" in page
    assert "75%" in page
    assert "self consistency" in page
    assert "Save as number 2" in page
    row = boss.get("/tasks/sums.json").json()
    assert [each["name"] for each in row["task"]["variants"]] == ["base", "careful"]
    assert "sums" in [task["name"] for task in boss.get("/tasks.json").json()["tasks"]]
    tried = post(boss, "/tasks/sums/try", project="default", inputs="the news", variant="base")
    assert tried.status_code == 200
    assert "Sum up: the news" in tried.text
    changed = post(
        boss, "/tasks/sums/definition", project="default", definition=DEFINITION.replace("Sums up", "Adds up")
    )
    assert changed.status_code == 303
    assert boss.get("/tasks/sums.json").json()["task"]["description"] == "Adds up"
    assert [each["number"] for each in boss.get("/tasks/sums.json").json()["history"]] == [2, 1]
    assert post(boss, "/tasks/sums/delete", project="default").status_code == 303
    assert boss.get("/tasks/sums").status_code == 404


def test_mistakes_are_shown_beside_what_was_typed(house: House, boss: httpx.Client) -> None:
    wrong = post(boss, "/tasks", name="oops", project="default", definition=DEFINITION.replace("input }}", "inptu }}"))
    assert wrong.status_code == 400
    assert "variants.base.messages[0].content" in wrong.text
    assert "inptu }}" in wrong.text
    create(house, boss, "fine")
    try:
        wrong = post(boss, "/tasks/fine/definition", project="default", definition="a: [")
        assert wrong.status_code == 400
        assert "line 1" in wrong.text
        wrong = post(boss, "/tasks/fine/try", project="default", inputs="{x: 1}", variant="")
        assert wrong.status_code == 400
        assert "loopwright.variables" in wrong.text or "messages" in wrong.text
    finally:
        post(boss, "/tasks/fine/delete", project="default")


def test_clerks_see_tasks_and_do_not_tell_them(house: House, boss: httpx.Client, clerk: httpx.Client) -> None:
    create(house, boss, "seen")
    try:
        page = clerk.get("/tasks/seen").text
        assert "Save as number" not in page
        assert post(boss, "/tasks/seen/try", project="search", inputs="x").status_code == 404
        token = csrf(clerk.get("/tasks/seen"))
        refused = clerk.post("/tasks/seen/delete", data={"csrf": token})
        assert refused.status_code == 403
        with house.client("seeker") as seeker:
            assert seeker.get("/tasks/seen").status_code == 404
    finally:
        post(boss, "/tasks/seen/delete", project="default")


def test_a_call_shows_what_it_was_made_of(house: House, boss: httpx.Client) -> None:
    step = {
        "name": ATTACK, "model": ATTACK, "provider": "p", "prompt": "p@3", "input_tokens": 3, "output_tokens": 4,
        "cost_usd": "0.5", "latency_us": 1500, "chosen": True, "answer": f"inner {ATTACK}", "said": f"vote {ATTACK}",
        "messages": [{"role": "user", "content": f"asked {ATTACK}"}],
    }  # fmt: skip
    body = {
        "model": "task/sums", "messages": [{"role": "user", "content": "outer"}],
        "loopwright": {"task": "sums", "variables": {"input": "outer"}, "steps": [step]},
    }  # fmt: skip
    call_id = house.call(task="sums", variant="careful", prompt_version="p@3", request=json.dumps(body).encode())
    house.drained()
    page = boss.get(f"/calls/{call_id}").text
    assert "How it was made" in page
    assert "inner &lt;script&gt;" in page
    assert "<script>window.hacked" not in page
    assert "asked &lt;script&gt;" in page
    assert '"variables": {"input": "outer"}' in page.replace("&#34;", '"')
    assert "steps" not in page.split("Run it again")[1].split("Raw")[0]


@pytest.mark.browser
def test_the_pages_keep_to_the_policy_and_to_phones(house: House, boss: httpx.Client, visitor: Visitor) -> None:
    create(house, boss, "shown", DEFINITION.replace("Sums up", "'<img src=x onerror=window.hacked=1>'"))
    page = visitor.page
    try:
        for width in (1280, 380):
            page.set_viewport_size({"width": width, "height": 800})
            for path in ("/tasks", "/tasks/shown"):
                page.goto(house.url + path)
                page.wait_for_load_state("networkidle")
                assert page.evaluate("window.hacked") is None
                assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.fill("#f-inputs", "the news")
        page.click("text=Show what would be asked")
        page.wait_for_selector("#try .turns >> text=the news")
        assert visitor.complaints == []
    finally:
        post(boss, "/tasks/shown/delete", project="default")
