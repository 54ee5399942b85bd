"""What the thin client asks of charts and dashboards. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Asked, Rest


class ChartsRest(Rest):
    """Charts of a running Loopwright. `project` is for administrators: whose dashboards are meant."""

    def chart(self, measure: str = "requests", **where: Asked) -> dict[str, Any]:
        """Measures (by commas) over time: `{"times", "total", "groups", "rest", "before", …}`.

        `where` takes `split`, `points`, `top`, `compare`, and whatever selects calls (see `calls`), but no `text`.
        """
        return self._object("GET", "/api/charts", query={"measure": measure, **where})

    def measures(self) -> list[dict[str, Any]]:
        """What can be drawn."""
        return self._list("/api/charts/measures", "measures")

    def dashboards(self, project: str | None = None) -> list[dict[str, Any]]:
        """Dashboards that are kept, by name."""
        return self._list("/api/dashboards", "dashboards", {"project": project})

    def dashboard(self, name: str, project: str | None = None) -> dict[str, Any]:
        """One of them."""
        return dict(self._object("GET", _path(name), query={"project": project})["dashboard"])

    def keep_dashboard(self, name: str, definition: Mapping[str, Any], project: str | None = None) -> dict[str, Any]:
        """Keep one: `panels` (measures, or `MEASURE@DIMENSION`), `range`, `split`, `compare`, `filter`."""
        asked = self._object("PUT", _path(name), query={"project": project}, body=dict(definition))
        return dict(asked["dashboard"])

    def delete_dashboard(self, name: str, project: str | None = None) -> None:
        """Forget one; the calls stay."""
        self._object("DELETE", _path(name), query={"project": project})


def _path(name: str) -> str:
    return f"/api/dashboards/{quote(name, safe='')}"
