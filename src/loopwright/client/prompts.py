"""What the thin client asks of prompts. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class PromptsRest(Rest):
    """Prompts of a running Loopwright. `project` is for administrators; else the key's own."""

    def prompts(self, project: str | None = None) -> list[dict[str, Any]]:
        """Prompts by name, with their labels."""
        return self._list("/api/prompts", "prompts", {"project": project})

    def prompt(self, name: str, project: str | None = None) -> dict[str, Any]:
        """One prompt: its labels, its versions without their texts, where it is used."""
        return self._object("GET", _path(name), query={"project": project})

    def prompt_version(self, name: str, ref: str | None = None, project: str | None = None) -> dict[str, Any]:
        """A version with its definition; `ref` is a label, a number, a hash, `latest`.

        Without `ref` it is the one that `production` points at, else the latest.
        """
        return self._object("GET", f"{_path(name)}/version", query={"ref": ref, "project": project})

    def push_prompt(
        self,
        name: str,
        definition: Mapping[str, Any],
        *,
        note: str = "",
        labels: list[str] | None = None,
        project: str | None = None,
    ) -> dict[str, Any]:
        """Push a definition: `{"created", "version": {…}}`. The same content is the same version."""
        body = {"definition": dict(definition), "note": note, "labels": labels or []}
        return self._object("POST", f"{_path(name)}/versions", query={"project": project}, body=body)

    def label_prompt(self, name: str, label: str, ref: str, project: str | None = None) -> dict[str, Any]:
        """Point a label at a version."""
        path = f"{_path(name)}/labels/{quote(label, safe='')}"
        return self._object("PUT", path, query={"project": project}, body={"ref": ref})

    def delete_prompt(self, name: str, project: str | None = None) -> dict[str, Any]:
        """Forget a prompt with all its versions for ever: `{"deleted", "versions"}`; not while a task names it."""
        return self._object("DELETE", _path(name), query={"project": project})

    def unlabel_prompt(self, name: str, label: str, project: str | None = None) -> dict[str, Any]:
        """Take a label away."""
        return self._object("DELETE", f"{_path(name)}/labels/{quote(label, safe='')}", query={"project": project})

    def roll_back_prompt(self, name: str, label: str, project: str | None = None) -> dict[str, Any]:
        """Point a label at where it pointed before."""
        path = f"{_path(name)}/labels/{quote(label, safe='')}/rollback"
        return self._object("POST", path, query={"project": project})

    def prompt_history(self, name: str, label: str | None = None, project: str | None = None) -> list[dict[str, Any]]:
        """Moves of its labels, newest first."""
        return self._list(f"{_path(name)}/history", "moves", {"label": label, "project": project})

    def diff_prompt(self, name: str, before: str, after: str, project: str | None = None) -> dict[str, Any]:
        """What changed between two versions: `{"same", "lines", "unified", …}`."""
        query = {"from": before, "to": after, "project": project}
        return self._object("GET", f"{_path(name)}/diff", query=query)

    def render_prompt(
        self,
        name: str,
        variables: Mapping[str, Any] | None = None,
        *,
        ref: str | None = None,
        project: str | None = None,
    ) -> dict[str, Any]:
        """The messages a version becomes, and what they weigh; without `variables` of its own examples."""
        body = {"ref": ref, "variables": None if variables is None else dict(variables)}
        return self._object("POST", f"{_path(name)}/render", query={"project": project}, body=body)

    def prompt_patterns(self) -> list[dict[str, Any]]:
        """Starting points."""
        return self._list("/api/prompt-patterns", "patterns")


def _path(name: str) -> str:
    return f"/api/prompts/{quote(name, safe='')}"
