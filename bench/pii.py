"""How much personal data is found in annotated sentences, how much is wrongly found, and what that costs.

Takes the 1,500 synthetic sentences of presidio-research (MIT), `synth_dataset_v2.jsonl`, from LOOPWRIGHT_TEST_DATA. A
find is right when it overlaps an annotation of its kind. Names, addresses and dates are annotated there and not sought.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopwright.guardrails.pii import find

KINDS = {
    "EMAIL_ADDRESS": "email",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "US_SSN": "ssn",
    "PHONE_NUMBER": "phone",
}
"""The annotations that are of a kind of ours."""
PROSE = (
    "The committee met on 4 November 2023 at 10:30, approved 1,250,000 for room 12, and will meet again in 2 weeks. "
)
"""Text without a find, as most is."""


@dataclass(slots=True)
class Score:
    """Counts of one kind."""

    found: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Of what was found, the share that is right."""
        return self.found / max(self.found + self.wrong, 1)

    @property
    def recall(self) -> float:
        """Of what is there, the share that was found."""
        return self.found / max(self.found + self.missed, 1)

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def sentences() -> list[dict[str, Any]]:
    path = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "presidio_synth_pii"
    file = path / "synth_dataset_v2.jsonl"
    if not file.exists():
        sys.exit(f"the annotated sentences are not at {file}: set LOOPWRIGHT_TEST_DATA")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def scores(data: list[dict[str, Any]], *, shown: bool) -> dict[str, Score]:
    """By kind; `shown` prints what is missed and what is wrong."""
    counted = {kind: Score() for kind in KINDS.values()}
    for sentence in data:
        text = sentence["full_text"]
        annotated = [
            (KINDS[span["entity_type"]], span["start_position"], span["end_position"])
            for span in sentence["spans"]
            if span["entity_type"] in KINDS
        ]
        finds = [(span.kind, span.start, span.end) for span in find(text) if span.kind in counted]
        for kind, start, end in finds:
            right = any(kind == other and start < until and at < end for other, at, until in annotated)
            counted[kind].found += right
            counted[kind].wrong += not right
            if shown and not right:
                print(f"wrong  {kind:6} {text[start:end]!r} in {text!r}")
        for kind, start, end in annotated:
            missed = not any(kind == other and start < until and at < end for other, at, until in finds)
            counted[kind].missed += missed
            if shown and missed:
                print(f"missed {kind:6} {text[start:end]!r} in {text!r}")
    return counted


def speed(texts: list[str]) -> float:
    """Microseconds of CPU for 1,000 characters, the least of five rounds."""
    characters = sum(map(len, texts))
    least = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for text in texts:
            find(text)
        least = min(least, time.process_time() - begun)
    return least / characters * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--show", action="store_true", help="print what is missed and what is wrong")
    options = parser.parse_args()
    data = sentences()
    counted = scores(data, shown=options.show)
    speeds = {
        "annotated sentences": speed([sentence["full_text"] for sentence in data]),
        "prose without a find": speed([PROSE * 9] * 200),
        "one long text": speed([PROSE * 9_000]),
    }
    if options.json:
        rows = {
            kind: {**asdict(each), "precision": each.precision, "recall": each.recall} for kind, each in counted.items()
        }
        print(json.dumps({"kinds": rows, "us_per_1000": speeds}, indent=2))
        return
    print(f"{'kind':8} {'annotated':>9} {'precision':>9} {'recall':>7} {'F1':>6}")
    for kind, each in counted.items():
        print(f"{kind:8} {each.found + each.missed:9} {each.precision:9.3f} {each.recall:7.3f} {each.f1:6.3f}")
    for name, us in speeds.items():
        print(f"{us:7.1f} µs CPU per 1,000 characters: {name}")


if __name__ == "__main__":
    main()
