"""Files and batches by OpenAI's own client, in a real house: answered once whatever dies, and out of others' way."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.flows.house import House, wait

CONFIG = """
server: {workers: 2}
batches: {concurrency: 8, price_factor: 0.5, base: 50ms, longest: 200ms, attempts: 3}
providers:
  fake:
    kind: scripted
    args:
      answers:
        - {match: "^down", error: {code: unavailable}}
        - {match: "^wrong", error: {code: upstream_refused}}
        - {match: "^count (?P<n>\\\\d+)$", text: "answer $n"}
      otherwise: "said: $last"
  slow: {kind: scripted, args: {otherwise: "said: $last", delay: 0.2}}
privacy: {projects: {discreet: {store: false}}}
models:
  fake: {provider: fake, price: {input: 1.0, output: 3.0}}
  slow: {provider: slow, price: {input: 1.0, output: 3.0}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("batches"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def client_of(house: House, key: str | None = None) -> OpenAI:
    return OpenAI(base_url=f"{house.url}/v1", api_key=key or house.key, max_retries=0)


def line(
    number: int, text: str, *, model: str = "fake", url: str = "/v1/chat/completions", **body: Any
) -> dict[str, Any]:
    said = {"model": model, "messages": [{"role": "user", "content": text}], **body}
    return {"custom_id": f"line-{number}", "method": "POST", "url": url, "body": said}


def upload(client: OpenAI, lines: list[dict[str, Any]] | bytes) -> str:
    raw = lines if isinstance(lines, bytes) else b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    return client.files.create(file=("in.jsonl", io.BytesIO(raw)), purpose="batch").id


def ended(client: OpenAI, batch_id: str) -> Any:
    over = {"completed", "failed", "expired", "cancelled"}
    wait(lambda: client.batches.retrieve(batch_id).status in over)
    return client.batches.retrieve(batch_id)


def completed(client: OpenAI, batch_id: str) -> int:
    counts = client.batches.retrieve(batch_id).request_counts
    return 0 if counts is None else counts.completed


def answers(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(each) for each in client.files.content(file_id).text.splitlines()]


def recorder(house: House) -> int:
    [process] = house.children("_recorder")
    return process.pid


def run(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    command = [sys.executable, "-m", "loopwright.cli.main", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def other_project(house: House, name: str, **rights: Any) -> str:
    house.api("POST", "/api/projects", json={"name": name})
    made = house.api("POST", "/api/keys", json={"name": f"key of {name}", "project": name, **rights})
    return str(made.json()["secret"])


def test_files_by_the_sdk(house: House) -> None:
    client = client_of(house, other_project(house, "filing"))
    made = [client.files.create(file=(f"{n}.txt", f"text {n}".encode()), purpose="user_data") for n in range(5)]
    assert made[0].filename == "0.txt"
    assert made[0].bytes == 6
    assert made[0].purpose == "user_data"
    assert made[0].expires_at is None
    found = list(client.files.list(limit=2))
    assert [file.id for file in found] == [file.id for file in reversed(made)]
    first = client.files.list(limit=2, order="asc")
    assert [file.id for file in first.data] == [file.id for file in made[:2]]
    assert first.has_more
    after = client.files.list(limit=2, order="asc", after=made[1].id)
    assert [file.id for file in after.data] == [file.id for file in made[2:4]]
    assert not client.files.list(purpose="batch").data
    assert client.files.retrieve(made[3].id).filename == "3.txt"
    content = client.files.content(made[3].id)
    assert content.read() == b"text 3"
    headers = content.response.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment;")
    assert headers["content-type"] == "application/octet-stream"
    stranger = client_of(house, other_project(house, "strangers"))
    for act in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
        with pytest.raises(openai.NotFoundError):
            act(made[3].id)
    assert client.files.delete(made[3].id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(made[3].id)
    assert len(client.files.list().data) == 4


def test_a_batch_is_answered_on_the_road_and_at_half_price(house: House) -> None:
    client = client_of(house)
    lines = [line(n, f"count {n}") for n in range(30)] + [line(30, "wrong"), line(31, "down"), line(32, "x", n=0)]
    made = client.batches.create(
        input_file_id=upload(client, lines),
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"job": "nightly"},
    )
    assert made.status == "validating"
    assert made.expires_at == made.created_at + 86_400
    found = ended(client, made.id)
    assert found.status == "completed"
    assert found.metadata == {"job": "nightly"}
    assert found.request_counts.model_dump() == {"total": 33, "completed": 30, "failed": 3}
    assert found.in_progress_at <= found.finalizing_at <= found.completed_at
    right, wrong = answers(client, found.output_file_id), answers(client, found.error_file_id)
    assert [each["custom_id"] for each in right] == [f"line-{n}" for n in range(30)]
    for n, each in enumerate(right):
        assert each["error"] is None
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["choices"][0]["message"]["content"] == f"answer {n}"
    statuses = {each["custom_id"]: each["response"]["status_code"] for each in wrong}
    assert statuses == {"line-30": 502, "line-31": 503, "line-32": 400}
    assert wrong[2]["response"]["body"]["error"]["param"] == "n"
    house.settled()
    calls = house.calls(tag=f"loopwright.batch:{made.id}")
    assert Counter(call["outcome"] for call in calls) == {"ok": 30, "error": 6, "refused": 1}
    by_id = {call["id"]: call for call in calls}
    for each in right:
        call, usage = by_id[each["response"]["request_id"]], each["response"]["body"]["usage"]
        whole = usage["prompt_tokens"] * 1000 + usage["completion_tokens"] * 3000
        assert Decimal(call["cost_usd"]) * 10**9 == Decimal(whole) / 2
    shown = house.api("GET", f"/api/batches/{made.id}").json()
    assert Decimal(shown["cost_usd"]) == sum(Decimal(call["cost_usd"]) for call in calls if call["outcome"] == "ok")
    assert found.usage.output_tokens == sum(each["response"]["body"]["usage"]["completion_tokens"] for each in right)
    # The same asked outside of a batch counts whole.
    client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "count 3"}])
    house.settled()
    newest = house.calls()[0]
    assert Decimal(newest["cost_usd"]) == 2 * Decimal(by_id[right[3]["response"]["request_id"]]["cost_usd"])


def test_other_routes_are_asked_too(house: House) -> None:
    client = client_of(house)
    lines = [
        {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "fake", "input": "count 7"}},
    ]
    made = client.batches.create(input_file_id=upload(client, lines), endpoint="/v1/responses", completion_window="24h")
    found = ended(client, made.id)
    [answer] = answers(client, found.output_file_id)
    assert answer["response"]["body"]["object"] == "response"
    assert answer["response"]["body"]["output"][0]["content"][0]["text"] == "answer 7"


def test_what_is_wrong_with_a_file_is_told_by_line(house: House) -> None:
    client = client_of(house, other_project(house, "narrow", models=["fake"]))
    good = json.dumps(line(1, "hi")).encode()
    rows = [
        good,
        b"",
        b"{not json",
        json.dumps(line(1, "again")).encode(),
        json.dumps(line(2, "hi", url="/v1/embeddings")).encode(),
        json.dumps(line(3, "hi", model="slow")).encode(),
        json.dumps(line(4, "hi", model="fakke")).encode(),
        b'{"custom_id": "nan", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "fake", "top_p": NaN}}',
        b'{"custom_id": "\xff", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "fake"}}',
        json.dumps(line(5, "hi") | {"method": "GET"}).encode(),
        json.dumps(line(6, "hi", stream=True)).encode(),
    ]
    made = client.batches.create(
        input_file_id=upload(client, b"\n".join(rows)), endpoint="/v1/chat/completions", completion_window="24h"
    )
    found = ended(client, made.id)
    assert found.status == "failed"
    told = [(each.line, each.code) for each in found.errors.data]
    assert told == [
        (3, "invalid_json_line"),
        (4, "duplicate_custom_id"),
        (5, "mismatched_url"),
        (6, "permission_denied"),
        (7, "permission_denied"),
        (8, "invalid_json_line"),
        (9, "invalid_json_line"),
        (10, "invalid_method"),
        (11, "invalid_stream"),
    ]
    assert not house.calls(tag=f"loopwright.batch:{made.id}")
    empty = client.batches.create(
        input_file_id=upload(client, b"\n\n"), endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert ended(client, empty.id).errors.data[0].code == "empty_file"


def test_a_batch_is_cancelled_quickly_and_keeps_what_it_has(house: House) -> None:
    client = client_of(house)
    made = client.batches.create(
        input_file_id=upload(client, [line(n, f"turn {n}", model="slow") for n in range(400)]),
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    wait(lambda: completed(client, made.id) > 5)
    with pytest.raises(openai.ConflictError):
        client.files.delete(made.input_file_id)
    assert client.batches.cancel(made.id).status == "cancelling"
    found = ended(client, made.id)
    assert found.status == "cancelled"
    right, wrong = answers(client, found.output_file_id), answers(client, found.error_file_id)
    assert {each["error"]["code"] for each in wrong} == {"batch_cancelled"}
    assert len(right) < 300
    assert {each["custom_id"] for each in right + wrong} == {f"line-{n}" for n in range(400)}
    assert len(right) + len(wrong) == 400
    assert client.batches.cancel(made.id).status == "cancelled"


def test_no_line_is_answered_twice_when_the_recorder_is_killed(house: House) -> None:
    client = client_of(house)
    made = client.batches.create(
        input_file_id=upload(client, [line(n, f"turn {n}", model="slow") for n in range(200)]),
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    wait(lambda: completed(client, made.id) > 20)
    dead = recorder(house)
    os.kill(dead, signal.SIGKILL)
    found = ended(client, made.id)
    assert recorder(house) != dead
    assert found.status == "completed"
    assert found.request_counts.completed == 200
    right = answers(client, found.output_file_id)
    assert [each["custom_id"] for each in right] == [f"line-{n}" for n in range(200)]
    assert all(each["response"]["body"]["choices"][0]["message"]["content"].startswith("said: turn") for each in right)
    house.settled()
    calls = house.calls(tag=f"loopwright.batch:{made.id}")
    # What was asked and not yet stored is asked again: at most as many as are asked at once.
    assert 200 <= sum(call["outcome"] == "ok" for call in calls) <= 208


def test_texts_are_moderated_by_a_batch(house: House) -> None:
    client = client_of(house)
    texts = ["hello there", "I want to kill myself", ["a nice day", "I will kill you tonight"]]
    lines = [
        {"custom_id": f"text-{n}", "method": "POST", "url": "/v1/moderations", "body": {"input": text}}
        for n, text in enumerate(texts)
    ]
    lines.append({**lines[0], "custom_id": "named", "body": {"model": "loopwright-moderation", "input": "hello"}})
    lines.append({**lines[0], "custom_id": "wrong", "body": {"input": []}})
    made = client.batches.create(
        input_file_id=upload(client, lines), endpoint="/v1/moderations", completion_window="24h"
    )
    found = ended(client, made.id)
    assert found.status == "completed", found.errors
    assert found.request_counts.model_dump() == {"total": 5, "completed": 4, "failed": 1}
    right = {each["custom_id"]: each["response"]["body"] for each in answers(client, found.output_file_id)}
    judged = {name: [result["flagged"] for result in body["results"]] for name, body in right.items()}
    assert judged == {"text-0": [False], "text-1": [True], "text-2": [False, True], "named": [False]}
    direct = client.moderations.create(input="I want to kill myself").results[0]
    assert right["text-1"]["results"][0]["category_scores"]["self-harm"] == direct.category_scores.self_harm
    [wrong] = answers(client, found.error_file_id)
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("wrong", 400)
    house.settled()
    calls = house.calls(tag=f"loopwright.batch:{made.id}")
    assert {call["operation"] for call in calls} == {"moderations"}
    assert sum(call["outcome"] == "ok" for call in calls) == 4


def test_the_command_line_makes_watches_and_fetches(house: House, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(line(n, f"count {n}")) + "\n" for n in range(5)))
    made = run(house, "batches", "create", str(source), "--watch", "--json", "--metadata", "team=a")
    assert made.returncode == 0, made.stderr
    batch = json.loads(made.stdout)
    assert batch["status"] == "completed"
    assert batch["metadata"] == {"team": "a"}
    listed = json.loads(run(house, "batches", "list", "--json").stdout)
    assert listed["batches"][0]["id"] == batch["id"]
    assert batch["id"] in run(house, "batches", "list").stdout
    shown = run(house, "batches", "show", "last")
    assert "5, 5 answered, 0 failed" in shown.stdout
    target = tmp_path / "out.jsonl"
    assert run(house, "batches", "fetch", batch["id"], "-o", str(target)).returncode == 0
    assert [json.loads(each)["custom_id"] for each in target.read_text().splitlines()] == [
        f"line-{n}" for n in range(5)
    ]
    none = run(house, "batches", "fetch", batch["id"], "--errors")
    assert none.returncode == 1
    assert "has no failures" in none.stderr
    again = run(house, "batches", "cancel", batch["id"])
    assert again.returncode == 1
    assert "nothing left to cancel" in again.stderr
    acts = house.api("GET", "/api/audit", params={"act": "batch"}).json()["acts"]
    assert {act["act"] for act in acts} >= {"batch.create", "batch.cancel"}


def test_scopes_and_odd_requests_are_refused(house: House) -> None:
    narrow = client_of(house, other_project(house, "scoped", operations=["chat"]))
    with pytest.raises(openai.PermissionDeniedError):
        narrow.files.list()
    with pytest.raises(openai.PermissionDeniedError):
        narrow.batches.list()
    client = client_of(house)
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", endpoint="/v1/chat/completions", completion_window="24h")
    text = client.files.create(file=("a.txt", b"text"), purpose="user_data").id
    for changes in ({"input_file_id": text}, {"endpoint": "/v1/none"}, {"completion_window": "1h"}):
        asked: Any = {"input_file_id": text, "endpoint": "/v1/chat/completions", "completion_window": "24h"} | changes
        with pytest.raises(openai.BadRequestError):
            client.batches.create(**asked)
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")


def test_a_project_that_keeps_no_texts_has_no_files_and_no_batches(house: House) -> None:
    discreet = client_of(house, other_project(house, "discreet"))
    with pytest.raises(openai.PermissionDeniedError, match="keeps no texts"):
        upload(discreet, [line(1, "hi")])
    with pytest.raises(openai.PermissionDeniedError, match="keeps no texts"):
        discreet.batches.create(input_file_id="file-x", endpoint="/v1/chat/completions", completion_window="24h")
