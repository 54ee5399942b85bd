"""The examples of a run in TruLens's shapes: records and feedback results, as JSON lines. Not tried with its library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loopwright.core.errors import BadRequest
from loopwright.runs import words
from loopwright.runs.bundle import Bundle
from loopwright.runs.run import EXAMPLES


class Trulens:
    """A folder of records: `<run>/records.jsonl` and `<run>/feedbacks.jsonl`.

    Args:
        where: the folder; made when something is put there.

    Raises:
        BadRequest: no folder is named.
    """

    def __init__(self, where: str | None = None) -> None:
        if not where:
            raise BadRequest("say which folder: --where FOLDER", param="where")
        self._folder = Path(where)

    def put(self, bundle: Bundle, /) -> str:
        """Keep the examples of a run there; its folder.

        Raises:
            BadRequest: the run kept no examples, or not as it should.
        """
        piece = next((each for each in bundle.artifacts if each.path == EXAMPLES), None)
        if piece is None:
            raise BadRequest(f"{bundle.origin} has no {EXAMPLES}: TruLens's records are made of examples", param="RUN")
        place = self._folder / words.path(bundle.origin)
        place.mkdir(parents=True, exist_ok=True)
        records, feedbacks = [], []
        try:
            for line in b"".join(piece.read()).splitlines():
                row = json.loads(line)
                records.append(record(bundle, row))
                feedbacks += [feedback(bundle, row, name, value) for name, value in row.get("scores", {}).items()]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadRequest(f"{bundle.origin}: {EXAMPLES} holds a line that is no example", param="RUN") from None
        for name, rows in (("records.jsonl", records), ("feedbacks.jsonl", feedbacks)):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (place / name).write_text(text, encoding="utf-8")
        return str(place)

    def bundles(self, _experiment: str | None, /) -> Iterator[Bundle]:
        """Nothing comes from there.

        Raises:
            BadRequest: always.
        """
        raise BadRequest("runs go to TruLens's shape, none come from it: --from folder, mlflow or wandb", param="from")

    def close(self) -> None:
        """Nothing is held."""


def record(bundle: Bundle, row: Mapping[str, Any]) -> dict[str, Any]:
    """One example as a record of an app, which is the run."""
    return {
        "record_id": f"{bundle.origin}:{row['example_id']}",
        "app_id": bundle.origin,
        "app_name": bundle.experiment,
        "app_version": bundle.name,
        "main_input": row.get("inputs"),
        "main_output": row.get("output"),
        "ts": bundle.started_at,
        "tags": ",".join(f"{name}:{value}" for name, value in bundle.tags.items()),
        "meta": {"example_id": row["example_id"], "expected": row.get("expected")},
    }


def feedback(bundle: Bundle, row: Mapping[str, Any], name: str, value: float | None) -> dict[str, Any]:
    """One score as the result of a feedback function."""
    told = f"{bundle.origin}:{row['example_id']}"
    return {
        "feedback_result_id": f"{told}:{name}",
        "record_id": told,
        "name": name,
        "result": value,
        "status": "done" if value is not None else "skipped",
    }
