"""What was looked up, drawn: whole, and whatever the record says of it."""

from __future__ import annotations

from typing import Any

import pytest

from loopwright.console.retrieved import retrieved

PASSAGE = {
    "id": 1, "collection": "manual", "document_id": 7, "document": "a.md", "title": "Refunds", "heading": "Money",
    "page": 3, "score": 0.5, "scores": {"dense": 0.6}, "suspicion": 0.1, "text": "Within 14 days.", "number": 1,
}  # fmt: skip
TOLD = {
    "outcome": "grounded", "collections": ["manual"], "queries": ["when"], "evidence": 0.8, "threshold": 0.3, "cited": [1],
    "removed_citations": [9], "took_us": {"embed": 1500}, "warnings": ["not ranked again"],
    "candidates": [PASSAGE, {**PASSAGE, "number": None, "left": "tokens"}],
}  # fmt: skip


def test_what_was_shown_and_what_was_left_out() -> None:
    found = retrieved({"loopwright": {"retrieval": TOLD}})
    assert found is not None
    first, second = found["passages"]
    assert (first["title"], first["about"], first["cited"], first["number"]) == ("Refunds", "Money, page 3", True, 1)
    assert second["left"] == "left out: no room for it"
    assert found["took"] == {"embed": 1.5}
    assert found["removed"] == ["9"]


@pytest.mark.parametrize("request_body", [None, {}, {"loopwright": None}, {"loopwright": {"retrieval": []}}, "x"])
def test_nothing_is_drawn_where_nothing_was_looked_up(request_body: Any) -> None:
    assert retrieved(request_body) is None


@pytest.mark.parametrize("name", [*TOLD])
@pytest.mark.parametrize("value", [None, 5, "x", [None], {"a": {}}, [[1]]])
def test_odd_values_are_drawn_as_they_can_be(name: str, value: Any) -> None:
    assert retrieved({"loopwright": {"retrieval": {**TOLD, name: value}}}) is not None


@pytest.mark.parametrize("name", [*PASSAGE])
@pytest.mark.parametrize("value", [None, "x", [None], {"a": {}}])
def test_odd_passages_are_drawn_as_they_can_be(name: str, value: Any) -> None:
    found = retrieved({"loopwright": {"retrieval": {**TOLD, "candidates": [{**PASSAGE, name: value}]}}})
    assert found is not None
    assert len(found["passages"]) == 1
