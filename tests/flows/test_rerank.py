"""`POST /v1/rerank` with the local embedding model: ranked, on record, kept to who may."""

from typing import Any

import pytest

from tests.flows.house import House, wait

ASK: dict[str, Any] = {
    "model": "all-minilm-l6-v2",
    "query": "Where do cats sleep?",
    "documents": ["Revenue rose by a tenth.", {"text": "The kitten naps on the sofa."}, "Cats doze in warm places."],
}


def test_documents_come_back_by_relevance_and_the_call_is_on_record(house: House) -> None:
    asked = {**ASK, "top_n": 2, "return_documents": True, "loopwright": {"session": "ranking", "tags": {"a": "b"}}}
    answer = house.api("POST", "/v1/rerank", json=asked)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["index"] for result in results] == [2, 1]
    assert results[0]["document"] == {"text": "Cats doze in warm places."}
    assert results[0]["relevance_score"] > results[1]["relevance_score"]
    assert answer.json()["usage"]["total_tokens"] > 10
    wait(lambda: house.calls(session="ranking"))
    (call,) = house.calls(session="ranking")
    assert (call["operation"], call["outcome"], call["tags"]["a"]) == ("rerank", "ok", "b")
    assert call["input_tokens"] == answer.json()["usage"]["prompt_tokens"]
    assert (call["output_tokens"], call["usage_estimated"]) == (0, False)
    detail = house.api("GET", f"/api/calls/{call['id']}").json()
    assert detail["request"]["documents"] == ASK["documents"]
    assert detail["response"]["results"] == results


def test_only_keys_that_may_and_models_that_can(house: House) -> None:
    made = house.api("POST", "/api/keys", json={"name": "no-ranking", "operations": ["embeddings"]}).json()
    wait(lambda: house.api("POST", "/v1/rerank", key=made["secret"], json=ASK).status_code == 403)
    refused = house.api("POST", "/v1/rerank", key=made["secret"], json=ASK)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    cannot = house.api("POST", "/v1/rerank", json={**ASK, "model": "fake"})
    assert (cannot.status_code, cannot.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["x"] * 1001}, "documents"),
        ({"documents": ["x", " "]}, "documents[1]"),
        ({"top_n": 0}, "top_n"),
    ],
)
def test_bad_input_names_its_place(house: House, changed: dict[str, Any], param: str) -> None:
    answer = house.api("POST", "/v1/rerank", json={**ASK, **changed})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
