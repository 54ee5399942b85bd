"""MLflow as another tracker, over its REST API: runs go there and come from there. Needs no library of MLflow's."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from loopwright.core import errors
from loopwright.kit.rest import Rest
from loopwright.runs.bundle import Bundle, Piece

_API: Final = "/api/2.0/mlflow"
_FILES: Final = "/api/2.0/mlflow-artifacts/artifacts/"
_TO: Final = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_FROM: Final = {word: status for status, word in _TO.items()} | {"SCHEDULED": "running"}
_KEY: Final = re.compile(r"[^\w\-. /:]")
_PARAM: Final = 6_000
_TAG: Final = 5_000
_MARK: Final = "loopwright.run_id"
_MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


class Mlflow(Rest):
    """A tracking server of MLflow.

    Args:
        where: its URL; by default `MLFLOW_TRACKING_URI`. `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and
            `MLFLOW_TRACKING_PASSWORD`, are sent when they are set.

    Raises:
        BadRequest: there is no URL, or it is none.
    """

    def __init__(self, where: str | None = None, *, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        url = where or env.get("MLFLOW_TRACKING_URI")
        if not url:
            raise errors.BadRequest("say where MLflow is: --where URL, or MLFLOW_TRACKING_URI", param="where")
        super().__init__(url, "-")
        # Ours must never go there: what `Rest` finds by itself is for Loopwright.
        self.api_key = env.get("MLFLOW_TRACKING_TOKEN") or None
        self._basic = ""
        user = env.get("MLFLOW_TRACKING_USERNAME")
        if user and not self.api_key:
            both = f"{user}:{env.get('MLFLOW_TRACKING_PASSWORD', '')}"
            self._basic = "Basic " + base64.b64encode(both.encode()).decode()

    # ---- there ----

    def put(self, bundle: Bundle, /) -> str:
        """Keep a run there; its page. One that is there already, by its tag `loopwright.run_id`, is not kept twice."""
        experiment = self._experiment(bundle.experiment)
        known = self._ask(
            "POST",
            "/runs/search",
            {"experiment_ids": [experiment], "filter": f"tags.`{_MARK}` = '{bundle.origin}'", "max_results": 1},
        ).get("runs")
        if known:
            return self._page(experiment, known[0]["info"]["run_id"])
        made = self._ask(
            "POST",
            "/runs/create",
            {
                "experiment_id": experiment,
                "run_name": bundle.name,
                "start_time": _ms(bundle.started_at),
                "tags": _pairs(_words(bundle), _TAG),
            },
        )["run"]["info"]
        self._log(made["run_id"], bundle)
        for piece in bundle.artifacts:
            self._upload(made["artifact_uri"], piece)
        self._ask("POST", "/runs/set-tag", {"run_id": made["run_id"], "key": _MARK, "value": bundle.origin})
        end = {"run_id": made["run_id"], "status": _TO[bundle.status], "end_time": _ms(bundle.ended_at)}
        self._ask("POST", "/runs/update", {name: value for name, value in end.items() if value is not None})
        return self._page(experiment, made["run_id"])

    def _log(self, run_id: str, bundle: Bundle) -> None:
        points = [
            {
                "key": _key(name),
                "value": "NaN" if each["value"] is None else each["value"],
                "timestamp": _ms(each["at"]) or 0,
                "step": each["step"],
            }
            for name, curve in bundle.curves.items()
            for each in curve
        ]
        for start in range(0, len(points), 1_000):
            self._ask("POST", "/runs/log-batch", {"run_id": run_id, "metrics": points[start : start + 1_000]})
        params = _pairs({name: _text(value) for name, value in bundle.params.items()}, _PARAM)
        for start in range(0, len(params), 100):
            self._ask("POST", "/runs/log-batch", {"run_id": run_id, "params": params[start : start + 100]})
        datasets = [
            {
                "tags": [{"key": "mlflow.data.context", "value": str(each.get("split") or "evaluation")}],
                "dataset": {
                    "name": str(each.get("dataset")),
                    "digest": str(each.get("sha") or each.get("number"))[:36],
                    "source_type": "loopwright",
                    "source": f"{each.get('dataset')}@{each.get('number')}",
                },
            }
            for each in bundle.data
        ]
        if datasets:
            self._ask("POST", "/runs/log-inputs", {"run_id": run_id, "datasets": datasets})

    def _upload(self, root: str, piece: Piece) -> None:
        place = _proxied(root)
        if place is None:
            raise errors.BadRequest(
                f"MLflow keeps artifacts at {root}, which only its own client reaches\n"
                "Start it with --serve-artifacts (its default), or export with --no-artifacts"
            )
        target = self._prefix + _FILES + quote(f"{place}/{piece.path}")
        headers = {"content-length": str(piece.size), "content-type": "application/octet-stream"}
        response = self._send("PUT", target, piece.read(), headers)
        if response.status >= 400:
            raise self._error(response, target)
        response.read()

    # ---- from there ----

    def bundles(self, experiment: str | None, /) -> Iterator[Bundle]:
        """The runs of an experiment, of all without a name."""
        for each in self._experiments(experiment):
            for run in self._runs(each["experiment_id"]):
                yield self._bundle(each["name"], run)

    def _bundle(self, experiment: str, run: Mapping[str, Any]) -> Bundle:
        info, data = run["info"], run.get("data", {})
        tags = {each["key"]: str(each.get("value", "")) for each in data.get("tags", ())}
        pieces, left = self._pieces(info["run_id"], info.get("artifact_uri", ""))
        code: dict[str, Any] = {}
        if "mlflow.source.git.commit" in tags:
            code["commit"] = tags["mlflow.source.git.commit"]
        if "mlflow.source.name" in tags:
            code["script"] = tags["mlflow.source.name"].rpartition("/")[2]
        return Bundle(
            origin=info["run_id"],
            experiment=experiment,
            name=info.get("run_name") or info["run_id"],
            status=_FROM.get(info.get("status", ""), "finished"),
            params={each["key"]: each.get("value", "") for each in data.get("params", ())},
            tags={name: value[:_TAG] for name, value in tags.items() if not _told_apart(name)},
            prompts=[each for each in tags.get("loopwright.prompts", "").split(", ") if each],
            data=[_dataset(each) for each in run.get("inputs", {}).get("dataset_inputs", ())],
            code=code,
            curves={each["key"]: self._history(info["run_id"], each["key"]) for each in data.get("metrics", ())},
            notes=[tags["mlflow.note.content"]] if tags.get("mlflow.note.content") else [],
            started_at=_iso(info.get("start_time")),
            ended_at=_iso(info.get("end_time")),
            artifacts=pieces,
            left=left,
        )

    def _experiments(self, name: str | None) -> Sequence[Mapping[str, Any]]:
        if name is not None:
            found = self._ask("GET", "/experiments/get-by-name", {"experiment_name": name})
            return [found["experiment"]]
        return [*self._paged("/experiments/search", {"max_results": 1_000}, "experiments")]

    def _runs(self, experiment_id: str) -> Iterator[Mapping[str, Any]]:
        return self._paged("/runs/search", {"experiment_ids": [experiment_id], "max_results": 1_000}, "runs")

    def _history(self, run_id: str, key: str) -> Sequence[Mapping[str, Any]]:
        asked = {"run_id": run_id, "metric_key": key, "max_results": 25_000}
        points: list[Mapping[str, Any]] = []
        while True:
            found = self._ask("GET", "/metrics/get-history", asked)
            points += found.get("metrics", ())
            if not found.get("next_page_token"):
                break
            asked = {**asked, "page_token": found["next_page_token"]}
        return [
            {
                "step": int(each.get("step", 0)),
                "at": _iso(each.get("timestamp")),
                "value": _number(each.get("value", 0)),
            }
            for each in points
        ]

    def _pieces(self, run_id: str, root: str) -> tuple[Sequence[Piece], Sequence[str]]:
        listed = [*self._listed(run_id, "")]
        place = _proxied(root)
        if place is None:
            return (), [f"{len(listed)} artifacts at {root}, which only MLflow's own client reaches"] if listed else []
        return [
            Piece(path=each["path"], size=int(each.get("file_size", 0)), read=self._reader(f"{place}/{each['path']}"))
            for each in listed
        ], ()

    def _listed(self, run_id: str, path: str) -> Iterator[Mapping[str, Any]]:
        asked = {"run_id": run_id} | ({"path": path} if path else {})
        for each in self._ask("GET", "/artifacts/list", asked).get("files", ()):
            if each.get("is_dir"):
                yield from self._listed(run_id, each["path"])
            else:
                yield each

    def _reader(self, path: str) -> Any:
        def read() -> Iterator[bytes]:
            response = self.open("GET", _FILES + quote(path))
            while piece := response.read(1 << 20):
                yield piece

        return read

    # ---- the wire ----

    def _experiment(self, name: str) -> str:
        try:
            return str(self._experiments(name)[0]["experiment_id"])
        except errors.NotFound:
            return str(self._ask("POST", "/experiments/create", {"name": name})["experiment_id"])

    def _paged(self, path: str, asked: Mapping[str, Any], member: str) -> Iterator[Mapping[str, Any]]:
        token = None
        while True:
            found = self._ask("POST", path, {**asked, **({"page_token": token} if token else {})})
            yield from found.get(member, ())
            token = found.get("next_page_token")
            if not token:
                return

    def _ask(self, method: str, path: str, said: Mapping[str, Any]) -> dict[str, Any]:
        if method == "GET":
            return self._object(method, _API + path, query=said)
        return self._object(method, _API + path, body=said)

    def _send(
        self, method: str, target: str, payload: bytes | Iterator[bytes] | None, said: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        try:
            return super()._send(
                method, target, payload, {**said, **({"authorization": self._basic} if self._basic else {})}
            )
        except errors.Unavailable as error:
            raise errors.Unavailable(f"MLflow does not answer at {self.url}\nIs it there, and is it on?") from error

    def _error(self, response: http.client.HTTPResponse, path: str) -> errors.LoopwrightError:
        raw = response.read(1_000_000)
        self.close()
        try:
            said = json.loads(raw)
        except ValueError:
            said = {}
        told = said if isinstance(said, dict) else {}
        message = (
            f"MLflow answered {response.status} to {path.partition('?')[0]}: {told.get('message', response.reason)}"
        )
        if told.get("error_code") in _MISSING or response.status == 404:
            return errors.NotFound(message)
        return errors.UpstreamRefused(message) if response.status < 500 else errors.UpstreamError(message)

    def _page(self, experiment: str, run_id: str) -> str:
        return f"{self.url}/#/experiments/{experiment}/runs/{run_id}"


def _words(bundle: Bundle) -> dict[str, str]:
    """The tags of a run there: its own, and what MLflow has no place for."""
    found = {**bundle.tags, "loopwright.kind": bundle.kind}
    if bundle.prompts:
        found["loopwright.prompts"] = ", ".join(bundle.prompts)
    if bundle.notes:
        found["mlflow.note.content"] = "\n\n".join(bundle.notes)
    if bundle.error:
        found["loopwright.error"] = bundle.error
    if bundle.code.get("commit"):
        found["mlflow.source.git.commit"] = str(bundle.code["commit"])
        found["loopwright.code.dirty"] = "true" if bundle.code.get("dirty") else "false"
    if bundle.code.get("script"):
        found["mlflow.source.name"] = str(bundle.code["script"])
    return found


def _told_apart(tag: str) -> bool:
    """Whether a tag says what a run of ours has a place for."""
    return tag in ("mlflow.runName", "mlflow.note.content", "loopwright.prompts", "mlflow.source.git.commit")


def _dataset(told: Mapping[str, Any]) -> dict[str, Any]:
    dataset = told.get("dataset", {})
    name, _, number = str(dataset.get("source", "")).partition("@")
    ours = dataset.get("source_type") == "loopwright" and number.isdigit()
    found: dict[str, Any] = {"dataset": name if ours else dataset.get("name"), "sha": dataset.get("digest")}
    if ours:
        found["number"] = int(number)
    context = next((each["value"] for each in told.get("tags", ()) if each["key"] == "mlflow.data.context"), None)
    return found | ({"split": context} if context in ("train", "validation", "test") else {})


def _pairs(said: Mapping[str, str], most: int) -> list[dict[str, str]]:
    return [{"key": _key(name), "value": value[:most]} for name, value in said.items()]


def _key(name: str) -> str:
    """A name as MLflow takes it: letters, digits and a few signs."""
    return _KEY.sub("_", name)[:250]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _proxied(uri: str) -> str | None:
    """Where the server itself keeps artifacts, as its own route calls it; None when it does not."""
    scheme, _, rest = uri.partition(":")
    if scheme != "mlflow-artifacts":
        return None
    return rest.lstrip("/") if not rest.startswith("//") else rest[2:].partition("/")[2]


def _number(value: Any) -> float | None:
    number = float(value)
    return number if abs(number) < float("inf") else None


def _ms(moment: Any) -> int | None:
    return None if moment is None else int(datetime.fromisoformat(str(moment)).timestamp() * 1000)


def _iso(ms: Any) -> str | None:
    return None if not ms else datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat()
