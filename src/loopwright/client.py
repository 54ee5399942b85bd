"""A thin, synchronous client of the management API. Stands on the standard library alone, so importing it is quick.

Model calls need no client of ours: point the `openai` SDK at `<url>/v1` with the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from loopwright.calls.rest_alerts import AlertsRest
from loopwright.calls.rest_charts import ChartsRest
from loopwright.calls.rest_cost import CostRest
from loopwright.calls.rest_exports import ExportsRest
from loopwright.calls.rest_traces import TracesRest
from loopwright.datasets.rest import DatasetsRest
from loopwright.documents.rest import CollectionsRest
from loopwright.documents.rest_measuring import MeasuringRest
from loopwright.feedback.rest import ScoresRest
from loopwright.kit.rest_drift import DriftRest
from loopwright.kit.rest_files import Form, Told
from loopwright.memory.rest import MemoryRest
from loopwright.prompts.rest import PromptsRest
from loopwright.runs.rest import RunsRest
from loopwright.tasks.rest import TasksRest


class Client(
    ChartsRest,
    PromptsRest,
    RunsRest,
    TasksRest,
    DatasetsRest,
    CollectionsRest,
    MeasuringRest,
    MemoryRest,
    ScoresRest,
    TracesRest,
    ExportsRest,
    AlertsRest,
    CostRest,
    DriftRest,
):
    """Talks to `/api` of a running Loopwright over one kept connection. Not for several threads at once.

    Args:
        url: Where it listens; by default `LOOPWRIGHT_URL`, else http://127.0.0.1:4100.
        api_key: By default `LOOPWRIGHT_API_KEY`, else what `admin.key` in the data folder holds.
        home: The data folder; by default `LOOPWRIGHT_HOME`, else `.loopwright`.
        timeout: Seconds to wait for a connection and between two pieces of an answer.

    Every method raises the `LoopwrightError` that the server named, and `Unavailable` when nothing answers.
    """

    # What runs

    def status(self) -> dict[str, Any]:
        """Version, uptime, workers, engines, database and spool of the running server."""
        return self._object("GET", "/api/status")

    def models(self) -> list[dict[str, Any]]:
        """The card of every model that can be called."""
        return self._list("/api/models", "models")

    def overview(self, **where: str | None) -> dict[str, Any]:
        """Totals, a series over time and totals by model; `where` takes `since`, `until` and `model`."""
        return self._object("GET", "/api/overview", query=where)

    # Keys and projects

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

    # Encryption

    def encryption(self) -> dict[str, Any]:
        """How many fields are sealed with which key: `{"on", "key", "keys", "left", "fields"}`."""
        return self._object("GET", "/api/encryption")

    def rotate_encryption(self, after: str | None = None) -> dict[str, Any]:
        """Seal a little anew with the first key: `{"done", "after"}`; pass `after` on until it is None."""
        return self._object("POST", "/api/encryption/rotate", body={"after": after})

    # Files and batches

    def upload(
        self, path: str | Path, *, purpose: str = "batch", told: Callable[[int], None] | None = None
    ) -> dict[str, Any]:
        """Send a file in pieces; `told` hears the bytes sent so far."""
        source = Path(path)
        form = Form.of(source, {"purpose": purpose})
        heard: Told | None = None if told is None else lambda _doing, sent, _of: told(sent)
        with source.open("rb") as file:
            response = self._send("POST", self._prefix + "/v1/files", form.pieces(file, heard), form.headers)
            if response.status >= 400:
                raise self._error(response, "/v1/files")
            return self._whole(response, "/v1/files")

    def content(self, file_id: str) -> Iterator[bytes]:
        """The content of a file, in pieces."""
        response = self.open("GET", f"/v1/files/{quote(file_id, safe='')}/content")
        while piece := response.read(1 << 20):
            yield piece

    def create_batch(
        self, input_file_id: str, endpoint: str, metadata: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Have every line of an uploaded file asked, within a day: the batch in OpenAI's form."""
        body = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": "24h", "metadata": metadata}
        return self._object("POST", "/v1/batches", body=body)

    def batches(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"batches": […], "next": id or None}`; `where` takes `status`, `before`, `limit`."""
        return self._object("GET", "/api/batches", query=where)

    def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch: its status, how far it is, what it cost, its files."""
        return self._object("GET", f"/api/batches/{quote(batch_id, safe='')}")

    def cancel_batch(self, batch_id: str) -> dict[str, Any]:
        """End a batch early; what is answered by then is in its files."""
        return self._object("POST", f"/api/batches/{quote(batch_id, safe='')}/cancel")

    # Evaluations

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

    # Judges

    def judges(self, **where: str | float | None) -> list[dict[str, Any]]:
        """The judges by name, each with its newest card for every model; `where` takes `project` and `bar`."""
        return self._list("/api/judges", "judges", where)

    def judge(self, name: str, model: str | None = None, *, project: str | None = None) -> dict[str, Any]:
        """One judge; with a model also the hash that its card is pinned to."""
        return self._object("GET", f"/api/judges/{quote(name, safe='')}", query={"model": model, "project": project})

    def put_judge(self, name: str, definition: Mapping[str, Any], *, project: str | None = None) -> dict[str, Any]:
        """Make a judge, or the next version of one."""
        path = f"/api/judges/{quote(name, safe='')}"
        return self._object("PUT", path, query={"project": project}, body={"definition": definition})

    def judge_cards(self, name: str, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"cards": […], "next": id or None}`; `where` takes `before`, `limit`, `bar`, `project`."""
        return self._object("GET", f"/api/judges/{quote(name, safe='')}/cards", query=where)

    def add_judge_card(
        self, name: str, body: Mapping[str, Any], *, bar: float | None = None, project: str | None = None
    ) -> dict[str, Any]:
        """Keep the card of a judge made from `{"model", "sha", "observations"}`."""
        path = f"/api/judges/{quote(name, safe='')}/cards"
        return self._object("POST", path, query={"bar": bar, "project": project}, body=body)

    # Calls

    def calls(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"calls": […], "next": id or None}`.

        `where` takes `model`, `target`, `provider`, `operation`, `key`, `client`, `outcome` (also `failed`), `task`,
        `variant`, `prompt_version`, `without` (names by commas: `task`, `tag:NAME` …), `session`, `tag` (`name:value`), `since`, `until`,
        `min_cost_usd`, `min_latency_ms`, `sent_to`, `sent_outside`, `text`, `before` (an id) and `limit`.
        """
        return self._object("GET", "/api/calls", query=where)

    def each_call(self, *, page: int = 200, **where: str | float | None) -> Iterator[dict[str, Any]]:
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

    # Feedback

    def score(
        self,
        call_id: str,
        name: str,
        *,
        value: float | None = None,
        label: str | None = None,
        passed: bool | None = None,
        **more: str | None,
    ) -> dict[str, Any]:
        """Say something of a call: a number, a word, whether it is good enough, or several of these.

        `more` takes `explanation`, `source` (`person`, `code` or `judge`) and `author`. Who says the same name again
        takes back what they said before. Right after an answer its call is found.
        """
        body = {"name": name, "value": value, "label": label, "passed": passed, **more}
        said = {member: each for member, each in body.items() if each is not None}
        found: dict[str, Any] = self._object("POST", f"/api/calls/{quote(call_id, safe='')}/scores", body=said)["score"]
        return found

    def scores(self, call_id: str) -> list[dict[str, Any]]:
        """What was said of a call, oldest first."""
        return self._list(f"/api/calls/{quote(call_id, safe='')}/scores", "scores")

    def correct(self, call_id: str, output: Any, *, note: str = "", author: str | None = None) -> dict[str, Any]:
        """Say what the answer to a call should have been: a text, or JSON. The latest correction counts.

        Of what comes back `memory` says whether the next request like it is shown that: `{"entry", "embedded", …}`.
        """
        body = {"output": output, "note": note, "author": author}
        path = f"/api/calls/{quote(call_id, safe='')}/correction"
        found = self._object("POST", path, body=body)
        return {**found["correction"], "memory": found.get("memory")}

    def correction(self, call_id: str) -> dict[str, Any]:
        """`{"correction": the one that counts or None, "history": all, the latest first}`."""
        return self._object("GET", f"/api/calls/{quote(call_id, safe='')}/correction")

    def corrections(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"corrections": […], "next": id or None}`.

        `where` takes `project`, `since`, `before` and `limit`.
        """
        return self._object("GET", "/api/corrections", query=where)

    def reviews(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"reviews": […], "next": id or None}`; `where` takes `project`, `before`, `limit`."""
        return self._object("GET", "/api/reviews", query=where)

    def create_review(self, name: str, **said: Any) -> dict[str, Any]:
        """Make a queue that people rate: `{"review": {…}, "left_out": n}`.

        `said` takes `mode` (`rubric` or `pairwise`), `criteria` such as `["helpful:1-5"]`, `instructions`, `raters`,
        `limit`, and one of `calls` (a filter), `dataset` (with `answers`, `split`) and `items`.
        """
        return self._object("POST", "/api/reviews", body={"name": name, **said})

    def review(self, review: str) -> dict[str, Any]:
        """One review, by id or name, with its progress."""
        found: dict[str, Any] = self._object("GET", f"/api/reviews/{quote(review, safe='')}")["review"]
        return found

    def agreement(self, review: str) -> list[dict[str, Any]]:
        """Krippendorff's alpha of each criterion, with its interval."""
        return self._list(f"/api/reviews/{quote(review, safe='')}/agreement", "agreement")

    def export_review(self, review: str, *, criterion: str | None = None, texts: bool = False) -> Iterator[bytes]:
        """What raters said, JSON lines, in pieces; of one `criterion` as a judge is calibrated against it."""
        query = {"criterion": criterion, "texts": "true" if texts else None}
        response = self.open("GET", f"/api/reviews/{quote(review, safe='')}/export", query=query)
        while piece := response.read(1 << 16):
            yield piece
