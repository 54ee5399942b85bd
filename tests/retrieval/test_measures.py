"""Measures of rankings: by hand, against the definitions written out, and at their edges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.retrieval.measures import measured

NAMES = st.sampled_from([f"d{number}" for number in range(12)])
RANKING = st.lists(NAMES, max_size=12)
GRADES = st.dictionaries(NAMES, st.integers(-1, 4).map(float), min_size=1).filter(lambda told: max(told.values()) > 0)


def test_one_query_by_hand() -> None:
    found = measured([["a", "x", "b", "y", "c"]], [{"a": 3.0, "b": 2.0, "c": 1.0, "e": 2.0, "x": 0.0}], [3, 5])
    assert found["precision@3"][0] == pytest.approx(2 / 3)
    assert found["recall@3"][0] == pytest.approx(2 / 4)
    assert found["recall@5"][0] == pytest.approx(3 / 4)
    # DCG@3 = 3/log2(2) + 2/log2(4) = 4; the best order is 3, 2, 2: 3 + 2/1.58496 + 2/2 = 5.26186
    assert found["ndcg@3"][0] == pytest.approx(4 / 5.261859507142915)
    assert found["mrr@3"][0] == 1.0
    later = measured([["x", "y", "a"]], [{"a": 1.0}], [2, 3])
    assert (later["mrr@2"][0], later["mrr@3"][0]) == (0.0, pytest.approx(1 / 3))


def test_nothing_found_is_zero_and_all_in_order_is_one() -> None:
    found = measured([[], ["a", "b"]], [{"a": 1.0}, {"a": 2.0, "b": 1.0}], [2])
    assert [found[name].tolist() for name in ("precision@2", "recall@2", "ndcg@2", "mrr@2")] == [[0.0, 1.0]] * 4


def test_a_document_counts_where_it_stands_first() -> None:
    found = measured([["a", "a", "a", "b"]], [{"a": 1.0, "b": 1.0}], [2])
    assert found["precision@2"][0] == 1.0


@settings(max_examples=150, deadline=None)
@given(queries=st.lists(st.tuples(RANKING, GRADES), min_size=1, max_size=5), cutoff=st.integers(1, 14))
def test_every_query_is_as_the_definitions_say(
    queries: Sequence[tuple[list[str], dict[str, float]]], cutoff: int
) -> None:
    found = measured([ranking for ranking, _ in queries], [grades for _, grades in queries], [cutoff, 3])
    for at, (ranking, grades) in enumerate(queries):
        told = written_out(list(dict.fromkeys(ranking)), grades, cutoff)
        for name, value in told.items():
            assert found[f"{name}@{cutoff}"][at] == pytest.approx(value, abs=1e-12), name
            assert 0.0 <= value <= 1.0


def written_out(ranking: list[str], grades: Mapping[str, float], k: int) -> dict[str, float]:
    """The definitions, one query at a time."""
    relevant = {name for name, grade in grades.items() if grade > 0}
    head = ranking[:k]
    hits = [name for name in head if name in relevant]
    gained = sum(max(grades.get(name, 0), 0) / math.log2(at + 2) for at, name in enumerate(head))
    best = sorted((grades[name] for name in relevant), reverse=True)[:k]
    possible = sum(grade / math.log2(at + 2) for at, grade in enumerate(best))
    first = next((at for at, name in enumerate(head, start=1) if name in relevant), None)
    return {
        "precision": len(hits) / k,
        "recall": len(hits) / len(relevant),
        "ndcg": gained / possible,
        "mrr": 0.0 if first is None else 1 / first,
    }


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(BadRequest, match="no relevant"):
        measured([["a"]], [{"a": 0.0}], [5])
    for cutoffs in ([], [0], [201]):
        with pytest.raises(BadRequest, match="cutoffs"):
            measured([["a"]], [{"a": 1.0}], cutoffs)
