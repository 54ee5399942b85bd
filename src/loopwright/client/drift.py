"""What the thin client asks of drift and canaries. Stands on the standard library alone."""

from __future__ import annotations

from typing import Any

from loopwright.kit.rest import Rest


class DriftRest(Rest):
    """What is watched for drift, and what is replayed. `project` is for administrators: whose are meant."""

    def watches(self, *, project: str | None = None) -> list[dict[str, Any]]:
        """What is watched, each with its open finding."""
        return self._list("/api/drift", "watches", {"project": project})

    def watch(self, subject: str, *, project: str | None = None, **told: Any) -> dict[str, Any]:
        """Watch `task/NAME` or a model.

        `told` takes `embedder`, `trailing`, `reference`, `window`, `per_day`, `alpha` and `history`.
        """
        body = {"subject": subject, **{name: value for name, value in told.items() if value is not None}}
        return dict(self._object("POST", "/api/drift", query={"project": project}, body=body)["watch"])

    def drift(self, watch_id: int) -> dict[str, Any]:
        """One watch: its looks, findings, distributions of then and now, and example calls."""
        return self._object("GET", f"/api/drift/{watch_id}")

    def findings(self, *, project: str | None = None, state: str | None = None) -> list[dict[str, Any]]:
        """What moved, newest first; `state`: open, accepted, dismissed, passed."""
        return self._list("/api/drift/findings", "findings", {"project": project, "state": state})

    def look_for_drift(self) -> bool:
        """Look at all that is watched, now; False while another process is at it."""
        return bool(self._object("POST", "/api/drift/run")["ran"])

    def act_on_watch(self, watch_id: int, act: str) -> dict[str, Any]:
        """`act`: accept, dismiss, pause, resume."""
        return dict(self._object("POST", f"/api/drift/{watch_id}/{act}")["watch"])

    def unwatch(self, watch_id: int) -> dict[str, Any]:
        """Watch no more; what was found goes with it."""
        return self._object("DELETE", f"/api/drift/{watch_id}")

    def canaries(self, *, project: str | None = None) -> list[dict[str, Any]]:
        """Canaries by name."""
        return self._list("/api/canaries", "canaries", {"project": project})

    def create_canary(
        self, name: str, *, dataset: str, model: str, project: str | None = None, **told: Any
    ) -> dict[str, Any]:
        """Ask a dataset version again and again.

        `told` takes `parameters`, `examples`, `repeats`, `every` (seconds), `budget` (US dollars a day) and `alpha`.
        """
        said = {key: value for key, value in told.items() if value is not None}
        body = {"name": name, "dataset": dataset, "model": model, **said}
        return dict(self._object("POST", "/api/canaries", query={"project": project}, body=body)["canary"])

    def canary(self, canary_id: int) -> dict[str, Any]:
        """One canary with its runs, newest first."""
        return self._object("GET", f"/api/canaries/{canary_id}")

    def canary_run(self, canary_id: int, run_id: int) -> dict[str, Any]:
        """One run: each example with its answers of then and now, those that changed first."""
        return self._object("GET", f"/api/canaries/{canary_id}/runs/{run_id}")

    def act_on_canary(self, canary_id: int, act: str) -> dict[str, Any]:
        """`act`: run (now), accept (a new baseline), pause, resume."""
        return dict(self._object("POST", f"/api/canaries/{canary_id}/{act}")["canary"])

    def delete_canary(self, canary_id: int) -> dict[str, Any]:
        """Remove it with all its answers."""
        return self._object("DELETE", f"/api/canaries/{canary_id}")
