"""Answers to translate, and what a client would make of them: shared by the tests of the dialects."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from loopwright.core.chat import Delta
from loopwright.core.money import Usage

CALL = "01990000-0000-7000-8000-0000000000aa"
USAGE = Usage(input=100, output=20, cached=30, cache_written=10, reasoning=5)

words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
arguments = st.dictionaries(names, st.none() | st.integers(-9, 9) | st.text(max_size=8), max_size=3)
calls = st.lists(st.tuples(names, arguments), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """An assistant's message as a chat has it: reasoning, text, calls, in any combination but none."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    said = draw(st.none() | words)
    thought = draw(st.none() | words)
    called = draw(calls)
    if thought is not None:
        message["reasoning_content"] = thought
    if said is not None or not (called or thought):
        message["content"] = said or "ok"
    if called:
        message["tool_calls"] = [
            {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for at, (name, given) in enumerate(called)
        ]
    return message


def whole(message: dict[str, Any], finish: str = "stop") -> Delta:
    """A non-streamed answer."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Delta(raw=json.dumps({"id": "c", "choices": [choice]}).encode(), usage=USAGE, done=True)


def events(message: dict[str, Any], finish: str = "stop") -> bytes:
    """The same answer as a stream: texts and arguments letter by letter, calls one after the other."""
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    for name in ("reasoning_content", "content", "refusal"):
        deltas += [{name: letter} for letter in message.get(name) or ""]
    for at, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "index": at, "function": {**function, "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": at, "function": {"arguments": x}}]} for x in function["arguments"]]
    return stream([{"index": 0, "delta": delta} for delta in deltas], finish)


def stream(choices: list[dict[str, Any]], finish: str | None = "stop") -> bytes:
    """Choices as events, with the end of a stream."""
    ended = [] if finish is None else [{"index": 0, "delta": {}, "finish_reason": finish}]
    lines = [json.dumps({"choices": [choice]}, ensure_ascii=False) for choice in [*choices, *ended]]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


def cut(raw: bytes, places: list[int]) -> list[Delta]:
    """`raw` as Deltas cut at `places`, the last with usage."""
    marks = sorted({place % (len(raw) + 1) for place in places} | {0, len(raw)})
    pieces = [raw[start:end] for start, end in pairwise(marks)]
    return [
        Delta(raw=piece, done=at == len(pieces) - 1, usage=USAGE if at == len(pieces) - 1 else None)
        for at, piece in enumerate(pieces)
    ]


def heard(raw: bytes) -> list[dict[str, Any]]:
    """The events of a stream; each is called what its payload says."""
    found = []
    for event in raw.decode().split("\n\n"):
        if event and not event.startswith(":"):
            name, _, data = event.partition("\n")
            payload = json.loads(data.removeprefix("data: "))
            assert name == f"event: {payload['type']}"
            found.append(payload)
    return found
