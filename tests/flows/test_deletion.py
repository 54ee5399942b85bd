"""What deletion reaches in a real house: a word that was said everywhere is nowhere any more, with a key and without."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
import zstandard
from psycopg import sql
from psycopg.rows import tuple_row

from loopwright.client import Client
from loopwright.kit.keyring import new_key
from tests.flows.house import House, wait
from tests.flows.test_encryption import checkpoint, holders

WORD: Final = "Floccinaucinihil"
CONFIG = """
server: {workers: 1}
monitoring:
  drift: {every: 1s, settle: 0.5s}
  canaries: {every: 1s}
  alerts: {every: 1s}
providers:
  s:
    kind: scripted
    args: {answers: [{match: "^fail", error: {code: upstream_refused, message: "will not say WORD"}}], otherwise: "WORD: $last"}
models:
  s: {provider: s, price: {input: 1.0, output: 2.0}, cache: {exact: {any: true}}}
  vectors: {provider: s, operations: [embeddings]}
tasks:
  t:
    model: s
    monitor: {evaluators: [language, sentiment], share: 1.0}
    variants: {plain: {messages: [{role: user, content: "{{ input }}"}], memory: {k: 2}}}
exports:
  nowhere: {kind: otlp, texts: true, args: {url: "http://127.0.0.1:9"}}
""".replace("WORD", WORD)
MAGIC: Final = b"\x28\xb5\x2f\xfd"
DICTIONARIES: Final = (("loopwright.calls", "boilerplate.txt"), ("loopwright.telemetry", "names.txt"))


@pytest.fixture(scope="module", params=["plain", "sealed"])
def house(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("gone")
    house = House(folder, config=CONFIG)
    if request.param == "sealed":
        house = House(folder, config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=new_key("k1"))
    house.start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def database(house: House) -> psycopg.Connection[tuple[Any, ...]]:
    lines = (house.folder / ".loopwright" / "pg" / "postmaster.pid").read_text().splitlines()
    url = f"postgresql://loopwright@/loopwright?host={lines[4].strip()}&port={lines[3]}"
    return psycopg.connect(url, autocommit=True, row_factory=tuple_row)


def opened(value: object) -> Iterator[bytes]:
    """All that can be read of a value of the database by whoever has the program, but no key."""
    if not isinstance(value, bytes):
        yield json.dumps(value, default=str, ensure_ascii=False).encode()
        return
    yield value
    at = value.find(MAGIC)
    while at >= 0:
        for room, name in (("", ""), *DICTIONARIES):
            raw = resources.files(room).joinpath(name).read_bytes() if room else b""
            known = zstandard.ZstdCompressionDict(raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if raw else None
            try:
                yield zstandard.ZstdDecompressor(dict_data=known).decompress(value[at:], max_output_size=1 << 24)
            except zstandard.ZstdError:
                continue
        at = value.find(MAGIC, at + 1)


def tables_with(house: House, word: str = WORD) -> dict[str, int]:
    """Every table of the database in which the word can be read, and in how many rows."""
    found: dict[str, int] = {}
    with database(house) as connection:
        names = connection.execute(
            "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (name,) in names:
            rows = connection.execute(sql.SQL("select * from {}").format(sql.SQL(name)))
            hits = sum(any(word.encode() in each for value in row for each in opened(value)) for row in rows)
            if hits:
                found[name] = hits
    return found


def ask(house: House, text: str, model: str = "s", **said: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "loopwright": said}
    return house.api("POST", "/v1/chat/completions", json=body)


def say(house: House, call: str) -> None:
    """All that can be said of a call."""
    score = {"name": "helpful", "value": 0.5, "explanation": f"because {WORD}"}
    assert house.api("POST", f"/api/calls/{call}/scores", json=score).status_code == 201
    correction = {"output": f"rather {WORD}", "note": WORD}
    assert house.api("POST", f"/api/calls/{call}/correction", json=correction).status_code == 201


def tell(house: House, trace: str, **about: str) -> None:
    """A trace of another program: a step, a call of a model within it, and what it logged."""
    now = time.time_ns()
    common = [{"key": name, "value": {"stringValue": value}} for name, value in about.items()]

    def span(number: str, name: str, parent: str = "", **attributes: str) -> dict[str, Any]:
        told = [{"key": name, "value": {"stringValue": value}} for name, value in attributes.items()] + common
        event = {"name": "exception", "timeUnixNano": str(now), "attributes": told}
        return {
            "traceId": trace, "spanId": number * 16, "parentSpanId": parent and parent * 16, "name": name, "kind": 1,
            "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 10**6), "attributes": told, "events": [event],
            "status": {"code": 2, "message": f"broke at {WORD}"},
        }  # fmt: skip

    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": WORD}]}])
    spans = [
        span("a", "step", **{"input.value": WORD, "output.value": WORD}),
        span("b", "chat m", "a", **{"gen_ai.operation.name": "chat", "gen_ai.request.model": "m",
             "gen_ai.input.messages": asked, "gen_ai.output.messages": asked}),
    ]  # fmt: skip
    record = {"timeUnixNano": str(now), "traceId": trace, "spanId": "a" * 16, "body": {"stringValue": f"saw {WORD}"}}
    for path, body in (
        ("/otlp/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}),
        ("/otlp/v1/logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}),
    ):
        assert house.api("POST", path, json=body).status_code == 200


def watched(house: House, client: Client) -> None:
    """A canary whose answers hold the word, and a watch that knows calls."""
    rows = house.folder / "pinned.jsonl"
    rows.write_text("".join(json.dumps({"input": f"Question {at}"}) + "\n" for at in range(4)))
    client.import_dataset("pinned", rows, columns=json.dumps({"inputs": ["input"]}))
    made = house.api("POST", "/api/canaries", json={"name": "daily", "dataset": "pinned@1", "model": "s", "repeats": 3})
    assert made.status_code == 201, made.text
    client.watch("s", reference=50, embedder="vectors")
    number = made.json()["canary"]["id"]
    wait(lambda: house.api("GET", f"/api/canaries/{number}").json()["canary"]["state"] == "quiet")


def test_a_word_that_was_said_everywhere_is_nowhere(house: House, client: Client) -> None:
    kept = ask(house, "this one stays").headers["x-loopwright-call-id"]
    single = ask(house, f"once {WORD}").headers["x-loopwright-call-id"]
    talked = ask(house, f"in a session {WORD}", "task/t", session="talk").headers["x-loopwright-call-id"]
    tagged = ask(house, f"with a tag {WORD}", "task/t", tags={"team": "x"}).headers["x-loopwright-call-id"]
    for number in range(12):
        assert ask(house, f"fail {WORD} {number}", tags={"team": "x"}).status_code >= 400
    tell(house, "0a" * 16, **{"session.id": "talk"})
    tell(house, "0b" * 16, **{"loopwright.tag.team": "x"})
    house.settled()
    for call in (single, talked, tagged):
        say(house, call)
    made = house.api(
        "POST", "/api/reviews", json={"name": "look", "criteria": ["ok:1-5"], "calls": {"session": "talk"}}
    )
    assert made.status_code in (200, 201), made.text
    watched(house, client)
    wait(lambda: {"language", "sentiment"} <= {each["name"] for each in client.scores(talked)})
    wait(lambda: house.api("GET", "/api/alerts").json()["alerts"])
    wait(lambda: counted(house, "drift_points") > 0)
    house.settled()
    sealed = house.api("GET", "/api/encryption").json()["on"]
    before = tables_with(house)
    wanted = {"feedback_corrections", "feedback_scores", "memory_entries", "review_items", "canary_answers"}
    if sealed:
        assert before == {}
        checkpoint(house)
        assert holders(house.folder) == []
    else:  # the search finds what is there
        assert wanted <= before.keys(), before
        assert any(name.startswith("call_payloads_") for name in before)
        assert any(name.startswith("span_texts_") for name in before)
    assert house.calls(text=WORD.lower())

    assert client.delete_call(single) == 1
    assert client.delete_calls(session="talk") >= 2
    assert client.delete_calls(tag="team:x") >= 14
    for found in house.calls(without="session"):
        if any(name.startswith("loopwright.canary") for name in found["tags"]):
            client.delete_call(found["id"])
    assert client.delete_call(kept) == 1  # its answer held it, too
    assert house.calls() == []
    assert tables_with(house) == {}
    for alert in house.api("GET", "/api/alerts").json()["alerts"]:  # they stay; what they are about does not
        assert house.api("GET", f"/api/calls?{alert['calls_query']}").json()["calls"] == []
    assert house.calls(text=WORD.lower()) == []
    wait(lambda: house.api("GET", "/api/traces").json()["traces"] == [])  # they are summed up behind
    for table in ("calls", "spans", "span_logs", "feedback_calls", "drift_points", "canary_answers", "monitor_due"):
        assert (table, counted(house, table)) == (table, 0)
    if sealed:
        checkpoint(house)
        assert holders(house.folder) == []
    logs = [path for path in (house.folder / ".loopwright" / "logs").rglob("*") if path.is_file()]
    assert [path.name for path in logs if _holds(path)] == []


def counted(house: House, table: str) -> int:
    """Rows of a table."""
    with database(house) as connection:
        row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
        assert row is not None
        return int(row[0])


def _holds(path: Path) -> bool:
    return WORD.encode() in path.read_bytes()
