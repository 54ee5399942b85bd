import json
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import BadRequest
from loopwright.core.privacy import Place, Privacy, Trail
from loopwright.core.who import HOUSE
from loopwright.gateway.encoded import Encoded
from loopwright.gateway.redacted import Redacted
from loopwright.kit import wire, wire_out
from tests.gateway.roads import IDS, ask, deltas, events, saying

pytestmark = pytest.mark.anyio
MAIL, IBAN = "jane@example.com", "DE89 3704 0044 0532 0130 00"


def private(request: Request, *kinds: str, trail: Trail | None = None) -> Request:
    return replace(request, privacy=Privacy(redact=frozenset(kinds or ("all",)), trail=trail))


class Heard:
    """A target that keeps what it was asked and answers what it is told to."""

    def __init__(self, *pieces: Delta) -> None:
        self.asked: list[Request] = []
        self._pieces = pieces

    async def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        for piece in self._pieces:
            yield piece


def body(message: dict[str, Any], **more: Any) -> Delta:
    whole = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}
    return Delta(raw=json.dumps(whole).encode(), done=True, model="m", provider="p")


def event(delta: dict[str, Any], *, index: int = 0, finish: str | None = None) -> bytes:
    return wire_out.event({"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


async def test_the_target_sees_placeholders_and_the_client_what_they_stand_for() -> None:
    target = Heard(body({"role": "assistant", "content": "I wrote to <EMAIL_1>."}))
    trail = Trail()
    [delta] = await deltas(Redacted(target), private(ask(f"write to {MAIL}, twice: {MAIL}"), trail=trail))
    [asked] = target.asked
    assert MAIL.encode() not in (asked.raw or b"")
    assert json.loads(asked.raw or b"") == asked.body
    assert asked.body["messages"][0]["content"] == "write to <EMAIL_1>, twice: <EMAIL_1>"
    assert json.loads(delta.raw)["choices"][0]["message"]["content"] == f"I wrote to {MAIL}."
    assert (delta.model, delta.provider, delta.done) == ("m", "p", True)
    assert trail.redacted == {"email": 2}
    await deltas(Redacted(target), private(ask(f"write to {MAIL}, twice: {MAIL}"), trail=trail))
    assert trail.redacted == {"email": 2}


async def test_without_a_policy_or_a_find_there_is_no_layer() -> None:
    target = Heard(body({"content": "<EMAIL_1>"}))
    for request in (
        ask(MAIL),
        replace(ask(MAIL), privacy=Privacy()),
        private(ask("hello")),
        private(ask(MAIL), "card"),
    ):
        answers = Redacted(target)(request)
        assert answers.ag_code is Heard.__call__.__code__  # type: ignore[attr-defined]
        await answers.aclose()


async def test_only_the_kinds_of_the_policy_are_replaced() -> None:
    target = Heard(body({"content": "ok"}))
    await deltas(Redacted(target), private(ask(f"{MAIL} {IBAN}"), "iban"))
    assert target.asked[0].body["messages"][0]["content"] == f"{MAIL} <IBAN_1>"


async def test_thoughts_and_arguments_of_a_whole_answer_are_restored() -> None:
    secret = 'x9"q\\z7k2'
    message = {
        "content": None,
        "reasoning_content": "they are <EMAIL_1>",
        "tool_calls": [
            {"id": "c", "function": {"name": "f", "arguments": '{"to": "\\u003cEMAIL_1>", "k": "<SECRET_1>"}'}}
        ],
    }
    target = Heard(body(message))
    [delta] = await deltas(Redacted(target), private(ask(f"{MAIL} api_key={secret} ")))
    said = json.loads(delta.raw)["choices"][0]["message"]
    assert said["reasoning_content"] == f"they are {MAIL}"
    assert json.loads(said["tool_calls"][0]["function"]["arguments"])["to"] == MAIL


async def test_a_stream_that_touches_nothing_goes_on_as_it_came() -> None:
    raw = event({"content": "Hello\n"}), event({}, finish="stop") + wire_out.DONE
    target = Heard(Delta(raw=raw[0], model="m", provider="p"), Delta(raw=raw[1], done=True))
    found = await deltas(Redacted(target), private(ask(MAIL, stream=True)))
    assert [delta.raw for delta in found] == list(raw)
    assert all(one.raw is two for one, two in zip(found, raw, strict=True))


async def test_a_placeholder_in_pieces_is_held_back_until_it_is_known() -> None:
    pieces = ["To <", "EMA", "IL_1", "> and <EM", "ail>"]
    raws = [event({"content": piece}) for piece in pieces] + [event({}, finish="stop") + wire_out.DONE]
    target = Heard(*(Delta(raw=raw, done=raw.endswith(wire_out.DONE)) for raw in raws))
    found = await deltas(Redacted(target), private(ask(MAIL, stream=True)))
    contents = [events(delta.raw + wire_out.DONE)[0]["choices"][0]["delta"].get("content") for delta in found[:5]]
    assert contents == ["To ", "", "", f"{MAIL} and ", "<EMail>"]


async def test_what_is_left_at_the_end_is_said_before_it() -> None:
    for last in (event({}, finish="length") + wire_out.DONE, wire_out.DONE):
        target = Heard(Delta(raw=event({"content": "a <EMAIL"})), Delta(raw=last, done=True))
        found = await deltas(Redacted(target), private(ask(MAIL, stream=True)))
        said = events(b"".join(delta.raw for delta in found))
        assert "".join(each["choices"][0]["delta"].get("content", "") for each in said) == "a <EMAIL"


async def test_choices_and_calls_are_restored_each_for_itself() -> None:
    def call(number: int, arguments: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": number, "function": {"arguments": arguments}}]}

    raws = [
        event({"content": "<EMA"}, index=0),
        event({"content": "<EMAIL_1"}, index=1),
        event(call(0, '{"a": "<EM'), index=0),
        event(call(1, '{"b": "\\u00'), index=0),
        event(call(0, 'AIL_1>"}'), index=0),
        event(call(1, '3cEMAIL_1\\u003e"}'), index=0),
        event({"content": "IL_1>"}, index=0),
        event({"content": ">"}, index=1),
        event({}, index=0, finish="tool_calls"),
        event({}, index=1, finish="stop") + wire_out.DONE,
    ]
    target = Heard(*(Delta(raw=raw, done=raw.endswith(wire_out.DONE)) for raw in raws))
    found = await deltas(Redacted(target), private(ask(MAIL, stream=True, n=2)))
    contents, arguments = {0: "", 1: ""}, {0: "", 1: ""}
    for each in events(b"".join(delta.raw for delta in found)):
        [choice] = each["choices"]
        contents[choice["index"]] += choice["delta"].get("content", "")
        for piece in choice["delta"].get("tool_calls", ()):
            arguments[piece["index"]] += piece["function"]["arguments"]
    assert contents == {0: MAIL, 1: MAIL}
    assert [json.loads(arguments[at]) for at in (0, 1)] == [{"a": MAIL}, {"b": MAIL}]


async def test_completions_are_restored_in_both_forms() -> None:
    def asked(*, stream: bool) -> Request:
        raw = json.dumps({"model": "m", "prompt": [f"to {MAIL}"], "stream": stream}).encode()
        return private(wire.parse(raw, "completion", call_id=IDS.new(), who=HOUSE, started_ns=1))

    whole = Heard(Delta(raw=b'{"choices": [{"index": 0, "text": "is <EMAIL_1>"}]}', done=True))
    [delta] = await deltas(Redacted(whole), asked(stream=False))
    assert json.loads(delta.raw)["choices"][0]["text"] == f"is {MAIL}"
    assert whole.asked[0].body["prompt"] == ["to <EMAIL_1>"]
    pieces = [
        b'data: {"choices": [{"index": 0, "text": "<EMAIL_"}]}\n\n',
        b'data: {"choices": [{"index": 0, "text": "1>"}]}\n\n',
    ]
    streamed = Heard(Delta(raw=pieces[0]), Delta(raw=pieces[1]), Delta(raw=wire_out.DONE, done=True))
    found = await deltas(Redacted(streamed), asked(stream=True))
    assert "".join(each["choices"][0]["text"] for each in events(b"".join(one.raw for one in found))) == MAIL


async def test_tokens_are_refused_and_embeddings_pass_back_untouched() -> None:
    def asked(given: Any) -> Request:
        raw = json.dumps({"model": "m", "input": given}).encode()
        return private(wire.parse(raw, "embeddings", call_id=IDS.new(), who=HOUSE, started_ns=1))

    target = Heard(Delta(raw=b'{"data": []}', done=True))
    assert [delta.raw for delta in await deltas(Redacted(target), asked(MAIL))] == [b'{"data": []}']
    assert target.asked[0].body["input"] == "<EMAIL_1>"
    with pytest.raises(BadRequest, match="tokens"):
        await deltas(Redacted(target), asked([1, 2]))


async def test_a_long_body_is_searched_beside_the_loop_to_the_same_end() -> None:
    target = Heard(body({"content": "<EMAIL_1>"}))
    [delta] = await deltas(Redacted(target), private(ask("word " * 20_000 + MAIL)))
    assert json.loads(delta.raw)["choices"][0]["message"]["content"] == MAIL
    assert target.asked[0].body["messages"][0]["content"].endswith("word <EMAIL_1>")


async def test_answers_that_are_not_in_wire_form_yet_are_restored_too() -> None:
    target = saying(
        Delta(text="<EMA", extra={"role": "assistant"}, model="m", provider="p"),
        Delta(text="IL_1> <", extra={"reasoning_content": "<EMAIL_1>"}),
        Delta(finish="stop", done=True),
    )
    found = await deltas(Encoded(Redacted(target)), private(ask(MAIL, stream=True)))
    said = [each["choices"][0]["delta"] for each in events(b"".join(delta.raw for delta in found))]
    assert "".join(each.get("content", "") for each in said) == f"{MAIL} <"
    assert "".join(each.get("reasoning_content", "") for each in said) == MAIL


async def test_what_a_policy_says_of_places_is_not_asked_here() -> None:
    trail = Trail()
    target = Heard(body({"content": "ok"}))
    await deltas(Redacted(target), private(ask(MAIL), trail=trail))
    privacy = target.asked[0].privacy
    assert privacy is not None
    assert privacy.leaving(Place(provider="p")).departure is not None
    assert trail.departures[0].redacted == {"email": 1}


ANSWER = "a <EMAIL_1>, <EMAIL_10> < <EMAIL_1\\u003e \\n“<EMAIL_1>” é"


@settings(max_examples=150, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(ANSWER)), max_size=14), joined=st.lists(st.booleans(), min_size=16, max_size=16)
)
async def test_however_a_stream_is_cut_the_client_reads_the_same(cuts: list[int], joined: list[bool]) -> None:
    at = [0, *sorted(cuts), len(ANSWER)]
    raws: list[bytes] = []
    for number, (start, end) in enumerate(pairwise(at)):
        raw = event({"content": ANSWER[start:end]})
        if raws and joined[number]:
            raws[-1] += raw  # several events in one piece
        else:
            raws.append(raw)
    raws.append(event({}, finish="stop") + wire_out.DONE)
    target: Chat = Heard(*(Delta(raw=raw, done=raw.endswith(wire_out.DONE)) for raw in raws))
    found = await deltas(Redacted(target), private(ask(MAIL, stream=True)))
    said = events(b"".join(delta.raw for delta in found))
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in said) == ANSWER.replace("<EMAIL_1>", MAIL)
