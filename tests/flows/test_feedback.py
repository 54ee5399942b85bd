"""Feedback in a real house: right after an answer, over REST, command line and Python; kept, sealed, forgotten."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from loopwright import Client
from loopwright.core.errors import NotFound, Refused
from loopwright.kit.keyring import new_key
from tests.flows.house import House
from tests.flows.saying import CONFIG, ask, key_of, run
from tests.flows.test_encryption import checkpoint, holders

KEYS = [new_key(name) for name in ("k1", "k2")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("feedback"), config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=KEYS[0]).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


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
    house.settled()
    assert run(house, "score", "last", "tone=plain").returncode == 0
    assert {each["name"]: each["label"] for each in client.scores(call_id)}["tone"] == "plain"
    assert run(house, "correct", "last", "--output", "the newest").returncode == 0
    assert client.correction(call_id)["history"][0]["output"] == "the newest"
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
