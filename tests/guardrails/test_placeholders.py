import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.guardrails.placeholders import Placeholders
from loopwright.guardrails.restoring import Flow, Restorer
from loopwright.guardrails.span import KINDS

ALL = frozenset(KINDS)
MAIL, OTHER, CARD = "jane@example.com", "joe@example.org", "4111111111111111"


def hidden(body: dict[str, Any], kinds: frozenset[str] = ALL) -> tuple[Any, Placeholders]:
    placeholders = Placeholders(kinds)
    return placeholders.hide(body), placeholders


def said(*contents: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content} for content in contents]}


def test_one_value_has_one_placeholder_wherever_it_stands() -> None:
    body, placeholders = hidden(said(f"{MAIL}, {OTHER}", [{"type": "text", "text": f"to {MAIL}"}]))
    assert body["messages"][0]["content"] == "<EMAIL_1>, <EMAIL_2>"
    assert body["messages"][1]["content"] == [{"type": "text", "text": "to <EMAIL_1>"}]
    assert placeholders.values == {"EMAIL_1": MAIL, "EMAIL_2": OTHER}
    assert placeholders.counts == {"email": 3}


def test_a_conversation_that_goes_on_keeps_its_numbers() -> None:
    first, _ = hidden(said(MAIL))
    second, _ = hidden(said(MAIL, f"and {OTHER}"))
    assert second["messages"][0] == first["messages"][0]


def test_what_looks_like_a_placeholder_already_stays_what_it_is() -> None:
    body, placeholders = hidden(said(f"what is <EMAIL_1>? {MAIL}", "and \u003cEMAIL_2>?"))
    assert body["messages"][0]["content"] == "what is <EMAIL_1>? <EMAIL_3>"
    assert Restorer(placeholders.values).whole("<EMAIL_1> is not <EMAIL_3>") == f"<EMAIL_1> is not {MAIL}"


def test_nothing_personal_is_the_very_same_body() -> None:
    body = said("hello")
    assert hidden(body)[0] is body
    assert hidden(said(MAIL), frozenset({"card"}))[0] == said(MAIL)


def test_a_value_that_only_the_words_around_it_gave_away_is_hidden_without_them_too() -> None:
    body, _ = hidden(said("my password is hunter22x", "use hunter22x, not hunter22xy"))
    assert body["messages"][1]["content"] == "use <SECRET_1>, not hunter22xy"


def test_arguments_stay_json_with_keys_texts_and_numbers_hidden() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": ""}}
    call["function"] = {
        "name": "send",
        "arguments": json.dumps({MAIL: [int(CARD), 7, True, {"to": f'"{OTHER}"'}]}),
    }
    body, _ = hidden({"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]})
    [shown] = body["messages"][0]["tool_calls"]
    assert json.loads(shown["function"]["arguments"]) == {"<EMAIL_1>": ["<CARD_1>", 7, True, {"to": '"<EMAIL_2>"'}]}
    assert (shown["id"], shown["function"]["name"]) == ("c1", "send")


def test_arguments_that_are_no_json_are_text() -> None:
    call = {"function": {"name": "f", "arguments": f"{{to: {MAIL}"}}
    body, _ = hidden({"messages": [{"role": "assistant", "tool_calls": [call]}]})
    assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == "{to: <EMAIL_1>"


def test_everything_that_is_text_is_searched_and_structure_is_left() -> None:
    body, _ = hidden(
        {
            "model": MAIL,
            "messages": [
                {"role": "system", "content": MAIL, "name": MAIL},
                {"role": "tool", "tool_call_id": MAIL, "content": MAIL},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"https://x/{MAIL}"}}]},
            ],
            "user": MAIL,
            "stop": [MAIL],
            "tools": [
                {"type": "function", "function": {"name": "f", "description": MAIL, "parameters": {"enum": [MAIL]}}}
            ],
            "vendor_thing": {"deep": [{"er": MAIL}]},
        }
    )
    assert body["model"] == MAIL
    assert body["messages"][0] == {"role": "system", "content": "<EMAIL_1>", "name": "EMAIL_1"}
    assert body["messages"][1] == {"role": "tool", "tool_call_id": MAIL, "content": "<EMAIL_1>"}
    assert MAIL in body["messages"][2]["content"][0]["image_url"]["url"]
    assert body["user"] == "EMAIL_1"
    assert body["stop"] == ["<EMAIL_1>"]
    function = body["tools"][0]["function"]
    assert (function["name"], function["description"]) == ("f", "<EMAIL_1>")
    assert function["parameters"] == {"enum": ["<EMAIL_1>"]}
    assert body["vendor_thing"] == {"deep": [{"er": "<EMAIL_1>"}]}


def test_prompts_and_inputs_are_texts_or_refused() -> None:
    assert hidden({"prompt": [MAIL, "x"]})[0] == {"prompt": ["<EMAIL_1>", "x"]}
    assert hidden({"input": MAIL})[0] == {"input": "<EMAIL_1>"}
    for tokens in ([1, 2], [[1, 2]]):
        with pytest.raises(BadRequest, match="tokens cannot be searched") as refused:
            hidden({"prompt": tokens})
        assert refused.value.param == "prompt"


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = MAIL
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(BadRequest, match="nested too deeply"):
        hidden({"messages": deep})


VALUES = {"EMAIL_1": MAIL, "EMAIL_10": OTHER, "SECRET_1": 'a"b\\c\nd', "PERSON_ID_1": "86 095 742 719"}
TOKENS = st.sampled_from(
    [
        *(f"<{name}>" for name in VALUES),
        *(f"\\u003c{name}\\u003E" for name in VALUES),
        *("<", ">", "\\", "\\\\", "\\u003c", "<EMAIL_", "<EMAIL_1", "<EMAIL_11>", "<email_1>", "\\n", '"', "é", " "),
    ]
)
TEXTS = st.lists(st.one_of(TOKENS, st.text(max_size=4)), max_size=12).map("".join)


@example(text="<EMAIL_1>\\u003c\\u003cEMAIL_1\\u003E", cuts=[16], as_json=True)
@example(text="\\<EMAIL_1>", cuts=[2], as_json=True)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 200), max_size=12), as_json=st.booleans())
def test_however_it_is_cut_the_same_is_restored(text: str, cuts: list[int], *, as_json: bool) -> None:
    restorer = Restorer(VALUES)
    flow = Flow(restorer, as_json=as_json)
    at = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [flow.feed(text[start:end]) for start, end in pairwise(at)]
    assert "".join([*pieces, flow.end()]) == restorer.whole(text, as_json=as_json)


@given(TEXTS)
def test_only_beginnings_of_placeholders_are_held_back(text: str) -> None:
    restorer = Restorer(VALUES)
    held = restorer.held(text)
    if held:
        assert any(f"<{name}>".startswith(text[-held:]) for name in VALUES)
    else:
        assert not any(text.endswith(f"<{name}>"[:length]) for name in VALUES for length in range(1, len(name) + 2))


@given(values=st.dictionaries(st.sampled_from(sorted(VALUES)), st.text(), min_size=1), escaped=st.booleans())
def test_restored_arguments_are_json_whatever_the_values_are(values: dict[str, str], *, escaped: bool) -> None:
    names = {f"k{at}": f"<{name}>" for at, name in enumerate(values)}
    text = json.dumps(names)
    if escaped:
        text = text.replace("<", "\\u003c").replace(">", "\\u003e")
    restored = json.loads(Restorer(values).whole(text, as_json=True))
    assert list(restored.values()) == list(values.values())


@given(st.lists(st.sampled_from([MAIL, OTHER, CARD, "and", "<EMAIL_1>", "<", "EMAIL_2>", " "]), max_size=20))
def test_hidden_and_restored_is_what_it_was(words: list[str]) -> None:
    text = " ".join(words)
    placeholders = Placeholders(ALL)
    shown = placeholders.text(text)
    assert MAIL not in shown
    assert Restorer(placeholders.values).whole(shown) == text
