"""What the thin client asks of calls. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Asked, Rest


class CallsRest(Rest):
    """Calls on record."""

    def calls(self, **where: Asked) -> dict[str, Any]:
        """One page, newest first: `{"calls": […], "next": id or None}`.

        `where` takes `model`, `target`, `provider`, `operation`, `key`, `client`, `outcome` (also `failed`), `task`,
        `variant`, `prompt_version`, `without` (names by commas: `task`, `tag:NAME` …), `session`, `tag` (`name:value`,
        or several that all hold), `since`, `until`, `min_cost_usd`, `min_latency_ms`, `sent_to`, `sent_outside`, `text`, `before` (an id) and `limit`.
        """
        return self._object("GET", "/api/calls", query=where)

    def each_call(self, *, page: int = 200, **where: Asked) -> Iterator[dict[str, Any]]:
        """Every call that `where` selects, newest first, fetched `page` at a time."""
        before: str | None = None
        while True:
            found = self.calls(**{**where, "before": before, "limit": page})
            yield from found["calls"]
            before = found.get("next")
            if not before:
                return

    def call(self, call_id: str) -> dict[str, Any]:
        """One call with its texts: `{"call": {…}, "request": {…}, "response": {…}}`."""
        return self._object("GET", f"/api/calls/{quote(call_id, safe='')}")

    def delete_call(self, call_id: str) -> int:
        """Delete one call and its texts for ever; returns how many were deleted."""
        return int(self._object("DELETE", f"/api/calls/{quote(call_id, safe='')}").get("deleted", 1))

    def delete_calls(self, *, session: str | None = None, tag: str | None = None, key: int | None = None) -> int:
        """Delete the calls of a session, a tag (`name:value`) or a key for ever; returns how many were deleted."""
        query = {"session": session, "tag": tag, "key": key}
        return int(self._object("DELETE", "/api/calls", query=query)["deleted"])
