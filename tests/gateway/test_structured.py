import json
import time
from collections.abc import AsyncGenerator
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import BadRequest, InvalidOutput, UpstreamBroke
from loopwright.core.money import Usage
from loopwright.gateway.encoded import Encoded
from loopwright.gateway.structured import Structured
from tests.gateway.roads import Memory, ask, deltas, events, recorded, saying, scripted

pytestmark = pytest.mark.anyio
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["town"],
        },
    },
}


def formed(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def asked(*texts: str, tools: Literal["native", "emulated"] = "native") -> Structured:
    """A model without a decoder: it says the first text, and the next each time its answer is not valid."""
    rules = [{"match": f"n{number}", "text": text} for number, text in enumerate(texts[1:], 1)]
    return Structured(
        inner=_Counting(scripted({"answers": [*rules, {"text": texts[0]}]}).chat), schemas="asked", tools=tools
    )


class _Counting:
    """Marks the last message of each further attempt, for scripts tell questions apart by their last message."""

    def __init__(self, inner: Chat) -> None:
        self.inner = inner
        self.asked: list[Request] = []

    def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        messages = [dict(message) for message in request.body["messages"]]
        messages.append({"role": "user", "content": f"n{len(self.asked) - 1}"})
        body = {**request.body, "messages": messages}
        return self.inner(replace(request, body=body, raw=json.dumps(body).encode()))


async def whole(chat: Chat, request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await deltas(chat, request))[-1].raw)
    return found


async def streamed(chat: Chat, request: Request) -> dict[str, Any]:
    """The message that the events of a stream add up to, with its finish reason."""
    said = events(b"".join(delta.raw for delta in await deltas(chat, request)))
    message: dict[str, Any] = {"content": "", "tool_calls": [], "finish": None}
    for event in said:
        for choice in event["choices"]:
            message["content"] += choice["delta"].get("content") or ""
            message["tool_calls"] += choice["delta"].get("tool_calls") or []
            message["finish"] = choice["finish_reason"] or message["finish"]
    return message


def content(body: dict[str, Any]) -> Any:
    return json.loads(body["choices"][0]["message"]["content"])


def test_what_demands_no_form_goes_straight_through() -> None:
    def inner(_request: Request, /) -> AsyncGenerator[Delta, None]:
        return generator

    generator = saying(Delta(done=True))(ask())
    assert Structured(inner=inner)(ask()) is generator
    assert Structured(inner=inner)(ask(response_format={"type": "text"})) is generator


@pytest.mark.parametrize(
    "said",
    [
        '{"name": "Ada", "age": 36}',
        '{"name": "Ada", "age": "36"}',
        'Here it is:\n```json\n{"name": "Ada", "age": 36,}\n```\nAnything else?',
        "{'name': 'Ada', age: 36",
        '<think>{"name": 1}</think>{"name": "Ada", "age": 36}',
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_damaged_json_is_mended(said: str, *, stream: bool) -> None:
    chat = asked(said)
    request = ask(stream=stream, **formed(PERSON))
    found = json.loads((await streamed(chat, request))["content"]) if stream else content(await whole(chat, request))
    assert found == {"name": "Ada", "age": 36}
    assert isinstance(chat.inner, _Counting)
    assert len(chat.inner.asked) == 1


async def test_a_model_is_shown_its_error_and_asked_again() -> None:
    chat = asked("no idea", '{"name": "Ada"}', '{"name": "Ada", "age": 36}')
    body = await whole(chat, ask("who?", **formed(PERSON)))
    assert content(body) == {"name": "Ada", "age": 36}
    assert isinstance(chat.inner, _Counting)
    third = chat.inner.asked[2].body["messages"]
    assert third[-2] == {"role": "assistant", "content": '{"name":"Ada"}'}
    assert '"age" is a required property' in third[-1]["content"]
    assert "response_format" not in chat.inner.asked[0].body
    assert '"required":["name","age"]' in chat.inner.asked[0].body["messages"][0]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_stays_invalid_is_an_error_that_names_the_path_and_is_paid_for(*, stream: bool) -> None:
    spool = Memory()
    chat = recorded(asked(*['{"name": "Ada", "age": "old"}'] * 4), spool)
    with pytest.raises(InvalidOutput, match=r"\$\.age: \"old\" is not of type \"integer\""):
        await deltas(chat, ask(stream=stream, **formed(PERSON)))
    [record] = spool.records
    assert (record.status, record.error_code, record.provider) == (502, "invalid_output", "fake")
    assert record.output_tokens == 3 * 4
    assert (record.cost_nano or 0) > 0


async def test_usage_counts_every_attempt() -> None:
    body = await whole(asked("no", '{"name": "Ada", "age": 36}'), ask(**formed(PERSON)))
    assert body["usage"]["completion_tokens"] == 1 + 4


async def test_no_attempt_begins_after_the_deadline() -> None:
    chat = asked("no", '{"name": "Ada", "age": 36}')
    with pytest.raises(InvalidOutput):
        await deltas(chat, replace(ask(**formed(PERSON)), deadline=time.monotonic() - 1))
    assert isinstance(chat.inner, _Counting)
    assert len(chat.inner.asked) == 1


async def test_every_choice_is_valid() -> None:
    body = await whole(asked("no", *['{"name": "Ada", "age": 36}'] * 2), ask(n=2, **formed(PERSON)))
    assert [json.loads(choice["message"]["content"])["age"] for choice in body["choices"]] == [36, 36]


def native(*texts: str, finish: str = "stop") -> Structured:
    pieces = [Delta(text=text) for text in texts]
    end = Delta(finish=finish, usage=Usage(input=1, output=2), done=True)
    return Structured(inner=Encoded(saying(Delta(model="m", provider="p", speaks=False), *pieces, end)))


async def test_a_native_stream_passes_as_it_comes() -> None:
    chat = native('{"name": ', '"Ada", ', '"age": 36}')
    found = await deltas(chat, ask(stream=True, **formed(PERSON)))
    plain = await deltas(chat.inner, ask(stream=True, **formed(PERSON)))
    assert [delta.text for delta in found] == [delta.text for delta in plain]
    assert len(found) == 5
    assert (found[0].model, found[-1].done) == ("m", True)


async def test_a_native_stream_that_turns_out_invalid_ends_in_an_error_instead_of_its_end() -> None:
    seen: list[Delta] = []

    async def read() -> None:
        async for delta in native('{"name": "Ada", ', '"age": "36"}')(ask(stream=True, **formed(PERSON))):
            seen.append(delta)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(InvalidOutput, match=r"\$\.age"):
        await read()
    assert seen
    assert not any(delta.done for delta in seen)


async def test_what_was_cut_off_is_not_mended() -> None:
    with pytest.raises(InvalidOutput, match="max_tokens"):
        await deltas(native('{"name": "Ada", "age": 3', finish="length"), ask(**formed(PERSON)))


async def test_a_refusal_of_the_model_is_an_answer() -> None:
    end = Delta(finish="stop", done=True)
    chat = Structured(inner=Encoded(saying(Delta(extra={"refusal": "I will not."}), end)))
    body = await whole(chat, ask(**formed(PERSON)))
    assert body["choices"][0]["message"]["refusal"] == "I will not."


async def test_an_upstream_that_cannot_take_the_schema_is_asked_in_words() -> None:
    answer = Encoded(saying(Delta(text='{"name": "Ada", "age": 36}', finish="stop", done=True)))

    async def inner(request: Request, /) -> AsyncGenerator[Delta, None]:
        if "response_format" in request.body:
            raise BadRequest("response_format is not supported by this model")
        async for delta in answer(request):
            yield delta

    for stream in (False, True):
        found = await deltas(Structured(inner=inner), ask(stream=stream, **formed(PERSON)))
        assert found[-1].done


async def test_other_errors_pass() -> None:
    with pytest.raises(UpstreamBroke):
        await deltas(Structured(inner=saying(error=UpstreamBroke("cut"))), ask(**formed(PERSON)))


@pytest.mark.parametrize("said", ["refund", '"Refund"', '{"answer": "refund"}', "I would say: Refund.", "", "rfnd!"])
@pytest.mark.parametrize("schemas", ["asked", "native", "grammar"])
async def test_an_enum_always_gets_one_of_its_values(said: str, schemas: Any) -> None:
    chat = Structured(inner=scripted({"answers": [{"text": said}]}).chat, schemas=schemas)
    form: dict[str, Any] = {"response_format": {"type": "enum", "enum": ["refund", "complaint"]}}
    assert (await whole(chat, ask(**form)))["choices"][0]["message"]["content"] == "refund"
    assert (await streamed(chat, ask(stream=True, **form)))["content"] == "refund"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (formed({"type": "nonsense"}), "response_format.json_schema.schema.type"),
        (formed({"$ref": "#"}), "response_format.json_schema.schema.$ref"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "enum", "enum": []}}, "response_format.enum"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].function.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "wether"}}}, "tool_choice"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
            "tools[0].function.parameters.type",
        ),
    ],
)
async def test_what_cannot_be_kept_is_refused_with_its_place(change: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await deltas(asked("x"), ask(**change))
    assert caught.value.param == param
