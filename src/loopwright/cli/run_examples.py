"""What an evaluation found, example by example, as the file that runs of programs keep: for runs that leave the house."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from loopwright.client import Client
from loopwright.core.errors import NotFound
from loopwright.runs.bundle import Bundle, Piece
from loopwright.runs.run import EXAMPLES

_PAGE: Final = 200


def with_examples(client: Client, bundle: Bundle, run: Mapping[str, Any]) -> Bundle:
    """The bundle of a run; of one that is an evaluation's, with its `examples.jsonl`. Of one that was deleted without."""
    if run["evaluation_id"] is None or any(piece.path == EXAMPLES for piece in bundle.artifacts):
        return bundle
    try:
        lines = b"".join(_lines(client, run["evaluation_id"], str(run["target"])))
    except NotFound:
        return bundle
    piece = Piece(path=EXAMPLES, size=len(lines), read=lambda: iter([lines]))
    return replace(bundle, artifacts=[*bundle.artifacts, piece])


def _lines(client: Client, evaluation_id: str, target: str) -> Iterator[bytes]:
    offset: int | None = 0
    while offset is not None:
        page = client.evaluation_results(evaluation_id, offset=offset, limit=_PAGE)
        for row in page["results"]:
            answer = next((each for each in row["answers"] if str(each["target"])[:200] == target), None)
            if answer is not None:
                yield json.dumps(_row(row, answer), ensure_ascii=False).encode() + b"\n"
        offset = page["next"]


def _row(row: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """As `ActiveRun.log_examples` takes it."""
    slices = row.get("slices") or {}
    return {
        "example_id": row["example_id"],
        "inputs": row.get("inputs"),
        "expected": row.get("expected"),
        "output": answer.get("error") or answer.get("text"),
        "scores": {name: score["value"] for name, score in answer["scores"].items()},
        **({"slice": ", ".join(f"{name}={value}" for name, value in sorted(slices.items()))} if slices else {}),
    }
