"""Judges in a real house: asked over /v1 in both orders, measured against people, and honest about what they are worth."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.house import House

CONFIG = """
server: {workers: 1}
providers:
  judge:
    kind: scripted
    args:
      answers:
        - {match: "(?s)<answer A \\\\w+>\\\\s+right", text: '{"verdict": "A"}'}
        - {match: "(?s)<answer B \\\\w+>\\\\s+right", text: '{"verdict": "B"}'}
        - {match: "(?s)<answer \\\\w+>\\\\s+good", text: '{"verdict": "yes"}'}
        - {match: "(?s)<answer \\\\w+>\\\\s+bad", text: '{"verdict": "no"}'}
      otherwise: "I would rather not say."
  place: {kind: scripted, args: {otherwise: '{"verdict": "A"}'}}
  mumble: {kind: scripted, args: {answers: [{match: "odd", text: "Well. Verdict: A"}], otherwise: "Who can tell?"}}
models:
  oracle: {provider: judge, price: {input: 1.0, output: 2.0}}
  other: {provider: judge, model: other}
  place: {provider: place, price: {input: 1.0, output: 2.0}}
  mumble: {provider: mumble}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("judges"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def run(house: House, *words: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": key or house.key}
    command = [sys.executable, "-m", "loopwright.cli.main", "judges", *words]
    return subprocess.run(command, cwd=house.folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "article_id": f"a{n}",
            "article_sent": f"the {n} th text",
            "correct_sent": f"right {n}",
            "incorrect_sent": "wrong",
        }
        for n in range(60)
    ]
    return lines(tmp_path_factory.mktemp("labels") / "pairs.jsonl", rows)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judge passes what is called good; people agree on nine of ten."""
    rows = [
        {
            "id": f"row-{n}",
            "input": "a text",
            "answer": ("good" if n % 2 else "bad") + " answer" * (n % 7 + 1),
            "human": ["yes" if (n % 2 == 1) != (n % 10 == 0) else "no", "yes" if n % 2 else "no", None],
            "author": "oracle" if n % 3 else "someone",
        }
        for n in range(120)
    ]
    return lines(tmp_path_factory.mktemp("labels") / "answers.jsonl", rows)


def test_the_procedure_of_pairs_in_one_command(house: House, pairs: Path) -> None:
    told = as_json(run(house, "pairs", str(pairs), "-m", "oracle", "-m", "place", "-m", "mumble", "--json"))
    oracle, place, mumble = told["models"]
    assert told["pairs"] == 60
    assert oracle["outcome"]["right"] == 60
    assert oracle["outcome"]["accuracy"]["low"] > 0.9
    assert oracle["outcome"]["order_bias"]["estimate"] == 0
    assert oracle["card"]["figures"]["kappa"]["estimate"] == 1
    assert oracle["trusted"], oracle["reasons"]
    assert oracle["card"]["cost_nano"] > 0
    assert oracle["card"]["calls"] == 60 * 2 + 30
    assert oracle["card"]["figures"]["consistency"]["estimate"] == 1
    # A judge that always says A has nothing but order bias, and is told so.
    assert place["outcome"]["first"] == 60
    assert place["outcome"]["order_bias"]["estimate"] == 1
    assert place["card"]["figures"]["first_shown"]["estimate"] == 0.5
    assert place["outcome"]["each"]["estimate"] == 0.5
    assert not place["trusted"]
    # One that says nothing has no verdicts, which is neither zero nor an answer.
    assert mumble["outcome"]["missing"] == 60
    assert mumble["card"]["figures"]["missing"]["estimate"] == 1
    assert "kappa" not in mumble["card"]["figures"]
    assert mumble["card"]["cost_nano"] is None
    assert not mumble["trusted"]
    shown = run(house, "pairs", str(pairs), "-m", "place", "-n", "10", "--repeats", "0")
    assert shown.returncode == 0, shown.stderr
    assert "not trusted" in shown.stdout
    assert "ROUGE-L" in shown.stderr
    house.settled()
    calls = house.calls(tag="judge:factuality", model="oracle")
    assert len(calls) == 150
    assert {call["id"] for call in calls} >= {
        call_id
        for each in house.api("GET", f"/api/judges/factuality/cards/{oracle['id']}/observations").json()["observations"]
        for call_id in each["call_ids"]
    }


def test_a_card_is_of_one_version_and_goes_stale(house: House, answers: Path) -> None:
    definition = {
        "form": "rubric", "question": "Is it good?", "labels": {"yes": 1, "no": 0}, "least": 1, "model": "oracle",
    }  # fmt: skip
    file = house.folder / "polite.json"
    file.write_text(json.dumps(definition))
    assert as_json(run(house, "add", "polite", str(file), "--json"))["number"] == 1
    assert house.api("PUT", "/api/judges/polite", json={"definition": definition}).json()["number"] == 1
    made = as_json(run(house, "calibrate", "polite", "--labels", str(answers), "--json"))
    card = made["card"]
    assert card["labelled"] == 108  # those on which both people said the same
    assert card["unsettled"] == 12
    assert card["figures"]["kappa"]["estimate"] == 1
    assert card["figures"]["alpha_people"]["estimate"] < 1
    assert card["figures"]["sensitivity"]["n"] + card["figures"]["specificity"]["n"] == 108
    assert card["figures"]["verbosity"]["estimate"] == 0
    assert card["figures"]["self_preference"]["estimate"] == 0
    assert card["constant"] in {"yes", "no"}
    assert made["trusted"]
    [shown] = house.api("GET", "/api/judges/polite/cards").json()["cards"]
    assert shown == made
    text = run(house, "card", "polite")
    assert "may gate" in text.stderr
    assert "Cohen's kappa" in text.stdout
    # The same with other words is another judge: its card says nothing of it.
    other = {"definition": {**definition, "question": "Is it really good?"}}
    assert house.api("PUT", "/api/judges/polite", json=other).json()["number"] == 2
    [shown] = house.api("GET", "/api/judges/polite/cards").json()["cards"]
    assert "changed" in shown["stale"]
    assert not shown["trusted"]
    [listed] = [each for each in house.api("GET", "/api/judges").json()["judges"] if each["name"] == "polite"]
    assert listed["cards"][0]["stale"]
    assert "stale" in run(house, "list").stdout
    refused = house.api(
        "POST",
        "/api/judges/polite/cards",
        json={"sha": made["sha"], "observations": [{"id": "1", "human": ["yes"], "verdict": "no"}]},
    )
    assert refused.status_code == 409
    acts = [act["act"] for act in house.api("GET", "/api/audit").json()["acts"]]
    assert {"judge.put", "judge.calibrate"} <= {*acts}


def test_what_was_said_is_not_asked_again(house: House, answers: Path) -> None:
    kept = house.folder / "verdicts.jsonl"
    words = ("calibrate", "faithful", "--labels", str(answers), "-m", "other", "--verdicts", str(kept), "--json")
    first = as_json(run(house, *words))
    house.settled()
    before = len(house.calls(model="other"))
    assert before == first["card"]["calls"] == 150
    kept.write_bytes(kept.read_bytes()[:-40])  # whoever wrote the last line died in it
    second = as_json(run(house, *words))
    house.settled()
    assert len(house.calls(model="other")) == before + 1
    assert second["card"]["figures"] == first["card"]["figures"]


def test_a_project_sees_its_own_judges(house: House) -> None:
    house.api("POST", "/api/projects", json={"name": "strangers"})
    key = house.api("POST", "/api/keys", json={"name": "stranger", "project": "strangers"}).json()["secret"]
    own = {"definition": {"form": "pairwise", "question": "Which is shorter?"}}
    assert house.api("PUT", "/api/judges/shorter", json=own).status_code == 200
    assert "shorter" not in {each["name"] for each in house.api("GET", "/api/judges", key=key).json()["judges"]}
    assert house.api("GET", "/api/judges/shorter", key=key).status_code == 404
    assert house.api("GET", "/api/judges/shorter").json()["sha"] is None
    assert house.api("GET", "/api/judges/shorter", params={"model": "oracle"}).json()["sha"]
    mine = house.api("GET", "/api/judges", params={"project": "default"}, key=key)
    assert mine.status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"definition": {"form": "rubric"}}, "args.question"),
        ({"definition": {"question": "x", "labels": {"a": 1}}}, "args.labels"),
        ({"definition": {"question": "x", "judge": "faithful"}}, "args.judge"),
        ({"definition": {"question": "nul \x00"}}, "definition"),
        ({"definition": {"question": "x", "meanings": {"pass": "nul \x00"}}}, "definition"),
        ({"definition": {"question": "x", "parameters": {"messages": []}}}, "args.parameters"),
        ({"definition": {"question": "x", "depth": 1}}, "args.depth"),
    ],
    ids=["question", "labels", "judge", "nul", "nul-within", "parameters", "unknown"],
)
def test_bad_definitions_are_refused_by_name(house: House, body: dict[str, Any], param: str) -> None:
    answer = house.api("PUT", "/api/judges/odd", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_bad_labels_are_refused_by_line(house: House, tmp_path: Path) -> None:
    file = lines(tmp_path / "odd.jsonl", [{"answer": "x", "human": "yes"}, {"answer": "y"}])
    done = run(house, "calibrate", "faithful", "--labels", str(file), "-m", "oracle")
    assert done.returncode == 2
    assert "line 2" in done.stderr
    file = lines(tmp_path / "odd.jsonl", [{"answer": "good", "human": "perhaps"}])
    done = run(house, "calibrate", "faithful", "--labels", str(file), "-m", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
