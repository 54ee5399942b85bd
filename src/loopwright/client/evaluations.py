"""What the thin client asks of evaluations. Stands on the standard library alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class EvaluationsRest(Rest):
    """Variants and models held against datasets. `project` is for administrators: whose are meant."""

    def plan_evaluation(self, *, project: str | None = None, **said: Any) -> dict[str, Any]:
        """What an evaluation would be, and what its examples can show; nothing is asked. `said` as for making one."""
        return self._object("POST", "/api/evaluations/plan", body=said, query={"project": project})

    def create_evaluation(self, *, project: str | None = None, **said: Any) -> dict[str, Any]:
        """Evaluate; `said` takes `targets`, `dataset`, `evaluators`, `baseline`, `gate` and what docs/evaluation.md says."""
        return self._object("POST", "/api/evaluations", body=said, query={"project": project})

    def evaluations(self, **where: str | float | None) -> dict[str, Any]:
        """A page of evaluations; `where` takes `status`, `dataset`, `before`, `limit`, `project`."""
        return self._object("GET", "/api/evaluations", query=where)

    def evaluation(self, evaluation_id: str) -> dict[str, Any]:
        """One evaluation with its findings, partial while it runs."""
        return self._object("GET", f"/api/evaluations/{quote(evaluation_id, safe='')}")

    def evaluation_results(self, evaluation_id: str, **where: str | float | None) -> dict[str, Any]:
        """A page of examples; `where` takes `sort`, `evaluator`, `target`, `slice`, `offset`, `limit`."""
        return self._object("GET", f"/api/evaluations/{quote(evaluation_id, safe='')}/results", query=where)

    def evaluation_report(self, evaluation_id: str, kind: str = "markdown", *, allow_uncertain: bool = False) -> bytes:
        """`markdown`, `junit` or `json`."""
        path = f"/api/evaluations/{quote(evaluation_id, safe='')}/report"
        return self.open("GET", path, query={"format": kind, "allow_uncertain": str(allow_uncertain).lower()}).read()

    def compare_evaluations(self, a: str, b: str, **where: str | None) -> dict[str, Any]:
        """What changed from one to the other; `where` takes `target_a`, `target_b`."""
        return self._object("GET", "/api/evaluations/compare", query={"a": a, "b": b, **where})

    def cancel_evaluation(self, evaluation_id: str) -> dict[str, Any]:
        """End one early."""
        return self._object("POST", f"/api/evaluations/{quote(evaluation_id, safe='')}/cancel")

    def delete_evaluation(self, evaluation_id: str) -> None:
        """Forget one."""
        self._object("DELETE", f"/api/evaluations/{quote(evaluation_id, safe='')}")
