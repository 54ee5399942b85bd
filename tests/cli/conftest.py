"""The command line from outside: a subprocess in an empty folder, and a stand-in for the server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.stand_in import SECRET, House, standing

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def house() -> Iterator[House]:
    with standing() as house:
        yield house


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As a person's shell has it, without what the shell of the tests says to Loopwright or to colours."""
    gone = ("LOOPWRIGHT_", "_LOOPWRIGHT", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "GITHUB_ACTIONS", "PY_COLORS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(gone)}
    # An address where nothing answers, so that no test ever meets a real Loopwright of this machine.
    return {**kept, "LOOPWRIGHT_HOME": str(tmp_path / "home"), "LOOPWRIGHT_URL": "http://127.0.0.1:1", "TERM": "xterm"}


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def run(
        *arguments: str, house: House | None = None, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        reached = {"LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": SECRET} if house else {}
        return subprocess.run(
            [sys.executable, "-m", "loopwright.cli.main", *arguments],
            cwd=tmp_path,
            env={**environment, **reached, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
