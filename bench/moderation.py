"""How well our guardrails judge the 1,680 texts that OpenAI labelled for its own moderation (MIT), and what that costs.

Takes `openai_moderation/samples-1680.jsonl` from LOOPWRIGHT_TEST_DATA. Nothing of ours was made from these texts. Not
every text has every label: a category is measured on those that have its label.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from loopwright.guardrails.moderation import Judge, Judgement, load

LABELS = {
    "harassment": "HR",
    "hate": "H",
    "hate/threatening": "H2",
    "self-harm": "SH",
    "sexual": "S",
    "sexual/minors": "S3",
    "violence": "V",
}
"""OpenAI's abbreviations by its categories."""


def samples() -> list[dict[str, Any]]:
    folder = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "openai_moderation"
    file = folder / "samples-1680.jsonl"
    if not file.exists():
        sys.exit(f"the labelled texts are not at {file}: set LOOPWRIGHT_TEST_DATA")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def auc(scores: list[float], right: list[bool]) -> float:
    """How often a text with the label scores higher than one without, ties by half (Mann and Whitney)."""
    order = sorted(range(len(scores)), key=scores.__getitem__)
    ranks = [0.0] * len(scores)
    at = 0
    while at < len(order):
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        for place in order[at:end]:
            ranks[place] = (at + 1 + end) / 2
        at = end
    positive = sum(right)
    if not 0 < positive < len(right):
        return 0.5
    above = sum(rank for rank, label in zip(ranks, right, strict=True) if label) - positive * (positive + 1) / 2
    return above / (positive * (len(right) - positive))


def row(scores: list[float], said: list[bool], right: list[bool]) -> dict[str, float]:
    hits = sum(one and two for one, two in zip(said, right, strict=True))
    return {
        "texts": len(right),
        "labelled": sum(right),
        "auc": auc(scores, right),
        "precision": hits / max(sum(said), 1),
        "recall": hits / max(sum(right), 1),
    }


def rows(data: list[dict[str, Any]], judged: list[Judgement]) -> dict[str, dict[str, float]]:
    found = {}
    for category, label in LABELS.items():
        known = [(each, bool(sample[label])) for each, sample in zip(judged, data, strict=True) if label in sample]
        scores = [each.scores[category] for each, _ in known]
        said = [each.categories[category] for each, _ in known]
        found[category] = row(scores, said, [right for _, right in known])
    any_label = [any(sample.get(label) for label in (*LABELS.values(), "V2")) for sample in data]
    highest = [max(each.scores.values()) for each in judged]
    found["flagged"] = row(highest, [each.flagged for each in judged], any_label)
    return found


def speed(judge: Judge, texts: list[str]) -> float:
    """Microseconds of CPU for 1,000 characters."""
    begun = time.process_time()
    for text in texts:
        judge.judge(text)
    return (time.process_time() - begun) / sum(map(len, texts)) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    data = samples()
    before = psutil.Process().memory_info().rss
    begun = time.perf_counter()
    judge = load()
    loading = time.perf_counter() - begun
    memory = psutil.Process().memory_info().rss - before
    texts = [sample["prompt"] for sample in data]
    found = rows(data, [judge.judge(text) for text in texts])
    costs = {"us_per_1000": speed(judge, texts), "load_ms": loading * 1000, "load_mb": memory / 1e6}
    if options.json:
        print(json.dumps({"categories": found, **costs}, indent=2))
        return
    print(f"{'category':18} {'texts':>6} {'labelled':>8} {'AUC':>6} {'precision':>9} {'recall':>7}")
    for name, each in found.items():
        print(
            f"{name:18} {each['texts']:6.0f} {each['labelled']:8.0f} {each['auc']:6.3f} {each['precision']:9.3f} "
            f"{each['recall']:7.3f}"
        )
    print(
        f"{costs['us_per_1000']:.0f} µs CPU per 1,000 characters; loading {loading * 1000:.0f} ms, {memory / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
