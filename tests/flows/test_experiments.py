"""Experiments as a user meets them: told of from Python and MLflow's client, compared, noted, carried to MLflow and back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopwright import Client
from loopwright.core.errors import BadRequest, Conflict, NotFound
from tests.flows.house import House


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(
        tmp_path_factory.mktemp("lab"), config="providers: {s: {kind: scripted}}\nmodels: {s: {provider: s}}\n"
    )
    house.start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def client(lab: House) -> Iterator[Client]:
    with Client(lab.url, lab.key) as found:
        yield found


def told(client: Client, experiment: str, name: str, rate: float, scores: dict[str, float]) -> str:
    """A run with a course, a file and examples."""
    params = {"rate": rate, "model": "s", "shape": {"layers": [2, 3]}}
    data = [{"dataset": "faq", "number": 3, "sha": "ab" * 32, "split": "test"}]
    with client.run(experiment, name=name, params=params, prompts=["faq@2"], data=data, tags={"team": "x"}) as run:
        for step in range(30):
            run.log_metric("loss", rate / (step + 1), step)
        run.log_metrics({"accuracy": sum(scores.values()) / len(scores), "diverged": float("nan")})
        run.log_text("one\ntwo\n", "notes/log.txt")
        rows = [
            {"example_id": key, "scores": {"right": value}, "output": f"{name} says {value}", "inputs": {"q": key}}
            for key, value in scores.items()
        ]
        run.log_examples(rows)
        run.note("looks *fine*")
    return run.id


def loopwright(lab: House, *arguments: str) -> str:
    command = [sys.executable, "-m", "loopwright.cli.main", "runs", *arguments, "--url", lab.url, "--api-key", lab.key]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=lab.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_is_told_of_and_kept_whole(lab: House, client: Client) -> None:
    run = client.get_run(told(client, "first", "slow", 0.5, {"a": 1.0, "b": 0.0}))
    assert (run["status"], run["experiment"], run["prompts"]) == ("finished", "first", ["faq@2"])
    assert run["params"] == {"rate": 0.5, "model": "s", "shape": {"layers": [2, 3]}}
    assert run["code"]["script"]
    loss = run["metrics"]["loss"]
    assert (loss["last"], loss["step"], loss["greatest"], loss["points"]) == (0.5 / 30, 29, 0.5, 30)
    assert run["metrics"]["diverged"]["last"] is None
    assert [each["path"] for each in run["artifacts"]] == ["examples.jsonl", "notes/log.txt"]
    assert b"".join(client.artifact(run["id"], "notes/log.txt")) == b"one\ntwo\n"
    assert [note["text"] for note in run["notes"]] == ["looks *fine*"]
    thin = client.curves(run["id"], points=10)["loss"]
    assert (len(thin) <= 10, thin[0]["step"], thin[-1]["step"]) == (True, 0, 29)


def test_a_run_that_fails_says_why(client: Client) -> None:
    def fail() -> None:
        with run:
            run.log_metric("loss", 1.0)
            raise ZeroDivisionError("by nothing")

    run = client.run("failing")
    with pytest.raises(ZeroDivisionError):
        fail()
    found = client.get_run(run.id)
    assert (found["status"], found["error"]) == ("failed", "ZeroDivisionError: by nothing")
    assert found["metrics"]["loss"]["last"] == 1.0


def test_a_parameter_is_set_once_and_odd_input_is_refused(lab: House, client: Client) -> None:
    with client.run("strict", params={"a": 1}) as run:
        run.log_params({"a": 1, "b": [1]})
        with pytest.raises(Conflict, match="set once"):
            run.log_params({"a": 2})
        for path in ("../x", "a//b", "a\\b", "/a"):
            with pytest.raises((BadRequest, NotFound)):
                run.log_text("x", path)
        with pytest.raises(BadRequest, match="NUL"):
            run.log_params({"c": "a\x00"})
        with pytest.raises(BadRequest):
            run.log_params({"c": "\ud800"})
    with pytest.raises(NotFound):
        client.get_run("run_none")
    with pytest.raises(NotFound, match="did you mean"):
        client.runs(experiment="stric")
    other = client.create_key("other", project=client.create_project("elsewhere")["name"])["secret"]
    with Client(lab.url, other) as stranger:
        assert stranger.runs()["runs"] == []
        with pytest.raises(NotFound):
            stranger.get_run(run.id)


def test_two_runs_compare_down_to_the_example(lab: House, client: Client) -> None:
    a = told(client, "pair", "before", 0.5, {"x": 1.0, "y": 0.0, "z": 1.0, "only a": 1.0})
    b = told(client, "pair", "after", 0.1, {"x": 0.0, "y": 1.0, "z": 1.0})
    found = client.compare_runs(a, b)
    assert [row["name"] for row in found["settings"] if not row["same"]] == ["rate"]
    assert {row["name"]: row["change"] for row in found["metrics"]}["accuracy"] == pytest.approx(2 / 3 - 0.75)
    examples = found["examples"]
    assert {name: examples[name] for name in ("both", "better", "worse", "same", "only_a", "only_b")} == {
        "both": 3, "better": 1, "worse": 1, "same": 1, "only_a": 1, "only_b": 0,
    }  # fmt: skip
    assert [(pair["example_id"], pair["change"]) for pair in examples["pairs"]] == [
        ("x", -1.0), ("y", 1.0), ("z", 0.0), ("only a", None),
    ]  # fmt: skip
    shown = loopwright(lab, "compare", a, b, "--changed")
    assert "before says 1.0" in shown
    assert "z" not in [line.split()[0] for line in shown.splitlines() if line.split()]


def test_the_command_line_lists_shows_and_notes(lab: House, client: Client) -> None:
    run_id = told(client, "listed", "one", 0.5, {"a": 1.0})
    assert run_id in loopwright(lab, "list", "-e", "listed", "-m", "accuracy")
    loopwright(lab, "note", run_id, "from the command line")
    shown = loopwright(lab, "show", run_id)
    assert "faq@3" in shown
    assert client.get_run(run_id)["notes"][-1]["text"] == "from the command line"
    assert json.loads(loopwright(lab, "experiments", "--json"))
    assert loopwright(lab, "fetch", run_id, "notes/log.txt") == "one\ntwo\n"


def test_the_pages_show_it_all(lab: House, client: Client) -> None:
    a = told(client, "<script>pages", "<b>one", 0.5, {"a": 1.0, "b": 1.0})
    b = told(client, "<script>pages", "<b>two", 0.4, {"a": 0.0, "b": 1.0})
    number = client.get_run(a)["experiment_id"]
    with httpx.Client(base_url=lab.url, headers={"origin": lab.url}) as browser:
        csrf = browser.get("/sign-in").text.split('name="csrf" value="')[1].split('"')[0]
        browser.post("/sign-in", data={"csrf": csrf, "key": lab.key})
        pages = {
            path: browser.get(path)
            for path in ("/experiments", f"/experiments/{number}", f"/runs/{a}", f"/runs/compare?a={a}&b={b}")
        }
        assert {page.status_code for page in pages.values()} == {200}
        assert not [path for path, page in pages.items() if "<b>one" in page.text or "<script>pages" in page.text]
        assert '<path class="stroke main" d="M' in pages[f"/runs/{a}"].text
        assert "&lt;b&gt;one says 1.0" in pages[f"/runs/compare?a={a}&b={b}"].text
        twin = browser.get(f"/runs/compare.json?a={a}&b={b}").json()
        assert twin["examples"]["worse"] == 1
        page = browser.get(f"/runs/{a}").text
        token = page.split('name="csrf" value="')[1].split('"')[0]
        done = browser.post(f"/runs/{a}/note", data={"csrf": token, "text": "by hand"})
        assert done.status_code == 303
        assert browser.get(f"/runs/{a}/artifacts/notes/log.txt").text == "one\ntwo\n"
        assert browser.post(f"/runs/{b}/delete", data={"csrf": token}).status_code == 303
    assert client.get_run(a)["notes"][-1]["text"] == "by hand"
    with pytest.raises(NotFound):
        client.get_run(b)


def test_runs_go_into_a_folder_and_come_back(lab: House, client: Client, tmp_path: Path) -> None:
    run_id = told(client, "carried", "whole", 0.5, {"a": 1.0})
    loopwright(lab, "export", run_id, "--to", "folder", "--where", str(tmp_path / "out"))
    client.delete_run(run_id)
    [brought] = json.loads(loopwright(lab, "import", "--from", "folder", "--where", str(tmp_path / "out"), "--json"))
    again = json.loads(loopwright(lab, "import", "--from", "folder", "--where", str(tmp_path / "out"), "--json"))
    assert [each["run"] for each in again] == [None]
    run = client.get_run(brought["run"])
    assert (run["name"], run["prompts"], run["status"]) == ("whole", ["faq@2"], "finished")
    assert run["metrics"]["loss"]["points"] == 30
    assert b"".join(client.artifact(run["id"], "notes/log.txt")) == b"one\ntwo\n"


def test_the_shapes_of_others_hold_it_all(lab: House, client: Client, tmp_path: Path) -> None:
    run_id = told(client, "shapes", "one", 0.5, {"a": 1.0, "b": 0.0})
    [comet] = json.loads(loopwright(lab, "export", run_id, "--to", "comet", "--where", str(tmp_path), "--json"))
    experiment = json.loads((Path(comet["where"]) / "experiment.json").read_text())
    assert experiment["metadata"]["experimentKey"] == run_id
    assert {"name": "rate", "valueCurrent": "0.5"} in experiment["parameters"]
    assert sum(point["metricName"] == "loss" for point in experiment["metrics"]) == 30
    [trulens] = json.loads(loopwright(lab, "export", run_id, "--to", "trulens", "--where", str(tmp_path), "--json"))
    rows = [json.loads(line) for line in (Path(trulens["where"]) / "feedbacks.jsonl").read_text().splitlines()]
    assert [(row["record_id"], row["name"], row["result"]) for row in rows] == [
        (f"{run_id}:a", "right", 1.0), (f"{run_id}:b", "right", 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("experiments/create", {"name": "a\x00b"}),
        ("runs/create", {"experiment_id": "9" * 20}),
        ("runs/create", {"experiment_id": "0", "start_time": 1e300}),
        ("runs/create", []),
        ("runs/search", {"experiment_ids": 5}),
        ("runs/search", {"experiment_ids": ["0"], "filter": "(((("}),
        ("runs/search", {"experiment_ids": ["0"], "order_by": 5}),
        ("runs/search", {"experiment_ids": ["0"], "page_token": "x"}),
        ("runs/update", {"run_id": "x", "status": ["FINISHED"]}),
        ("runs/log-batch", {"run_id": "x", "metrics": [{"key": "a", "value": "nope"}]}),
        ("runs/log-inputs", {"run_id": "x", "datasets": [{"dataset": {"name": {}}}]}),
    ],
)
def test_what_mlflow_would_never_send_is_refused_in_its_own_words(lab: House, path: str, said: Any) -> None:
    answer = lab.api("POST", f"/api/2.0/mlflow/{path}", json=said)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
