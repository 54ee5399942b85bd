"""Measures how often the parsers of answers fail on what a real model writes: choices (BBQ), numbers (GSM8K), queries (geo).

`python bench/extraction.py --url http://127.0.0.1:4100/v1 --key lw-… --model smollm2-135m-instruct --cases 100`
prints the share of answers in which nothing was found; `--out FILE` keeps each answer with what was read, to be read by
a person: only that tells what was read wrongly.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openai import OpenAI

from loopwright.datasets.example import Example
from loopwright.evals import extraction
from loopwright.evals.benchmarks import BENCHMARKS, examples
from loopwright.evals.matching import options_of

FOLDER = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))


def choice(example: Example, text: str) -> Any:
    return extraction.choice(text, options_of(example) or ())


def number(example: Example, text: str) -> Any:
    del example
    found = extraction.number(text)
    return None if found is None else str(found)


def query(example: Example, text: str) -> Any:
    del example
    return extraction.sql(text)


def geo(row: Mapping[str, Any]) -> Example:
    return Example(id="", inputs={"messages": row["prompt"]}, expected=row["completion"][0]["content"])


def cases(name: str, count: int) -> list[Example]:
    files = {"bbq": "bbq/Age.jsonl", "gsm8k": "gsm8k/test.jsonl", "geo": "text_to_sql/geo_test.jsonl"}
    lines = (FOLDER / files[name]).read_text(encoding="utf-8").splitlines()
    some = lines[:: max(len(lines) // count, 1)][:count]
    return [geo(json.loads(line)) for line in some] if name == "geo" else list(examples(BENCHMARKS[name], some))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:4100/v1")
    parser.add_argument("--key", required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--cases", type=int, default=100, help="of each set")
    parser.add_argument("--out", type=Path, help="keep each answer here, as JSONL")
    told = parser.parse_args()
    client = OpenAI(base_url=told.url, api_key=told.key, max_retries=2, timeout=300)
    out = None if told.out is None else told.out.open("w", encoding="utf-8", buffering=1)
    readers: dict[str, tuple[Callable[[Example, str], Any], int]] = {
        "bbq": (choice, 60), "gsm8k": (number, 200), "geo": (query, 80),
    }  # fmt: skip
    print(f"{'set':8} {'answers':>8} {'nothing found':>14}")
    for name, (reader, tokens) in readers.items():
        nothing = 0
        some = cases(name, told.cases)
        for example in some:
            answer = client.chat.completions.create(
                model=told.model, messages=example.inputs["messages"], max_tokens=tokens, temperature=0
            )
            text = answer.choices[0].message.content or ""
            found = reader(example, text)
            nothing += found is None
            kept = {"set": name, "text": text, "found": found, "choices": example.metadata.get("choices")}
            if out is not None:
                out.write(json.dumps(kept) + "\n")
        print(f"{name:8} {len(some):8} {nothing / len(some):14.1%}", flush=True)


if __name__ == "__main__":
    main()
