"""How well a score of suspicion tells texts that command a model from those that do not, and what it costs.

Takes `prompt_injection_deepset` (train, test), `notinject` (benign, with words of alarm), `jailbreak_inthewild`, and the
passages of `cranfield` and `xquad_retrieval` as benign documents, from LOOPWRIGHT_TEST_DATA. The rules were written by
looking at the training part of deepset only; every other figure is of texts that nobody looked at for it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sklearn.metrics import roc_auc_score, roc_curve

from loopwright.guardrails.injection import suspicion

FOLDER = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))


def rows(name: str) -> list[dict[str, object]]:
    file = FOLDER / name
    if not file.exists():
        sys.exit(f"there is no {file}: set LOOPWRIGHT_TEST_DATA")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def texts(name: str, member: str, *, label: int | None = None) -> list[str]:
    return [str(row[member]) for row in rows(name) if label is None or row["label"] == label]


def told(name: str, bad: Sequence[float], good: Sequence[float]) -> None:
    labels = [1] * len(bad) + [0] * len(good)
    scores = [*bad, *good]
    wrong, found, _ = roc_curve(labels, scores)
    at = {most: max(f for w, f in zip(wrong, found, strict=True) if w <= most) for most in (0.01, 0.05)}
    print(f"{name:44} {roc_auc_score(labels, scores):6.3f} {at[0.01]:8.1%} {at[0.05]:8.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threshold", type=float, default=0.5, help="from which on a passage counts as suspicious")
    parser.add_argument("--show", type=int, default=0, help="print so many that it gets most wrong of each")
    given = parser.parse_args()
    deepset = "prompt_injection_deepset"
    held = {
        "deepset train, injections": texts(f"{deepset}/train.jsonl", "text", label=1),
        "deepset train, benign": texts(f"{deepset}/train.jsonl", "text", label=0),
        "deepset test, injections": texts(f"{deepset}/test.jsonl", "text", label=1),
        "deepset test, benign": texts(f"{deepset}/test.jsonl", "text", label=0),
        "jailbreaks in the wild": texts("jailbreak_inthewild/inthewild_jailbreak_llms.jsonl", "prompt"),
        "notinject (benign)": texts("notinject/notinject.jsonl", "prompt"),
        "cranfield (benign documents)": texts("cranfield/corpus.jsonl", "text"),
        "xquad (benign documents)": texts("xquad_retrieval/corpus.jsonl", "text"),
    }
    begun = time.process_time()
    scored = {name: [suspicion(text) for text in each] for name, each in held.items()}
    took = time.process_time() - begun
    characters = sum(len(text) for each in held.values() for text in each)
    print(f"{'':44} {'AUC':>6} {'at 1 %':>8} {'at 5 %':>8}   (recall at so many false positives)")
    told(
        "deepset train (rules were written on it)", scored["deepset train, injections"], scored["deepset train, benign"]
    )
    told("deepset test", scored["deepset test, injections"], scored["deepset test, benign"])
    told("deepset test against notinject", scored["deepset test, injections"], scored["notinject (benign)"])
    documents = [*scored["cranfield (benign documents)"], *scored["xquad (benign documents)"]]
    told("deepset test against documents", scored["deepset test, injections"], documents)
    told("jailbreaks against deepset test, benign", scored["jailbreaks in the wild"], scored["deepset test, benign"])
    told("jailbreaks against notinject", scored["jailbreaks in the wild"], scored["notinject (benign)"])
    told("jailbreaks against documents", scored["jailbreaks in the wild"], documents)
    print(f"\n{'':44} {'texts':>6} {'flagged':>8}   (score >= {given.threshold:g})")
    for name, each in scored.items():
        print(f"{name:44} {len(each):6} {sum(score >= given.threshold for score in each) / len(each):8.1%}")
        if given.show:
            good = "benign" in name
            worst = sorted(zip(each, held[name], strict=True), reverse=good)[: given.show]
            for score, text in worst:
                print(f"    {score:.2f} {' '.join(text.split())[:160]}")
    print(f"\n{took / characters * 1e6:.3f} ms CPU per 1,000 characters, over {characters:,}")


if __name__ == "__main__":
    main()
