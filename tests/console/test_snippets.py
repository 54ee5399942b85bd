import ast
import json
import shlex
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loopwright.console.snippets import curl, python

TEXT = st.text(max_size=60)


@given(TEXT, TEXT)
def test_curl_carries_any_text_unharmed(question: str, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    words = shlex.split(curl("http://h/v1", "chat", body))
    assert json.loads(words[-1]) == body
    assert words[1] == "http://h/v1/chat/completions"


@given(TEXT, st.dictionaries(TEXT, TEXT, max_size=2))
def test_python_is_python_whatever_the_body_holds(question: str, extra: dict[str, str]) -> None:
    body: dict[str, Any] = {**extra, "model": "m", "messages": [{"role": "user", "content": question}]}
    tree = ast.parse(python("http://h/v1", "chat", body))
    call = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("completions.create")
    )
    given_back = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    other = given_back.pop("extra_body", {})
    assert {**given_back, **other} == body


def test_what_the_sdk_does_not_know_goes_through_extra_body() -> None:
    text = python("http://h/v1", "chat", {"model": "m", "messages": [], "loopwright": {"session": "s"}})
    assert "extra_body={'loopwright': {'session': 's'}}" in text
