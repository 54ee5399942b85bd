"""Searching collections in a real house: REST, the command line, labels, and what is asked oddly."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from loopwright.cli.main import main
from loopwright.client import Client
from loopwright.core.errors import BadRequest, NotFound
from tests.flows.house import House, wait

CONFIG = """
providers:
  fake: {kind: scripted}
models:
  vectors: {provider: fake, model: fake, operations: [embeddings]}
  fake: {provider: fake}
"""
RECORDS = [
    {"id": "leave", "text": "Everybody has thirty days of leave.", "title": "Leave", "metadata": {"year": 2026}},
    {"id": "travel", "text": "Travel by train is paid in full.", "metadata": {"year": 2024}},
]
SECRET = {"id": "pay", "text": "The salary of the board is one million and leave is endless.", "labels": ["board"]}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("searching"), config=CONFIG).start()
    with Client(house.url, house.key) as client:
        client.create_collection("handbook")
        client.add_documents("handbook", records=[*RECORDS, SECRET])
        wait(lambda: client.collection_progress("handbook")["ready"] == 3, 60)
    yield house
    assert house.stop() == 0, house.log.read_text()


def test_passages_come_with_their_place_and_marks(client: Client) -> None:
    found = client.search_collection("handbook", "days of leave", mode="lexical", k=2)
    best = found["passages"][0]
    assert (best["document"], best["title"], best["metadata"]) == ("leave", "Leave", {"year": 2026})
    assert [best["text"][start:end] for start, end in best["marks"]] == ["days", "leave"]
    assert found["queries"] == ["days of leave"]
    assert found["warnings"] == []
    assert "total" in found["took_us"]
    assert (
        client.search_collection("handbook", "train", filter={"year": {"gte": 2025}}, mode="lexical")["passages"] == []
    )
    hybrid = client.search_collection("handbook", "train", explain=True)
    assert {"dense", "lexical", "fused", "fused_rank"} <= hybrid["candidates"][0]["scores"].keys()


def test_a_key_finds_what_its_labels_say(house: House) -> None:
    admin = {"authorization": f"Bearer {house.key}"}
    found = {}
    for name, labels in (("staff", ["staff"]), ("board", ["board"])):
        made = httpx.post(
            f"{house.url}/api/keys", headers=admin, json={"project": "default", "name": name, "labels": labels}
        )
        made.raise_for_status()
        with Client(house.url, made.json()["secret"]) as client:
            passages = client.search_collection("handbook", "endless leave of the board", k=5)["passages"]
            found[name] = {each["document"] for each in passages}
    assert found == {"staff": {"leave", "travel"}, "board": {"leave", "travel", "pay"}}


def test_the_command_shows_passages_and_why(
    house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_URL", house.url)
    monkeypatch.setenv("LOOPWRIGHT_API_KEY", house.key)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["collections", "search", "handbook", *words])
        told = capfd.readouterr()
        return code, told.out, told.err

    code, out, _ = run("days of leave", "--mode", "lexical", "-k", "1", "--explain")
    assert code == 0
    assert "thirty [days] of [leave]" in out
    assert "Candidates" in out
    code, out, _ = run("days of leave", "--json", "--filter", '{"year": 2026}')
    assert (code, [each["document"] for each in json.loads(out)["passages"]]) == (0, ["leave"])
    assert run("x", "--filter", "{")[0] == 2
    code, out, err = run("days of leave", "--rewrite", "nobody")
    assert code == 0
    assert "searched for the question as it is" in err


@pytest.mark.parametrize(
    "body",
    [
        {"query": ""},
        {"query": "\x00"},
        {"query": "x", "k": 0},
        {"query": "x", "mode": 7},
        {"query": "x", "mode": {"a": []}},
        {"query": "x", "filter": {"a": {"gt": [1]}}},
        {"query": "x", "filter": "year = 2026; drop table collections"},
        {"query": "x", "documents": {"a": 1}},
        {"query": "x", "documents": [2**70]},
        {"query": "x", "rerank": {"model": "\ud800"}},
        {"query": "x", "weight": True},
        {"query": "x", "what": 1},
    ],
)
def test_what_cannot_be_is_refused(house: House, body: dict[str, Any]) -> None:
    answer = httpx.post(
        f"{house.url}/api/collections/handbook/search",
        headers={"authorization": f"Bearer {house.key}", "content-type": "application/json"},
        content=json.dumps(body),
    )
    assert 400 <= answer.status_code < 500, answer.text


def test_what_is_not_there_is_said(client: Client) -> None:
    with pytest.raises(NotFound, match="did you mean 'handbook'"):
        client.search_collection("handbok", "x")
    with pytest.raises(BadRequest, match="options"):
        client.change_collection("handbook", search={"moode": "dense"})
    assert client.search_collection("handbook", "a NUL \x00 in leave", mode="lexical")["passages"]
