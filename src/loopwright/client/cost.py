"""What the thin client asks about costs. Stands on the standard library alone."""

from __future__ import annotations

from typing import Any

from loopwright.kit.rest import Asked, Rest


class CostRest(Rest):
    """Money, savings, energy and CO2 over REST."""

    def cost(self, by: str = "model", **where: Asked) -> dict[str, Any]:
        """What calls cost, of the last day unless `since` says otherwise: sums, `groups`, `energy`, `saved`, `month`.

        `by` is a dimension (model, task, variant, key, target, provider, client, session …) or `tag:NAME`; `where`
        takes what `GET /api/calls` does.
        """
        return self._object("GET", "/api/cost", query={"by": by, **where})
