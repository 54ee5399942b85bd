"""A span that called a model as a call on record: the request and the answer in OpenAI's form, its tokens, its price."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from loopwright.calls.record import Record
from loopwright.calls.touching import OUTSIDE
from loopwright.core.money import NANO, Price, Usage
from loopwright.telemetry.messages import answered, asked, documents, embedded
from loopwright.telemetry.reading import Heard, parsed, provider_of, usage_of
from loopwright.telemetry.span import Span

PriceOf = Callable[[str, str, int], Price | None]
"""From a provider, its name of a model and when (Unix nanoseconds) to what it costs."""
NOT_STORED: Final = {"loopwright.store": "false"}
"""Tag of a call of which no text is kept."""
_OPERATIONS: Final = {"llm": "chat", "embedding": "embeddings", "rerank": "rerank"}
_FAILED: Final = 500
_MOST_USD: Final = 1e9
_encode: Final = msgspec.json.Encoder().encode


def record_of(span: Span, found: Heard, *, call_id: str, key_id: int, price: PriceOf, texts: bool) -> Record:
    """The Record of a span that called a model; `texts` keeps what was said."""
    provider = provider_of(found)
    model = (found.text("model") or found.text("target") or "")[:300]
    target = (found.text("target") or model)[:300]
    usage = usage_of(found)
    operation = "completion" if found.word in ("text_completion", "completion") else _OPERATIONS[span.kind]
    ttft = ttft_of(span, found)
    cost, source = _cost(span, found, price(provider, target, span.started_ns), usage)
    failed = span.status == "error"
    request, answer = told(span, found, operation, model=model, target=target, usage=usage) if texts else (b"", b"")
    tags = {**found.tags, **({} if texts else NOT_STORED)}
    return Record(
        id=call_id,
        started_ns=span.started_ns,
        project_id=span.project_id,
        key_id=key_id,
        operation=operation,
        model=model or "unknown",
        target=target,
        provider=provider,
        outcome="error" if failed else "ok",
        status=_FAILED if failed else 200,
        error_code=(found.text("error") or "error")[:100] if failed else None,
        error=span.error if failed and texts else None,
        stream=ttft is not None or parsed(found.fields.get("stream")) is True,
        ttft_us=ttft,
        latency_us=span.duration_us,
        input_tokens=0 if usage is None else usage.input,
        output_tokens=0 if usage is None else usage.output,
        cached_tokens=0 if usage is None else usage.cached,
        reasoning_tokens=0 if usage is None else usage.reasoning,
        usage_estimated=False,
        cost_nano=cost,
        price_source=source,
        client=OUTSIDE + span.service[:200],
        session=span.session,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        task=None,
        variant=None,
        prompt_version=_prompt(found),
        tags=tags,
        request=request,
        # Assembled here, so there are no events to put together.
        answer=answer,
        finish=_finish(found),
        observed=True,
        answer_id=found.text("response_id") or None,
    )


def told(
    span: Span, found: Heard, operation: str, *, model: str, target: str, usage: Usage | None
) -> tuple[bytes, bytes]:
    """The request and the answer as JSON in OpenAI's form; empty where nothing was said of them."""
    try:
        request, answer = _TELLERS[operation](found)
        if answer:
            answer = {**_head(span, found, operation, target, usage), **answer}
        return _encode({"model": model, **request}) if request else b"", _encode(answer) if answer else b""
    except (RecursionError, msgspec.MsgspecError, TypeError, ValueError):
        # Nested beyond reason: as the text it came as.
        body = {"model": model, "messages": [{"role": "user", "content": str(found.fields.get("input", ""))}]}
        return _encode(body), b""


def ttft_of(span: Span, found: Heard) -> int | None:
    """Microseconds to the first piece of the answer, where anything tells."""
    for name, scale in (("ttft_s", 1e6), ("ttft_ms", 1e3)):
        value = _number(found.fields.get(name))
        if value:
            return min(int(value * scale), span.duration_us)
    for event in span.events:
        if event.name in _FIRST_EVENTS:
            return min(max((event.at_ns - span.started_ns) // 1000, 0), span.duration_us)
    return None


_FIRST_EVENTS: Final = frozenset(
    ("First Token Stream Event", "ai.stream.firstChunk", "gen_ai.content.chunk", "llm.content.completion.chunk")
)


def _chat(found: Heard) -> tuple[dict[str, Any], dict[str, Any]]:
    choices = answered(found)
    body = asked(found)
    return body if "messages" in body else {}, {"choices": choices} if choices else {}


def _completion(found: Heard) -> tuple[dict[str, Any], dict[str, Any]]:
    request, answer = _chat(found)
    messages = request.pop("messages", [])
    if messages:
        request = {"prompt": messages[-1].get("content") or "", **request}
    choices = [
        {"index": each["index"], "text": each["message"].get("content") or "", "finish_reason": each["finish_reason"]}
        for each in answer.get("choices", ())
    ]
    return request, {"choices": choices} if choices else {}


def _embeddings(found: Heard) -> tuple[dict[str, Any], dict[str, Any]]:
    texts = embedded(found)
    return {"input": texts} if texts else {}, {}


def _rerank(found: Heard) -> tuple[dict[str, Any], dict[str, Any]]:
    given = [each.get("content") for each in documents(found.parts.get("documents_in", {}))]
    ranked = documents(found.parts.get("documents", {}))
    request = {"query": found.text("input") or "", "documents": given} if given or "input" in found.fields else {}
    results = [
        {"index": index, "relevance_score": each.get("score"), "document": each.get("content")}
        for index, each in enumerate(ranked)
    ]
    return request, {"results": results} if results else {}


_TELLERS: Final[Mapping[str, Callable[[Heard], tuple[dict[str, Any], dict[str, Any]]]]] = {
    "chat": _chat,
    "completion": _completion,
    "embeddings": _embeddings,
    "rerank": _rerank,
}


def _head(span: Span, found: Heard, operation: str, target: str, usage: Usage | None) -> dict[str, Any]:
    head: dict[str, Any] = {
        "id": found.text("response_id") or f"span-{span.span_id}",
        "object": "text_completion" if operation == "completion" else "chat.completion",
        "created": span.started_ns // 1_000_000_000,
        "model": target,
    }
    if usage is not None:
        head["usage"] = {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        }
    return head


def _cost(span: Span, found: Heard, price: Price | None, usage: Usage | None) -> tuple[int | None, str | None]:
    """Nanodollars by our price; by what the program says where we have none."""
    if price is not None and usage is not None:
        return price.cost(usage, seconds=span.duration_us / 1e6), price.source
    said = parsed(found.fields.get("cost"))
    if isinstance(said, Mapping):
        said = said.get("total", said.get("total_cost"))
    usd = _number(said)
    if usd is None:
        return None, None
    return round(usd * NANO), f"as {span.service or 'the program'} says"[:200]


def _number(value: Any) -> float | None:
    """A number that is one and not below zero."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < _MOST_USD else None


def _finish(found: Heard) -> str | None:
    told = parsed(found.fields.get("finish"))
    first = told[0] if isinstance(told, list) and told else told
    return first[:100] if isinstance(first, str) else None


def _prompt(found: Heard) -> str | None:
    name, version = found.text("prompt_name"), found.text("prompt_version")
    if not name:
        return None
    return f"{name}@{version}"[:200] if version else name[:200]
