"""The thin client as one class: each group of its methods is a file of this package."""

from __future__ import annotations

from typing import Any

from loopwright.client.access import AccessRest
from loopwright.client.alerts import AlertsRest
from loopwright.client.batches import BatchesRest
from loopwright.client.calls import CallsRest
from loopwright.client.charts import ChartsRest
from loopwright.client.collections import CollectionsRest
from loopwright.client.cost import CostRest
from loopwright.client.datasets import DatasetsRest
from loopwright.client.drift import DriftRest
from loopwright.client.evaluations import EvaluationsRest
from loopwright.client.exports import ExportsRest
from loopwright.client.feedback import FeedbackRest
from loopwright.client.judges import JudgesRest
from loopwright.client.measuring import MeasuringRest
from loopwright.client.memory import MemoryRest
from loopwright.client.prompts import PromptsRest
from loopwright.client.runs import RunsRest
from loopwright.client.scores import ScoresRest
from loopwright.client.tasks import TasksRest
from loopwright.client.traces import TracesRest


class Client(
    AccessRest,
    AlertsRest,
    BatchesRest,
    CallsRest,
    ChartsRest,
    CollectionsRest,
    CostRest,
    DatasetsRest,
    DriftRest,
    EvaluationsRest,
    ExportsRest,
    FeedbackRest,
    JudgesRest,
    MeasuringRest,
    MemoryRest,
    PromptsRest,
    RunsRest,
    ScoresRest,
    TasksRest,
    TracesRest,
):
    """Talks to `/api` of a running Loopwright over one kept connection. Not for several threads at once.

    Args:
        url: Where it listens; by default `LOOPWRIGHT_URL`, else http://127.0.0.1:4100.
        api_key: By default `LOOPWRIGHT_API_KEY`, else what `admin.key` in the data folder holds.
        home: The data folder; by default `LOOPWRIGHT_HOME`, else `.loopwright`.
        timeout: Seconds to wait for a connection and between two pieces of an answer.

    Every method raises the `LoopwrightError` that the server named, and `Unavailable` when nothing answers.
    """

    def status(self) -> dict[str, Any]:
        """Version, uptime, workers, engines, database and spool of the running server."""
        return self._object("GET", "/api/status")

    def models(self) -> list[dict[str, Any]]:
        """The card of every model that can be called."""
        return self._list("/api/models", "models")

    def overview(self, **where: str | None) -> dict[str, Any]:
        """Totals, a series over time and totals by model; `where` takes `since`, `until` and `model`."""
        return self._object("GET", "/api/overview", query=where)

    def encryption(self) -> dict[str, Any]:
        """How many fields are sealed with which key: `{"on", "key", "keys", "left", "fields"}`."""
        return self._object("GET", "/api/encryption")

    def rotate_encryption(self, after: str | None = None) -> dict[str, Any]:
        """Seal a little anew with the first key: `{"done", "after"}`; pass `after` on until it is None."""
        return self._object("POST", "/api/encryption/rotate", body={"after": after})
