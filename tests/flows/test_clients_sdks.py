"""The SDKs of OpenAI and Anthropic on the real small model, in what the dialects' own tests leave to a script."""

import asyncio
import json
from typing import Any, Literal

import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.flows.house import House

MODEL = "smollm2-135m-instruct"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK: Any = [{"role": "user", "content": "How is the weather in Bonn?"}]
LOTTERY = "I won the lottery! What is my mood?"


class Mood(BaseModel):
    mood: Literal["glad", "sad"]
    strength: int


@pytest.fixture
def gpt(house: House) -> OpenAI:
    return OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=180)


@pytest.fixture
def claude(house: House) -> Anthropic:
    return Anthropic(base_url=house.url, api_key=house.key, max_retries=0, timeout=180)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_of_the_real_model_calls_a_tool_and_reads_its_result(gpt: OpenAI, *, streamed: bool) -> None:
    def ask(**asked: Any) -> Any:
        if not streamed:
            return gpt.responses.create(model=MODEL, max_output_tokens=80, temperature=0, **asked)
        with gpt.responses.stream(model=MODEL, max_output_tokens=80, temperature=0, **asked) as stream:
            kinds = [event.type for event in stream]
            assert kinds[-1] in ("response.completed", "response.incomplete")
            return stream.get_final_response()

    tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
    first = ask(input=ASK, tools=tools, tool_choice="required")
    [call] = [item for item in first.output if item.type == "function_call"]
    assert isinstance(json.loads(call.arguments)["city"], str)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = ask(input=[result], previous_response_id=first.id, tools=tools, tool_choice="none")
    assert second.output_text


def test_a_response_of_the_real_model_keeps_a_form(gpt: OpenAI) -> None:
    response = gpt.responses.parse(model=MODEL, input=LOTTERY, text_format=Mood, max_output_tokens=60)
    assert isinstance(response.output_parsed, Mood)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_message_of_the_real_model_uses_a_tool_and_reads_its_result(claude: Anthropic, *, streamed: bool) -> None:
    tools: Any = [{"name": "weather", "description": "The weather of a city.", "input_schema": WEATHER}]
    messages: Any = list(ASK)

    def ask(choice: str) -> Any:
        asked: Any = {"model": MODEL, "max_tokens": 80, "messages": messages, "tools": tools}
        asked["tool_choice"] = {"type": choice}
        if not streamed:
            return claude.messages.create(**asked)
        with claude.messages.stream(**asked) as stream:
            return stream.get_final_message()

    first = ask("any")
    assert first.stop_reason == "tool_use"
    [use] = [block for block in first.content if block.type == "tool_use"]
    assert isinstance(use.input["city"], str)
    messages += [
        {"role": "assistant", "content": [block.to_dict() for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]},
    ]
    second = ask("none")
    assert second.content[0].type == "text"
    assert second.content[0].text
    counted = claude.messages.count_tokens(model=MODEL, messages=messages, tools=tools)
    assert counted.input_tokens > 10


def test_a_message_of_the_real_model_keeps_a_form(claude: Anthropic) -> None:
    form: Any = {"format": {"type": "json_schema", "schema": Mood.model_json_schema()}}
    said: Any = [{"role": "user", "content": LOTTERY}]
    message = claude.messages.create(model=MODEL, max_tokens=60, messages=said, output_config=form)
    assert message.content[0].type == "text"
    Mood.model_validate_json(message.content[0].text)


def test_many_at_once_by_the_asynchronous_sdks(house: House) -> None:
    async def main() -> None:
        async with (
            AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120) as gpt,
            AsyncAnthropic(base_url=house.url, api_key=house.key, max_retries=0, timeout=120) as claude,
        ):

            async def chat(number: int) -> str:
                said: Any = [{"role": "user", "content": f"number {number}"}]
                async with gpt.chat.completions.stream(model="fake", messages=said) as stream:
                    return (await stream.get_final_completion()).choices[0].message.content or ""

            async def message(number: int) -> str:
                said: Any = [{"role": "user", "content": f"number {number}"}]
                async with claude.messages.stream(model="fake", max_tokens=99, messages=said) as stream:
                    return await stream.get_final_text()

            found = await asyncio.gather(*(ask(number) for number in range(20) for ask in (chat, message)))
            assert found == [f"number {number}" for number in range(20) for _ in range(2)]

    asyncio.run(main())


def test_raw_and_streamed_bodies_and_a_time_out_of_the_clients(gpt: OpenAI) -> None:
    with gpt.chat.completions.with_streaming_response.create(
        model="fake", messages=[{"role": "user", "content": "count 4"}]
    ) as response:
        assert response.headers["content-type"] == "application/json"
        assert response.parse().choices[0].message.content == "answer 4"
    with pytest.raises(openai.APITimeoutError):
        gpt.with_options(timeout=0.05).chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Tell a long story."}], max_tokens=500
        )
