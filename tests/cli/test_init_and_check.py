"""`loopwright init` and `loopwright check` from outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cli.stand_in import House

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_init_writes_a_file_that_check_accepts(run: Run, tmp_path: Path) -> None:
    assert run("init").returncode == 0
    text = (tmp_path / "loopwright.yaml").read_text()
    assert text.count("#") > 20
    done = run("check")
    assert done.returncode == 0, done.stdout
    assert "No errors (loopwright.yaml" in done.stderr


def test_init_never_overwrites(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loopwright.yaml").write_text("mine\n")
    done = run("init")
    assert done.returncode == 1
    assert "already there" in done.stderr
    assert (tmp_path / "loopwright.yaml").read_text() == "mine\n"
    assert run("init", "other.yaml").returncode == 0


def test_init_where_there_is_no_folder(run: Run) -> None:
    done = run("init", "no/such/folder.yaml")
    assert done.returncode == 1
    assert done.stderr == "error: no/such/folder.yaml: No such file or directory\n"


def test_check_tells_every_error_with_its_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loopwright.yaml").write_text("server:\n  prot: 1\n  workers: none\nlog_level: loud\n")
    done = run("check")
    assert done.returncode == 1
    places = [line.split(": ")[0] for line in done.stdout.splitlines()]
    assert places == ["loopwright.yaml:2:3", "loopwright.yaml:3:12", "loopwright.yaml:4:12"]
    assert "did you mean 'port'?" in done.stdout
    assert "3 errors" in done.stderr
    told = json.loads(run("check", "--json").stdout)
    assert told["ok"] is False
    assert [problem["key"] for problem in told["problems"]] == ["server.prot", "server.workers", "log_level"]


def test_check_warns_of_policies_for_projects_that_are_not_there(run: Run, tmp_path: Path, house: House) -> None:
    (tmp_path / "loopwright.yaml").write_text("privacy: {projects: {clinic: {store: false}, clnic: {store: false}}}\n")
    done = run("check", house=house)
    assert done.returncode == 0, done.stderr
    assert "privacy.projects.clnic: there is no such project; did you mean 'clinic'?" in done.stderr
    assert len(json.loads(run("check", "--json", house=house).stdout)["warnings"]) == 1
    alone = run("check")
    assert alone.returncode == 0
    assert "no server answers" in alone.stderr


def test_check_without_a_file(run: Run) -> None:
    done = run("check")
    assert (done.returncode, done.stdout) == (0, "")
    assert "the defaults" in done.stderr
    assert run("check", "--quiet").stderr == ""
    assert run("check", "--config", "no-such.yaml").returncode == 1
