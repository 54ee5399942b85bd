"""Reviews in a real house: who gets what, blind; what they agree on; where items come from."""

import json
import random
from collections.abc import Iterator
from typing import Any

import krippendorff
import numpy as np
import pytest

from loopwright import Client
from loopwright.core.errors import NotFound
from tests.flows.house import House, wait
from tests.flows.saying import CONFIG, key_of


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("reviews"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


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


def test_items_of_an_evaluation_go_with_their_calls(house: House, client: Client) -> None:
    [made] = [each for each in client.evaluations()["evaluations"] if each["dataset"] == "asked@1"]
    row = client.evaluation_results(made["id"])["results"][1]
    gone = {answer["target"]: answer["call_id"] for answer in row["answers"]}
    assert client.delete_call(gone["other"]) == 1
    assert client.review("of one target")["progress"]["items"] == 2
    assert client.review("of both")["progress"]["items"] == 2
    again = client.create_review("once more", criteria=["ok:yes,no"], evaluation=made["id"], targets=["other"])
    assert (again["review"]["progress"]["items"], again["left_out"]) == (2, 1)
    whole = client.create_review("the rest", criteria=["ok:yes,no"], evaluation=made["id"], targets=["fake"])
    assert whole["review"]["progress"]["items"] == 3
