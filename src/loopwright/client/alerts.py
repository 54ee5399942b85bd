"""What the thin client asks of alerts, silences, channels and objectives. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class AlertsRest(Rest):
    """What is wrong, who is told, and how objectives stand. `project` is for administrators: whose are meant."""

    def alerts(self, **where: str | int | None) -> dict[str, Any]:
        """One page, the newest first: `{"alerts": […], "next": id or None, "firing": {severity: n}}`.

        `where` takes `state` (`all`, `firing`, `open`, `acknowledged`, `resolved`), `severity`, `source`, `rule`,
        `project`, `before` and `limit`.
        """
        return self._object("GET", "/api/alerts", query=where)

    def alert(self, alert_id: int, *, explained: bool = True) -> dict[str, Any]:
        """One: `{"alert": {…}, "explanation": {…} or None, "notices": […]}`."""
        query = None if explained else {"explained": "false"}
        return self._object("GET", f"/api/alerts/{alert_id}", query=query)

    def acknowledge_alert(self, alert_id: int) -> dict[str, Any]:
        """Say that somebody has seen it."""
        return dict(self._object("POST", f"/api/alerts/{alert_id}/acknowledge")["alert"])

    def resolve_alert(self, alert_id: int) -> dict[str, Any]:
        """Say that it is over; should it still hold, it is raised anew."""
        return dict(self._object("POST", f"/api/alerts/{alert_id}/resolve")["alert"])

    def silences(self, *, ended: bool = False, project: str | None = None) -> list[dict[str, Any]]:
        """Silences that hold, or also those of the past."""
        return self._list("/api/silences", "silences", {"ended": "true" if ended else None, "project": project})

    def silence(
        self,
        matchers: Mapping[str, str],
        seconds: float,
        *,
        reason: str = "",
        every_project: bool = False,
        project: str | None = None,
    ) -> dict[str, Any]:
        """Have nobody told of alerts with these labels; `*` in a pattern stands for any text."""
        body = {"matchers": dict(matchers), "seconds": seconds, "reason": reason, "every_project": every_project}
        return dict(self._object("POST", "/api/silences", query={"project": project}, body=body)["silence"])

    def end_silence(self, silence_id: int) -> dict[str, Any]:
        """End a silence now."""
        return dict(self._object("DELETE", f"/api/silences/{silence_id}")["silence"])

    def channels(self) -> list[dict[str, Any]]:
        """Where notices go, and how each channel does."""
        return self._list("/api/channels", "channels")

    def test_channel(self, name: str) -> int:
        """Send a test notice; the number of its delivery."""
        return int(self._object("POST", f"/api/channels/{quote(name, safe='')}/test")["delivery"])

    def notices(self, **where: int | None) -> list[dict[str, Any]]:
        """Notices, the newest first; `where` takes `alert`, `delivery` and `limit`."""
        asked = {name: None if value is None else str(value) for name, value in where.items()}
        return self._list("/api/notices", "notices", asked)

    def objectives(self, name: str | None = None, *, project: str | None = None) -> dict[str, Any]:
        """`{"objectives": […], "standings": […]}`: what is to hold, and how it does for each group of calls."""
        return self._object("GET", "/api/objectives", query={"name": name, "project": project})
