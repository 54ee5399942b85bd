"""What the thin client asks about measuring searches of collections. Stands on the standard library alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from loopwright.kit.rest import LINES, Rest
from loopwright.kit.rest_files import Told


class MeasuringRest(Rest):
    """How well collections are searched. `project` is for administrators: whose collections are meant."""

    def evaluate_collection(
        self, name: str, *, project: str | None = None, told: Told | None = None, **new: Any
    ) -> dict[str, Any]:
        """Measure searches by labelled queries; `new`: `queries`, `qrels`, `ways`, `cutoffs`, `note`."""
        body = {key: value for key, value in new.items() if value is not None}
        return dict(self._made(f"{_path(name)}/evaluations", body, project, told)["evaluation"])

    def retrieval_evaluations(self, name: str, **where: str | float | None) -> dict[str, Any]:
        """A page of measurements, the newest first; `where` takes `before`, `limit`, `project`."""
        return self._object("GET", f"{_path(name)}/evaluations", query=where)

    def retrieval_evaluation(self, name: str, number: int, **where: str | float | None) -> dict[str, Any]:
        """One with its queries; `where` takes `way`, `order`, `limit`, `offset`, `project`."""
        return self._object("GET", f"{_path(name)}/evaluations/{number}", query=where)

    def delete_retrieval_evaluation(self, name: str, number: int, *, project: str | None = None) -> dict[str, Any]:
        """Remove one, for ever."""
        return self._object("DELETE", f"{_path(name)}/evaluations/{number}", query={"project": project})

    def question_collection(
        self, name: str, *, project: str | None = None, told: Told | None = None, **new: Any
    ) -> dict[str, Any]:
        """Have a model write questions; `new`: `model`, `count`, `dataset`, `alike`, `overlap`, `depth`, `seed`, `budget_usd`."""
        body = {key: value for key, value in new.items() if value is not None}
        return self._made(f"{_path(name)}/questions", body, project, told)

    def forecast_embedding(self, *, project: str | None = None, **said: Any) -> dict[str, Any]:
        """Tokens, money and time of embedding; `said`: `texts` or `items` and `tokens_each`, `embedder`, `price`, `measure`."""
        body = {key: value for key, value in said.items() if value is not None}
        found = self._object("POST", "/api/collections/forecast", query={"project": project}, body=body)
        return dict(found["forecast"])

    def forecast_collection(self, name: str, **where: str | float | None) -> dict[str, Any]:
        """The same of embedding a collection anew; `where` takes `embedder`, `price`, `measure`, `project`."""
        return dict(self._object("GET", f"{_path(name)}/forecast", query=where)["forecast"])

    def collection_cost(self, name: str, **where: Any) -> dict[str, Any]:
        """Cost of an answer from passages and with the whole collection in the prompt; `where`: `k`, `output_tokens`, …."""
        said = [(key, str(each)) for key, value in where.items() for each in _each(value)]
        return self._object("GET", f"{_path(name)}/cost" + (f"?{urlencode(said)}" if said else ""))

    def _made(self, path: str, body: Mapping[str, Any], project: str | None, told: Told | None) -> dict[str, Any]:
        target = self._prefix + path + (f"?{urlencode({'project': project})}" if project else "")
        headers = {"content-type": "application/json", "accept": LINES}
        response = self._send("POST", target, json.dumps(body).encode(), headers)
        return self._followed(response, path, told, broken="Nothing was kept: do it again")


def _each(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _path(name: str) -> str:
    return f"/api/collections/{quote(name, safe='')}"
