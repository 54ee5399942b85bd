"""The main job, with the unmodified `openai` SDK against a real server with real models."""

import asyncio
import time
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.flows.house import House, wait

MODEL = "smollm2-135m-instruct"
HELLO: Any = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def client(house: House) -> OpenAI:
    return OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120)


def test_a_chat_is_answered_and_on_record(house: House, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=HELLO,
        max_tokens=12,
        seed=1,
        extra_body={"loopwright": {"session": "s-1", "tags": {"team": "blue"}}},
        extra_headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
    )
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.usage is not None
    call_id = raw.headers["x-loopwright-call-id"]
    assert raw.headers["x-loopwright-model"] == MODEL
    assert float(raw.headers["x-loopwright-cost-usd"]) > 0
    # At once: what was just answered is found.
    detail = house.api("GET", f"/api/calls/{call_id}").json()
    call = detail["call"]
    assert (call["outcome"], call["model"], call["session"], call["tags"]) == ("ok", MODEL, "s-1", {"team": "blue"})
    assert (call["trace_id"], call["parent_id"]) == ("a" * 32, "b" * 16)
    assert (call["input_tokens"], call["output_tokens"]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert call["client"].startswith("OpenAI/Python")
    assert call["finish"] == answer.choices[0].finish_reason
    assert detail["request"]["messages"] == HELLO
    assert "loopwright" not in detail["request"]
    assert detail["response"]["choices"][0]["message"]["content"] == answer.choices[0].message.content


def test_a_stream_is_answered_and_on_record_as_one_answer(house: House, client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=HELLO, max_tokens=12, stream=True, stream_options={"include_usage": True}
    ) as response:
        call_id = response.headers["x-loopwright-call-id"]
        chunks = list(response.parse())
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said
    usage = chunks[-1].usage
    assert usage is not None
    detail = house.api("GET", f"/api/calls/{call_id}").json()
    assert detail["response"]["choices"][0]["message"]["content"] == said
    call = detail["call"]
    assert call["stream"]
    assert call["output_tokens"] == usage.completion_tokens
    assert 0 < call["ttft_us"] <= call["latency_us"]
    assert call["tpot_us"] > 0


def test_usage_is_counted_though_the_client_did_not_ask(house: House, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, max_tokens=5, stream=True)
    chunks = list(raw.parse())
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    call = house.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}").json()["call"]
    assert call["output_tokens"] > 0
    assert not call["usage_estimated"]


def test_parameters_reach_the_model(client: OpenAI) -> None:
    one = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8, temperature=0, seed=7)
    two = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8, temperature=0, seed=7)
    assert one.choices[0].message.content == two.choices[0].message.content
    several = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=4, n=2, logprobs=True, top_logprobs=2
    )
    assert len(several.choices) == 2
    assert several.choices[0].logprobs is not None
    schema = {
        "type": "json_schema",
        "json_schema": {
            "name": "colour",
            "schema": {"type": "object", "properties": {"c": {"enum": ["red", "blue"]}}, "required": ["c"]},
        },
    }
    formed = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "A colour?"}],
        max_tokens=30,
        response_format=schema,  # type: ignore[call-overload]
    )
    assert '"c"' in formed.choices[0].message.content
    stopped = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Count: 1 2 3 4"}],
        max_tokens=40,
        stop=[" ", "\n", ","],
        temperature=0,  # what it says in Korean by chance llama.cpp may not stop: docs/api.md
    )
    assert " " not in (stopped.choices[0].message.content or "").strip()


def test_a_completion_is_answered(client: OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="Once upon a", max_tokens=5)
    assert answer.choices[0].text
    pieces = list(client.completions.create(model=MODEL, prompt="Once upon a", max_tokens=5, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices)


def test_embeddings_mean_something(house: House, client: OpenAI) -> None:
    texts = ["a cat sat on the mat", "a kitten rests on a rug", "quarterly revenue grew by ten percent"]
    found = client.embeddings.create(model="all-minilm-l6-v2", input=texts)
    cat, kitten, revenue = (item.embedding for item in found.data)
    assert len(cat) == 384
    assert (
        sum(a * b for a, b in zip(cat, kitten, strict=True))
        > sum(a * b for a, b in zip(cat, revenue, strict=True)) + 0.2
    )
    plain = client.embeddings.create(model="all-minilm-l6-v2", input=texts[0], encoding_format="float", dimensions=64)
    assert len(plain.data[0].embedding) == 64
    wait(lambda: any(call["operation"] == "embeddings" for call in house.calls(model="all-minilm-l6-v2")))


def test_models_are_listed(client: OpenAI) -> None:
    assert {MODEL, "all-minilm-l6-v2", "fake"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match="did you mean"):
        client.models.retrieve("smollm2")


@pytest.mark.parametrize("key", ["lw-wrong", "sk-123", "x" * 5000])
def test_a_wrong_key_is_a_401(house: House, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=0).chat.completions.create(
            model=MODEL, messages=HELLO
        )
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "smolm2-135m-instruct"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"max_tokens": -5}, 400, "max_tokens"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, 400, "messages"),
        ({"model": "all-minilm-l6-v2"}, 400, "model"),
    ],
)
def test_bad_input_is_refused_with_its_place(
    client: OpenAI, change: dict[str, Any], status: int, param: str, *, stream: bool
) -> None:
    asked: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 5, "stream": stream, **change}
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**asked)
    assert (caught.value.status_code, caught.value.param) == (status, param)


def test_refusals_are_on_record_too(house: House, client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[])
    call_id = caught.value.response.headers["x-loopwright-call-id"]
    call = house.api("GET", f"/api/calls/{call_id}").json()["call"]
    assert (call["outcome"], call["status"], call["error_code"]) == ("refused", 400, "invalid_request")


def test_a_client_that_hangs_up_frees_the_engine_and_is_recorded_with_its_tokens(house: House, client: OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "Write a very long story about the sea."}]
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=asked, max_tokens=3000, stream=True)
    stream = raw.parse()
    for number, _chunk in enumerate(stream):
        if number == 5:
            break
    stream.close()
    call_id = raw.headers["x-loopwright-call-id"]
    call = house.api("GET", f"/api/calls/{call_id}").json()["call"]
    assert (call["outcome"], call["status"]) == ("cancelled", 499)
    assert 0 < call["output_tokens"] < 500
    assert call["usage_estimated"]
    begun = time.monotonic()
    client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
    assert time.monotonic() - begun < 60


def test_two_hundred_chats_at_once_get_their_own_answers(house: House) -> None:
    async def main() -> list[str | None]:
        async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=300) as many:

            async def one(number: int) -> str | None:
                model = MODEL if number % 4 == 0 else "fake"
                answer = await many.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": f"count {number}"}], max_tokens=2
                )
                assert answer.choices[0].message.content is not None
                return answer.choices[0].message.content if model == "fake" else f"answer {number}"

            return await asyncio.gather(*(one(number) for number in range(200)))

    assert asyncio.run(main()) == [f"answer {number}" for number in range(200)]


def test_unpriced_calls_are_shown_as_such(house: House, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="unpriced", messages=HELLO)
    assert "x-loopwright-cost-usd" not in raw.headers
    call = house.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}").json()["call"]
    assert call["cost_usd"] is None
    raw = client.chat.completions.with_raw_response.create(model="fake", messages=HELLO)
    call = house.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}").json()["call"]
    assert call["cost_usd"] == raw.headers["x-loopwright-cost-usd"]
    assert call["price_source"] == "configuration"
