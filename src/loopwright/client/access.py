"""What the thin client asks of keys, limits, projects and the audit log. Stands on the standard library alone."""

from __future__ import annotations

from typing import Any

from loopwright.kit.rest import Rest


class AccessRest(Rest):
    """Who may do what, and how much; for administrators."""

    def keys(self, project: str | None = None, *, revoked: bool = False) -> list[dict[str, Any]]:
        """The keys, without their secrets; with `revoked` also those that are of no use any more."""
        return self._list("/api/keys", "keys", {"project": project, "revoked": "true" if revoked else None})

    def create_key(
        self,
        name: str,
        *,
        project: str = "default",
        admin: bool = False,
        models: list[str] | None = None,
        **scopes: list[str] | str | None,
    ) -> dict[str, Any]:
        """Make a key: `{"key": {…}, "secret": "lw-…"}`. The secret is told this once.

        `scopes`: `tasks`, `operations` and `labels` of documents it is kept to, and `expires_at`, an ISO 8601 moment.
        """
        body: dict[str, Any] = {"name": name, "project": project, "admin": admin, "models": models}
        body |= {scope: value for scope, value in scopes.items() if value is not None}
        return self._object("POST", "/api/keys", body=body)

    def revoke_key(self, key_id: int) -> dict[str, Any]:
        """Make a key useless, at once and for ever."""
        return self._object("DELETE", f"/api/keys/{key_id}")

    def rotate_key(self, key_id: int, *, overlap_s: float = 86_400) -> dict[str, Any]:
        """A new secret for a key, told this once; the old one opens for `overlap_s` seconds more."""
        return self._object("POST", f"/api/keys/{key_id}/rotate", body={"overlap_s": overlap_s})

    def limits(self, key: int | None = None) -> list[dict[str, Any]]:
        """Limits and budgets, with what is used of each now."""
        return self._list("/api/limits", "limits", {"key": None if key is None else str(key)})

    def put_limit(self, kind: str, amount: str, **scope: str | int | None) -> dict[str, Any]:
        """Set a limit; `scope` is `key`, or `project` with perhaps `tag`, and perhaps `alert_at`."""
        body = {"kind": kind, "amount": amount, **{name: value for name, value in scope.items() if value is not None}}
        return self._object("PUT", "/api/limits", body=body)

    def remove_limit(self, limit_id: int) -> dict[str, Any]:
        """Lift a limit."""
        return self._object("DELETE", f"/api/limits/{limit_id}")

    def acts(self, *, limit: int = 50, **where: str | None) -> list[dict[str, Any]]:
        """The audit log, newest first; `where` takes `act` and `subject`."""
        return self._list("/api/audit", "acts", {**where, "limit": str(limit)})

    def projects(self) -> list[dict[str, Any]]:
        """Every project."""
        return self._list("/api/projects", "projects")

    def create_project(self, name: str) -> dict[str, Any]:
        """Make a project."""
        return self._object("POST", "/api/projects", body={"name": name})
