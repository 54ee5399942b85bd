"""Traces to send: four spans each, of a gateway that searches, asks a model and guards; 1.6 KB a span as protobuf.

The same mixture for whoever is measured: GenAI's names and OpenInference's beside them, so that every server knows what it
is given. Words are made up and as frequent as words are; each trace has its own.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS = 4
SYSTEM = (
    "You are a careful support assistant for Acme. Answer only from the supplied context, "
    "cite the document ids in square brackets, and say you do not know when the context is silent."
)
MODELS = (
    ("llama-3.1-8b", "local", 28, 90), ("qwen2.5-7b", "local", 20, 80), ("gpt-4o-mini", "openai", 18, 320),
    ("gpt-4o", "openai", 10, 450), ("claude-sonnet-4-20250514", "anthropic", 9, 600), ("mistral-small", "mistral_ai", 15, 260),
)  # fmt: skip
"""Name, provider, share, milliseconds to the first token."""


class Traffic:
    """Makes requests, the same ones for the same seed but for their ids and times."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._words = sorted({self._word() for _ in range(24_000)})[:20_000]
        self._chance.shuffle(self._words)
        self._weights = list(accumulate(1 / (rank + 1) ** 1.07 for rank in range(len(self._words))))

    def requests(self, traces: int, at_once: int) -> Iterator[tuple[list[bytes], bytes]]:
        """(ids of the traces, the request as protobuf), `at_once` traces in each."""
        now = time.time_ns()
        for first in range(0, traces, at_once):
            some = min(at_once, traces - first)
            request = ExportTraceServiceRequest()
            group = request.resource_spans.add()
            group.resource.attributes.append(pair("service.name", "support-gateway"))
            scope = group.scope_spans.add()
            scope.scope.name = "bench"
            ids = [os.urandom(16) for _ in range(some)]
            for index, trace in enumerate(ids):
                # The newest last, all within the hours before now.
                scope.spans.extend(self._trace(trace, now - (traces - first - index) * 40_000_000 - 60 * 10**9))
            yield ids, request.SerializeToString()

    def _trace(self, trace: bytes, start: int) -> Sequence[Span]:
        chance = self._chance
        [(model, provider, _, pace)] = chance.choices(MODELS, [each[2] for each in MODELS])
        question, answer = self._text(chance.randint(60, 180)), self._text(chance.randint(30, 110))
        failed = chance.random() < 0.03
        answer = "" if failed else answer
        user = f"user-{min(int(chance.paretovariate(0.5)), 5_000):04d}"
        asked, made = (
            int(chance.lognormvariate(5.6, 0.7)) + 40,
            0 if failed else int(chance.lognormvariate(4.8, 0.8)) + 1,
        )
        first = pace * chance.lognormvariate(0, 0.45) + asked * 0.05
        whole = int((first + made * pace / 20) * 1e6)
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        ids = [os.urandom(8) for _ in range(SPANS)]

        def span(index: int, name: str, kind: int, begin: int, end: int, told: dict[str, Any]) -> Span:
            made_of = Span(
                trace_id=trace, span_id=ids[index], name=name, kind=kind,  # type: ignore[arg-type]
                start_time_unix_nano=start + begin, end_time_unix_nano=start + end,
                attributes=[pair(each, value) for each, value in told.items()],
            )  # fmt: skip
            if index:
                made_of.parent_span_id = ids[0]
            if failed and index in (0, 2):
                made_of.status.CopyFrom(Status(code=2, message="rate_limit_exceeded"))  # type: ignore[arg-type]
            return made_of

        found = [{"id": f"doc_{index}", "score": 0.9 - index / 10} for index in range(5)]
        return (
            span(0, "POST /v1/chat/completions", 2, 0, whole, {
                "openinference.span.kind": "CHAIN", "http.route": "/v1/chat/completions",
                "http.response.status_code": 500 if failed else 200, "user.id": user, "session.id": f"{user}-s1",
                "input.value": question, "output.value": answer, "app.key_id": f"key-{chance.randint(0, 199):03d}",
            }),
            span(1, "retrieval kb-1", 3, 10**5, whole // 10, {
                "openinference.span.kind": "RETRIEVER", "gen_ai.operation.name": "retrieval",
                "gen_ai.data_source.id": "kb-1", "input.value": question[:200], "gen_ai.retrieval.documents": json.dumps(found),
            }),
            span(2, f"chat {model}", 3, whole // 10, whole - 10**5, {
                "openinference.span.kind": "LLM", "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider,
                "gen_ai.request.model": model, "gen_ai.response.model": model, "gen_ai.request.temperature": 0.2,
                "gen_ai.request.max_tokens": 512, "gen_ai.usage.input_tokens": asked, "gen_ai.usage.output_tokens": made,
                "gen_ai.response.time_to_first_chunk": first / 1e3, "gen_ai.conversation.id": f"{user}-s1",
                "gen_ai.input.messages": json.dumps([parts(**each) for each in messages]),
                "gen_ai.output.messages": json.dumps([parts("assistant", answer)]), "llm.model_name": model,
                "llm.token_count.prompt": asked, "llm.token_count.completion": made,
                "input.value": json.dumps(messages), "output.value": answer,
            }),
            span(3, "guardrail pii", 1, whole - 10**5, whole, {
                "openinference.span.kind": "GUARDRAIL", "app.guardrail.name": "pii", "app.guardrail.action": "pass",
            }),
        )  # fmt: skip

    def _text(self, words: int) -> str:
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=words))

    def _word(self) -> str:
        syllables = self._chance.randint(1, 4)
        return "".join(self._chance.choice("bcdfghklmnprstvw") + self._chance.choice("aeiou") for _ in range(syllables))


def parts(role: str, content: str) -> dict[str, Any]:
    """A message as GenAI's conventions have it."""
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def pair(name: str, value: object) -> KeyValue:
    """An attribute."""
    kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    return KeyValue(key=name, value=AnyValue(**{kinds[type(value)]: value}))  # type: ignore[arg-type]
