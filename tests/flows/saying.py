"""What tests of feedback do to a house: ask something, make keys, run commands."""

import os
import subprocess
import sys
from typing import Any

from openai import OpenAI

from tests.flows.house import House

CONFIG = """
providers:
  fake: {kind: scripted, args: {otherwise: "said: $last"}}
models:
  fake: {provider: fake, price: {input: 1.0, output: 2.0}}
  other: {provider: fake}
privacy: {projects: {discreet: {store: false}}}
"""


def ask(
    house: House, text: str, *, key: str | None = None, stream: bool = False, quiet: bool = False, **body: Any
) -> str:
    """The id of a call that has just been answered."""
    with OpenAI(base_url=f"{house.url}/v1", api_key=key or house.key, max_retries=0) as openai:
        raw = openai.chat.completions.with_raw_response.create(
            model="fake",
            messages=[{"role": "user", "content": text}],
            stream=stream,
            extra_body=body or None,
            extra_headers={"x-loopwright-no-store": "true"} if quiet else None,
        )
        for _ in raw.parse() if stream else ():
            pass
        return str(raw.headers["x-loopwright-call-id"])


def key_of(house: House, name: str, project: str = "default") -> str:
    if project != "default":
        house.api("POST", "/api/projects", json={"name": project})
    return str(house.api("POST", "/api/keys", json={"name": name, "project": project}).json()["secret"])


def run(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    command = [sys.executable, "-m", "loopwright.cli.main", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
