"""Mirrors calls to Langfuse, or what speaks as it: traces by its OTLP endpoint, scores and deletions by its public API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from loopwright.core.call import CallDetail
from loopwright.core.errors import SettingsError
from loopwright.exports.exporter import Said
from loopwright.exports.outgoing import Outgoing
from loopwright.exports.posting import Posting, basic
from loopwright.exports.spans import told_request
from loopwright.telemetry.emitted import pairs

_TRACES: Final = "/api/public/otel/v1/traces"
_SCORES: Final = "/api/public/scores"
_OWN: Final = "/api/public/traces"
_encode: Final = msgspec.json.Encoder().encode


class Langfuse:
    """A call is a generation, a score is a score on it, with an id of its own: the same again takes its place.

    Args:
        url: where Langfuse is: `https://cloud.langfuse.com`.
        public_key: of its project.
        secret_key: of its project.
        environment: the environment the traces are told to be of.
        texts: as the settings say.
        link_local: let it be at a link-local or metadata address.
    """

    def __init__(
        self,
        url: str = "https://cloud.langfuse.com",
        public_key: str = "",
        secret_key: str = "",
        *,
        environment: str | None = None,
        texts: bool = False,  # noqa: ARG002 - what it gets has them or not
        link_local: bool = False,
    ) -> None:
        if not public_key or not secret_key:
            raise SettingsError("exporters 'langfuse': `public_key` and `secret_key` are missing in args")
        self._environment = environment
        self._place = Posting(url, {"authorization": basic(public_key, secret_key)}, link_local=link_local)

    async def send(self, calls: Sequence[Outgoing]) -> None:
        """See `Exporter`."""
        request = told_request(calls, events=False)
        for span, each in zip(request.resource_spans[0].scope_spans[0].spans, calls, strict=True):
            span.attributes.extend(pairs(self._attributes(each)))
        await self._place.spans(_TRACES, request)
        await self.score([Said(call=each.detail.call, score=score) for each in calls for score in each.scores])

    async def score(self, said: Sequence[Said]) -> None:
        """See `Exporter`."""
        for each in said:
            for score in _scores(each):
                await self._place.json("POST", _SCORES, score)

    async def forget(self, traces: Sequence[str]) -> int:
        """See `Exporter`."""
        for trace in traces:
            await self._place.ask("DELETE", f"{_OWN}/{trace}", fine=404)
        return len(traces)

    async def close(self) -> None:
        """See `Exporter`."""
        await self._place.close()

    def _attributes(self, each: Outgoing) -> dict[str, Any]:
        call = each.detail.call
        # Langfuse adds up what it is given: cached tokens are part of the input here, and are taken out of it there.
        usage = {"input": call.input_tokens - call.cached_tokens, "output": call.output_tokens}
        usage |= {"input_cached_tokens": call.cached_tokens} if call.cached_tokens else {}
        found: dict[str, Any] = {
            "langfuse.observation.type": "embedding" if call.operation == "embeddings" else "generation",
            "langfuse.observation.model.name": call.target or call.model,
            "langfuse.observation.usage_details": _json(usage),
            "langfuse.observation.cost_details": None if call.cost_nano is None else _json({"total": call.cost_nano / 1e9}),
            "langfuse.observation.level": None if call.outcome == "ok" else "ERROR",
            "langfuse.session.id": call.session,
            "langfuse.user.id": call.tags.get("user"),
            "langfuse.environment": self._environment,
            "langfuse.observation.metadata.loopwright_call": call.id,
            "langfuse.trace.tags": [f"{name}:{value}" for name, value in call.tags.items()] or None,
        }  # fmt: skip
        return found | (_texts(each.detail) if each.texts else {})


def _texts(detail: CallDetail) -> dict[str, Any]:
    request, response = detail.request or {}, detail.response or {}
    asked = request.get("messages", request.get("prompt", request.get("input")))
    choices = response.get("choices")
    said = choices[0].get("message", choices[0].get("text")) if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else None  # fmt: skip
    return {
        "langfuse.observation.input": None if asked is None else _json(asked),
        "langfuse.observation.output": None if said is None else _json(said),
    }


def _scores(said: Said) -> list[dict[str, Any]]:
    """As Langfuse keeps them: a number, else a word, else whether it passed."""
    score, call = said.score, said.call
    kinds = (("value", "NUMERIC"), ("label", "CATEGORICAL"), ("passed", "BOOLEAN"))
    found = [(name, kind, score[name]) for name, kind in kinds if score[name] is not None]
    shown = []
    for at, (name, kind, value) in enumerate(found):
        named = score["name"] if at == 0 else f"{score['name']}.{name}"
        shown.append(
            {
                "id": str(uuid5(NAMESPACE_URL, f"loopwright:{call.id}:{named}:{score['source']}:{score['author']}")),
                "traceId": call.trace_id,
                "observationId": call.span_id,
                "name": named,
                "value": int(value) if kind == "BOOLEAN" else value,
                "dataType": kind,
                "comment": score.get("explanation") or None,
                "metadata": {"source": score["source"], "author": score["author"]},
            }
        )
    return shown


def _json(value: object) -> str:
    return _encode(value).decode()
