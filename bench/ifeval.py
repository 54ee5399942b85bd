"""Measures how far our checker of IFEval agrees with the reference's verdicts on 540 answers of GPT-4.

`LOOPWRIGHT_TEST_DATA=…/data python bench/ifeval.py`
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from loopwright.evals.ifeval import follows

FOLDER = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "ifeval"


def rows(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    if not path.exists():
        sys.exit(f"{path} is absent: set LOOPWRIGHT_TEST_DATA")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    asked, answered = rows("input_data.jsonl"), rows("input_response_data_gpt4.jsonl")
    ruled = rows("eval_results_strict_gpt4.jsonl")
    total: Counter[str] = Counter()
    same: Counter[str] = Counter()
    prompts = strict = loose = 0
    begun = time.process_time()
    for prompt, answer, verdict in zip(asked, answered, ruled, strict=True):
        names, kwargs = prompt["instruction_id_list"], prompt["kwargs"]
        ours = follows(answer["response"], names, kwargs)
        prompts += all(ours) == verdict["follow_all_instructions"]
        strict += all(ours)
        loose += all(follows(answer["response"], names, kwargs, loose=True))
        for name, one, other in zip(names, ours, verdict["follow_instruction_list"], strict=True):
            total[name] += 1
            same[name] += one == other
            if one != other:
                print(f"  differs: {prompt['key']} {name}: ours {one}, the reference's {other}")
    took = time.process_time() - begun
    for name in sorted(total):
        print(f"{name:48} {same[name]:4} of {total[name]:4}")
    count, every = len(asked), total.total()
    print(f"instructions: {same.total()} of {every} as the reference ({same.total() / every:.2%})")
    print(f"prompts:      {prompts} of {count} as the reference ({prompts / count:.2%})")
    print(f"GPT-4 follows all of them in {strict / count:.1%} of the prompts, strictly; loosely in {loose / count:.1%}")
    print(f"{took:.2f} s of CPU for {count} answers, checked strictly and loosely")


if __name__ == "__main__":
    main()
