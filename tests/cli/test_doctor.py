"""`loopwright doctor` from outside: a fresh folder, what is wrong with a used one, and a real database."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stand_in import House

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _found(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.stdout, done.stderr
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_fresh_folder_is_well(run: Run, port: int, tmp_path: Path) -> None:
    done = run("doctor", env={"LOOPWRIGHT_SERVER_PORT": str(port)})
    assert done.returncode == 0, done.stdout
    assert "not running; `loopwright up` starts it" in done.stdout
    assert "0 failed" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_comes_with_what_to_do(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "admin.key").write_text("lw-secret")
    (home / "admin.key").chmod(0o644)
    (tmp_path / "loopwright.yaml").write_text(
        "server: {workers: none}\nmodels:\n  lost:\n    engine: {source: 'file:lost.gguf'}\n"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("doctor", "--json", env={"LOOPWRIGHT_SERVER_PORT": str(taken.getsockname()[1])})
    found = _found(done)
    assert done.returncode == 1
    for name in ("configuration", "admin.key", "port", "engine"):
        assert found[name]["state"] == "fail", found[name]
        assert found[name]["todo"]
    assert "loopwright.yaml:1:" in found["configuration"]["text"]
    assert "chmod 600" in found["admin.key"]["todo"]
    assert "lost.gguf" in found["engine"]["text"]
    assert "lw-secret" not in done.stdout


def test_a_real_database(run: Run, port: int, database_url: str) -> None:
    env = {"LOOPWRIGHT_DATABASE_URL": database_url, "LOOPWRIGHT_SERVER_PORT": str(port)}
    found = _found(run("doctor", "--json", env=env))
    assert found["database"]["state"] == found["pgvector"]["state"] == found["clock"]["state"] == "ok"
    assert "pending" in found["migrations"]["text"]


def test_no_database_and_its_password_stays_unsaid(run: Run, port: int) -> None:
    env = {"LOOPWRIGHT_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/x", "LOOPWRIGHT_SERVER_PORT": str(port)}
    done = run("doctor", "--json", env=env)
    assert done.returncode == 1
    assert _found(done)["database"]["state"] == "fail"
    assert "s3cret" not in done.stdout + done.stderr


def test_a_running_server_is_asked_how_it_is(run: Run, port: int, house: House) -> None:
    engine = {"name": "small", "healthy": False, "restarts": 2, "last_exit": "killed", "context": 1, "slots": 1}
    house.status = {"engines": [engine], "drain_lag_s": 90.0, "spool_bytes": 5_000_000, "version": "0.0.1"}
    done = run("doctor", "--json", house=house, env={"LOOPWRIGHT_SERVER_PORT": str(port)})
    found = _found(done)
    assert done.returncode == 1
    assert found["server"]["state"] == found["recorder"]["state"] == "warn"
    assert (found["engine"]["state"], "killed" in found["engine"]["text"]) == ("fail", True)
