"""Evaluations in a real house: planned, run beside the recorder, resumed after kill -9, gated from the command line."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loopwright.cli.main import main
from tests.flows.house import House, wait

CONFIG = """
evaluations: {concurrency: 8, base: 50ms, longest: 200ms, attempts: 2}
providers:
  good:
    kind: scripted
    args: {answers: [{match: "^(?P<n>\\\\d+) plus 1$", text: "$n and one"}, {match: "^down", error: {code: unavailable}}]}
  bad: {kind: scripted, args: {answers: [{match: "7", text: "no idea"}], otherwise: "$last"}}
  slow: {kind: scripted, args: {otherwise: "said: $last", delay: 0.6}}
privacy: {projects: {discreet: {store: false}}}
models:
  good: {provider: good, price: {input: 1.0, output: 2.0}}
  bad: {provider: bad, price: {input: 1.0, output: 2.0}}
  slow: {provider: slow, price: {input: 1.0, output: 2.0}}
  unpriced: {provider: good, model: good}
tasks:
  echo:
    input: {type: object, properties: {question: {type: string}}, required: [question]}
    metrics: [exact_match]
    variants:
      plain: {model: bad, messages: [{role: user, content: "{{ question }}"}]}
      better: {model: good, messages: [{role: user, content: "{{ question }}"}]}
"""


RUNS = "/api/runs?experiment=leaving"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("evaluations"), config=CONFIG).start()
    lines = [
        {"id": f"q{n}", "inputs": {"question": f"say {n}"}, "expected": f"say {n}", "slices": {"ending": str(n % 10)}}
        for n in range(60)
    ]
    file = house.folder / "echo.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run(house, "datasets", "import", str(file), "--name", "echo")
    assert done.returncode == 0, done.stdout + done.stderr
    yield house
    assert house.stop() == 0, house.log.read_text()


@dataclass(frozen=True)
class Ran:
    """A command line at its end."""

    returncode: int
    stdout: str
    stderr: str


def run(house: House, *words: str) -> Ran:
    """A command line in this process: starting one takes seconds on a busy machine."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "--url", house.url, "--api-key", house.key])
    return Ran(code, out.getvalue(), err.getvalue())


def create(house: House, **body: Any) -> dict[str, Any]:
    made = house.api("POST", "/api/evaluations", json={"dataset": "echo", "evaluators": ["exact_match"], **body})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def show(house: House, name: str) -> dict[str, Any]:
    found: dict[str, Any] = house.api("GET", f"/api/evaluations/{name}").json()
    return found


def ended(house: House, name: str) -> dict[str, Any]:
    wait(lambda: not show(house, name)["open"])
    return show(house, name)


def test_an_evaluation_from_plan_to_run(house: House) -> None:
    body = {
        "targets": [
            "task/echo@better",
            {"name": "old", "model": "bad", "messages": [{"role": "user", "content": "{{ question }}"}]},
        ],
        "baseline": "old",
        "dataset": "echo@1",
        "evaluators": [],
        "experiment": "echoes",
    }
    plan = house.api("POST", "/api/evaluations/plan", json=body).json()
    assert plan["examples"] == 60
    assert plan["evaluators"] == ["exact_match"]
    assert 0.2 < plan["detectable"]["share"] < 0.3
    made = create(house, **body)
    assert made["plan"] == plan
    found = ended(house, made["id"])
    assert found["status"] == "completed", found["problem"]
    assert (found["done"], found["total"], found["answers"], found["missing"]) == (60, 60, 120, 0)
    [better, old] = found["findings"]["targets"]
    assert better["scores"]["exact_match"]["mean"] == 1.0
    assert old["scores"]["exact_match"]["mean"] == pytest.approx(54 / 60)
    assert old["scores"]["exact_match"]["worst_slice"]["slice"] == "ending=7"
    [compared] = found["findings"]["comparisons"]
    assert (compared["wins"], compared["losses"]) == (6, 0)
    assert float(better["cost_usd"]) > 0
    page = house.api(
        "GET", f"/api/evaluations/{made['id']}/results", params={"sort": "disagreement", "limit": 7}
    ).json()
    assert {row["example_id"] for row in page["results"][:6]} == {f"q{n}" for n in (7, 17, 27, 37, 47, 57)}
    row = page["results"][0]
    assert row["inputs"]["question"] == row["expected"]
    assert [answer["scores"]["exact_match"]["value"] for answer in row["answers"]] == [1.0, 0.0]
    assert page["next"] == 7
    house.settled()
    calls = house.calls(tag=f"loopwright.evaluation:{made['id']}")
    assert len(calls) == 120
    assert {(call["task"], call["variant"]) for call in calls} == {("echo", "better"), (None, None)}
    wait(lambda: len(house.api("GET", "/api/runs", params={"experiment": "echoes"}).json()["runs"]) == 2)
    runs = house.api("GET", "/api/runs", params={"experiment": "echoes"}).json()["runs"]
    assert {each["evaluation_id"] for each in runs} == {made["id"]}
    assert {each["status"] for each in runs} == {"finished"}


def test_what_was_paid_is_not_paid_again_after_kill_9(house: House) -> None:
    made = create(house, targets=["slow"])
    wait(lambda: show(house, made["id"])["done"] > 8)
    [process] = [each for each in house.children("_evaluator") if "leash.py" not in " ".join(each.cmdline())]
    process.kill()
    found = ended(house, made["id"])
    assert found["status"] == "completed", found
    assert found["done"] == 60
    assert found["answers"] == 60
    house.settled()
    calls = [call for call in house.calls(tag=f"loopwright.evaluation:{made['id']}") if call["outcome"] == "ok"]
    assert len(calls) == 60
    assert sum(float(call["cost_usd"]) for call in calls) == pytest.approx(float(found["cost_usd"]))
    again = ended(house, create(house, targets=["slow"])["id"])
    assert (again["answers"], again["cached"]) == (0, 60)


def test_a_budget_stops_and_an_evaluation_can_be_cancelled(house: House) -> None:
    stopped = ended(house, create(house, targets=["good"], fresh=True, budget_usd="0.00005")["id"])
    assert stopped["status"] == "stopped"
    assert "budget" in stopped["problem"]
    assert 0 < stopped["done"] < 60
    assert float(stopped["cost_usd"]) <= 0.00005
    made = create(house, targets=["slow"], fresh=True)
    wait(lambda: show(house, made["id"])["done"] > 0)
    assert house.api("POST", f"/api/evaluations/{made['id']}/cancel").json()["status"] == "cancelling"
    found = ended(house, made["id"])
    assert found["status"] == "cancelled"
    assert 0 < found["done"] < 60
    assert house.api("DELETE", f"/api/evaluations/{made['id']}").json() == {"deleted": made["id"]}
    assert house.api("GET", f"/api/evaluations/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"targets": ["nobody"]}, 404, "there is no model 'nobody'"),
        ({"targets": ["task/ech"]}, 404, "there is no task 'ech'"),
        ({"targets": ["task/echo@no"]}, 404, "has no variant 'no'"),
        ({"targets": ["good", "good"]}, 400, "is there twice"),
        ({"targets": ["good"], "dataset": "nothing"}, 404, "nothing"),
        ({"targets": ["good"], "dataset": "echo@9"}, 404, "9"),
        ({"targets": ["good"], "evaluators": [], "dataset": "nothing"}, 404, "there is no dataset 'nothing'"),
        ({"targets": ["good"], "gate": {"bars": {"exact_match": 1.5}}}, 400, "no mean of 'exact_match' is above 1"),
        ({"targets": ["good"], "evaluators": ["bleu"], "gate": {"bars": {"bleu": 101}}}, 400, "above 100"),
        ({"targets": ["good"], "evaluators": ["exact"]}, 400, "there is no evaluator 'exact'"),
        (
            {"targets": ["good"], "evaluators": [{"kind": "python", "args": {"function": "os:getcwd"}}]},
            400,
            "configuration",
        ),
        ({"targets": ["good"], "evaluators": []}, 400, "no target is a task with metrics"),
        ({"targets": ["good"], "baseline": "old"}, 400, "none of the targets"),
        ({"targets": ["good"], "gate": {}}, 400, "needs a baseline"),
        ({"targets": ["good"], "gate": {"bars": {"f1": 0.5}}}, 400, "'f1' is no evaluator here"),
        ({"targets": ["good"], "slice": {"ending": "99"}}, 400, "no examples"),
        ({"targets": [{"model": "good", "messages": [{"role": "user", "content": "{{ nothing }}"}]}]}, 400, "nothing"),
        ({"targets": [{"model": "good", "parameters": {"stream": True}}]}, 400, "stream"),
        ({"targets": ["good"], "budget_usd": 0}, 400, "budget_usd"),
        ({"targets": ["good"], "what": 1}, 400, "what"),
        ({"targets": [{"name": "a\x00", "model": "good"}]}, 400, "NUL"),
        ({"targets": ["a\x00"]}, 404, "there is no model"),
        ({"targets": ["good"], "dataset": "a\x00"}, 404, "dataset"),
        ({"targets": ["good"], "tag": "a\x00"}, 400, ""),
        ({"targets": [{"model": "good", "prompt": "a\x00"}]}, 400, "stored"),
        ({"targets": ["good"], "evaluators": [{"kind": "contains", "args": {"texts": ["\x00"]}}]}, 400, "NUL"),
        ({"targets": ["good"], "limit": 10**30}, 400, "limit"),
        ({"targets": ["good"], "gate": {"bars": {"exact_match": 1e300}}}, 400, "exact_match"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before(house: House, body: dict[str, Any], status: int, said: str) -> None:
    answer = house.api("POST", "/api/evaluations", json={"dataset": "echo", "evaluators": ["exact_match"], **body})
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_other_projects_see_nothing(house: House) -> None:
    made = ended(house, create(house, targets=["good"])["id"])
    house.api("POST", "/api/projects", json={"name": "others"})
    key = house.api("POST", "/api/keys", json={"name": "k", "project": "others"}).json()["secret"]
    for path in ("", "/results", "/report"):
        assert house.api("GET", f"/api/evaluations/{made['id']}{path}", key=key).status_code == 404
    assert house.api("POST", f"/api/evaluations/{made['id']}/cancel", key=key).status_code == 404
    assert house.api("GET", "/api/evaluations", key=key).json() == {"evaluations": [], "next": None}
    house.api("POST", "/api/projects", json={"name": "discreet"})
    silent = house.api("POST", "/api/keys", json={"name": "k", "project": "discreet"}).json()["secret"]
    refused = house.api("POST", "/api/evaluations", key=silent, json={"dataset": "echo", "targets": ["good"]})
    assert refused.status_code == 403
    assert "keeps no texts" in refused.text


def test_the_gate_of_the_command_line(house: House) -> None:
    junit, told = house.folder / "junit.xml", house.folder / "report.md"
    words = ("eval", "run", "task/echo@better", "--baseline", "task/echo@plain", "--dataset", "echo", "--gate")
    few = (*words, "--limit", "20")
    uncertain = run(house, *few, "--junit", str(junit), "--markdown", str(told))
    assert uncertain.returncode == 1, uncertain.stderr
    assert "not enough evidence" in uncertain.stderr + uncertain.stdout
    assert "one comparison at 0.05" in " ".join(uncertain.stderr.split())
    suite = ET.parse(junit).getroot()
    assert suite.get("failures") == "1"
    assert "not enough evidence" in told.read_text()
    allowed = run(house, *few, "--allow-uncertain", "--json")
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads(allowed.stdout)["verdict"] == "not enough evidence"
    before = house.api("GET", "/api/evaluations").json()["evaluations"][0]["id"]
    nowhere = run(house, *words, "--markdown", str(house.folder / "nowhere" / "report.md"))
    assert (nowhere.returncode, "there is no folder" in nowhere.stderr) == (2, True)
    assert house.api("GET", "/api/evaluations").json()["evaluations"][0]["id"] == before
    passed = run(house, *words)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    worse = ("eval", "run", "task/echo@plain", "--dataset", "echo", "--gate", "--bar", "exact_match=0.99")
    failed = run(house, *worse)
    assert failed.returncode == 1
    assert "fail" in failed.stdout
    assert run(house, "eval", "run", "good", "--dataset", "echo").returncode == 2
    assert run(house, "eval", "run", "nobody", "--dataset", "echo", "--evaluator", "exact_match").returncode == 1


def test_evaluations_are_listed_shown_and_compared(house: House) -> None:
    first = ended(house, create(house, targets=["bad"], name="first")["id"])
    second = ended(house, create(house, targets=["good"], name="second")["id"])
    listed = json.loads(run(house, "eval", "list", "--json").stdout)
    assert [each["name"] for each in listed["evaluations"][:2]] == ["second", "first"]
    shown = run(house, "eval", "show", "last")
    assert "second" in shown.stdout
    assert "exact_match" in shown.stdout
    compared = json.loads(run(house, "eval", "compare", first["id"], second["id"], "--json").stdout)
    assert compared["paired"] == 60
    assert compared["comparisons"][0]["wins"] == 6
    text = run(house, "eval", "compare", first["id"], "last")
    assert text.returncode == 0
    assert run(house, "eval", "compare", "last", first["id"]).returncode == 0
    examples = run(house, "eval", "show", "last", "--sort", "position", "--limit", "1").stdout
    assert "q0: say 0 → say 0" in examples
    assert "exact_match" in text.stdout
    assert run(house, "eval", "show", "eval_nothing").returncode == 1


def test_a_run_of_an_evaluation_leaves_the_house_with_its_examples(house: House, tmp_path: Path) -> None:
    made = create(house, targets=["good", "bad"], baseline="bad", limit=10, experiment="leaving")
    assert ended(house, made["id"])["status"] == "completed"
    wait(lambda: [each["status"] for each in house.api("GET", RUNS).json()["runs"]] == ["finished"] * 2)
    for tracker in ("folder", "trulens"):
        done = run(house, "runs", "export", "-e", "leaving", "--to", tracker, "--where", str(tmp_path / tracker))
        assert done.returncode == 0, done.stderr
    runs = {each["name"]: each["id"] for each in house.api("GET", RUNS).json()["runs"]}
    records = [
        json.loads(line) for line in (tmp_path / "trulens" / runs["good"] / "records.jsonl").read_text().splitlines()
    ]
    assert len(records) == 10
    assert all(each["main_output"] == each["meta"]["expected"] for each in records)
    [file] = (tmp_path / "folder" / runs["bad"]).rglob("examples.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["example_id"] for row in rows} == {each["meta"]["example_id"] for each in records}
    assert all(row["scores"].keys() == {"exact_match"} and row["slice"].startswith("ending=") for row in rows)
    missing = run(house, "runs", "export", "-e", "leaving", "--to", "wandb", "--where", str(tmp_path / "wandb"))
    if find_spec("wandb") is None:
        assert "pip install 'loopwright[wandb]'" in missing.stderr
