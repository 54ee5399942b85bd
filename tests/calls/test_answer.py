import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls.answer import assemble, read

texts = st.text(max_size=12)


def sse(*events: Any, end: bytes = b"\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + end for event in events) + b"data: [DONE]" + end


def chunk(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice]}


def test_a_chat_stream_becomes_a_chat_completion() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    stream = sse(
        chunk(role="assistant", content=""),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk(finish="stop"),
        chunk() | {"choices": [], "usage": usage},
    )
    assert assemble(stream) == {
        "id": "c1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": usage,
    }
    answer = read(stream, stream=True)
    assert (json.loads(answer.body)["usage"], answer.finish) == (usage, "stop")


def test_tool_calls_merge_by_index() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        head = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
        return chunk(tool_calls=[{"index": index, **head, "function": function}])

    stream = sse(
        call(0, name="f", arguments=""), call(1, name="g", arguments='{"b"'), call(0, arguments='{"a":'),
        call(1, arguments=":2}"), call(0, arguments="1}"), chunk(finish="tool_calls"),
    )  # fmt: skip
    made = assemble(stream)
    assert made is not None
    assert made["choices"][0]["message"]["tool_calls"] == [
        {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": '{"b":2}'}},
    ]


def test_completions_logprobs_and_errors() -> None:
    piece = {"object": "text_completion", "choices": [{"index": 0, "text": "ab", "logprobs": {"tokens": ["ab"]}}]}
    made = assemble(sse(piece, piece, {"error": {"message": "broke", "code": "upstream_broke"}}))
    assert made is not None
    assert made["object"] == "text_completion"
    assert made["choices"] == [
        {"index": 0, "text": "abab", "logprobs": {"tokens": ["ab", "ab"]}, "finish_reason": None}
    ]
    assert made["error"]["code"] == "upstream_broke"


def test_a_json_body_stays_as_it_came() -> None:
    body = b'{"choices": [{"finish_reason": "length"}],  "x": 1}'
    assert read(body, stream=False) == read(body, stream=True)
    answer = read(body, stream=False)
    assert (answer.body, answer.finish) == (body, "length")


@given(st.lists(st.lists(texts, max_size=5), min_size=1, max_size=4), st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]))
def test_any_stream_says_what_its_pieces_said(choices: list[list[str]], end: bytes) -> None:
    events = [chunk(index, content=piece) for index, pieces in enumerate(choices) for piece in pieces]
    events += [chunk(index, finish="stop") for index in range(len(choices))]
    made = assemble(sse(*events, end=end))
    assert made is not None
    assert [choice["message"]["content"] or "" for choice in made["choices"]] == ["".join(one) for one in choices]
    assert {choice["finish_reason"] for choice in made["choices"]} == {"stop"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
odd_delta = st.dictionaries(st.sampled_from(["content", "tool_calls", "function_call", "role", "refusal"]), json_values)
odd_choice = st.fixed_dictionaries({}, optional={"index": json_values, "delta": odd_delta | json_values, "text": json_values, "logprobs": json_values, "finish_reason": json_values})  # fmt: skip
odd_event = st.fixed_dictionaries({}, optional={"choices": st.lists(odd_choice, max_size=3) | json_values, "usage": json_values, "object": json_values, "error": json_values})  # fmt: skip


@given(st.binary(max_size=200), st.booleans())
def test_garbage_never_raises(data: bytes, stream: bool) -> None:  # noqa: FBT001  (drawn by hypothesis)
    read(data, stream=stream)
    read(b"data: " + data + b"\n\n", stream=stream)


@given(st.lists(odd_event | json_values, max_size=4))
def test_odd_events_never_raise(events: list[Any]) -> None:
    json.loads(read(sse(*events), stream=True).body or b"0") if assemble(sse(*events)) else None
