"""Traces in a real house: a plain program with `observe` and the openai SDK, seen as one, in every place that shows it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import sync_playwright

from loopwright.client import Client
from loopwright.core.errors import NotFound
from tests.flows.house import House, wait
from tests.flows.outside import SCRIPT

CONFIG = f"""
providers:{SCRIPT.rstrip()}
  fake: {{kind: scripted, args: {{answers: [{{match: "^count (?P<n>\\\\d+)$", text: "answer $n"}}]}}}}
models:
  fake: {{provider: fake, price: {{input: 1.0, output: 2.0}}}}
  unpriced: {{provider: fake, model: fake}}
tasks:
  chained:
    input: {{type: object, properties: {{text: {{type: string}}}}, required: [text]}}
    model: fake
    variants:
      two:
        strategy:
          kind: chain
          steps:
            - {{name: draft, messages: [{{role: user, content: "count 1"}}]}}
            - {{name: final, messages: [{{role: user, content: "{{{{ draft }}}} {{{{ text }}}}"}}]}}
"""
PROGRAM = """
import os
from openai import DefaultHttpxClient, OpenAI
from loopwright import observe

client = OpenAI(
    base_url=os.environ["LOOPWRIGHT_URL"] + "/v1",
    api_key=os.environ["LOOPWRIGHT_API_KEY"],
    http_client=DefaultHttpxClient(event_hooks={"request": [observe.carry]}),
)


def ask(model, text):
    said = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
    return said.choices[0].message.content


@observe(kind="tool")
def search(words, password):
    return ["<script>document.title = 'owned'</script>"]


@observe(kind="agent", name="<img src=x onerror=alert(1)>")
def plan(question):
    search(question, password="hunter2")
    return ask("fake", "count 12")


@observe("pay", kind="tool")
def pay():
    raise ValueError("card refused")


@observe("shop.answer", kind="workflow", session="customer/1")
def answer(question):
    found = plan(question)
    try:
        pay()
    except ValueError:
        pass
    for piece in client.chat.completions.create(
        model="unpriced", messages=[{"role": "user", "content": f"{question} {found}"}], stream=True
    ):
        pass
    return f"about {found}"


answer("where is my tea?")
ask("task/chained", "and then?")
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("tracing"), config=CONFIG, arguments=("--no-engine",)).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture(scope="module")
def trace(house: House) -> dict[str, Any]:
    """The trace of the program, as soon as the list knows all of it."""
    env = {"LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Client(house.url, house.key) as client:
        wait(lambda: any(row["steps"] == 6 for row in client.traces(name="shop")["traces"]), 60)
        [row] = client.traces(name="answ", session="customer/1", failed="true", model="fake")["traces"]
        return {**client.trace(row["trace_id"]), "row": row}


def test_a_program_and_our_calls_are_one_trace_summed_once(trace: dict[str, Any]) -> None:
    lines = [(node["depth"], node["name"], node["kind"]) for node in trace["nodes"]]
    assert lines == [
        (0, "shop.answer", "workflow"),
        (1, "<img src=x onerror=alert(1)>", "agent"),
        (2, "search", "tool"),
        (2, "chat fake", "llm"),
        (1, "pay", "tool"),
        (1, "chat unpriced", "llm"),
    ]
    row = trace["row"]
    assert (row["calls"], row["failed"], row["unpriced"], row["error"]) == (2, 1, 1, "ValueError: card refused")
    assert row["cost_usd"] == trace["cost_usd"]
    assert float(row["cost_usd"]) > 0
    assert row["models"] == ["fake", "unpriced"]
    assert trace["session"] == "customer/1"


def test_steps_say_what_they_were_given_and_no_secrets(house: House, client: Client, trace: dict[str, Any]) -> None:
    tool = client.span(trace["trace_id"], trace["nodes"][2]["id"])
    assert json.dumps(tool["input"]).count("***") == 1
    assert "hunter2" not in json.dumps(tool)
    with pytest.raises(NotFound):
        client.span(trace["trace_id"], "0" * 16)
    with pytest.raises(NotFound):
        client.trace("nonsense")
    for path in (
        "/api/traces?min_cost_usd=nan",
        "/api/traces?before=x",
        "/api/traces?name=%21",
        "/api/sessions?limit=0",
    ):
        assert house.api("GET", path).status_code in (400, 422), path
    assert house.api("GET", "/api/traces?service=%00").status_code < 500
    assert house.api("GET", "/api/sessions/%00").status_code in (400, 404)


def test_a_session_reads_as_a_conversation(client: Client, trace: dict[str, Any]) -> None:
    [row] = [row for row in client.sessions()["sessions"] if row["session"] == "customer/1"]
    assert (row["turns"], row["calls"], row["failed"]) == (1, 2, 1)
    found = client.session("customer/1")
    [turn] = found["turns"]
    assert (turn["question"], turn["answer"]) == ("where is my tea?", "about answer 12")
    assert [used["kind"] for used in turn["used"]] == ["agent", "tool", "tool"]
    assert found["earlier"] is None


def test_a_call_alone_has_a_trace_with_what_was_done_inside(
    house: House, client: Client, trace: dict[str, Any]
) -> None:
    [call] = client.calls(task="chained")["calls"]
    assert call["trace_id"] == call["id"].replace("-", "")
    found = client.trace(call["trace_id"])
    assert [(node["name"], node.get("inner", False)) for node in found["nodes"]] == [
        ("chat chained", False), ("draft", True), ("final", True),
    ]  # fmt: skip
    assert found["steps"] == 1
    assert [each["id"] for each in client.calls(trace=call["trace_id"])["calls"]] == [call["id"]]
    assert len(client.calls(trace=trace["trace_id"])["calls"]) == 2


def test_the_terminal_draws_it(house: House, trace: dict[str, Any]) -> None:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    for arguments, wanted in (
        (["traces", "list", "--failed"], "shop.answer"),
        (["traces", "show", trace["trace_id"], "--depth", "1"], "    0 "),
        (["sessions", "list"], "customer/1"),
        (["sessions", "show", "customer/1"], "> where is my tea?"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "loopwright.cli.main", *arguments],
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert wanted in done.stdout or wanted == "    0 ", done.stdout
    assert "chat fake" not in done.stdout


@pytest.mark.browser
def test_the_console_shows_it_and_runs_none_of_it(house: House, client: Client, trace: dict[str, Any]) -> None:
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("there is no chromium: apt-get install chromium")
    wrong: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--headless", "--no-sandbox"])
        page = browser.new_page()
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(f"{house.url}/sign-in")
        page.fill("#key", house.key)
        page.click("button.main")
        page.goto(f"{house.url}/traces")
        page.get_by_text("shop.answer").first.click()
        page.locator(".fall-row").nth(5).wait_for()
        assert page.locator(".fall-row").count() == 6
        box = page.locator(".fall-rows")
        box.focus()
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
            box.press(key)
        page.locator(".fall-said pre").first.wait_for()
        assert "where is my tea?" in page.locator(".fall-said").inner_text()
        page.keyboard.press("Escape")
        box.press("f")
        page.get_by_text("card refused").first.wait_for()
        box.press("Home")
        box.press("ArrowLeft")
        assert page.locator(".fall-row").count() == 1
        page.fill("[data-find]", "search")
        assert page.locator(".fall-row").count() == 3
        page.goto(f"{house.url}/sessions/customer/1")
        assert page.locator(".said.answered").inner_text().endswith("about answer 12")
        page.get_by_text("What next").click()
        page.fill("#next-dataset", "teas")
        page.get_by_role("button", name="Add to dataset").click()
        page.wait_for_url("**/datasets/teas**")
        page.goto(f"{house.url}/traces/{trace['trace_id']}")
        page.get_by_text("What next").click()
        page.fill("#next-review", "look at tea")
        page.get_by_role("button", name="Send to review").click()
        page.wait_for_url("**/reviews/**")
        assert "owned" not in page.title()
        browser.close()
    assert wrong == []
    assert client.review("look at tea")["progress"]["items"] == 2


def test_other_projects_see_nothing_and_what_is_deleted_is_gone(
    house: House, client: Client, trace: dict[str, Any]
) -> None:
    client.create_project("others")
    other = client.create_key("other", project="others")["secret"]
    with Client(house.url, other) as stranger:
        assert stranger.traces()["traces"] == []
        assert stranger.sessions()["sessions"] == []
        with pytest.raises(NotFound):
            stranger.trace(trace["trace_id"])
        with pytest.raises(NotFound):
            stranger.session("customer/1")
    assert client.delete_calls(session="customer/1") >= 0
    wait(lambda: not client.traces(session="customer/1")["traces"], 60)
    page = httpx.get(
        f"{house.url}/sessions/customer/1.json", headers={"authorization": f"Bearer {house.key}"}, timeout=60
    )
    assert page.status_code == 404
