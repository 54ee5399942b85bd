"""The one table of dialects: which attribute of whose telemetry means what. Data only; reading.py uses it.

Read from the sources and documents of: OpenTelemetry's GenAI conventions (v1.36 to v1.41 and what follows in
`semantic-conventions-genai`), OpenInference (Phoenix; LlamaIndex, LangChain, OpenAI agents), OpenLLMetry (Traceloop;
the same), Vercel's AI SDK, Langfuse, MLflow, LangSmith (LangChain's own) and Pydantic's Logfire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from loopwright.telemetry.span import Kind


class Word(NamedTuple):
    """What an attribute means."""

    field: str
    rank: int
    """Of several attributes that mean the same the one with the lowest counts."""


_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    # What it does
    "kind": (
        "loopwright.kind", "openinference.span.kind", "gen_ai.operation.name", "llm.request.type",
        "traceloop.span.kind", "langfuse.observation.type", "mlflow.spanType", "ai.operationId", "langsmith.span.kind",
        "gen_ai.span.kind",
    ),
    # Who was asked
    "provider": (
        "gen_ai.provider.name", "llm.provider", "gen_ai.system", "llm.system", "ai.model.provider", "mlflow.llm.provider",
    ),
    "model": (
        "gen_ai.request.model", "llm.request.model", "llm.model_name", "embedding.model_name", "reranker.model_name",
        "langfuse.observation.model.name", "mlflow.llm.model", "ai.model.id", "gen_ai.model", "langsmith.metadata.ls_model_name",
    ),
    "target": ("gen_ai.response.model", "llm.response.model", "ai.response.model"),
    "response_id": ("gen_ai.response.id", "llm.response.id", "ai.response.id"),
    "finish": (
        "gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.response.finish_reason",
        "llm.finish_reason", "ai.response.finishReason",
    ),
    "host": ("server.address", "gen_ai.openai.api_base", "llm.base_url", "llm.request.base_url", "net.peer.name"),
    "port": ("server.port", "net.peer.port"),
    # Tokens: of input cached ones included, of output reasoning included
    "input_tokens": (
        "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens",
        "ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
        "llm.usage.completion_tokens", "ai.usage.outputTokens", "ai.usage.completionTokens",
    ),
    "total_tokens": (
        "gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens", "ai.usage.totalTokens",
    ),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_tokens.cached", "llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens",
        "gen_ai.usage.details.cache_read_tokens",
    ),
    "written_tokens": (
        "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write",
        "gen_ai.usage.details.cache_write_tokens",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning", "llm.usage.reasoning_tokens", "ai.usage.reasoningTokens",
        "gen_ai.usage.details.reasoning_tokens",
    ),
    "usage": ("langfuse.observation.usage_details", "mlflow.chat.tokenUsage"),
    "cost": ("gen_ai.usage.cost", "llm.cost.total", "operation.cost", "langfuse.observation.cost_details", "mlflow.llm.cost"),
    # Parameters
    "temperature": ("gen_ai.request.temperature", "llm.request.temperature", "ai.settings.temperature"),
    "top_p": ("gen_ai.request.top_p", "llm.top_p", "ai.settings.topP"),
    "top_k": ("gen_ai.request.top_k", "llm.top_k", "ai.settings.topK"),
    "max_tokens": (
        "gen_ai.request.max_tokens", "llm.request.max_tokens", "ai.settings.maxTokens", "ai.settings.maxOutputTokens",
    ),
    "seed": ("gen_ai.request.seed", "gen_ai.openai.request.seed", "ai.settings.seed"),
    "stop": ("gen_ai.request.stop_sequences", "llm.chat.stop_sequences", "ai.settings.stopSequences"),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", "llm.frequency_penalty", "ai.settings.frequencyPenalty"),
    "presence_penalty": ("gen_ai.request.presence_penalty", "llm.presence_penalty", "ai.settings.presencePenalty"),
    "n": ("gen_ai.request.choice.count",),
    "dimensions": ("gen_ai.embeddings.dimension.count", "gen_ai.request.embedding.dimensions"),
    "reasoning_effort": ("gen_ai.request.reasoning.level", "gen_ai.request.reasoning_effort"),
    "parameters": ("llm.invocation_parameters", "langfuse.observation.model.parameters", "model_request_parameters"),
    # Times
    "stream": ("gen_ai.request.stream", "llm.is_streaming", "gen_ai.is_streaming"),
    "ttft_s": (
        "gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token", "llm.response.time_to_first_token",
    ),
    "ttft_ms": ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"),
    "first_at": ("langfuse.observation.completion_start_time",),
    # Who and when
    "session": (
        "loopwright.session", "session.id", "gen_ai.conversation.id", "langfuse.session.id", "langfuse.trace.session_id",
        "traceloop.association.properties.session_id", "traceloop.association.properties.thread_id",
        "traceloop.association.properties.conversation_id", "mlflow.trace.session", "ai.telemetry.metadata.sessionId",
        "langsmith.trace.session_id", "langsmith.metadata.session_id", "langsmith.metadata.thread_id",
        "langsmith.metadata.conversation_id", "llm.session_id",
    ),
    "user": (
        "loopwright.user", "user.id", "enduser.id", "langfuse.user.id", "langfuse.trace.user_id",
        "traceloop.association.properties.user_id", "mlflow.trace.user", "ai.telemetry.metadata.userId",
        "langsmith.metadata.user_id", "gen_ai.user", "llm.user",
    ),
    "environment": (
        "deployment.environment.name", "deployment.environment", "langfuse.environment", "langfuse.trace.environment",
    ),
    "labels": ("tag.tags", "langfuse.trace.tags", "langsmith.span.tags", "logfire.tags"),
    "release": ("langfuse.release", "langfuse.version"),
    # What stands behind a step that is no model
    "tool": (
        "gen_ai.tool.name", "tool.name", "tool_call.function.name", "ai.toolCall.name", "gen_ai.agent.name",
        "agent.name", "agent_name", "gen_ai.workflow.name", "gen_ai.data_source.id", "gen_ai.evaluation.name",
        "llmops.guardrail.name", "traceloop.entity.name",
    ),
    "prompt_name": ("gen_ai.prompt.name", "langfuse.observation.prompt.name", "llm.prompt_template.name", "traceloop.prompt.key"),
    "prompt_version": (
        "gen_ai.prompt.version", "langfuse.observation.prompt.version", "llm.prompt_template.version", "traceloop.prompt.version",
    ),
    # What was said
    "instructions": ("gen_ai.system_instructions",),
    "tools": ("gen_ai.tool.definitions", "ai.prompt.tools"),
    "input": (
        "gen_ai.input.messages", "loopwright.input", "ai.prompt.messages", "gen_ai.tool.call.arguments",
        "gen_ai.retrieval.query.text", "reranker.query", "ai.toolCall.args", "ai.toolCall.input", "input.value",
        "gen_ai.prompt", "langfuse.observation.input", "mlflow.spanInputs", "traceloop.entity.input",
        "ai.prompt", "ai.value", "ai.values", "tool.parameters", "langfuse.trace.input", "pydantic_ai.all_messages",
        "tool_arguments",
    ),
    "output": (
        "gen_ai.output.messages", "loopwright.output", "ai.response.text", "ai.response.object",
        "gen_ai.tool.call.result", "gen_ai.retrieval.documents", "ai.toolCall.result", "ai.toolCall.output",
        "output.value", "gen_ai.completion", "langfuse.observation.output", "mlflow.spanOutputs",
        "traceloop.entity.output", "ai.result.text", "langfuse.trace.output", "final_result", "tool_response",
    ),
    "answer_calls": ("ai.response.toolCalls",),
    "input_type": ("input.mime_type",),
    "output_type": ("output.mime_type",),
    "error": ("error.type", "exception.type", "langfuse.observation.status_message"),
    "level": ("langfuse.observation.level",),
}  # fmt: skip

TABLE: Final[Mapping[str, Word]] = {
    name: Word(field, rank) for field, names in _NAMES.items() for rank, name in enumerate(names)
}
"""By the whole name of an attribute."""

PREFIXES: Final[Mapping[str, str]] = {
    "llm.input_messages.": "input_messages",
    "llm.output_messages.": "output_messages",
    "llm.prompts.": "input_messages",
    "llm.choices.": "output_messages",
    "llm.tools.": "tools_listed",
    "gen_ai.prompt.": "input_messages",
    "gen_ai.completion.": "output_messages",
    "llm.request.functions.": "tools_listed",
    "retrieval.documents.": "documents",
    "reranker.input_documents.": "documents_in",
    "reranker.output_documents.": "documents",
    "embedding.embeddings.": "embedded",
    "loopwright.tag.": "tags",
    "traceloop.association.properties.": "tags",
    "langfuse.trace.metadata.": "tags",
    "langsmith.metadata.": "tags",
    "ai.telemetry.metadata.": "tags",
}
"""Beginnings of attributes that are numbered or named by whoever sends them, and what they are parts of."""
STARTS: Final = tuple(PREFIXES)

MARKS: Final = (
    ("loopwright", "loopwright"),
    ("langfuse", "langfuse"),
    ("mlflow", "mlflow"),
    ("langsmith", "langsmith"),
    ("ai", "vercel"),
    ("openinference", "openinference"),
    ("traceloop", "openllmetry"),
    ("gen_ai", "genai"),
    ("llm", "openllmetry"),
)
"""How a dialect is told: the first of these that is the first word of any attribute."""

KINDS: Final[Mapping[str, Kind]] = {
    # GenAI's operations
    "chat": "llm", "generate_content": "llm", "text_completion": "llm", "completion": "llm",
    "embeddings": "embedding", "embedding": "embedding", "rerank": "rerank", "reranker": "rerank",
    "retrieval": "retrieval", "execute_tool": "tool", "create_agent": "agent", "invoke_agent": "agent",
    "invoke_workflow": "workflow", "plan": "chain", "create_memory": "memory", "search_memory": "memory",
    "update_memory": "memory", "upsert_memory": "memory", "delete_memory": "memory", "create_memory_store": "memory",
    "delete_memory_store": "memory", "evaluate": "evaluator",
    # Kinds of OpenInference, MLflow, Langfuse, LangSmith, Traceloop
    "llm": "llm", "chat_model": "llm", "generation": "llm", "retriever": "retrieval", "tool": "tool", "agent": "agent",
    "chain": "chain", "task": "chain", "prompt": "chain", "parser": "chain", "span": "chain", "workflow": "workflow",
    "guardrail": "guardrail", "evaluator": "evaluator", "memory": "memory", "function": "tool", "handoff": "agent",
    # Vercel's: the outer span repeats the tokens of those within it
    "ai.generatetext": "chain", "ai.streamtext": "chain", "ai.generateobject": "chain", "ai.streamobject": "chain",
    "ai.embed": "chain", "ai.embedmany": "chain", "ai.toolcall": "tool",
    "ai.generatetext.dogenerate": "llm", "ai.streamtext.dostream": "llm", "ai.generateobject.dogenerate": "llm",
    "ai.streamobject.dostream": "llm", "ai.embed.doembed": "embedding", "ai.embedmany.doembed": "embedding",
}  # fmt: skip
"""By the word in lower case."""

PROVIDERS: Final[Mapping[str, str]] = {
    "aws.bedrock": "bedrock", "aws_bedrock": "bedrock", "az.ai.openai": "azure", "azure.ai.openai": "azure",
    "az.ai.inference": "azure", "azure.ai.inference": "azure", "azure_openai": "azure", "gcp.gemini": "gemini",
    "gcp.gen_ai": "gemini", "gcp.vertex_ai": "vertex", "google": "gemini", "google.generative-ai": "gemini",
    "google_genai": "gemini", "google_vertexai": "vertex", "vertexai": "vertex", "vertex_ai": "vertex",
    "mistral_ai": "mistral", "mistralai": "mistral", "x_ai": "xai", "ibm.watsonx.ai": "watsonx",
    "openai.chat": "openai", "openai.responses": "openai", "openai.completion": "openai", "openai.embedding": "openai",
    "anthropic.messages": "anthropic", "cohereai": "cohere",
}  # fmt: skip
"""Ours for names that others have for the same."""

ROLES: Final[Mapping[str, str]] = {
    "human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "chatbot": "assistant",
    "aimessagechunk": "assistant", "aimessage": "assistant", "humanmessage": "user", "systemmessage": "system",
    "toolmessage": "tool", "function": "tool", "developer": "developer", "system": "system", "user": "user",
    "assistant": "assistant", "tool": "tool",
}  # fmt: skip
"""OpenAI's for the roles of others, in lower case."""
