"""What may be asked of a reranking, and what is read out of upstreams' answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loopwright.core.errors import BadRequest, UpstreamBroke
from loopwright.core.money import Usage
from loopwright.kit import reranking

GOOD: dict[str, Any] = {"model": "m", "query": "cats", "documents": ["a cat", {"text": "a dog"}]}


def raw(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def test_texts_and_objects_are_both_documents() -> None:
    reranking.read(raw())
    asked = reranking.asked(json.loads(raw(top_n=9, return_documents=True)))
    assert asked.texts == ("a cat", "a dog")
    assert asked.top_n == 2
    assert asked.returned


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"query": " "}, "query"),
        ({"query": None}, "query"),
        ({"query": "x" * 100_001}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "a cat"}, "documents"),
        ({"documents": ["x"] * 4}, "documents"),
        ({"documents": ["x", ""]}, "documents[1]"),
        ({"documents": ["x", {"text": "\n"}]}, "documents[1]"),
        ({"documents": ["x", {"title": "y"}]}, "documents[1].text"),
        ({"documents": ["x" * 1_000_001]}, "documents[0]"),
        ({"documents": [1]}, "documents[0]"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": 1.5}, "top_n"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"model": ""}, "model"),
        ({"loopwright": {"session": ""}}, "loopwright.session"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        reranking.read(raw(**changed), most=3)
    assert (caught.value.param or "").replace("[...]", "[1]") in (param, param.replace("[0]", "[1]"))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": "m", "query": "\xff", "documents": ["x"]}'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        reranking.read(body)


def test_the_best_come_first_and_equals_in_their_order() -> None:
    asked = reranking.asked({**GOOD, "documents": ["a", "b", "c", "d"], "top_n": 3})
    ranked = reranking.ranked({0: 0.1, 1: 0.5, 2: 0.5, 3: 0.9}, asked)
    assert [result["index"] for result in ranked] == [3, 1, 2]
    assert "document" not in ranked[0]


@pytest.mark.parametrize(
    "answer",
    [
        {"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0}]},
        {"data": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.0}]},
        [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.0}],
    ],
)
def test_three_forms_of_answer_are_read(answer: object) -> None:
    assert reranking.scores_in(answer, 2) == {1: 0.5, 0: 0.0}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        {},
        {"results": []},
        {"results": ["x"]},
        {"results": [{"index": 2, "relevance_score": 1}]},
        {"results": [{"index": -1, "relevance_score": 1}]},
        {"results": [{"index": True, "relevance_score": 1}]},
        {"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]},
        {"results": [{"index": 0}]},
        {"results": [{"index": 0, "relevance_score": True}]},
        {"results": [{"index": 0, "relevance_score": float("inf")}]},
    ],
)
def test_what_is_no_answer_broke(answer: object) -> None:
    with pytest.raises(UpstreamBroke):
        reranking.scores_in(answer, 2)


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"usage": {"total_tokens": 7}}, Usage(input=7)),
        ({"usage": {"prompt_tokens": 5, "total_tokens": 7}}, Usage(input=5)),
        ({"meta": {"tokens": {"input_tokens": 9}, "billed_units": {"search_units": 1}}}, Usage(input=9)),
        ({"meta": {"billed_units": {"search_units": 1}}}, None),
        ({"usage": {"total_tokens": "many"}}, None),
        ([], None),
    ],
)
def test_usage_is_read_where_it_is_told(answer: object, usage: Usage | None) -> None:
    assert reranking.usage_in(answer) == usage


def test_what_nobody_counted_is_estimated() -> None:
    asked = reranking.asked({**GOOD, "query": "1234", "documents": ["12345678", "1234"]})
    assert asked.estimate() == Usage(input=5, estimated=True)
