"""Runs that go to other trackers and come from them: a real server of MLflow's, its own client, the libraries of others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright import Client
from tests.flows.house import House
from tests.flows.outside import FOLDER, environment, program
from tests.flows.tracking import tracking_server

SOURCE = Path(__file__).parents[2] / "src"
"""Where our thin client stands: it needs nothing but the standard library, so any environment can import it."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    config = "providers: {s: {kind: scripted}}\nmodels: {s: {provider: s}}\n"
    house = House(tmp_path_factory.mktemp("lab"), config=config).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with tracking_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


def by_mlflow(lab: House, folder: Path, *arguments: str, token: str | None = None) -> Any:
    """What MLflow's client finds, in its own environment."""
    env = environment(lab, folder) | {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    env |= {} if token is None else {"MLFLOW_TRACKING_TOKEN": token}
    done = subprocess.run(
        [program("python"), str(FOLDER / "runs_of_mlflow.py"), *arguments],
        cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loopwright(lab: House, *arguments: str) -> Any:
    """What a command answers as JSON."""
    command = [sys.executable, "-m", "loopwright.cli.main", "runs", *arguments, "--json"]
    command += ["--url", lab.url, "--api-key", lab.key]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=lab.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def told(client: Client, experiment: str = "carried") -> str:
    """A run with all that can go elsewhere."""
    data = [{"dataset": "faq", "number": 3, "sha": "ab" * 32, "split": "test"}]
    with client.run(
        experiment, name="ours", params={"rate": 0.5, "shape": [2, 3]}, prompts=["faq@2"], data=data
    ) as run:
        for step in range(12):
            run.log_metric("loss", 1 / (step + 1), step)
        run.log_metric("diverged", None, 0)
        run.set_tags({"team": "x"})
        run.log_text("one\ntwo\n", "notes/log.txt")
        run.note("looks fine")
    return run.id


def test_runs_go_to_mlflow_and_come_back(lab: House, mlflow: str, tmp_path: Path) -> None:
    with Client(lab.url, lab.key) as client:
        run_id = told(client)
        before = client.get_run(run_id)
        [placed] = loopwright(lab, "export", run_id, "--to", "mlflow", "--where", mlflow)
        assert loopwright(lab, "export", run_id, "--to", "mlflow", "--where", mlflow) == [placed]
        [theirs] = by_mlflow(lab, tmp_path, mlflow, "carried")["read"]
        assert (theirs["name"], theirs["status"], theirs["log"]) == ("ours", "FINISHED", "one\ntwo\n")
        assert theirs["params"] == {"rate": "0.5", "shape": "[2, 3]"}
        assert theirs["tags"]["mlflow.note.content"] == "looks fine"
        assert (theirs["tags"]["team"], theirs["tags"]["loopwright.prompts"]) == ("x", "faq@2")
        assert theirs["data"] == [["faq", "faq@3"]]
        assert theirs["history"] == {"loss": [[step, 1 / (step + 1)] for step in range(12)]}

        [brought] = loopwright(lab, "import", "--from", "mlflow", "--where", mlflow, "--experiment", "carried")
        assert brought["left"] == []
        after = client.get_run(brought["run"])
        assert {name: after[name] for name in ("experiment", "name", "status", "prompts")} == {
            name: before[name] for name in ("experiment", "name", "status", "prompts")
        }
        assert after["metrics"]["loss"]["points"] == 12
        assert after["metrics"]["diverged"]["last"] is None
        assert after["data"][0]["number"] == 3
        assert after["notes"][0]["text"] == "looks fine"
        assert after["started_at"][:19] == before["started_at"][:19]
        assert b"".join(client.artifact(after["id"], "notes/log.txt")) == b"one\ntwo\n"
        again = loopwright(lab, "import", "--from", "mlflow", "--where", mlflow, "--experiment", "carried")
        assert [each["run"] for each in again] == [None]

        # What MLflow's client told MLflow's server.
        [brought] = loopwright(lab, "import", "--from", "mlflow", "--where", mlflow, "--experiment", "from mlflow")
        run = client.get_run(brought["run"])
        assert (run["name"], run["params"]["rate"], run["tags"]["team"]) == ("theirs", "0.1", "x")
        assert run["metrics"]["loss"]["points"] == 5
        assert [each["path"] for each in run["artifacts"]] == ["facts.json", "models/one/model.txt"]
        assert run["notes"][0]["text"] == "noted there"


def test_mlflows_client_tells_the_house_itself(lab: House, tmp_path: Path) -> None:
    found = by_mlflow(lab, tmp_path, lab.url, token=lab.key)["told"]
    assert (found["status"], found["name"], found["accuracy"]) == ("FINISHED", "theirs", 0.75)
    assert found["params"] == {"rate": "0.1", "layers": "[2, 3]"}
    assert found["tags"] == {"team": "x"}
    assert found["history"] == [[step, 1 / (step + 1)] for step in range(5)]
    assert found["files"] == ["facts.json", "models"]
    assert found["inside"] == [["models/one/model.txt", 7]]
    assert (found["weights"], found["found"][0], found["none"], found["missing"]) == ("weights", found["run"], 0, True)
    with Client(lab.url, lab.key) as client:
        run = client.get_run(found["run"])
        assert (run["experiment"], run["status"], run["tags"]["team"]) == ("from mlflow", "finished", "x")
        assert run["metrics"]["loss"]["last"] == 0.2
        assert run["metrics"]["diverged"]["last"] is None


def test_wandb_writes_runs_offline_and_they_come_back(lab: House, tmp_path: Path) -> None:
    with Client(lab.url, lab.key) as client:
        before = client.get_run(told(client, "to wandb"))
        env = environment(lab, tmp_path) | {"PYTHONPATH": str(SOURCE), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        done = subprocess.run(
            [program("python"), str(FOLDER / "runs_of_wandb.py"), before["id"]],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["same"]
        after = client.get_run(found["brought"]["to wandb"])
        for name in ("name", "kind", "status", "params", "prompts", "data"):
            assert after[name] == before[name]
        assert after["metrics"]["loss"]["points"] == 12
        assert (after["metrics"]["loss"]["last"], after["metrics"]["diverged"]["last"]) == (1 / 12, None)
        assert (after["tags"]["team"], after["notes"][0]["text"]) == ("x", "looks fine")
        assert b"".join(client.artifact(after["id"], "notes/log.txt")) == b"one\ntwo\n"
        own = client.get_run(found["brought"]["theirs"])
        assert (own["name"], own["params"], own["metrics"]["loss"]["points"]) == ("own", {"rate": 0.1}, 40)
