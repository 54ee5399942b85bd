"""Encryption at rest in a real house: no file holds what was said, everybody who may still reads it, keys rotate."""

import io
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from openai import OpenAI

from loopwright.kit.keyring import new_key
from tests.flows.house import House, wait

CONFIG = """
providers:
  fake:
    kind: scripted
    args: {answers: [{match: "^refuse", error: {code: upstream_refused, message: "will not say Quizzaciously"}}], otherwise: "said: $last"}
models:
  fake: {provider: fake, price: {input: 1.0, output: 2.0}, cache: {exact: {any: true}}}
  plain: {provider: fake}
"""
WORD = "Quizzaciously"
KEYS = {name: new_key(name) for name in ("k1", "k2")}


def keyed(folder: Path, *names: str) -> House:
    keys = ",".join(KEYS[name] for name in names)
    return House(folder, config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=keys)


def client_of(house: House) -> OpenAI:
    return OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0)


def command(house: House, *arguments: str) -> str:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    done = subprocess.run(
        [sys.executable, "-m", "loopwright.cli.main", *arguments],
        env=env, cwd=house.folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def checkpoint(house: House) -> None:
    """Everything the database holds goes to its files."""
    lines = (house.folder / ".loopwright" / "pg" / "postmaster.pid").read_text().splitlines()
    url = f"postgresql://postgres@/postgres?host={lines[4].strip()}&port={lines[3]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("checkpoint")


def holders(folder: Path, word: str = WORD) -> list[str]:
    """The files in which the word stands, in small letters or large, but for the configuration."""
    wanted = word.lower().encode()
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and path.name != "loopwright.yaml" and wanted in path.read_bytes().lower():
                found.append(str(path.relative_to(folder)))
        except FileNotFoundError:
            continue
    return found


def talk(client: OpenAI) -> dict[str, str]:
    """Say the word in every way there is; the ids of what remembers it."""
    ask: list[Any] = [{"role": "user", "content": f"{WORD} is what I said"}]
    first = client.chat.completions.with_raw_response.create(model="fake", messages=ask)
    hit = client.chat.completions.with_raw_response.create(model="fake", messages=ask)
    assert hit.headers["x-loopwright-cache"] == "hit"
    list(client.chat.completions.create(model="plain", messages=ask, stream=True))
    refused = client.chat.completions.with_raw_response
    with pytest.raises(Exception, match="will not say"):
        refused.create(model="plain", messages=[{"role": "user", "content": f"refuse {WORD}"}])
    response = client.responses.create(model="plain", input=f"remember {WORD}")
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "plain", "messages": ask},
    }
    file = client.files.create(file=("in.jsonl", io.BytesIO(json.dumps(line).encode())), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    wait(lambda: client.batches.retrieve(batch.id).status == "completed")
    return {"call": first.headers["x-loopwright-call-id"], "response": response.id, "file": file.id, "batch": batch.id}


def read_again(house: House, client: OpenAI, said: dict[str, str]) -> None:
    """All of it reads as before."""
    assert WORD in command(house, "calls", "show", said["call"])
    went_on = client.responses.create(model="plain", input="go on", previous_response_id=said["response"])
    detail = house.api("GET", f"/api/calls/{_call_id(went_on.id)}").json()
    assert f"remember {WORD}" in json.dumps(detail["request"])
    assert client.files.content(said["file"]).read().count(WORD.encode()) == 1
    output = client.batches.retrieve(said["batch"]).output_file_id
    assert output is not None
    assert WORD.encode() in client.files.content(output).read()
    assert len(house.calls(text=WORD.lower(), limit=1000)) >= 5
    refused = house.calls(outcome="error")
    shown = house.api("GET", f"/api/calls/{refused[0]['id']}").json()
    assert WORD in shown["call"]["error"]
    with httpx.Client(base_url=house.url, follow_redirects=True) as visitor:
        page = visitor.get("/sign-in").text
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)
        assert csrf is not None
        visitor.post("/sign-in", data={"csrf": csrf[1], "key": house.key})
        assert WORD in visitor.get(f"/calls/{said['call']}").text


def _call_id(response_id: str) -> str:
    digits = response_id.removeprefix("resp_")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def used(house: House) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for field in house.api("GET", "/api/encryption").json()["fields"]:
        if field["kind"] != "spool":
            found[field["key"]] = found.get(field["key"], 0) + field["count"]
    return found


def test_no_file_holds_what_was_said_and_keys_rotate(tmp_path: Path) -> None:
    open_folder, folder = tmp_path / "open", tmp_path / "sealed"
    open_folder.mkdir()
    folder.mkdir()
    # First that the search finds what is there: a house without a key.
    house = House(open_folder, config=CONFIG).start()
    talk(client_of(house))
    assert any("spool" in name for name in holders(open_folder / ".loopwright"))
    assert house.stop() == 0

    house = keyed(folder, "k1").start()
    client = client_of(house)
    said = talk(client)
    assert holders(folder) == []
    house.settled()
    wait(lambda: None not in used(house))
    checkpoint(house)
    assert holders(folder) == []
    read_again(house, client, said)
    assert house.stop() == 0
    assert holders(folder) == []

    house = keyed(folder, "k2", "k1").start()
    client = client_of(house)
    again = talk(client)
    house.settled()
    assert set(used(house)) == {"k1", "k2"}
    rotated = json.loads(command(house, "encryption", "rotate", "--json"))
    assert rotated["left"] == 0
    assert set(used(house)) == {"k2"}
    assert "Not needed any more" not in command(house, "encryption", "status")
    acts = house.api("GET", "/api/audit", params={"act": "encryption.rotate"}).json()["acts"]
    assert acts[0]["subject"] == "to key k2"
    assert house.stop() == 0

    house = keyed(folder, "k2").start()
    client = client_of(house)
    read_again(house, client, said)
    read_again(house, client, again)
    assert house.stop() == 0
    assert holders(folder) == []
    secrets = [key.partition(":")[2] for key in KEYS.values()]
    assert [holders(folder, secret) for secret in secrets] == [[], []]

    with pytest.raises(AssertionError, match="key 'k2'"):
        keyed(folder, "k1").start()
    with pytest.raises(AssertionError, match="key 'k2'"):
        House(folder, config=CONFIG).start()
    wrong = new_key("k2")
    with pytest.raises(AssertionError, match="not the one given here"):
        House(folder, config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=wrong).start()


def test_a_rotation_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    house = House(tmp_path, config=CONFIG).start()
    client = client_of(house)

    def ask(number: int) -> str:
        text = f"{WORD} number {number} " + f"{number:06d} " * 3_000
        answer = client.chat.completions.with_raw_response.create(
            model="plain", messages=[{"role": "user", "content": text}]
        )
        return answer.headers["x-loopwright-call-id"]

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(ask, range(600)))
    house.settled()
    assert house.stop() == 0

    house = keyed(tmp_path, "k1").start()
    all_of_it = used(house)[None]
    first = house.api("POST", "/api/encryption/rotate", json={}).json()
    after = first["after"]
    while not after.startswith("texts:2"):
        after = house.api("POST", "/api/encryption/rotate", json={"after": after}).json()["after"]
    with ThreadPoolExecutor(1) as pool:
        # The next step is under way, or just done, when every process dies.
        dying = pool.submit(step_on, house, after)
        house.kill()
        # No answer, or none that says where to go on: PostgreSQL may die before the worker does.
        assert isinstance(dying.exception(), httpx.HTTPError | KeyError)

    house = keyed(tmp_path, "k1").start()
    left = used(house)
    assert 0 < left["k1"] < all_of_it
    for at in range(0, 600, 7):
        assert f"number {at} " in house.api("GET", f"/api/calls/{ids[at]}").text
    assert json.loads(command(house, "encryption", "rotate", "--hurry", "--json"))["left"] == 0
    assert set(used(house)) == {"k1"}
    for at in range(0, 600, 11):
        assert f"number {at} " in house.api("GET", f"/api/calls/{ids[at]}").text
    assert len(house.calls(text=WORD)) == 600
    assert house.stop() == 0


def step_on(house: House, after: str) -> None:
    while True:
        after = house.api("POST", "/api/encryption/rotate", json={"after": after}).json()["after"]
