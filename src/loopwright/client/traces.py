"""What the thin client asks of traces and sessions. Stands on the standard library alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class TracesRest(Rest):
    """Traces and sessions over REST."""

    def traces(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"traces": […], "next": mark or None}`.

        `where` takes `service`, `session`, `name`, `failed` (`true`, `false`), `model`, `min_duration_ms`, `min_cost_usd`,
        `since`, `until`, `project`, `before` (a mark) and `limit`.
        """
        return self._object("GET", "/api/traces", query=where)

    def trace(self, trace_id: str) -> dict[str, Any]:
        """One trace: what it took, and `nodes`, each after its parent."""
        found: dict[str, Any] = self._object("GET", f"/api/traces/{quote(trace_id, safe='')}")["trace"]
        return found

    def span(self, trace_id: str, span_id: str) -> dict[str, Any]:
        """One span with its input, output, attributes, events and links."""
        path = f"/api/traces/{quote(trace_id, safe='')}/spans/{quote(span_id, safe='')}"
        found: dict[str, Any] = self._object("GET", path)["span"]
        return found

    def sessions(self, **where: str | float | None) -> dict[str, Any]:
        """One page, who spoke last first: `{"sessions": […], "next": mark or None}`.

        `where` takes `project`, `since`, `before`, `limit`.
        """
        return self._object("GET", "/api/sessions", query=where)

    def session(self, session: str, **where: str | float | None) -> dict[str, Any]:
        """`{"session": {…}, "turns": the latest, "earlier": mark or None}`; `where` takes `project`, `before`, `limit`."""
        return self._object("GET", f"/api/sessions/{quote(session, safe='')}", query=where)
