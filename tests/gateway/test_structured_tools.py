import json
from typing import Any

import pytest

from loopwright.core.chat import Delta
from loopwright.core.errors import BadRequest, InvalidOutput
from loopwright.core.money import Usage
from loopwright.gateway.encoded import Encoded
from loopwright.gateway.structured import Structured
from tests.gateway.roads import ask, deltas, saying, scripted
from tests.gateway.test_structured import WEATHER, _Counting, asked, streamed, whole

pytestmark = pytest.mark.anyio
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time."}}


def calling(arguments: Any, name: str = "weather") -> Structured:
    return Structured(inner=scripted({"answers": [{"tool_calls": [{"name": name, "arguments": arguments}]}]}).chat)


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_of_native_calls_are_coerced_where_nothing_is_lost(*, stream: bool) -> None:
    chat, request = calling({"town": "Bonn", "days": "3"}), ask(stream=stream, tools=[WEATHER])
    if stream:
        found = await streamed(chat, request)
        calls, finish = found["tool_calls"], found["finish"]
    else:
        choice = (await whole(chat, request))["choices"][0]
        calls, finish = choice["message"]["tool_calls"], choice["finish_reason"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"town": "Bonn", "days": 3}
    assert calls[0]["id"].startswith("call_")
    assert finish == "tool_calls"


async def test_a_valid_native_call_streams_as_it_came() -> None:
    chat = calling({"town": "Bonn"})
    request = ask(stream=True, tools=[WEATHER])
    found = [delta.raw for delta in await deltas(chat, request)]
    assert found == [delta.raw for delta in await deltas(chat.inner, request)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("arguments", "name", "said"),
    [
        ({"town": "Bonn", "days": "3.5"}, "weather", r"tool_calls\[0\]\.function\.arguments\.days"),
        ({}, "weather", '"town" is a required'),
        ({}, "wether", "there is no tool 'wether'; did you mean 'weather'"),
    ],
)
async def test_calls_that_stay_invalid_are_refused(arguments: Any, name: str, said: str, *, stream: bool) -> None:
    with pytest.raises(InvalidOutput, match=said):
        await deltas(calling(arguments, name), ask(stream=stream, tools=[WEATHER]))


async def test_a_required_call_that_is_not_made_is_refused() -> None:
    chat = Structured(inner=scripted({"answers": [{"text": "no"}]}).chat)
    with pytest.raises(InvalidOutput, match="no tool was called"):
        await deltas(chat, ask(tools=[WEATHER], tool_choice="required"))


async def test_foreign_type_names_reach_upstream_as_json_s() -> None:
    inner = _Counting(scripted({"answers": [{"text": "ok"}]}).chat)
    parameters = {"type": "dict", "properties": {"x": {"type": "float"}, "y": {"type": "any"}}}
    await deltas(
        Structured(inner=inner),
        ask(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}]),
    )
    sent = inner.asked[0].body["tools"][0]["function"]["parameters"]
    assert sent == {"type": "object", "properties": {"x": {"type": "number"}, "y": {}}}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_emulated_call_is_a_tool_call(*, stream: bool) -> None:
    chat = asked('{"name": "weather", "arguments": {"town": "Bonn", "days": "2"}}', tools="emulated")
    request = ask("Weather?", stream=stream, tools=[WEATHER, CLOCK])
    if stream:
        message = await streamed(chat, request)
        assert message["content"] == ""
        finish = message["finish"]
    else:
        choice = (await whole(chat, request))["choices"][0]
        message, finish = choice["message"], choice["finish_reason"]
        assert message["content"] is None
    [call] = message["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert json.loads(call["function"]["arguments"]) == {"town": "Bonn", "days": 2}
    assert finish == "tool_calls"
    assert isinstance(chat.inner, _Counting)
    sent = chat.inner.asked[0].body
    assert not {"tools", "tool_choice", "response_format"} & sent.keys()
    assert "weather: The weather of a town." in sent["messages"][0]["content"]


@pytest.mark.parametrize("said", ["Hello there", '{"say": "Hello there"}'])
async def test_a_plain_answer_may_be_given_when_the_choice_is_auto(said: str) -> None:
    body = await whole(asked(said, tools="emulated"), ask(tools=[WEATHER]))
    assert body["choices"][0]["message"]["content"] == "Hello there"
    assert body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "clock"}}])
async def test_a_call_that_must_be_made_is_asked_for_again(choice: Any) -> None:
    chat = asked("It is noon.", '{"name": "clock", "arguments": {}}', tools="emulated")
    body = await whole(chat, ask(tools=[WEATHER, CLOCK], tool_choice=choice))
    assert body["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "clock"


async def test_choice_none_hides_the_tools_and_words_the_history() -> None:
    chat = asked("Dry.", tools="emulated")
    history = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"town":"B"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sun"},
    ]
    body = await whole(chat, ask(messages=history, tools=[WEATHER], tool_choice="none"))
    assert body["choices"][0]["message"]["content"] == "Dry."
    assert isinstance(chat.inner, _Counting)
    assert chat.inner.asked[0].body["messages"] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": '{"name": "weather", "arguments": {"town":"B"}}'},
        {"role": "user", "content": "Result of the tool: sun"},
    ]


async def test_several_calls_when_asked_for() -> None:
    calls = [{"name": "weather", "arguments": {"town": town}} for town in ("Bonn", "Ulm")]
    chat = asked(json.dumps({"calls": calls}), tools="emulated")
    body = await whole(chat, ask(tools=[WEATHER], parallel_tool_calls=True))
    assert len(body["choices"][0]["message"]["tool_calls"]) == 2


async def test_words_of_an_emulated_answer_stream_as_they_come() -> None:
    pieces = ['{"sa', 'y": "Hel', "lo \\u00", "e9\\n", 'you"}']
    end = Delta(finish="stop", usage=Usage(input=1, output=5), done=True)
    inner = Encoded(saying(*(Delta(text=piece) for piece in pieces), end))
    chat = Structured(inner=inner, schemas="grammar", tools="emulated")
    found = await deltas(chat, ask(stream=True, tools=[WEATHER]))
    assert len(found) >= 4
    message = await streamed(chat, ask(stream=True, tools=[WEATHER]))
    assert message["content"] == "Hello é\nyou"
    assert found[-1].usage == Usage(input=1, output=5)


async def test_a_grammar_that_found_no_end_is_asked_for_short_values() -> None:
    cut = Delta(text='{"name": "weather", "arguments": {"town": "Bo', finish="length", done=True)
    good = Delta(text='{"name": "weather", "arguments": {"town": "Bonn"}}', finish="stop", done=True)
    forms: list[Any] = []

    def inner(request: Any, /) -> Any:
        forms.append(request.body["response_format"]["json_schema"]["schema"])
        return Encoded(saying(cut if len(forms) == 1 else good))(request)

    chat = Structured(inner=inner, schemas="grammar", tools="emulated")
    body = await whole(chat, ask(tools=[WEATHER], tool_choice="required"))
    assert body["choices"][0]["message"]["tool_calls"]
    assert "maxLength" not in json.dumps(forms[0])
    assert forms[1]["properties"]["arguments"]["properties"]["town"]["maxLength"] == 120


async def test_a_tool_that_is_no_function_cannot_be_emulated() -> None:
    with pytest.raises(BadRequest) as caught:
        await deltas(asked("x", tools="emulated"), ask(tools=[WEATHER, {"type": "web_search"}]))
    assert caught.value.param == "tools[1].type"
