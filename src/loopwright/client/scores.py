"""What the thin client asks of scores. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Asked, Rest


class ScoresRest(Rest):
    """Scores rolled up, and the calls behind them.

    `where` takes `project`, `since`, `until`, `name`, `source` (`code`, `judge`, `person`), `task`, `variant`, `model`,
    `target`, `provider`, `operation`, `prompt_version`, `key`, `session` and `tag` (`name:value`, or several that all hold).
    """

    def score_figures(self, by: str | None = None, **where: Asked) -> list[dict[str, Any]]:
        """Each score by name and source, and for each value of what it is split `by`; with `by="tag"` give `tag_name`."""
        return self._list("/api/scores", "scores", {"by": by, **where})

    def score_series(self, by: str | None = None, points: int = 60, **where: Asked) -> list[dict[str, Any]]:
        """Each score over time."""
        return self._list("/api/scores/series", "series", {"by": by, "points": points, **where})

    def score_names(self, **where: Asked) -> list[str]:
        """Names of the scores of the last month; `where` takes `task` and `project`."""
        found: list[str] = self._object("GET", "/api/scores/names", query=where)["names"]
        return found

    def scored_calls(self, **where: Asked) -> list[dict[str, Any]]:
        """Scores of single calls, the lowest first; besides, `where` takes `below`, `label`, `passed` and `limit`."""
        return self._list("/api/scores/calls", "calls", where)

    def hand_on(
        self, to: str, name: str, calls: Sequence[str], project: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Hand calls on to a new `review`, or into a `dataset`; `more` takes `criteria`, `raters`, `answers`."""
        body = {"to": to, "name": name, "calls": [*calls], **more}
        return self._object("POST", "/api/scores/calls", query={"project": project}, body=body)

    def monitor(self, task: str, *, hours: int = 24, project: str | None = None) -> dict[str, Any]:
        """How scoring of a task's calls stands: seen, scored, passed over and why, what it took, how far behind it is."""
        path = f"/api/tasks/{quote(task, safe='')}/monitor"
        return self._object("GET", path, query={"hours": hours, "project": project})
