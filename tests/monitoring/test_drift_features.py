"""What drift sees of a call."""

from datetime import UTC, datetime
from typing import Any

from loopwright.core.call import Call, CallDetail
from loopwright.kit.ids import Ids
from loopwright.monitoring.drift_features import CLIP, answer, features, said_by_user


def detail(asked: dict[str, Any], said: str | None = "hi there", **fields: Any) -> CallDetail:
    call = Call(
        **{
            "id": Ids().new(), "started_at": datetime.now(UTC), "project_id": 1, "key_id": 7, "operation": "chat",
            "model": "m", "target": "m", "provider": "p", "outcome": "ok", "status": 200, "error_code": None,
            "error": None, "finish": "stop", "stream": False, "input_tokens": 1, "output_tokens": 1,
            "cached_tokens": 0, "reasoning_tokens": 0, "usage_estimated": False, "cost_nano": None,
            "price_source": None, "ttft_us": None, "latency_us": 1, "client": "", "session": None, "trace_id": "0" * 32,
            "span_id": "0" * 16, "parent_id": None, **fields,
        }
    )  # fmt: skip
    response = None if said is None else {"choices": [{"message": {"content": said}}]}
    return CallDetail(call=call, request=asked, response=response)


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_what_varies_of_a_request_is_looked_at() -> None:
    assert said_by_user({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}) == "a"
    parts = [{"type": "text", "text": "one "}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    assert said_by_user({"messages": [{"role": "user", "content": parts}]}) == "one two"
    assert said_by_user({"loopwright": {"variables": {"ticket": "paid twice", "rows": [1]}}}) == "paid twice\n[1]"
    assert said_by_user({"prompt": "go on"}) == "go on"
    assert said_by_user({"messages": "none", "prompt": ["a"]}) == ""
    assert answer({"choices": [{"text": "done"}]}) == "done"
    assert answer({"choices": []}) is None


def test_numbers_of_a_call() -> None:
    found = features(detail(question("Where is my card? " * 100), "I'm sorry, but I cannot help with that."))
    assert found is not None
    assert (len(found.input), found.input_length, found.key_id) == (CLIP, 1_800, 7)
    assert (found.language, found.output_language, found.refused, found.malformed) == ("en", "en", True, None)
    form = {"type": "json_object"}
    for said, malformed in (('{"a": 1}', False), ("{", True)):
        found = features(detail(question("json please", response_format=form), said))
        assert found is not None
        assert (found.malformed, found.refused) == (malformed, False)


def test_calls_without_a_question_are_left_out() -> None:
    assert features(detail({"input": "x"}, operation="embeddings")) is None
    assert features(detail(question("  "))) is None
    assert features(detail(question("a question"), outcome="error", error_code="upstream")) is None
    found = features(detail(question("a question"), outcome="error", error_code="invalid_output"))
    assert found is not None
    assert (found.output, found.malformed) == (None, True)
