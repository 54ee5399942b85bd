"""What the thin client asks of judges. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class JudgesRest(Rest):
    """Models that judge answers, and the cards that say how well. `project` is for administrators: whose are meant."""

    def judges(self, **where: str | float | None) -> list[dict[str, Any]]:
        """The judges by name, each with its newest card for every model; `where` takes `project` and `bar`."""
        return self._list("/api/judges", "judges", where)

    def judge(self, name: str, model: str | None = None, *, project: str | None = None) -> dict[str, Any]:
        """One judge; with a model also the hash that its card is pinned to."""
        return self._object("GET", f"/api/judges/{quote(name, safe='')}", query={"model": model, "project": project})

    def put_judge(self, name: str, definition: Mapping[str, Any], *, project: str | None = None) -> dict[str, Any]:
        """Make a judge, or the next version of one."""
        path = f"/api/judges/{quote(name, safe='')}"
        return self._object("PUT", path, query={"project": project}, body={"definition": definition})

    def judge_cards(self, name: str, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"cards": […], "next": id or None}`; `where` takes `before`, `limit`, `bar`, `project`."""
        return self._object("GET", f"/api/judges/{quote(name, safe='')}/cards", query=where)

    def add_judge_card(
        self, name: str, body: Mapping[str, Any], *, bar: float | None = None, project: str | None = None
    ) -> dict[str, Any]:
        """Keep the card of a judge made from `{"model", "sha", "observations"}`."""
        path = f"/api/judges/{quote(name, safe='')}/cards"
        return self._object("POST", path, query={"bar": bar, "project": project}, body=body)
