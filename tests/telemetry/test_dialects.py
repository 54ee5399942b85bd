"""What calls of models become, told in each of the dialects that programs speak.

Shapes are as the libraries send them, recorded from their sources: OpenTelemetry GenAI v1.41, OpenInference (LangChain,
LlamaIndex, OpenAI agents), OpenLLMetry 0.4x, Vercel AI SDK 5, Langfuse 3, MLflow 3, LangSmith. tests/flows has real ones.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from loopwright.calls.record import Record
from loopwright.core.money import Price
from loopwright.core.who import Principal
from loopwright.telemetry import jsons, protobuf
from loopwright.telemetry.span import Span
from loopwright.telemetry.taking import Step, Terms, take
from loopwright.telemetry.wire import Bounds
from tests.telemetry.sent import as_json, request, span
from tests.telemetry.sent import protobuf as as_protobuf

WHO = Principal(key_id=7, key_name="k", project_id=3, project="default")
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How far is the moon?"}]
SAID = "384,400 km"


def price(_provider: str, model: str, _at: int) -> Price | None:
    return Price(input=1_000_000, output=2_000_000, source="test") if model == "gpt-4o" else None


def terms(**named: Any) -> Terms:
    now = time.time_ns()
    usual: dict[str, Any] = {
        "who": WHO,
        "price": price,
        "keeps": lambda _model: True,
        "oldest_ns": now - 90 * 86_400 * 10**9,
        "latest_ns": now + 600 * 10**9,
    }
    return Terms(**(usual | named))


def steps(*spans: Any, **named: Any) -> list[Step]:
    return take(protobuf.spans_of(as_protobuf(*spans), Bounds()), terms(**named)).steps


def called(attributes: Mapping[str, Any], **named: Any) -> Record:
    [step] = steps(span("call", attributes, **named))
    assert step.record is not None
    assert step.span.call_id == step.record.id == step.id
    return step.record


GENAI: dict[str, Any] = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20,
    "gen_ai.usage.cache_read.input_tokens": 40, "gen_ai.usage.reasoning.output_tokens": 5,
    "gen_ai.response.finish_reasons": ["stop"], "gen_ai.request.temperature": 0.2, "gen_ai.conversation.id": "s-1",
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
    "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "How far is the moon?"}]}]),
    "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": SAID}], "finish_reason": "stop"}]),
}  # fmt: skip
OPENINFERENCE = {
    "openinference.span.kind": "LLM", "llm.provider": "openai", "llm.model_name": "gpt-4o", "session.id": "s-1",
    "llm.token_count.prompt": 100, "llm.token_count.completion": 20, "llm.token_count.total": 120,
    "llm.token_count.prompt_details.cache_read": 40, "llm.token_count.completion_details.reasoning": 5,
    "llm.invocation_parameters": json.dumps({"temperature": 0.2}),
    "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": "How far is the moon?",
    "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": SAID,
    "input.value": "…", "input.mime_type": "application/json", "output.value": "…", "llm.finish_reason": "stop",
}  # fmt: skip
OPENLLMETRY = {
    "llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 20,
    "llm.usage.total_tokens": 120, "gen_ai.usage.cache_read_input_tokens": 40, "gen_ai.usage.reasoning_tokens": 5,
    "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief.", "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "How far is the moon?", "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": SAID, "gen_ai.completion.0.finish_reason": "stop",
    "gen_ai.request.temperature": 0.2, "traceloop.association.properties.session_id": "s-1",
}  # fmt: skip
VERCEL = {
    "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "openai.chat", "ai.model.id": "gpt-4o",
    "ai.response.model": "gpt-4o", "ai.usage.inputTokens": 100, "ai.usage.outputTokens": 20,
    "ai.usage.cachedInputTokens": 40, "ai.usage.reasoningTokens": 5, "ai.response.finishReason": "stop",
    "ai.settings.temperature": 0.2, "ai.telemetry.metadata.sessionId": "s-1",
    "ai.prompt.messages": json.dumps([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How far is the moon?"}]},
    ]),
    "ai.response.text": SAID,
}  # fmt: skip
LANGFUSE = {
    "langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o", "gen_ai.system": "openai",
    "langfuse.observation.input": json.dumps(ASKED),
    "langfuse.observation.output": json.dumps({"role": "assistant", "content": SAID}),
    "langfuse.observation.usage_details": json.dumps(
        {"input": 60, "input_cached_tokens": 40, "output": 15, "output_reasoning_tokens": 5, "total": 120}
    ),
    "langfuse.observation.model.parameters": json.dumps({"temperature": 0.2}), "langfuse.session.id": "s-1",
    "gen_ai.response.finish_reason": "stop",
}  # fmt: skip
MLFLOW = {
    "mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.model": '"gpt-4o"', "mlflow.llm.provider": "openai",
    "mlflow.spanInputs": json.dumps({"model": "gpt-4o", "messages": ASKED, "temperature": 0.2}),
    "mlflow.spanOutputs": json.dumps({
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
    }),
    "mlflow.chat.tokenUsage": json.dumps(
        {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "cache_read_input_tokens": 40, "reasoning_tokens": 5}
    ),
    "mlflow.trace.session": "s-1",
}  # fmt: skip
LANGSMITH = {
    "langsmith.span.kind": "llm", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20, "gen_ai.request.temperature": 0.2,
    "gen_ai.usage.details.cache_read_tokens": 40, "gen_ai.usage.details.reasoning_tokens": 5,
    "gen_ai.prompt": json.dumps({"messages": [[
        {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "SystemMessage"], "kwargs": {"content": "Be brief.", "type": "system"}},
        {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"], "kwargs": {"content": "How far is the moon?", "type": "human"}},
    ]]}),
    "gen_ai.completion": json.dumps({"generations": [[{"text": SAID, "message": {"kwargs": {"content": SAID, "type": "ai"}}}]]}),
    "gen_ai.response.finish_reasons": ["stop"], "langsmith.metadata.thread_id": "s-1",
}  # fmt: skip
DIALECTS: dict[str, dict[str, Any]] = {
    "genai": GENAI, "openinference": OPENINFERENCE, "openllmetry": OPENLLMETRY, "vercel": VERCEL, "langfuse": LANGFUSE,
    "mlflow": MLFLOW, "langsmith": LANGSMITH,
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_call_is_the_same_call_in_every_dialect(dialect: str) -> None:
    record = called(DIALECTS[dialect])
    request, answer = json.loads(record.request), json.loads(record.answer)
    assert request["messages"] == ASKED
    assert request["temperature"] == 0.2
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": SAID}
    assert answer["choices"][0]["finish_reason"] == record.finish or answer["choices"][0]["finish_reason"] == "stop"
    assert (record.provider, record.model.strip('"'), record.session) == ("openai", "gpt-4o", "s-1")
    # Cached tokens are part of the input, reasoning of the output: nothing is added up.
    assert (record.input_tokens, record.output_tokens) == (100, 20)
    assert (record.cached_tokens, record.reasoning_tokens) == (40, 5)
    assert record.operation == "chat"
    assert record.client == "otlp:shop"
    assert record.observed


@pytest.mark.parametrize("dialect", ["genai", "openinference", "openllmetry", "vercel"])
def test_prices_are_ours(dialect: str) -> None:
    record = called(DIALECTS[dialect])
    assert record.cost_nano == 100 * 1000 + 20 * 2000
    assert record.price_source == "test"


def test_json_says_what_protobuf_says() -> None:
    sent = [
        span("root", {"openinference.span.kind": "CHAIN", "n": 3, "x": 1.5, "flag": True, "list": ["a", 1], "map": {"k": {"v": 2}}}),
        span("call", GENAI, number=2, parent=1, events={"exception": {"exception.type": "E", "exception.message": "m"}}),
    ]  # fmt: skip
    one = take(protobuf.spans_of(as_protobuf(*sent), Bounds()), terms())
    other = take(jsons.spans_of(as_json(*sent), Bounds()), terms())
    assert [step.span for step in one.steps] == [step.span for step in other.steps]
    assert [step.record for step in one.steps] == [step.record for step in other.steps]


def test_tools_and_their_results() -> None:
    record = called(
        GENAI
        | {
            "gen_ai.system_instructions": "",
            "gen_ai.tool.definitions": json.dumps([{"type": "function", "name": "distance", "parameters": {}}]),
            "gen_ai.input.messages": json.dumps([
                {"role": "user", "parts": [{"type": "text", "content": "far?"}]},
                {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "distance", "arguments": {"to": "moon"}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "384400"}]},
            ]),
            "gen_ai.output.messages": json.dumps([
                {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "far"}], "finish_reason": "stop"}
            ]),
        }
    )  # fmt: skip
    request = json.loads(record.request)
    assert request["messages"][1]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "distance", "arguments": '{"to": "moon"}'}}
    ]
    assert request["messages"][2] == {"role": "tool", "tool_call_id": "c1", "content": "384400"}
    assert request["tools"][0]["function"]["name"] == "distance"
    [choice] = json.loads(record.answer)["choices"]
    assert choice["message"] == {"role": "assistant", "content": "far", "reasoning_content": "hm"}


def test_messages_as_events_of_the_span() -> None:
    bare = {name: value for name, value in GENAI.items() if "messages" not in name and "instructions" not in name}
    events = {
        "gen_ai.system.message": {"content": "Be brief."},
        "gen_ai.user.message": {"content": "How far is the moon?"},
        "gen_ai.choice": {"index": 0, "finish_reason": "stop", "message": json.dumps({"content": SAID})},
    }
    record = called(bare, events=events)
    assert json.loads(record.request)["messages"] == ASKED
    assert json.loads(record.answer)["choices"][0]["message"]["content"] == SAID


def test_embeddings_keep_their_texts_and_no_vectors() -> None:
    record = called({
        "openinference.span.kind": "EMBEDDING", "embedding.model_name": "e5", "llm.token_count.prompt": 3,
        "embedding.embeddings.0.embedding.text": "a text", "embedding.embeddings.0.embedding.vector": [0.1, 0.2],
    })  # fmt: skip
    assert json.loads(record.request) == {"model": "e5", "input": ["a text"]}
    assert record.operation == "embeddings"
    assert record.answer == b""


def test_other_steps_are_spans_with_their_input_and_output() -> None:
    [step] = steps(
        span("retrieve", {
            "openinference.span.kind": "RETRIEVER", "input.value": "moon", "user.id": "u-1",
            "retrieval.documents.0.document.content": "far", "retrieval.documents.0.document.score": 0.5,
        })
    )  # fmt: skip
    assert step.record is None
    assert step.span.kind == "retrieval"
    assert step.span.input == "moon"
    assert step.span.output == [{"content": "far", "score": 0.5}]
    assert step.tags == {"user": "u-1"}


def test_an_agent_repeats_the_tokens_of_its_calls_and_counts_none() -> None:
    found = steps(
        span("agent", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper", "gen_ai.usage.input_tokens": 100}),
        span("outer", {"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 100, "ai.model.id": "gpt-4o"}, number=2, parent=1),
        span("inner", VERCEL, number=3, parent=2),
    )  # fmt: skip
    assert [step.span.kind for step in found] == ["agent", "chain", "llm"]
    assert [step.span.input_tokens for step in found] == [0, 0, 100]
    assert [step.record is not None for step in found] == [False, False, True]
    assert found[0].span.tool == "helper"


def test_a_framework_and_its_client_tell_of_one_call() -> None:
    found = steps(
        span("ChatOpenAI", OPENINFERENCE), span("POST", {"http.request.method": "POST"}, number=3, parent=2),
        span("openai.chat", GENAI, number=2, parent=1),
    )  # fmt: skip
    assert [step.record is not None for step in found] == [False, False, True]


def test_so_they_may_beside_each_other() -> None:
    start = time.time_ns() - 10**9
    sent = request(span("ChatOpenAI", OPENINFERENCE, number=2, parent=1, start=start, ms=50))
    other = sent.resource_spans[0].scope_spans.add()
    other.scope.name = "another library"
    other.spans.append(span("openai.chat", GENAI, number=3, parent=1, start=start + 10**6, ms=48))
    other.spans.append(span("openai.chat", GENAI, number=4, parent=1, start=start + 60 * 10**6, ms=48))
    found = take(protobuf.spans_of(sent.SerializeToString(), Bounds()), terms()).steps
    assert [step.record is not None for step in found] == [False, True, True]


@pytest.mark.parametrize(
    ("told", "here", "ours"),
    [
        ({"server.address": "127.0.0.1", "server.port": 8080}, "localhost:8080", True),
        ({"gen_ai.openai.api_base": "http://gate.example/v1"}, "gate.example", True),
        ({"server.address": "api.openai.com", "server.port": 443}, "localhost:8080", False),
        ({}, "localhost:8080", False),
    ],
    ids=["loopback", "url", "elsewhere", "unsaid"],
)
def test_what_was_asked_here_is_on_record_already(told: dict[str, Any], here: str, *, ours: bool) -> None:
    [step] = steps(span("chat", GENAI | told), here=here)
    assert (step.record is None) == ours


def test_a_session_told_of_the_root_is_that_of_its_calls() -> None:
    call = {name: value for name, value in GENAI.items() if name != "gen_ai.conversation.id"}
    found = steps(span("root", {"session.id": "talk"}), span("chat", call, number=2, parent=1))
    assert [step.span.session for step in found] == ["talk", "talk"]


def test_where_texts_may_not_be_kept_none_is() -> None:
    secret = "a secret"
    [step] = steps(span("call", GENAI | {"note": secret}, failed=secret), keeps=lambda _: False)
    assert step.record is not None
    assert (step.record.request, step.record.answer, step.record.error) == (b"", b"", None)
    assert step.record.tags["loopwright.store"] == "false"
    assert not step.texts


def test_time_to_the_first_piece() -> None:
    assert called(GENAI | {"gen_ai.response.time_to_first_chunk": 0.02}).ttft_us == 20_000
    assert called(GENAI, events={"First Token Stream Event": {}}).ttft_us == 1_000
    assert called(GENAI).ttft_us is None


def test_a_failed_call() -> None:
    record = called(GENAI | {"error.type": "RateLimitError"}, failed="slow down")
    assert (record.outcome, record.status, record.error_code, record.error) == (
        "error",
        500,
        "RateLimitError",
        "slow down",
    )


def test_own_words_win() -> None:
    [step] = steps(
        span("mine", {
            "loopwright.kind": "guardrail", "loopwright.input": "in", "loopwright.output": "out",
            "loopwright.session": "s", "loopwright.user": "u", "loopwright.tag.team": "red", "openinference.span.kind": "LLM",
        })
    )  # fmt: skip
    found: Span = step.span
    assert (found.kind, found.input, found.output, found.session, found.user) == ("guardrail", "in", "out", "s", "u")
    assert step.tags == {"user": "u", "team": "red"}
