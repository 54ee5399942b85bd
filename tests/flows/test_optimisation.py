"""A prompt improved from the command line: a script whose answers depend on what it is told, and a proof of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from loopwright import Client
from tests.flows.house import House, wait

CONFIG = """
providers:
  clerk:
    kind: scripted
    args:
      answers:
        - {match: "^easy", text: please}
        - {match: "^hard", text: "told: $system, after $turns turns"}
  writer:
    kind: scripted
    args:
      answers: [{match: "The right answer is: please", text: "I see.\\n```\\nSay please to {{ who }}.\\n```"}]
      otherwise: "no idea"
models:
  clerk: {provider: clerk, price: {input: 1.0, output: 1.0}}
  writer: {provider: writer, price: {input: 1.0, output: 1.0}}
tasks:
  polite:
    input: {type: object, properties: {question: {type: string}, who: {type: string, default: Ada}}, required: [question]}
    model: clerk
    metrics: [{kind: regex, name: polite, args: {pattern: "please|[3-9] turns|1. turns"}}]
    variants: {base: {prompt: polite, parameters: {temperature: 0}}}
  chained:
    model: clerk
    variants: {base: {strategy: {kind: chain, steps: [{name: one, messages: [{role: user, content: "{{ input }}"}]}]}}}
"""
PROMPT: dict[str, Any] = {
    "variables": {"question": "string", "who": {"type": "string", "default": "Ada"}},
    "messages": [{"role": "system", "content": "Talk to {{ who }}."}, {"role": "user", "content": "{{ question }}"}],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("shop")
    house = House(folder, config=CONFIG).start()
    rows = [
        {"id": f"{split}-{at}", "inputs": {"question": f"{'hard' if at % 2 else 'easy'} {split} {at} {at * 7919}"}}
        | {"expected": "please", "split": split}
        for split, count in (("train", 12), ("validation", 12), ("test", 40))
        for at in range(count)
    ]
    (folder / "polite.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Client(house.url, house.key) as client:
        client.push_prompt("polite", PROMPT, labels=["production"])
        client.import_dataset("polite", folder / "polite.jsonl")
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def client(shop: House) -> Iterator[Client]:
    with Client(shop.url, shop.key) as found:
        yield found


def improved(shop: House, *arguments: str, fails: bool = False) -> Any:
    """What the command answers as JSON; its complaint when it fails."""
    command = [sys.executable, "-m", "loopwright.cli.main", "tasks", "improve", *arguments]
    command += ["--dataset", "polite", "--url", shop.url, "--api-key", shop.key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=shop.folder)
    assert bool(done.returncode) is fails, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def evidence(client: Client, run_id: str, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(client.artifact(run_id, path)).splitlines()]


def test_gepa_finds_instructions_that_are_proved_better(shop: House, client: Client) -> None:
    found = improved(shop, "polite", "--method", "instructions", "--reflection-model", "writer", "--budget", "400")
    assert found["better"]
    assert found["validation"] == {"incumbent": 0.5, "best": 1.0}
    assert (found["verdict"]["effect"], found["verdict"]["verdict"]) == (0.5, "pass")
    assert 0.3 < found["verdict"]["low"] < 0.5 < found["verdict"]["high"]

    name, _, number = found["version"].partition("@")
    version = client.prompt_version(name, number)
    system = {"role": "system", "content": "Say please to {{ who }}."}
    assert version["definition"]["messages"] == [system, PROMPT["messages"][1]]
    assert found["run"] in version["note"]
    assert version["labels"] == []
    assert client.prompt_version("polite")["number"] == 1  # production stays where a person put it

    run = client.get_run(found["run"])
    assert (run["experiment"], run["kind"], run["status"]) == ("improve polite", "optimisation", "finished")
    assert run["prompts"] == ["polite@1", found["version"]]
    assert run["data"][2] == {"dataset": "polite", "number": 1, "sha": run["data"][2]["sha"], "split": "test"}
    assert (run["metrics"]["test.before"]["last"], run["metrics"]["test.after"]["last"]) == (0.5, 1.0)
    assert (run["metrics"]["calls"]["last"], run["tags"]["verdict"]) == (found["spent"]["calls"], "pass")
    held_out = evidence(client, run["id"], "examples.jsonl")
    assert {row["example_id"] for row in held_out} == {f"test-{at}" for at in range(40)}
    assert all(row["scores"] == {"polite": 1.0} for row in held_out)
    assert sum(row["scores"]["polite"] for row in evidence(client, run["id"], "incumbent.jsonl")) == 20

    shop.settled()
    calls = shop.calls(tag=f"loopwright.run:{run['id']}")
    assert len(calls) == found["spent"]["calls"] <= 400
    assert {call["model"] for call in calls} == {"clerk", "writer"}
    assert sum(float(call["cost_usd"]) for call in calls) == pytest.approx(float(found["spent"]["usd"]))


def test_examples_are_chosen_that_help(shop: House, client: Client) -> None:
    found = improved(shop, "task/polite@base", "--method", "few-shot", "--shots", "3", "--budget", "300")
    assert (found["better"], found["validation"]["best"]) == (True, 1.0)
    version = client.prompt_version(*found["version"].split("@"))
    messages = version["definition"]["messages"]
    assert [each["role"] for each in messages] == ["system", *["user", "assistant"] * (len(messages) // 2 - 1), "user"]
    assert messages[2] == {"role": "assistant", "content": "please"}
    assert " train " in messages[1]["content"]


def test_what_is_not_better_is_not_pushed(shop: House, client: Client) -> None:
    before = len(client.prompt("polite")["versions"])
    always = json.dumps({"kind": "regex", "args": {"pattern": "."}})
    found = improved(shop, "polite", "--evaluator", always, "--budget", "150", fails=True)
    assert (found["better"], found["version"], found["verdict"]) == (False, None, None)
    assert "none of" in found["reason"]
    assert len(client.prompt("polite")["versions"]) == before
    assert client.get_run(found["run"])["tags"]["verdict"] == "none better"


def test_the_budget_holds(shop: House) -> None:
    """It ends the search, never the proof."""
    found = improved(shop, "polite", "--budget", "110", "--validation", "12")
    assert found["spent"]["calls"] <= 110
    assert "kept back" in found["stopped"]
    assert found["better"]
    assert "104 are the least" in improved(shop, "polite", "--budget", "100", fails=True)
    poor = improved(shop, "polite", "--budget", "1000", "--max-usd", "0.004")
    assert "is spent" in poor["stopped"]
    assert float(poor["spent"]["usd"]) < 0.006


def test_runs_of_an_evaluation_compare_down_to_the_example(shop: House, client: Client) -> None:
    better = {**PROMPT, "messages": [{"role": "system", "content": "Say please."}, PROMPT["messages"][1]]}
    number = client.push_prompt("polite", better)["version"]["number"]
    measured = {"kind": "regex", "name": "polite", "args": {"pattern": "please"}}
    body = {
        "targets": [
            {"name": "before", "model": "clerk", "prompt": "polite@1"},
            {"name": "after", "model": "clerk", "prompt": f"polite@{number}"},
        ],
        "dataset": "polite",
        "split": "test",
        "evaluators": [measured],
        "experiment": "manners",
    }
    made = shop.api("POST", "/api/evaluations", json=body)
    assert made.status_code == 201, made.text
    wait(lambda: len([run for run in client.runs(kind="evaluation")["runs"] if run["status"] == "finished"]) == 2)
    runs = {run["target"]: run for run in client.runs(experiment="manners")["runs"]}
    assert {run["evaluation_id"] for run in runs.values()} == {made.json()["id"]}
    found = client.compare_runs(runs["before"]["id"], runs["after"]["id"], changed=True)
    examples = found["examples"]
    assert (examples["both"], examples["better"], examples["worse"], len(examples["pairs"])) == (40, 20, 0, 20)
    pair = examples["pairs"][0]
    assert (pair["change"], pair["a"]["scores"], pair["b"]["scores"]) == (1.0, {"polite": 0.0}, {"polite": 1.0})
    assert (pair["a"]["output"], pair["b"]["output"][:18]) == (
        "told: Talk to Ada., after 2 turns",
        "told: Say please.,",
    )


def test_mistakes_are_told(shop: House) -> None:
    assert "did you mean" in improved(shop, "polite@bas", fails=True)
    assert "asks once" in improved(shop, "chained", "--evaluator", "exact_match", fails=True)
    assert "no evaluator" in improved(shop, "polite", "--evaluator", "exakt", fails=True)


def test_an_interrupted_search_goes_on_and_pays_nothing_twice(shop: House, client: Client) -> None:
    words = ["polite", "--method", "instructions", "--reflection-model", "writer", "--budget", "380", "--seed", "3"]
    command = [sys.executable, "-m", "loopwright.cli.main", "tasks", "improve", *words, "--at-once", "2"]
    command += ["--dataset", "polite", "--url", shop.url, "--api-key", shop.key, "--json"]

    def newest() -> dict[str, Any]:
        found: list[dict[str, Any]] = client.runs(kind="optimisation", limit=1)["runs"]
        return found[0] if found else {"id": None, "status": None}

    before = newest()["id"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=shop.folder) as process:
        wait(lambda: newest()["id"] != before)
        run = newest()["id"]
        wait(lambda: len(shop.calls(tag=f"loopwright.run:{run}")) >= 10)
        process.kill()
    shop.settled()
    paid = {call["id"] for call in shop.calls(tag=f"loopwright.run:{run}", outcome="ok")}
    assert newest()["status"] == "running"
    assert "another seed" in improved(shop, *words[:-1], "4", "--resume", run, fails=True)

    found = improved(shop, *words, "--resume", "last")
    assert (found["run"], found["better"], found["again"]) == (run, True, len(paid))
    shop.settled()
    calls = shop.calls(tag=f"loopwright.run:{run}", outcome="ok")
    assert paid <= {call["id"] for call in calls}
    assert len(calls) == found["spent"]["calls"]
    assert client.get_run(run)["status"] == "finished"
    steps = [point["step"] for point in client.curves(run)["validation"]]
    assert steps == sorted(set(steps))
    assert "came to its end" in improved(shop, *words, "--resume", run, fails=True)
