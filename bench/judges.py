"""Measures how far judges agree with people: on published labels, and a model of ours by the procedure of pairs.

`python bench/judges.py` computes kappa and alpha of PandaLM's and QAGS's annotators and the card of GPT-3.5 as a judge,
beside scikit-learn's and krippendorff's figures.
`python bench/judges.py --url http://127.0.0.1:4100 --key lw-… --model smollm2-135m-instruct` also asks a running house
the 373 pairs of factuality_eval, held to its verdicts by a schema and then not, which shows how often the parser fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score

from loopwright.evals.judge_card import Card, calibrated, trust
from loopwright.evals.judge_definition import KNOWN, definition_of
from loopwright.evals.labelled import Labelled, labelled
from loopwright.evals.observation import Observation
from loopwright.evals.statistics import Estimate, cohen_kappa, krippendorff_alpha

DATA = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def things(name: str) -> list[Labelled]:
    with (DATA / name).open("rb") as lines:
        return list(labelled(lines))


def told(name: str, found: Estimate | None, beside: float) -> None:
    assert found is not None
    apart = abs(found.estimate - beside)
    print(f"{name:52} {found.estimate:7.4f} ({found.low:.3f} to {found.high:.3f})  n={found.n:<5} apart {apart:.0e}")
    assert apart < 1e-9, "differs from the library's"


def alpha_of(ratings: list[list[str | None]]) -> float:
    places = {label: at for at, label in enumerate(sorted({each for row in ratings for each in row if each}))}
    numbers = np.array([[np.nan if each is None else places[each] for each in row] for row in ratings])
    return float(krippendorff.alpha(numbers, level_of_measurement="nominal"))


def people() -> None:
    print("People among themselves, beside scikit-learn's and krippendorff's figures")
    for name in ("pandalm/testset-v1.jsonl", "qags/mturk_cnndm.jsonl", "qags/mturk_xsum.jsonl"):
        labels = [list(row) for row in zip(*(thing.human for thing in things(name)), strict=True)]
        told(f"alpha, {name}", krippendorff_alpha(labels), alpha_of(labels))
        for first, second in ((0, 1), (0, 2), (1, 2)):
            found = cohen_kappa(labels[first], labels[second])
            told(f"  kappa, {first + 1} and {second + 1}", found, cohen_kappa_score(labels[first], labels[second]))


def recorded() -> None:
    """GPT-3.5's published verdicts on PandaLM's pairs, one order only."""
    judge = {str(row["idx"]): str(row["gpt_result"]) for row in rows("pandalm/gpt35-judge-testset-v1.jsonl")}
    names = {"1": "a", "2": "b", "Tie": "tie"}
    observed = [
        Observation(
            id=thing.id,
            human=thing.human,
            verdict=names.get(judge[thing.id]),
            lengths=thing.lengths,
            authors=thing.authors,
        )
        for thing in things("pandalm/testset-v1.jsonl")
    ]
    card = calibrated("helpful", definition_of({"judge": "helpful", "model": "gpt-3.5-turbo"}), observed)
    both = [(each.truth, each.verdict) for each in observed if each.truth and each.verdict]
    print("\nGPT-3.5's recorded verdicts on PandaLM, beside scikit-learn's and krippendorff's figures")
    told("kappa with the majority", card.figures["kappa"], cohen_kappa_score(*zip(*both, strict=True)))
    settled = [each for each in observed if each.truth]
    ratings = [[each.truth for each in settled], [each.verdict for each in settled]]
    told("alpha with the majority", card.figures["alpha"], alpha_of(ratings))
    show(card)


def show(card: Card) -> None:
    for name in ("accuracy", "constant_accuracy", "gain", "sensitivity", "specificity", "missing", "verbosity"):
        figure = card.figures.get(name)
        if figure is not None:
            print(f"{name:52} {figure.estimate:7.1%} ({figure.low:.1%} to {figure.high:.1%})")
    found = trust(card)
    print(f"trusted at {found.bar:g}: {found.trusted}" + "".join(f"\n  {reason}" for reason in found.reasons))


def asked(url: str, key: str, model: str, limit: int | None, concurrency: int) -> None:
    """The command a user gives, with the verdict held to its words and without."""
    env = {**os.environ, "LOOPWRIGHT_URL": url, "LOOPWRIGHT_API_KEY": key}
    command = [sys.executable, "-m", "loopwright.cli.main", "judges"]
    free = {**KNOWN["factuality"], "constrained": False, "parameters": {"temperature": 0, "max_tokens": 60}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(free, file)
        file.flush()
        subprocess.run([*command, "add", "factuality-in-words", file.name], env=env, check=True)
    for judge in ("factuality", "factuality-in-words"):
        print(f"\n{model} as judge {judge!r}")
        size = [] if limit is None else ["--limit", str(limit)]
        pairs = [str(DATA / "factuality_eval" / "val_sentence_pairs.jsonl"), "--model", model, "--judge", judge]
        subprocess.run([*command, "pairs", *pairs, *size, "--concurrency", str(concurrency)], env=env, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="of a running house")
    parser.add_argument("--key")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--limit", type=int, help="pairs; all 373 without")
    parser.add_argument("--concurrency", type=int, default=4)
    given = parser.parse_args()
    people()
    recorded()
    if given.url:
        asked(given.url, given.key or "", given.model, given.limit, given.concurrency)


if __name__ == "__main__":
    main()
