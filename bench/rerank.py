"""Measures what reranking with a model is worth: nDCG@10 of BM25's best fifty on SciFact, as they are and reranked.

Asks a running Loopwright, so what is measured is `POST /v1/rerank` itself. BM25 (k1 1.2, b 0.75) is made here from the
words in lower case, without stemming. `both` is reciprocal rank fusion of the two orders.

    LOOPWRIGHT_TEST_DATA=…/data python bench/rerank.py --url http://127.0.0.1:4100 --key lw-…
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

FOLDER: Final = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "scifact_mini"
_WORD: Final = re.compile(r"[a-z0-9]+")
_K1, _B = 1.2, 0.75
_FUSION: Final = 60
_SHOWN: Final = 10


class Lexical:
    """BM25 over a list of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_WORD.findall(text.lower())) for text in texts]
        self._lengths = [sum(count.values()) for count in counts]
        self._mean = sum(self._lengths) / len(texts)
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for at, count in enumerate(counts):
            for word, times in count.items():
                self._postings.setdefault(word, []).append((at, times))

    def best(self, query: str, most: int) -> list[int]:
        """The places of the most relevant texts, best first."""
        scores: dict[int, float] = {}
        total = len(self._lengths)
        for word in set(_WORD.findall(query.lower())):
            found = self._postings.get(word, [])
            rarity = math.log(1 + (total - len(found) + 0.5) / (len(found) + 0.5))
            for at, times in found:
                norm = _K1 * (1 - _B + _B * self._lengths[at] / self._mean)
                scores[at] = scores.get(at, 0.0) + rarity * times * (_K1 + 1) / (times + norm)
        return sorted(scores, key=lambda at: (-scores[at], at))[:most]


def ndcg(order: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Of the first ten."""
    gained = sum(relevant.get(name, 0) / math.log2(at + 2) for at, name in enumerate(order[:_SHOWN]))
    best = sum(gain / math.log2(at + 2) for at, gain in enumerate(sorted(relevant.values(), reverse=True)[:_SHOWN]))
    return gained / best


def fused(one: Sequence[str], two: Sequence[str]) -> list[str]:
    """Both orders as one."""
    scores = {name: 1 / (_FUSION + one.index(name)) + 1 / (_FUSION + two.index(name)) for name in one}
    return sorted(scores, key=lambda name: -scores[name])


def read(name: str) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Print one line for each order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:4100")
    parser.add_argument("--key", required=True)
    parser.add_argument("--model", default="all-minilm-l6-v2")
    parser.add_argument("--documents", type=int, default=50, help="of BM25, for each query")
    told = parser.parse_args()
    corpus = read("corpus")
    texts = [f"{each['title']} {each['text']}".strip() for each in corpus]
    relevant: dict[str, dict[str, int]] = {}
    for line in read("qrels"):
        relevant.setdefault(line["query-id"], {})[line["corpus-id"]] = line["score"]
    lexical = Lexical(texts)
    scores: dict[str, list[float]] = {"BM25": [], told.model: [], "both": []}
    seconds = 0.0
    with httpx.Client(base_url=told.url, headers={"authorization": f"Bearer {told.key}"}, timeout=300) as client:
        for query in read("queries"):
            wanted = relevant.get(query["_id"])
            if not wanted:
                continue
            places = lexical.best(query["text"], told.documents)
            found = [corpus[at]["_id"] for at in places]
            asked = {"model": told.model, "query": query["text"], "documents": [texts[at] for at in places]}
            began = time.perf_counter()
            answer = client.post("/v1/rerank", json=asked)
            seconds += time.perf_counter() - began
            answer.raise_for_status()
            ranked = [found[result["index"]] for result in answer.json()["results"]]
            for name, order in (("BM25", found), (told.model, ranked), ("both", fused(found, ranked))):
                scores[name].append(ndcg(order, wanted))
    asked_for = len(scores["BM25"])
    print(f"SciFact, {asked_for} queries, {len(corpus)} documents, BM25's best {told.documents}")
    for name, each in scores.items():
        print(f"  nDCG@10 {sum(each) / asked_for:.3f}  {name}")
    print(f"  {seconds / asked_for:.2f} s a reranking")


if __name__ == "__main__":
    main()
