"""The dialects through the unmodified SDKs of OpenAI and Anthropic: scripted models, the small local one, the records."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI
from pydantic import BaseModel

from tests.flows.house import House

MODEL = "smollm2-135m-instruct"
SCRIPT = """
providers:
  script:
    kind: scripted
    args:
      answers:
        - {match: weather, results: true, text: "It is $result."}
        - match: weather
          reasoning: "I must look."
          text: "Let me see."
          tool_calls: [{name: weather, arguments: {city: Oslo}}, {name: weather, arguments: {city: Rome}}]
        - {match: "^think$", reasoning: "Hm, well.", text: "Done."}
        - {match: "^person$", text: '{"name": "Ada", "age": 36}'}
        - {match: "^break$", text: "one two three", error: {code: upstream_broke, after: 2}}
        - {match: "^busy$", error: {code: rate_limit_exceeded, retry_after: 7}}
        - {match: "^system$", text: "$system"}
        - {match: "^turns$", text: "turns $turns"}
models:
  script: {provider: script, price: {input: 1.0, output: 2.0}, aliases: [claude-of-ours]}
"""
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("dialects"), config=SCRIPT).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def gpt(ours: House) -> OpenAI:
    return OpenAI(base_url=f"{ours.url}/v1", api_key=ours.key, max_retries=0, timeout=120)


@pytest.fixture
def claude(ours: House) -> Anthropic:
    return Anthropic(base_url=ours.url, api_key=ours.key, max_retries=0, timeout=120)


def tool() -> Any:
    return {"type": "function", "name": "weather", "description": "d", "parameters": WEATHER, "strict": False}


# ---- Responses ----


def test_a_response_is_answered_and_on_record(ours: House, gpt: OpenAI) -> None:
    raw = gpt.responses.with_raw_response.create(
        model="script", input="hello there", instructions="be kind", metadata={"a": "b"}, max_output_tokens=9
    )
    response = raw.parse()
    assert (response.output_text, response.status) == ("hello there", "completed")
    assert response.usage is not None
    call_id = raw.headers["x-loopwright-call-id"]
    assert response.id == "resp_" + call_id.replace("-", "")
    detail = ours.api("GET", f"/api/calls/{call_id}").json()
    assert detail["call"]["outcome"] == "ok"
    assert (detail["call"]["input_tokens"], detail["call"]["output_tokens"]) == (
        response.usage.input_tokens,
        response.usage.output_tokens,
    )
    assert detail["request"]["messages"][0] == {"role": "system", "content": "be kind"}
    assert detail["request"]["loopwright"]["dialect"] == "responses"
    assert detail["response"]["choices"][0]["message"]["content"] == "hello there"
    assert gpt.responses.retrieve(response.id).to_dict() == response.to_dict()


def test_a_streamed_response_is_the_whole_one(gpt: OpenAI) -> None:
    with gpt.responses.stream(model="script", input="think", reasoning={"summary": "auto"}) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "response.reasoning_summary_text.delta" in kinds
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text == "Done."
    again = gpt.responses.retrieve(final.id)
    assert [item.to_dict() for item in again.output] == [
        {name: value for name, value in item.items() if name != "parsed"} for item in _plain(final.output)
    ]


def _plain(items: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(json.dumps([item.to_dict() for item in items]))
    for item in found:
        for part in item.get("content") or ():
            part.pop("parsed", None)
    return found


@pytest.mark.parametrize("streamed", [False, True])
def test_a_loop_with_tools_over_previous_responses(gpt: OpenAI, *, streamed: bool) -> None:
    def ask(**asked: Any) -> Any:
        if not streamed:
            return gpt.responses.create(model="script", tools=[tool()], **asked)
        with gpt.responses.stream(model="script", tools=[tool()], **asked) as stream:
            for _event in stream:
                pass
            return stream.get_final_response()

    first = ask(input="the weather?", instructions="old rules")
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Oslo", "Rome"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "wet"} for call in calls]
    second = ask(input=results, previous_response_id=first.id)
    assert second.output_text == "It is wet."
    assert second.previous_response_id == first.id
    # user, assistant with its calls, two results, assistant, user: the old instructions are not among them.
    third = ask(input="turns", previous_response_id=second.id)
    assert third.output_text == "turns 6"
    fourth = ask(input="system", previous_response_id=first.id, instructions="new rules")
    assert fourth.output_text == "new rules"
    # The same without memory: what was answered is handed back.
    items: Any = [{"role": "user", "content": "the weather?"}, *_plain(first.output), *results]
    assert ask(input=items).output_text == "It is wet."


def test_structured_output_is_parsed(ours: House, gpt: OpenAI) -> None:
    class Person(BaseModel):
        name: str
        age: int

    raw = gpt.responses.with_raw_response.parse(model="script", input="person", text_format=Person)
    assert raw.parse().output_parsed == Person(name="Ada", age=36)
    request = ours.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}").json()["request"]
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["name", "age"]


def test_an_answer_cut_short_is_incomplete(gpt: OpenAI) -> None:
    response = gpt.responses.create(model="script", input="one two three four", max_output_tokens=2)
    assert (response.status, response.output_text) == ("incomplete", "one two")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_chat_can_be_gone_on_from(gpt: OpenAI) -> None:
    chat = gpt.chat.completions.with_raw_response.create(model="script", messages=[{"role": "user", "content": "a"}])
    previous = "resp_" + chat.headers["x-loopwright-call-id"].replace("-", "")
    assert gpt.responses.create(model="script", input="turns", previous_response_id=previous).output_text == "turns 3"


def test_what_is_not_there_is_said(ours: House, gpt: OpenAI) -> None:
    kept = gpt.responses.create(model="script", input="x")
    gpt.responses.delete(kept.id)
    unstored = gpt.responses.create(model="script", input="x", store=False)
    foreign = ours.api("POST", "/api/projects", json={"name": "others"})
    assert foreign.status_code in (200, 201), foreign.text
    secret = ours.api("POST", "/api/keys", json={"name": "other", "project": "others"}).json()["secret"]
    mine = gpt.responses.create(model="script", input="x")
    stranger = gpt.with_options(api_key=secret)
    for client, gone in ((gpt, kept.id), (gpt, unstored.id), (stranger, mine.id), (gpt, "resp_x"), (gpt, "x")):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(gone)
        with pytest.raises(openai.NotFoundError) as caught:
            client.responses.create(model="script", input="x", previous_response_id=gone)
        assert caught.value.param == "previous_response_id"
    for client, gone in ((gpt, kept.id), (stranger, mine.id)):
        with pytest.raises(openai.NotFoundError):
            client.responses.delete(gone)
    with pytest.raises(openai.BadRequestError) as wrong:
        gpt.responses.create(model="script", input="x", tools=[{"type": "web_search"}])
    assert wrong.value.param == "tools[0].type"
    with pytest.raises(openai.NotFoundError) as unknown:
        gpt.responses.create(model="scripd", input="x")
    assert unknown.value.code == "model_not_found"


def test_a_response_that_breaks_ends_as_failed(gpt: OpenAI) -> None:
    events = list(gpt.responses.create(model="script", input="break", stream=True))
    assert events[-1].type == "response.failed"
    failed = events[-1].response
    assert failed.output_text == "one two"
    assert failed.error is not None
    with pytest.raises(openai.BadRequestError, match="did not come to its end"):
        gpt.responses.create(model="script", input="x", previous_response_id=failed.id)
    assert gpt.responses.retrieve(failed.id).status == "failed"
    with pytest.raises(openai.RateLimitError) as busy:
        gpt.responses.create(model="script", input="busy", stream=True)
    assert busy.value.response.headers["retry-after"] == "7"


# ---- Messages ----


def test_a_message_is_answered_and_on_record(ours: House, claude: Anthropic) -> None:
    raw = claude.messages.with_raw_response.create(
        model="claude-of-ours",
        max_tokens=20,
        system="be kind",
        messages=[{"role": "user", "content": "system"}],
        extra_body={"loopwright": {"session": "s-9"}},
    )
    message = raw.parse()
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "be kind"}]
    assert (message.stop_reason, message.model) == ("end_turn", "claude-of-ours")
    detail = ours.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}").json()
    call = detail["call"]
    assert (call["outcome"], call["session"]) == ("ok", "s-9")
    assert (call["input_tokens"], call["output_tokens"]) == (message.usage.input_tokens, message.usage.output_tokens)
    assert detail["request"]["loopwright"] == {"dialect": "messages"}


def test_a_streamed_message_and_its_thoughts(claude: Anthropic) -> None:
    with claude.messages.stream(
        model="script",
        max_tokens=2000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[{"role": "user", "content": "think"}],
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == "Done."
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking == "Hm, well."
    assert message.usage.output_tokens > 0
    assert message.usage.input_tokens > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_a_loop_with_tools(claude: Anthropic, *, streamed: bool) -> None:
    tools: Any = [{"name": "weather", "description": "d", "input_schema": WEATHER}]
    messages: Any = [{"role": "user", "content": "the weather?"}]

    def ask() -> anthropic.types.Message:
        if not streamed:
            return claude.messages.create(model="script", max_tokens=99, tools=tools, messages=messages)
        with claude.messages.stream(model="script", max_tokens=99, tools=tools, messages=messages) as stream:
            return stream.get_final_message()

    first = ask()
    assert first.stop_reason == "tool_use"
    uses = [block for block in first.content if block.type == "tool_use"]
    assert [use.input for use in uses] == [{"city": "Oslo"}, {"city": "Rome"}]
    messages.append({"role": "assistant", "content": [block.to_dict() for block in first.content]})
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "dry"} for use in uses]
    messages.append({"role": "user", "content": results})
    second = ask()
    assert second.stop_reason == "end_turn"
    assert [block.to_dict() for block in second.content] == [{"type": "text", "text": "It is dry."}]


def test_images_are_asked_as_a_chat_asks_them(ours: House, claude: Anthropic, gpt: OpenAI) -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": PNG}
    content: Any = [{"type": "image", "source": source}, {"type": "text", "text": "what is it?"}]
    message = claude.messages.with_raw_response.create(
        model="script", max_tokens=9, messages=[{"role": "user", "content": content}]
    )
    url = f"data:image/png;base64,{PNG}"
    parts: Any = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "what is it?"}]
    response = gpt.responses.with_raw_response.create(model="script", input=[{"role": "user", "content": parts}])
    asked = [
        ours.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}").json()["request"]["messages"]
        for raw in (message, response)
    ]
    assert asked[0] == asked[1]
    assert asked[0][0]["content"][0] == {"type": "image_url", "image_url": {"url": url}}


def test_errors_are_anthropics(ours: House, claude: Anthropic) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(model="scripd", max_tokens=9, messages=hello)
    body: Any = unknown.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"
    assert "script" in body["error"]["message"]
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        claude.messages.create(model="script", max_tokens=0, messages=hello)
    with pytest.raises(anthropic.AuthenticationError):
        Anthropic(base_url=ours.url, api_key="lw-wrong", max_retries=0).messages.create(
            model="script", max_tokens=9, messages=hello
        )
    with pytest.raises(anthropic.RateLimitError) as busy:
        claude.messages.create(model="script", max_tokens=9, messages=[{"role": "user", "content": "busy"}])
    assert busy.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.APIStatusError, match="api_error"):
        for _event in claude.messages.create(
            model="script", max_tokens=9, messages=[{"role": "user", "content": "break"}], stream=True
        ):
            pass


def test_the_key_goes_in_either_header(ours: House) -> None:
    body = {"model": "script", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    for headers in ({"x-api-key": ours.key}, {"authorization": f"Bearer {ours.key}"}):
        for path in ("/v1/messages", "/v1/chat/completions"):
            assert httpx.post(ours.url + path, json=body, headers=headers, timeout=60).status_code == 200
        assert httpx.get(f"{ours.url}/v1/models", headers=headers, timeout=60).status_code == 200


def test_tokens_are_estimated_where_nobody_counts(claude: Anthropic) -> None:
    counted = claude.messages.count_tokens(model="script", messages=[{"role": "user", "content": "x" * 400}])
    assert counted.input_tokens == 104
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.count_tokens(model="scripd", messages=[{"role": "user", "content": "x"}])


# ---- the small local model ----


def test_the_local_model_speaks_both_dialects_and_counts_exactly(house: House) -> None:
    claude = Anthropic(base_url=house.url, api_key=house.key, max_retries=0, timeout=120)
    messages: Any = [{"role": "user", "content": "Say hello to the naïve reader."}]
    with claude.messages.stream(model=MODEL, max_tokens=12, system="Be brief.", messages=messages) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text
    assert message.stop_reason in ("end_turn", "max_tokens")
    counted = claude.messages.count_tokens(model=MODEL, system="Be brief.", messages=messages)
    usage = message.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    gpt = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120)
    first = gpt.responses.create(model=MODEL, input="Say hello.", max_output_tokens=8)
    assert first.output_text
    second = gpt.responses.create(model=MODEL, input="Again.", max_output_tokens=8, previous_response_id=first.id)
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


# ---- without texts on record ----


def test_without_texts_there_is_no_memory(tmp_path: Path) -> None:
    house = House(tmp_path, config=SCRIPT, LOOPWRIGHT_CALLS_PAYLOADS="false").start()
    try:
        gpt = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=60)
        first = gpt.responses.create(model="script", input="hello")
        assert first.output_text == "hello"
        with pytest.raises(openai.BadRequestError, match="not kept"):
            gpt.responses.create(model="script", input="again", previous_response_id=first.id)
        with pytest.raises(openai.BadRequestError, match="not kept"):
            gpt.responses.retrieve(first.id)
    finally:
        assert house.stop() == 0
