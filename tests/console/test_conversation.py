from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loopwright.console.conversation import TEXT_LIMIT, answered, asked, pretty, tools_offered

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("role", "content", "tool_calls", "name", "refusal", "reasoning_content"), JSON),
)


def test_a_conversation_with_tools() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q":"ä"}'}}
    body = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "https://e.org/x.png"}}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
        ],
        "tools": [{"type": "function", "function": {"name": "find", "description": "Finds."}}],
    }  # fmt: skip
    turns = asked("chat", body)
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "tool"]
    assert turns[1]["text"] == "Look"
    assert turns[1]["notes"] == ["image_url: https://e.org/x.png"]
    assert turns[2]["tools"] == [{"id": "c1", "name": "find", "arguments": '{\n  "q": "ä"\n}'}]
    assert turns[3]["answers"] == "c1"
    assert tools_offered(body) == [{"name": "find", "description": "Finds."}]


def test_answers_of_every_operation() -> None:
    message = {"role": "assistant", "content": "7", "reasoning_content": "3 + 4"}
    chat = answered("chat", {"choices": [{"finish_reason": "stop", "message": message}]})
    assert (chat[0]["text"], chat[0]["reasoning"], chat[0]["finish"]) == ("7", "3 + 4", "stop")
    assert answered("completion", {"choices": [{"text": "seven"}]})[0]["text"] == "seven"
    vectors = {"data": [{"embedding": [0.1] * 384}, {"embedding": [0.2] * 384}]}
    assert answered("embeddings", vectors)[0]["text"] == "2 vectors of 384 dimensions"


def test_prompts_in_all_their_forms() -> None:
    assert [turn["text"] for turn in asked("completion", {"prompt": ["a", "b"]})] == ["a", "b"]
    assert asked("embeddings", {"input": [1, 2, 3]})[0]["text"] == "3 tokens: 1 2 3"
    assert asked("chat", None) == []


def test_long_texts_are_cut_and_say_so() -> None:
    turn = asked("chat", {"messages": [{"role": "user", "content": "x" * (TEXT_LIMIT + 1)}]})[0]
    assert turn["cut"]
    assert len(turn["text"]) == TEXT_LIMIT
    assert pretty({"a": "x" * 50}, limit=20)[1]


@given(
    st.dictionaries(
        st.sampled_from(["messages", "prompt", "input", "tools", "choices", "data"]),
        JSON | st.lists(MESSAGE, max_size=3),
    )
)
def test_no_shape_breaks_it(body: dict[str, Any]) -> None:
    for operation in ("chat", "completion", "embeddings"):
        for turn in (*asked(operation, body), *answered(operation, body)):
            assert isinstance(turn["text"], str)
    tools_offered(body)


def test_a_judgement_is_told_in_words() -> None:
    results = [{"flagged": True, "categories": {"hate": True, "sexual": False}}, {"flagged": False}, {"flagged": True}]
    turns = answered("moderations", {"results": [*results, 7]})
    assert [turn["text"] for turn in turns] == ["flagged: hate", "not flagged", "flagged: yes"]
