"""What the thin client asks of tasks. Stands on the standard library alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class TasksRest(Rest):
    """Tasks of a running Loopwright."""

    def tasks(self, project: str | None = None) -> list[dict[str, Any]]:
        """Tasks that can be called, by name: those of the configuration and those stored."""
        found: list[dict[str, Any]] = self._object("GET", "/api/tasks", query={"project": project})["tasks"]
        return found

    def task(self, name: str, project: str | None = None) -> dict[str, Any]:
        """One task with its definition, and what is wrong with it now."""
        return self._object("GET", _path(name), query={"project": project})

    def put_task(self, name: str, definition: dict[str, Any], project: str | None = None) -> dict[str, Any]:
        """Tell what a stored task is; the same again changes nothing."""
        return self._object("PUT", _path(name), query={"project": project}, body={"definition": definition})

    def delete_task(self, name: str, project: str | None = None) -> dict[str, Any]:
        """Forget a stored task and its history; its calls stay on record."""
        return self._object("DELETE", _path(name), query={"project": project})

    def task_figures(self, name: str, project: str | None = None, **where: str | None) -> dict[str, Any]:
        """What the calls of a task took and cost, by variant and by prompt; `where` takes `since` and `until`."""
        return self._object("GET", f"{_path(name)}/figures", query={"project": project, **where})

    def preview_task(
        self, name: str, variables: dict[str, Any], *, variant: str | None = None, project: str | None = None
    ) -> dict[str, Any]:
        """What a call would ask, without asking it."""
        body = {"variables": variables, "variant": variant}
        return self._object("POST", f"{_path(name)}/preview", query={"project": project}, body=body)


def _path(name: str) -> str:
    return f"/api/tasks/{quote(name, safe='')}"
