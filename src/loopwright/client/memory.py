"""What the thin client asks of memory. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class MemoryRest(Rest):
    """Corrections that are shown to the next request like theirs. `project` is for administrators: whose are meant."""

    def memory(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"entries": […], "next": id or None}`.

        `where` takes `task`, `author`, `state`, `words`, `project`, `before` and `limit`.
        """
        return self._object("GET", "/api/memory", query=where)

    def memory_entry(self, entry_id: str) -> dict[str, Any]:
        """One: `{"entry": {…}, "shown": n, "answered": n, "conflicts": […]}`."""
        return self._object("GET", f"/api/memory/{quote(entry_id, safe='')}")

    def change_memory(self, entry_id: str, **said: Any) -> dict[str, Any]:
        """Change one; `said` takes `disabled`, `expires_at` (a moment, or None for never) and `scope` (tags)."""
        path = f"/api/memory/{quote(entry_id, safe='')}"
        return dict(self._object("PATCH", path, body=said)["entry"])

    def delete_memory(self, entry_id: str) -> dict[str, Any]:
        """Forget one for ever."""
        return self._object("DELETE", f"/api/memory/{quote(entry_id, safe='')}")

    def import_memory(
        self, task: str, entries: Sequence[Mapping[str, Any]], *, project: str | None = None, author: str | None = None
    ) -> dict[str, Any]:
        """Remember what no call was corrected for, up to 1,000 at once: `{"imported", "embedded", "conflicts"}`.

        Each of `entries` has `input` (a text, or variables), `output`, and perhaps `note` and `scope`.
        """
        body = {"task": task, "entries": [*entries], "author": author}
        return self._object("POST", "/api/memory/import", query={"project": project}, body=body)

    def memory_conflicts(self, **where: str | float | None) -> list[dict[str, Any]]:
        """Where people contradict each other; `where` takes `state` (`open`, `all`, …), `project`, `before`, `limit`."""
        return self._list("/api/memory/conflicts", "conflicts", where)

    def resolve_conflict(
        self, conflict_id: int, keep: str, *, scopes: Mapping[str, Mapping[str, str]] | None = None
    ) -> dict[str, Any]:
        """Decide: `newer`, `older`, `both`, or `scope` with tags by the id of an entry."""
        body = {"keep": keep, "scopes": scopes}
        return dict(self._object("POST", f"/api/memory/conflicts/{conflict_id}/resolve", body=body)["conflict"])

    def memory_effect(self, **where: str | float | None) -> list[dict[str, Any]]:
        """How often answers were found wanting with memory and without, by task; `where` takes `task`, `variant`, `days`."""
        return self._list("/api/memory/effect", "effect", where)
