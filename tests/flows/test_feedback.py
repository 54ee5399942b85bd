"""Feedback in a real house: right after an answer, over REST, command line and Python; kept, sealed, forgotten."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import krippendorff
import numpy as np
import pytest
from openai import OpenAI

from loopwright import Client
from loopwright.core.errors import NotFound, Refused
from loopwright.kit.keyring import new_key
from tests.flows.house import House, wait
from tests.flows.test_encryption import checkpoint, holders

CONFIG = """
providers:
  fake: {kind: scripted, args: {otherwise: "said: $last"}}
models:
  fake: {provider: fake, price: {input: 1.0, output: 2.0}}
  other: {provider: fake}
privacy: {projects: {discreet: {store: false}}}
"""
KEYS = [new_key(name) for name in ("k1", "k2")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("feedback"), config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=KEYS[0]).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with Client(house.url, house.key) as client:
        yield client


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


def test_feedback_right_after_an_answer_finds_its_call(house: House, client: Client) -> None:
    for stream in (False, True):
        for at in range(3):
            call_id = ask(house, f"hello {at}", stream=stream)
            assert client.score(call_id, "helpful", value=0.5)["call_id"] == call_id
            assert client.correct(call_id, "better")["latest"] is True


def test_scores_come_from_code_judges_and_people_and_each_may_change_their_mind(house: House, client: Client) -> None:
    call_id = ask(house, "score me")
    client.score(call_id, "helpful", value=0.25, explanation="too short", author="ann")
    client.score(call_id, "helpful", value=0.75, author="bob")
    client.score(call_id, "helpful", label="somewhat", source="judge", author="judge-7")
    client.score(call_id, "helpful", passed=True, source="code")
    client.score(call_id, "helpful", value=1.0, author="ann")
    found = {(each["source"], each["author"]): each for each in client.scores(call_id)}
    assert len(found) == 4
    assert found["person", "ann"]["value"] == 1.0
    assert found["person", "ann"]["explanation"] == ""
    assert found["judge", "judge-7"]["label"] == "somewhat"
    assert found["code", "admin"]["passed"] is True


def test_the_latest_correction_counts_and_all_are_kept(house: House, client: Client) -> None:
    call_id = ask(house, "correct me")
    client.correct(call_id, "first", author="ann", note="why not")
    client.correct(call_id, {"answer": [1, 2, {"deep": None}]}, author="bob")
    found = client.correction(call_id)
    assert found["correction"]["output"] == {"answer": [1, 2, {"deep": None}]}
    assert [(each["author"], each["latest"], each["note"]) for each in found["history"]] == [
        ("bob", True, ""),
        ("ann", False, "why not"),
    ]
    others = [ask(house, f"another {at}") for at in range(3)]
    for other in others:
        client.correct(other, "x")
    first = client.corrections(limit=2)
    assert [each["call_id"] for each in first["corrections"]] == [others[2], others[1]]
    second = client.corrections(limit=2, before=first["next"])
    assert [each["call_id"] for each in second["corrections"]] == [others[0], call_id]


def test_another_project_sees_nothing(house: House, client: Client) -> None:
    call_id = ask(house, "mine")
    client.correct(call_id, "ours alone")
    client.create_review("ours alone", criteria=["ok:yes,no"], items=[{"question": "q", "answer": "a"}])
    with Client(house.url, key_of(house, "stranger", "strangers")) as stranger:
        with pytest.raises(NotFound):
            stranger.score(call_id, "helpful", value=1)
        with pytest.raises(NotFound):
            stranger.correct(call_id, "theirs")
        with pytest.raises(NotFound):
            stranger.correction(call_id)
        with pytest.raises(NotFound):
            stranger.review("ours alone")
        assert stranger.corrections()["corrections"] == []
        assert stranger.reviews()["reviews"] == []


def test_where_no_text_is_kept_no_correction_is(house: House) -> None:
    for key, quiet in ((key_of(house, "quiet", "discreet"), False), (key_of(house, "loud"), True)):
        call_id = ask(house, "do not keep this", key=key, quiet=quiet)
        with Client(house.url, key) as client:
            with pytest.raises(Refused, match="only metadata is kept"):
                client.correct(call_id, "a text of it")
            with pytest.raises(Refused, match="only metadata is kept"):
                client.score(call_id, "helpful", value=1, explanation="it said: do not keep this")
            assert client.score(call_id, "helpful", value=1)["value"] == 1.0


def test_whoever_deletes_a_call_deletes_what_was_said_of_it(house: House, client: Client) -> None:
    one = ask(house, "delete me")
    two = ask(house, "and me", loopwright={"session": "gone", "tags": {"batch": "gone"}})
    three = ask(house, "me too", loopwright={"tags": {"of": "gone:1"}})
    for call_id in (one, two, three):
        client.score(call_id, "helpful", value=1)
        client.correct(call_id, f"of {call_id}")
    made = client.create_review("to be deleted", criteria=["ok:yes,no"], calls={"session": "gone"}, raters=1)
    review = made["review"]["id"]
    assert made["review"]["progress"]["items"] == 1
    turn = house.api("POST", f"/api/reviews/{review}/next").json()["turn"]
    assert turn["question"] == "and me"
    assert house.api("POST", f"/api/reviews/{review}/items/{turn['item']}", json={"labels": {"ok": "yes"}}).is_success
    assert client.delete_call(one) == 1
    assert client.delete_calls(session="gone") == 1
    assert client.delete_calls(tag="of:gone:1") == 1
    said = {each["call_id"] for each in client.corrections(limit=1000)["corrections"]}
    assert not said & {one, two, three}
    assert client.review(review)["progress"]["items"] == 0
    with pytest.raises(NotFound):
        client.score(one, "helpful", value=1)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "helpful"},
        {"name": "no name!", "value": 1},
        {"name": "x" * 81, "value": 1},
        {"name": "x", "value": 1e300},
        {"name": "x", "label": "two\nlines"},
        {"name": "x", "label": "\x00"},
        {"name": "x", "value": 1, "author": "\ud800"},
        {"name": "x", "value": 1, "explanation": "\ud800"},
        {"name": "x", "value": 1, "source": "ghost"},
        {"name": "x", "value": 1, "more": True},
    ],
)
def test_a_score_that_is_none_is_refused(house: House, body: dict[str, Any]) -> None:
    call_id = ask(house, "bad scores")
    answer = house.api("POST", f"/api/calls/{call_id}/scores", content=json.dumps(body))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("output", [None, "", "x" * 200_001, {"a": "\ud800"}, "\ud800", 10**40])
def test_a_correction_that_is_none_is_refused(house: House, output: Any) -> None:
    call_id = ask(house, "bad corrections")
    answer = house.api("POST", f"/api/calls/{call_id}/correction", content=json.dumps({"output": output}))
    assert answer.status_code == 400, answer.text
    for unknown in ("nonsense", "0197a000-0000-7000-8000-000000000000", "%00"):
        assert house.api("POST", f"/api/calls/{unknown}/correction", json={"output": "x"}).status_code == 404


def test_the_command_line_scores_corrects_and_reviews(house: House, client: Client) -> None:
    call_id = ask(house, "by command", loopwright={"session": "commanded"})
    done = run(house, "score", call_id, "helpful=0.8", "tone=friendly", "grounded=yes", "--author", "ann")
    assert done.returncode == 0, done.stderr
    said = {each["name"]: each for each in client.scores(call_id)}
    assert (said["helpful"]["value"], said["tone"]["label"], said["grounded"]["passed"]) == (0.8, "friendly", True)
    assert run(house, "score", call_id, "nothing").returncode == 2
    right = house.folder / "right.txt"
    right.write_text("what it should have been\n", encoding="utf-8")
    assert run(house, "correct", call_id, "--file", str(right), "--note", "typo").returncode == 0
    assert run(house, "correct", call_id, "--output", '{"n": 1}', "--parse").returncode == 0
    assert [each["output"] for each in client.correction(call_id)["history"]] == [
        {"n": 1},
        "what it should have been\n",
    ]
    assert run(house, "correct", call_id).returncode == 2
    made = run(
        house, "reviews", "create", "by command", "-c", "helpful:1-5=Does it help?", "-c", "true:yes,no",
        "--session", "commanded", "--raters", "1", "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    review = json.loads(made.stdout)["review"]
    assert [each["level"] for each in review["criteria"]] == ["ordinal", "nominal"]
    turn = house.api("POST", f"/api/reviews/{review['id']}/next").json()["turn"]
    labels = {"labels": {"helpful": "4", "true": "yes"}, "note": "fine"}
    assert house.api("POST", f"/api/reviews/{review['id']}/items/{turn['item']}", json=labels).is_success
    assert "by command" in run(house, "reviews", "list").stdout
    assert "Does it help?" in run(house, "reviews", "show", "by command").stdout
    assert "not known" in run(house, "reviews", "agreement", "by command").stdout
    rows = [json.loads(line) for line in run(house, "reviews", "export", "by command").stdout.splitlines()]
    assert [(row["call_id"], row["criterion"], row["rater"], row["label"]) for row in rows] == [
        (call_id, "helpful", "admin", "4"),
        (call_id, "true", "admin", "yes"),
    ]
    assert rows[0]["value"] == 4.0
    file = house.folder / "labels.jsonl"
    assert run(house, "reviews", "export", "by command", "-c", "true", "-o", str(file)).returncode == 0
    [line] = [json.loads(each) for each in file.read_text().splitlines()]
    assert (line["input"], line["answer"], line["human"]) == ("by command", "said: by command", ["yes"])


def rate_all(house: House, key: str, review: str, say: Any) -> int:
    """One rater takes item after item until nothing is left for them; how many."""
    rated = 0
    while (turn := house.api("POST", f"/api/reviews/{review}/next", key=key).json()["turn"]) is not None:
        said = say(turn)
        path = f"/api/reviews/{review}/items/{turn['item']}"
        if said is None:
            assert house.api("POST", f"{path}/skip", key=key).is_success
            continue
        answer = house.api("POST", path, key=key, json={"labels": said})
        assert answer.is_success, answer.text
        rated += 1
    return rated


def test_two_of_three_raters_see_each_item_and_alpha_is_krippendorffs(house: House, client: Client) -> None:
    chance = random.Random(7)
    items = [{"question": f"q {at}", "answer": f"a {at}", "example_id": f"e-{at}"} for at in range(24)]
    made = client.create_review(
        "three raters", criteria=["helpful:1-5", "kind:kind,curt,rude", "true:no,yes"], items=items
    )
    review = made["review"]["id"]
    keys = {name: key_of(house, name) for name in ("ann", "bea", "cyd")}
    said: dict[tuple[str, str], dict[str, str]] = {}

    def says(name: str, most: int) -> Any:
        def say(turn: dict[str, Any]) -> dict[str, str] | None:
            if len([1 for rater, _ in said if rater == name]) >= most:
                return None
            true = int(turn["question"].split()[1]) % 5
            labels = {
                "helpful": str(min(max(true + 1 + chance.choice((-1, 0, 0, 1)), 1), 5)),
                "kind": ("kind", "curt", "rude")[(true + chance.choice((0, 0, 1))) % 3],
                "true": ("no", "yes")[true % 2],
            }
            said[name, turn["question"]] = labels
            return labels

        return say

    assert rate_all(house, keys["ann"], review, says("ann", 15)) == 15
    assert rate_all(house, keys["bea"], review, says("bea", 99)) == 24
    refused = house.api("GET", f"/api/reviews/{review}/agreement", key=keys["ann"])
    assert refused.status_code == 403  # she might still be rating
    assert rate_all(house, keys["cyd"], review, says("cyd", 99)) == 9
    progress = client.review(review)["progress"]
    assert (progress["done"], progress["ratings"], progress["complete"]) == (24, 48, True)
    found = house.api("GET", f"/api/reviews/{review}/agreement", key=keys["ann"]).json()["agreement"]
    orders = {"helpful": ["1", "2", "3", "4", "5"], "kind": ["kind", "curt", "rude"], "true": ["no", "yes"]}
    for each in found:
        order = orders[each["criterion"]]
        table = np.full((3, 24), np.nan)
        for (name, question), labels in said.items():
            value = order.index(labels[each["criterion"]])
            table[list(keys).index(name), int(question.split()[1])] = value
        expected = krippendorff.alpha(reliability_data=table, level_of_measurement=each["level"])
        assert each["alpha"] == pytest.approx(expected, abs=1e-9)
        assert each["low"] <= each["alpha"] <= each["high"]
        assert each["items"] == 24
    assert next(each for each in found if each["criterion"] == "true")["alpha"] == pytest.approx(1.0)
    lines = [json.loads(line) for line in b"".join(client.export_review(review, criterion="kind")).splitlines()]
    assert len(lines) == 24
    for line in lines:
        assert len(line["human"]) == 3
        assert [bool(label) for label in line["human"]].count(True) == 2
        by_hand = [said.get((name, line["input"]), {}).get("kind") for name in keys]
        assert line["human"] == by_hand


def test_pairs_are_blind_sides_by_chance_and_told_apart_in_the_export(house: House, client: Client) -> None:
    items = [
        {
            "question": f"q {at}",
            "answer": f"from one {at}",
            "other": f"from two {at}",
            "answers": {"a": "one", "b": "two"},
        }
        for at in range(16)
    ]
    review = client.create_review("pairs", mode="pairwise", items=items)["review"]["id"]
    keys = [key_of(house, name) for name in ("left", "right")]
    firsts: list[dict[str, bool]] = []

    def prefers_one(turn: dict[str, Any]) -> dict[str, str]:
        assert "one" not in json.dumps({name: turn[name] for name in turn if name not in ("answers", "question")})
        first = turn["answers"][0].startswith("from one")
        firsts[-1][turn["question"]] = first
        return {"preference": "left" if first else "right"}

    for key in keys:
        firsts.append({})
        assert rate_all(house, key, review, prefers_one) == 16
    assert 0 < sum(firsts[0].values()) < 16
    assert all(firsts[0][question] is not firsts[1][question] for question in firsts[0])
    rows = [json.loads(line) for line in b"".join(client.export_review(review)).splitlines()]
    assert {row["label"] for row in rows} == {"a"}
    assert {row["answers"]["a"] for row in rows} == {"one"}
    assert {row["shown"] for row in rows} == {"ab", "ba"}
    bad = house.api("POST", f"/api/reviews/{review}/undo", key=keys[0]).json()["turn"]
    for labels in ({"preference": "a"}, {"preference": "middle"}, {}, {"other": "left"}):
        answer = house.api("POST", f"/api/reviews/{review}/items/{bad['item']}", key=keys[0], json={"labels": labels})
        assert answer.status_code == 400, answer.text


def test_skip_and_undo(house: House, client: Client) -> None:
    items = [{"question": f"q {at}", "answer": "a"} for at in range(3)]
    review = client.create_review("undone", criteria=["ok:yes,no"], items=items)["review"]["id"]

    def post(path: str, **body: Any) -> dict[str, Any]:
        answer = house.api("POST", f"/api/reviews/{review}/{path}", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    assert house.api("POST", f"/api/reviews/{review}/undo").status_code == 409
    first = post("next")["turn"]
    assert post("next")["turn"] == first
    post(f"items/{first['item']}", labels={"ok": "yes"}, note="sure")
    second = post("next")["turn"]
    assert second["item"] != first["item"]
    post(f"items/{second['item']}/skip")
    third = post("next")["turn"]
    assert post("undo")["turn"]["item"] == second["item"]
    back = post("undo")["turn"]
    assert (back["item"], back["labels"], back["note"]) == (first["item"], {"ok": "yes"}, "sure")
    assert post("next")["turn"]["item"] == first["item"]
    post(f"items/{first['item']}", labels={"ok": "no"})
    post(f"items/{post('next')['turn']['item']}", labels={"ok": "no"})
    assert post("next")["turn"]["item"] == third["item"]
    answer = house.api("POST", f"/api/reviews/{review}/items/{10**12}/skip")
    assert answer.status_code == 404
    assert house.api("DELETE", f"/api/reviews/{review}").json() == {"deleted": 1}
    with pytest.raises(NotFound):
        client.review(review)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a/b"},
        {"criteria": []},
        {"criteria": ["nothing"]},
        {"criteria": ["one:1-1"]},
        {"criteria": ["ok:yes,no", "ok:yes,no"]},
        {"criteria": [{"name": "x", "answers": ["a", "b"], "level": "ratio"}]},
        {"criteria": ["many:" + ",".join(map(str, range(10)))]},
        {"items": []},
        {"items": [{"question": "q", "answer": "\ud800"}]},
        {"items": [{"question": "q", "answer": "a", "other": "b"}]},
        {"mode": "pairwise", "criteria": []},
        {"calls": {}},
        {"dataset": "nobody"},
        {"raters": 10},
        {"answers": "a,b"},
    ],
)
def test_a_review_that_makes_no_sense_is_refused(house: House, change: dict[str, Any]) -> None:
    body = {"name": "wrong", "criteria": ["ok:yes,no"], "items": [{"question": "q", "answer": "a"}], **change}
    answer = house.api("POST", "/api/reviews", content=json.dumps(body))
    assert answer.status_code == 400, answer.text


def test_a_dataset_is_reviewed(house: House, client: Client) -> None:
    rows = [{"id": f"e{at}", "inputs": {"text": f"q {at}", "x": f"x {at}", "y": f"y {at}"}} for at in range(3)]
    raw = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    sent = house.api("POST", "/api/datasets/pairs-of/import", files={"file": ("pairs.jsonl", raw)})
    assert sent.is_success, sent.text
    review = client.create_review("of a dataset", mode="pairwise", dataset="pairs-of", answers="x,y")["review"]
    assert review["progress"]["items"] == 3
    turn = house.api("POST", f"/api/reviews/{review['id']}/next").json()["turn"]
    assert turn["question"] == "q 0"
    assert sorted(turn["answers"]) == ["x 0", "y 0"]


def test_the_answers_of_an_evaluation_are_reviewed(house: House, client: Client) -> None:
    raw = b"".join(
        json.dumps({"inputs": {"q": f"ask {at}"}, "expected": f"said: ask {at}"}).encode() + b"\n" for at in range(3)
    )
    assert house.api("POST", "/api/datasets/asked/import", files={"file": ("asked.jsonl", raw)}).is_success
    targets = [
        {"name": name, "model": name, "messages": [{"role": "user", "content": "{{ q }}"}]}
        for name in ("fake", "other")
    ]
    body = {"dataset": "asked", "evaluators": ["exact_match"], "targets": targets}
    made = house.api("POST", "/api/evaluations", json=body).json()
    wait(lambda: not house.api("GET", f"/api/evaluations/{made['id']}").json()["open"])
    single = client.create_review("of one target", criteria=["ok:yes,no"], evaluation=made["id"], targets=["other"])
    pairs = client.create_review("of both", mode="pairwise", evaluation=made["id"], targets=["fake", "other"])
    assert single["review"]["progress"]["items"] == pairs["review"]["progress"]["items"] == 3
    turn = house.api("POST", f"/api/reviews/{single['review']['id']}/next").json()["turn"]
    assert (turn["answers"], turn["reference"]) == ([f"said: {turn['question']}"], f"said: {turn['question']}")
    for wrong in ({"targets": ["nobody"]}, {"targets": ["fake", "other"]}, {"evaluation": "eval_none"}):
        said = {"name": "wrong", "criteria": ["ok:yes,no"], "evaluation": made["id"], **wrong}
        assert house.api("POST", "/api/reviews", json=said).status_code in (400, 404)


def test_what_is_said_is_sealed_and_rotates(house: House, client: Client) -> None:
    word = "Hippopotomonstrosesquip"
    call_id = ask(house, "seal this", loopwright={"session": "sealed"})
    client.score(call_id, "helpful", value=1, explanation=f"it says {word}")
    client.correct(call_id, f"{word} is right", note=word)
    items = [{"question": word, "answer": word, "reference": word}]
    review = client.create_review("sealed", criteria=["ok:yes,no"], items=items)["review"]["id"]
    turn = house.api("POST", f"/api/reviews/{review}/next").json()["turn"]
    said = {"labels": {"ok": "yes"}, "note": word}
    assert house.api("POST", f"/api/reviews/{review}/items/{turn['item']}", json=said).is_success
    checkpoint(house)
    assert holders(house.folder, word) == []
    assert house.stop() == 0
    again = House(house.folder, config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=",".join(reversed(KEYS))).start()
    try:
        done = run(again, "encryption", "rotate", "--hurry", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["left"] == 0
    finally:
        assert again.stop() == 0
    last = House(house.folder, config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=KEYS[1]).start()
    house.url, house._process = last.url, last._process
    with Client(house.url, house.key) as later:
        assert later.correction(call_id)["correction"]["output"] == f"{word} is right"
        assert later.scores(call_id)[0]["explanation"] == f"it says {word}"
        rows = [json.loads(line) for line in b"".join(later.export_review(review, texts=True)).splitlines()]
    assert (rows[0]["note"], rows[0]["question"]) == (word, word)
