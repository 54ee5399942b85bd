"""What an answer stands on, in other dialects than the one it came in: citations, and our own member."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.responses import Response
from pydantic import TypeAdapter

from loopwright.core.chat import Delta
from loopwright.kit.dialects.messages_out import MessageVoice
from loopwright.kit.dialects.responses_out import ResponseVoice
from tests.kit.dialecting import CALL, USAGE, heard, stream

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
ASKED: dict[str, Any] = {"model": "m", "messages": []}


def responded(deltas: list[Delta]) -> list[dict[str, Any]]:
    speaker = ResponseVoice(CALL, ASKED, {}, 1.0)
    return heard(b"".join(speaker.piece(delta) for delta in deltas))


def messaged(deltas: list[Delta]) -> list[dict[str, Any]]:
    speaker = MessageVoice(CALL, ASKED, 400)
    return heard(b"".join(speaker.piece(delta) for delta in deltas))


CITES = {"start_index": 3, "end_index": 6, "title": "Page 1", "url": "https://example.test/1"}
OURS = {"retrieval": {"outcome": "grounded", "sources": []}}


@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_text_cites_and_stands_on_comes_along(*, streamed: bool) -> None:
    annotations = [{"type": "url_citation", "url_citation": CITES}]
    if streamed:
        chunks = [{"index": 0, "delta": {"content": "sky[1]"}}, {"index": 0, "delta": {"annotations": annotations}}]
        raw = stream(chunks)
        raw = raw.replace(
            b"data: [DONE]", b"data: " + json.dumps({"choices": [], "loopwright": OURS}).encode() + b"\n\ndata: [DONE]"
        )
        found = responded([Delta(raw=raw, usage=USAGE, done=True)])
        [added] = [event for event in found if event["type"] == "response.output_text.annotation.added"]
        assert added["annotation"] == {"type": "url_citation", **CITES}
        answer = found[-1]["response"]
    else:
        message = {"role": "assistant", "content": "sky[1]", "annotations": annotations}
        body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "loopwright": OURS}
        answer = json.loads(
            ResponseVoice(CALL, ASKED, {}, 1.0).whole(Delta(raw=json.dumps(body).encode(), usage=USAGE, done=True))
        )
    Response.model_validate(answer)
    assert answer["output"][0]["content"][0]["annotations"] == [{"type": "url_citation", **CITES}]
    assert answer["loopwright"] == OURS


def test_what_an_answer_stands_on_comes_along() -> None:
    ours = {"retrieval": {"outcome": "grounded", "sources": []}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "sky[1]"}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "loopwright": ours}).encode()
    answer = json.loads(MessageVoice(CALL, ASKED, 400).whole(Delta(raw=body, usage=USAGE, done=True)))
    assert Message.model_validate(answer).model_extra == {"loopwright": ours}
    raw = stream([{"index": 0, "delta": {"content": "sky"}}])
    chunk = b"data: " + json.dumps({"choices": [], "loopwright": ours}).encode() + b"\n\n"
    found = messaged([Delta(raw=chunk + raw, usage=USAGE, done=True)])
    [end] = [event for event in found if event["type"] == "message_delta"]
    assert EVENT.validate_python(end).model_extra == {"loopwright": ours}
