"""What an answer says, read for its evaluators: also the passages that it stands on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from loopwright.core.chat import Delta
from loopwright.datasets.example import Example
from loopwright.evals.asked import output_bytes, output_of, output_read, score_key, task_body
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.evaluators import make
from loopwright.evals.paced import Said


def said(**more: Any) -> Said:
    choice = {"index": 0, "message": {"role": "assistant", "content": "It is in Bonn [1]."}, "finish_reason": "stop"}
    return Said(
        delta=Delta(raw=json.dumps({"choices": [choice], **more}).encode(), done=True), call_id="c", latency_us=1
    )


EXAMPLE = Example(id="1", inputs={})
LOOKED_UP = {"retrieval": {"sources": [{"number": 1, "text": "The house is in Bonn."}, {"number": 2}]}}


def test_passages_that_were_looked_up_are_kept_with_the_answer() -> None:
    output = output_of(said(loopwright=LOOKED_UP), formed=False)
    assert output.passages == ["The house is in Bonn."]
    assert output_read(output_bytes(output)).passages == ["The house is in Bonn."]
    assert output_of(said(), formed=False).passages == []
    assert task_body("task/t", {}, {"input": "x"})["loopwright"] == {"variables": {"input": "x"}, "passages": True}


def test_an_answer_is_measured_on_the_passages_it_stands_on() -> None:
    evaluator = make({"kind": "grounded", "args": {"embedding": False}}, Tools())
    there = output_of(said(loopwright=LOOKED_UP), formed=False)
    assert asyncio.run(evaluator(EXAMPLE, there)).value == 1.0
    nowhere = asyncio.run(evaluator(EXAMPLE, output_of(said(), formed=False)))
    assert "none were looked up" in (nowhere.missing or "")


def test_what_a_judge_found_of_other_passages_is_found_anew() -> None:
    spec = {"kind": "judge"}
    with_one, with_none = Output(text="a", passages=["p"]), Output(text="a")
    assert score_key(spec, EXAMPLE, (with_one,), "") != score_key(spec, EXAMPLE, (with_none,), "")
