"""Rows and objects as documents of their own: which field is what, and what is no record."""

import json

import pytest

from loopwright.documents.limits import Limits
from loopwright.documents.records import Fields, Record, records
from loopwright.documents.unreadable import Unreadable


def taken(data: str, name: str, **fields: str) -> list[Record]:
    return list(records(data.encode(), name, fields=Fields(**fields), limits=Limits(characters=1000)))


def test_fields_that_are_known_by_their_names() -> None:
    row = {
        "_id": "d-1",
        "Title": "One",
        "text": "First.",
        "year": 1999,
        "tags": ["a", "b"],
        "deep": {"x": 1},
        "none": None,
    }
    [record] = taken(json.dumps(row), "x.jsonl")
    assert record == Record(id="d-1", title="One", text="First.", metadata={"year": 1999, "tags": ["a", "b"]})


def test_fields_that_are_named() -> None:
    [record] = taken('{"text": "no", "say": "yes", "head": "H", "nr": 7}', "x.jsonl", text="say", title="head", id="nr")
    assert (record.id, record.title, record.text, record.metadata) == ("7", "H", "yes", {"text": "no"})


def test_a_record_without_a_text_says_all_its_fields() -> None:
    [record] = taken('[{"vendor": "ACME", "total": 3.5, "paid": true}]', "x.json")
    assert record.text == "- vendor: ACME\n- total: 3.5\n- paid: true"
    assert record.id == "1"


def test_rows_of_a_table() -> None:
    found = taken("id;text;kind\na;First;x\n;Second;\n", "x.csv")
    assert [(record.id, record.text, record.metadata) for record in found] == [
        ("a", "First", {"kind": "x"}),
        ("2", "Second", {}),
    ]


def test_lines_keep_their_numbers_and_empty_ones_are_left_out() -> None:
    found = taken('{"text": "a"}\n\n{"text": " "}\nbroken\n{"text": "b"}\n', "x.jsonl")
    assert [(record.id, record.text) for record in found] == [("1", "a"), ("5", "b")]


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        ("plain words", "x.txt", "has no records"),
        ('{"a": 1}', "x.json", "has no records with text"),
        ("broken", "x.jsonl", "has no records with text"),
        ('{"text": "' + "a" * 2000 + '"}', "x.jsonl", "more than 1,000 characters"),
        ("", "x.csv", "is empty"),
    ],
)
def test_what_has_no_records(data: str, name: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        taken(data, name)
