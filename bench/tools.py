"""Measures tool calls over the Berkeley function-calling cases: how many are valid (ours), how many are right (the model's).

`python bench/tools.py --url http://127.0.0.1:4100/v1 --key lw-… --model smollm2-135m-instruct --cases 50`
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from openai import APIStatusError, OpenAI

from loopwright.kit.schema import schema

FILES = ("simple_python", "multiple", "parallel")
FOLDER = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "bfcl_v4"


def right(calls: list[Any], wanted: list[dict[str, Any]]) -> bool:
    """Every wanted call is made once: each argument one of those allowed; `""` among them says it may be absent."""
    left = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
    for each in wanted:
        [(name, allowed)] = each.items()
        found = next((call for call in left if call[0] == name and _fits(call[1], allowed)), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def _fits(given: dict[str, Any], allowed: dict[str, list[Any]]) -> bool:
    known = all(name in allowed and value in allowed[name] for name, value in given.items())
    return known and all(name in given or "" in values for name, values in allowed.items())


def valid(calls: list[Any], functions: list[dict[str, Any]]) -> bool:
    """Every call names a function and fits its schema."""
    known = {each["name"]: schema(each["parameters"], each["name"]) for each in functions}
    return bool(calls) and all(
        call.function.name in known and not known[call.function.name].problems(json.loads(call.function.arguments))
        for call in calls
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:4100/v1")
    parser.add_argument("--key", required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--cases", type=int, default=50, help="of each file")
    parser.add_argument("--file", choices=FILES, action="append", help="only this one; repeat for more")
    parser.add_argument("--max-tokens", type=int, default=400)
    told = parser.parse_args()
    client = OpenAI(base_url=told.url, api_key=told.key, max_retries=0, timeout=300)
    print(f"{'file':16} {'cases':>6} {'valid':>7} {'right':>7} {'refused':>8} {'s/case':>7}")
    for name in told.file or FILES:
        lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        cases = [json.loads(line) for line in lines[:: max(len(lines) // told.cases, 1)][: told.cases]]
        good = exact = refused = 0
        begun = time.perf_counter()
        for case in cases:
            tools: Any = [{"type": "function", "function": function} for function in case["function"]]
            try:
                answer = client.chat.completions.create(
                    model=told.model,
                    messages=case["question"][0],
                    tools=tools,
                    tool_choice="required",
                    parallel_tool_calls=name == "parallel",
                    max_tokens=told.max_tokens,
                    temperature=0,
                )
            except APIStatusError as error:
                refused += 1
                print(f"  {case['id']}: {error.message[:200]}")
                continue
            calls = list(answer.choices[0].message.tool_calls or [])
            good += valid(calls, case["function"])
            exact += right(calls, case["ground_truth"])
        took = (time.perf_counter() - begun) / len(cases)
        print(f"{name:16} {len(cases):6} {good / len(cases):7.1%} {exact / len(cases):7.1%} {refused:8} {took:7.2f}")


if __name__ == "__main__":
    main()
