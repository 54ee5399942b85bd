"""Mirrors calls to a tracking server of MLflow's: spans by its OTLP endpoint, scores as assessments, deletions by its REST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from loopwright.exports.exporter import NotTaken, Said
from loopwright.exports.outgoing import Outgoing
from loopwright.exports.posting import Posting, basic
from loopwright.exports.spans import told_request
from loopwright.telemetry.emitted import pairs

_KINDS: Final = {"chat": "CHAT_MODEL", "completion": "LLM", "embeddings": "EMBEDDING", "rerank": "RERANKER"}
_SOURCES: Final = {"person": "HUMAN", "judge": "LLM_JUDGE", "code": "CODE"}
_encode: Final = msgspec.json.Encoder().encode


class Mlflow:
    """A trace of ours is a trace of theirs, of the same id; every call is a span of it.

    Args:
        url: of the tracking server, 3.6 or newer: `http://127.0.0.1:5000`.
        experiment: its name; made when it is not there.
        user: with `password`, where it asks for them.
        password: as `user`.
        token: instead of these two, sent as `Authorization: Bearer`.
        texts: as the settings say.
        link_local: let it be at a link-local or metadata address.
    """

    def __init__(
        self,
        url: str = "",
        experiment: str = "loopwright",
        *,
        user: str = "",
        password: str = "",
        token: str = "",
        texts: bool = False,  # noqa: ARG002 - what it gets has them or not
        link_local: bool = False,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if user:
            headers = {"authorization": basic(user, password)}
        self._place = Posting(url, headers, link_local=link_local)
        self._experiment = experiment
        self._id: str | None = None

    async def send(self, calls: Sequence[Outgoing]) -> None:
        """See `Exporter`."""
        request = told_request(calls, events=False)
        for span, each in zip(request.resource_spans[0].scope_spans[0].spans, calls, strict=True):
            call = each.detail.call
            told = {"mlflow.spanType": _json(_KINDS.get(call.operation, "LLM"))}
            if span.parent_span_id:
                # A trace without a root is none there, and steps around calls are not mirrored.
                told["loopwright.parent_span_id"] = span.parent_span_id.hex()
                span.ClearField("parent_span_id")
            span.attributes.extend(pairs(told))
        headers = {"x-mlflow-experiment-id": await self._experiment_id()}
        await self._place.spans("/v1/traces", request, headers)
        await self.score([Said(call=each.detail.call, score=score) for each in calls for score in each.scores])

    async def score(self, said: Sequence[Said]) -> None:
        """As assessments; one that is there already, by the same who, is brought up to date."""
        for each in said:
            path = f"/api/3.0/mlflow/traces/tr-{each.call.trace_id}"
            found = await self._place.json("GET", path, fine=404)
            known = (found.get("trace") or {}).get("trace_info", {}).get("assessments") or []
            mark = f"{each.call.id}:{each.score['name']}:{each.score['source']}:{each.score['author']}"
            same = next((one for one in known if (one.get("metadata") or {}).get("loopwright.mark") == mark), None)
            assessment = _assessment(each, mark)
            if same is None:
                await self._place.json("POST", f"{path}/assessments", {"assessment": assessment})
            else:
                which = quote(str(same.get("assessment_id")), safe="")
                changed = {
                    name: assessment[name] for name in ("feedback", "rationale", "metadata") if name in assessment
                }
                body = {"assessment": changed, "update_mask": ",".join(changed)}
                await self._place.json("PATCH", f"{path}/assessments/{which}", body)

    async def forget(self, traces: Sequence[str]) -> int:
        """See `Exporter`."""
        body = {"experiment_id": await self._experiment_id(), "request_ids": [f"tr-{trace}" for trace in traces]}
        await self._place.json("POST", "/api/2.0/mlflow/traces/delete-traces", body)
        return len(traces)

    async def close(self) -> None:
        """See `Exporter`."""
        await self._place.close()

    async def _experiment_id(self) -> str:
        if self._id is None:
            found = await self._named()
            if found is None:
                made = await self._place.json(
                    "POST", "/api/2.0/mlflow/experiments/create", {"name": self._experiment}, fine=400
                )
                found = made.get("experiment_id") or await self._named()  # somebody else's was quicker
            if not isinstance(found, str):
                raise NotTaken(f"{self._place.url} has no experiment {self._experiment!r}, and made none")
            self._id = found
        return self._id

    async def _named(self) -> str | None:
        path = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(self._experiment, safe='')}"
        found = await self._place.json("GET", path, fine=404)
        which = (found.get("experiment") or {}).get("experiment_id")
        return which if isinstance(which, str) else None


def _assessment(said: Said, mark: str) -> dict[str, Any]:
    score = said.score
    value = next((score[name] for name in ("value", "label", "passed") if score[name] is not None), None)
    shown: dict[str, Any] = {
        "assessment_name": score["name"],
        "trace_id": f"tr-{said.call.trace_id}",
        "span_id": said.call.span_id,
        "source": {"source_type": _SOURCES[score["source"]], "source_id": score["author"]},
        "feedback": {"value": value},
        "metadata": {"loopwright.mark": mark, "loopwright.call": said.call.id},
    }
    if score.get("explanation"):
        shown["rationale"] = score["explanation"]
    return shown


def _json(value: object) -> str:
    return _encode(value).decode()
