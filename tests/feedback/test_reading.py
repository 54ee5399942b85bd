from typing import Any

from loopwright.feedback.reading import LONGEST, answer_of, plain, question_of, variables


def test_a_conversation_is_read() -> None:
    one = {"messages": [{"role": "user", "content": "hi"}]}
    assert question_of(one) == "hi"
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:…"}}]
    both = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": parts}]}
    assert question_of(both) == "system: be kind\n\nuser: look\n[image_url]"
    assert question_of({"prompt": ["a", "b"]}) == "a\nb"
    assert question_of(None) == question_of({"messages": 7}) == question_of({"prompt": [1, 2]}) == ""


def test_an_answer_is_read() -> None:
    assert answer_of({"choices": [{"message": {"content": "yes"}}]}) == "yes"
    assert answer_of({"choices": [{"text": "on"}]}) == "on"
    called = {
        "choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]
    }
    assert '"name": "f"' in answer_of(called)
    empty: list[Any] = [None, {}, {"choices": []}, {"choices": "x"}, {"choices": [None]}, {"choices": [{"message": 3}]}]
    assert {answer_of(each) for each in empty} == {""}


def test_what_others_wrote_never_fails() -> None:
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert plain(deep) == "(cannot be shown)"
    assert variables({"q": "\ud800"}) == "?"
    assert variables({"a": 1, "b": "x"}) == "a: 1\n\nb: x"
    long = question_of({"prompt": "x" * (LONGEST + 5)})
    assert long.endswith("[cut here]")
