import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.kit.fitting import NotJson, fitted, one_of, read, tightened
from loopwright.kit.schema import DEEPEST, LARGEST, schema


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        made = {"properties": {"a": made}}
    return made


@pytest.mark.parametrize(
    ("document", "place", "said"),
    [
        ([], "s", "is an object"),
        ({"type": "nonsense"}, "s.type", "nonsense"),
        ({"properties": {"a": {"minLength": -1}}}, "s.properties.a.minLength", "-1"),
        ({"properties": []}, "s.properties", "object"),
        ({"type": 5}, "s.type", "5"),
        ({"required": [["a"]], "properties": {}}, "s.required[0]", "string"),
        ({"pattern": "("}, "s.pattern", "regex"),
        ({"properties": {"a": {"$ref": "#"}}}, "s.properties.a.$ref", "recursive"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "s.items.$ref", "recursive"),
        ({"$ref": "https://example.com/x"}, "s.$ref", "same schema"),
        ({"items": {"$ref": "#/$defs/none"}}, "s.items.$ref", "not there"),
        (nested(DEEPEST + 1), "s" + ".properties.a" * (DEEPEST + 1), "deeper"),
        ({"description": "x" * LARGEST}, "s", "limit"),
        ({"anyOf": [{"minimum": 3, "maximum": 2}]}, "s.anyOf[0]", "minimum 3 is over maximum 2"),
        ({"enum": []}, "s.enum", "empty"),
        ({"type": "string", "enum": [1, 2]}, "s.enum", "no value"),
        ({"type": "boolean", "const": 1}, "s.const", "no value"),
        ({"required": ["x"], "additionalProperties": False}, "s.required", "'x' is required but not allowed"),
        ({"type": "object", "properties": {"x": False}, "required": ["x"]}, "s.required", "not allowed"),
    ],
)
def test_a_schema_nobody_could_keep_is_refused_with_its_place(document: Any, place: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        schema(document, "s")
    assert caught.value.param == place
    assert said in caught.value.message


WORDS = ["type", "properties", "items", "required", "enum", "const", "anyOf", "allOf", "not", "$ref", "$defs", "minimum",
         "maximum", "pattern", "nullable", "additionalProperties", "prefixItems", "exclusiveMinimum", "format"]  # fmt: skip
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["object", "#", "("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WORDS, "a"]), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(WORDS), JUNK, max_size=6))
def test_no_document_raises_anything_but_a_bad_request(document: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        schema(document, "s").problems({"a": [1, "x", None]})


def test_a_schema_that_grows_by_its_references_is_refused() -> None:
    defs: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(1, 20):
        defs[f"d{level}"] = {"properties": {name: {"$ref": f"#/$defs/d{level - 1}"} for name in "abcd"}}
    with pytest.raises(BadRequest, match="once its references are written out"):
        schema({"$ref": "#/$defs/d19", "$defs": defs}, "s")


def test_references_are_written_out() -> None:
    made = schema(
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/n", "description": "d"}, "b": {"$ref": "#/$defs/n", "maximum": 3}},
            "$defs": {"n": {"type": "integer"}},
        },
        "s",
    )
    assert made.document == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "d"},
            "b": {"allOf": [{"type": "integer"}, {"maximum": 3}]},
        },
    }


def test_words_of_other_tongues_are_translated_but_names_are_not() -> None:
    made = schema({"type": "dict", "properties": {"type": {"type": "float"}, "t": {"type": "tuple"}}}, "s")
    assert made.document == {"type": "object", "properties": {"type": {"type": "number"}, "t": {"type": "array"}}}
    assert made.foreign
    old = schema({"type": "integer", "nullable": True, "minimum": 1, "exclusiveMinimum": True}, "s")
    assert old.document == {"type": ["integer", "null"], "exclusiveMinimum": 1}
    assert not schema({"type": "integer"}, "s").foreign


def test_problems_have_places() -> None:
    made = schema({"properties": {"a": {"items": {"properties": {"b": {"type": "integer"}}}}}}, "s")
    assert made.problems({"a": [{}, {"b": "x"}]}) == ['$.a[1].b: "x" is not of type "integer"']
    assert made.problems({"a": [{"b": 1}]}) == []


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        ("3", "integer", 3),
        (" -7 ", "integer", -7),
        ("3.5", "number", 3.5),
        ("true", "boolean", True),
        (3, "string", "3"),
        ("[1]", "array", [1]),
        ('{"a": 1}', "object", {"a": 1}),
    ],
)
def test_a_leaf_is_given_its_type(value: Any, kind: str, wanted: Any) -> None:
    made = schema({"properties": {"x": {"type": kind}}}, "s")
    assert fitted({"x": value}, made) == {"x": wanted}


@pytest.mark.parametrize(
    ("value", "kind"),
    [("3.5", "integer"), ("03", "integer"), ("1e999", "number"), ("yes", "boolean"), (1, "boolean"), (True, "string"),
     (2.5, "string"), (3.5, "integer"), ("-0", "integer"), ("9" * 19, "integer"), ("", "integer")],
)  # fmt: skip
def test_nothing_is_lost(value: Any, kind: str) -> None:
    made = schema({"properties": {"x": {"type": kind}}}, "s")
    assert fitted({"x": value}, made) == {"x": value}
    assert made.problems({"x": value})


def test_null_stands_for_absent_and_branches_are_chosen_by_their_constants() -> None:
    made = schema({"properties": {"a": {"type": "string"}, "b": {"type": ["string", "null"]}}}, "s")
    assert fitted({"a": None, "b": None}, made) == {"b": None}
    branches = [
        {"type": "object", "properties": {"kind": {"const": kind}, "n": {"type": of}}, "required": ["kind"]}
        for kind, of in (("text", "string"), ("count", "integer"))
    ]
    assert fitted({"kind": "count", "n": "3"}, schema({"anyOf": branches}, "s")) == {"kind": "count", "n": 3}


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_a_valid_value_is_never_changed(value: Any) -> None:
    assert fitted(value, schema({}, "s")) == value


@pytest.mark.parametrize("text", ["", "hello", "a - b", "{" * 5000])
def test_what_is_not_json_is_said_so_or_empty(text: str) -> None:
    with contextlib.suppress(NotJson):
        assert read(text) in ({}, [])


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_one_of_always_gives_one(text: str, values: list[str]) -> None:
    assert one_of(text, values) in values
    assert one_of(values[0], values) == values[0].strip() or one_of(values[0], values) in values


def test_the_conclusion_counts_when_several_are_named() -> None:
    assert one_of("Not a refund, so: complaint.", ["refund", "complaint"]) == "complaint"


def test_what_is_tightened_allows_no_more() -> None:
    made = tightened({"properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "string"}}}})
    assert made["properties"]["a"]["maxLength"] == 120
    assert made["properties"]["b"]["maxItems"] == 8
    assert tightened({"type": "string", "maxLength": 500}) == {"type": "string", "maxLength": 500}
