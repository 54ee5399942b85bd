"""Programs that were never written for us, in an environment of their own: where they are, and how one is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.house import House

FOLDER = Path(__file__).parent / "clients"
SCRIPT = """
  script:
    kind: scripted
    args:
      answers:
        - {match: weather, results: true, text: "It is $result."}
        - match: weather
          text: "Let me see."
          tool_calls: [{name: weather, arguments: {city: Oslo}}, {name: weather, arguments: {city: Rome}}]
        - {match: "^shout$", results: true, tool_calls: [{name: Person, arguments: {name: ADA, age: 36}}]}
        - {match: "^shout$", tool_calls: [{name: Person, arguments: {name: Ada, age: 36}}]}
        - {match: "^person$", text: '{"name": "Ada", "age": 36}'}
        - {match: "^busy$", error: {code: rate_limit_exceeded, retry_after: 7}}
"""
"""The provider that the clients talk to where a real model could not be relied on."""


def program(name: str) -> str:
    """A program of the clients' environment, which `make test` makes."""
    path = Path(sys.prefix) / "clients" / "bin" / name
    if not path.exists():
        pytest.skip("the clients are not installed: `make test` does it")
    return str(path)


def environment(house: House, folder: Path) -> dict[str, str]:
    """What such a program is told of the house, and a network on which nobody else can be reached."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    nowhere = "http://127.0.0.1:9"
    return kept | {
        "HOME": str(folder),
        "OPENAI_BASE_URL": f"{house.url}/v1",
        "OPENAI_API_KEY": house.key,
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would fetch its list of prices when it is imported
    }


def ran(name: str, house: House, folder: Path, *arguments: str) -> Any:
    """What a script of `clients/` prints, as JSON."""
    command = [program("python"), str(FOLDER / name), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(house, folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
