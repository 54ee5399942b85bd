"""Runs in the shape of Comet's REST API, as a file. Written without its library, and not tried with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from loopwright.core.errors import BadRequest
from loopwright.runs import words
from loopwright.runs.bundle import Bundle


class Comet:
    """A folder of experiments in Comet's words: `<run>/experiment.json` and `<run>/assets/`.

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
        """Keep a run there; its folder."""
        place = self._folder / words.path(bundle.origin)
        place.mkdir(parents=True, exist_ok=True)
        for piece in bundle.artifacts:
            target = place / "assets" / words.path(piece.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(piece.read())
        text = json.dumps(shaped(bundle), indent=2, ensure_ascii=False)
        (place / "experiment.json").write_text(text + "\n", encoding="utf-8")
        return str(place)

    def bundles(self, _experiment: str | None, /) -> Iterator[Bundle]:
        """Nothing comes from there.

        Raises:
            BadRequest: always.
        """
        raise BadRequest("runs go to Comet's shape, none come from it: --from folder, mlflow or wandb", param="from")

    def close(self) -> None:
        """Nothing is held."""


def shaped(bundle: Bundle) -> dict[str, Any]:
    """A run in Comet's words: what its REST API answers of an experiment, in one object."""
    metrics = [
        {"metricName": name, "metricValue": _text(each["value"]), "step": each["step"], "timestamp": _ms(each["at"])}
        for name, curve in bundle.curves.items()
        for each in curve
    ]
    others: dict[str, Any] = {"kind": bundle.kind, "notes": "\n\n".join(bundle.notes), "prompts": [*bundle.prompts]}
    others |= {"data": [dict(each) for each in bundle.data], "error": bundle.error}
    return {
        "metadata": {
            "experimentKey": bundle.origin,
            "experimentName": bundle.name,
            "projectName": bundle.experiment,
            "startTimeMillis": _ms(bundle.started_at),
            "endTimeMillis": _ms(bundle.ended_at),
            "running": bundle.status == "running",
            "hasCrashed": bundle.status in ("failed", "killed"),
        },
        "parameters": [{"name": name, "valueCurrent": _text(value)} for name, value in bundle.params.items()],
        "metrics": metrics,
        "tags": [f"{name}:{value}" for name, value in bundle.tags.items()],
        "others": [{"name": name, "valueCurrent": _text(value)} for name, value in others.items() if value],
        "gitMetadata": {"head": bundle.code.get("commit"), "branch": bundle.code.get("branch")},
        "assets": [{"fileName": piece.path, "fileSize": piece.size} for piece in bundle.artifacts],
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _ms(moment: str | None) -> int | None:
    return None if moment is None else int(datetime.fromisoformat(moment).timestamp() * 1000)
