"""The dialects the upstream speaks beside OpenAI's: Anthropic's, Gemini's, Bedrock's; by path, over the same answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import unquote

from loopwright.testing.answers import JSON, Answer
from loopwright.testing.frames import frame
from loopwright.testing.spoken import SIGNATURE, THOUGHT, message, pieces, reason, turns

_GEMINI: Final = re.compile(r"/models/([^/]+):(generateContent|streamGenerateContent|batchEmbedContents)$")
_BEDROCK: Final = re.compile(r"/model/([^/]+)/(converse|converse-stream|invoke)$")
Event = tuple[str, JSON]
"""The kind and the payload of an event of a stream."""


class Voice(Protocol):
    """One dialect."""

    content_type: str
    """Of its streams."""

    def question(self, asked: Mapping[str, Any]) -> JSON:
        """What was asked, in OpenAI's form; `stream` says how to answer."""
        ...

    def whole(self, found: Answer, *, thinks: bool, counted: bool) -> JSON:
        """The body of a whole answer."""
        ...

    def events(self, found: Answer, *, thinks: bool, counted: bool) -> Iterator[Event]:
        """A stream; its last event is the one without which it is cut off."""
        ...

    def wrap(self, kind: str, data: bytes, end: bytes) -> bytes:
        """An event on the wire; `end` ends a line."""
        ...

    def error(self, status: int, message: str) -> tuple[JSON, dict[str, str]]:
        """The body and the further headers of an error."""
        ...

    def error_event(self, message: str) -> Event:
        """An error within a stream."""
        ...


def voice_of(path: str) -> Voice | None:
    """The dialect spoken at `path`; None is OpenAI's."""
    if path.endswith("/v1/messages"):
        return Anthropic()
    found = _GEMINI.search(path)
    if found is not None:
        return Gemini(found[2])
    found = _BEDROCK.search(path)
    return None if found is None else Bedrock(found[2])


def model_in_path(path: str) -> str:
    """The model a path names, empty when it names none."""
    found = _GEMINI.search(path) or _BEDROCK.search(path)
    return unquote(found[1]) if found else ""


def thinks(asked: Mapping[str, Any]) -> bool:
    """Whether thoughts are asked for, in whichever dialect."""
    further = asked.get("additionalModelRequestFields") or asked
    config = (asked.get("generationConfig") or {}).get("thinkingConfig") or {}
    return (further.get("thinking") or {}).get("type") in ("enabled", "adaptive") or bool(config.get("includeThoughts"))


class Anthropic:
    """Messages."""

    content_type = "text/event-stream; charset=utf-8"
    _REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

    def question(self, asked: Mapping[str, Any]) -> JSON:
        """From `/v1/messages`."""
        tools = [{"function": {"name": tool["name"]}} for tool in asked.get("tools") or ()]
        choice = asked.get("tool_choice") or {"type": "auto"}
        named: Any = {"function": {"name": choice.get("name")}} if choice["type"] == "tool" else choice["type"]
        out: JSON = {
            "model": asked["model"],
            "messages": turns(asked["messages"]),
            "tools": tools,
            "tool_choice": named,
        }
        form = (asked.get("output_config") or {}).get("format")
        if form:
            out["response_format"] = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
        limit = asked["max_tokens"]
        return {**out, "stream": asked.get("stream"), **({"max_tokens": limit} if limit < 1000 else {})}

    def whole(self, found: Answer, *, thinks: bool, counted: bool) -> JSON:
        """A message."""
        said = message(found)
        blocks: list[JSON] = []
        if thinks:
            blocks.append({"type": "thinking", "thinking": THOUGHT * 2, "signature": SIGNATURE})
        if said.get("content"):
            blocks.append({"type": "text", "text": said["content"]})
        for call in said.get("tool_calls") or ():
            function = call["function"]
            arguments = json.loads(function["arguments"])
            blocks.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments})
        return {
            **self._head(found),
            "content": blocks,
            "stop_reason": reason(found, self._REASONS),
            "usage": self._usage(found, counted=counted),
        }

    def _head(self, found: Answer) -> JSON:
        model = found.body["model"]
        return {"id": "msg_test", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}

    def _usage(self, found: Answer, *, counted: bool) -> JSON:
        if not counted:
            return {"input_tokens": 0, "output_tokens": 0}
        cached = {"cache_read_input_tokens": 5, "cache_creation_input_tokens": 7}
        return {
            "input_tokens": found.usage["prompt_tokens"],
            "output_tokens": found.usage["completion_tokens"],
            **cached,
        }

    def events(self, found: Answer, *, thinks: bool, counted: bool) -> Iterator[Event]:
        """From `message_start` to `message_stop`."""
        texts, call, arguments = pieces(found)
        usage = self._usage(found, counted=counted)
        start = {**self._head(found), "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        yield "message_start", {"message": start}
        yield "ping", {}
        index = 0
        if thinks:
            thoughts = [{"type": "thinking_delta", "thinking": THOUGHT}] * 2
            signed = {"type": "signature_delta", "signature": SIGNATURE}
            block = {"type": "thinking", "thinking": "", "signature": ""}
            yield from self._block(index, block, [*thoughts, signed])
            index += 1
        if texts:
            deltas = [{"type": "text_delta", "text": text} for text in texts]
            yield from self._block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        if call is not None:
            used: JSON = {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": {}}
            parts = [{"type": "input_json_delta", "partial_json": part} for part in arguments]
            yield from self._block(index, used, parts)
        delta = {"stop_reason": reason(found, self._REASONS), "stop_sequence": None}
        yield "message_delta", {"delta": delta, "usage": {"output_tokens": usage["output_tokens"]}}
        yield "message_stop", {}

    def _block(self, index: int, block: JSON, deltas: list[JSON]) -> Iterator[Event]:
        yield "content_block_start", {"index": index, "content_block": block}
        for delta in deltas:
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}

    def wrap(self, kind: str, data: bytes, end: bytes) -> bytes:
        """With its name, which the data repeats."""
        if data.startswith(b"{"):
            data = b'{"type":"%b"%b%b' % (kind.encode(), b"," if len(data) > 2 else b"", data[1:])
        return b"event: " + kind.encode() + end + b"data: " + data + end + end

    def error(self, status: int, message: str) -> tuple[JSON, dict[str, str]]:
        """`{"type": "error"}`."""
        kinds = {
            401: "authentication_error",
            403: "permission_error",
            404: "not_found_error",
            429: "rate_limit_error",
            529: "overloaded_error",
        }
        kind = kinds.get(status, "api_error" if status >= 500 or status == 200 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_test"}, {}

    def error_event(self, message: str) -> Event:
        """Overloaded."""
        return "error", {"error": {"type": "overloaded_error", "message": message}}


class Gemini:
    """generateContent, and batchEmbedContents."""

    content_type = "text/event-stream"
    _REASONS: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}

    def __init__(self, verb: str) -> None:
        self._verb = verb

    def question(self, asked: Mapping[str, Any]) -> JSON:
        """From `:generateContent`."""
        if self._verb == "batchEmbedContents":
            return {"input": [each["content"]["parts"][0]["text"] for each in asked["requests"]]}
        turns = [
            {
                "role": "tool" if any("functionResponse" in part for part in turn["parts"]) else turn["role"],
                "content": "".join(str(part.get("text") or "") for part in turn["parts"]),
            }
            for turn in asked["contents"]
        ]
        declared = [each for tool in asked.get("tools") or () for each in tool["functionDeclarations"]]
        calling = (asked.get("toolConfig") or {}).get("functionCallingConfig") or {}
        names = calling.get("allowedFunctionNames")
        choice = {"function": {"name": names[0]}} if names else str(calling.get("mode", "AUTO")).lower()
        out: JSON = {"messages": turns, "tools": [{"function": each} for each in declared], "tool_choice": choice}
        settings = asked.get("generationConfig") or {}
        if settings.get("responseJsonSchema"):
            form = {"schema": settings["responseJsonSchema"]}
            out["response_format"] = {"type": "json_schema", "json_schema": form}
        limit = settings.get("maxOutputTokens")
        out |= {"max_tokens": limit, "n": settings.get("candidateCount")}
        return {**out, "stream": self._verb == "streamGenerateContent"}

    def whole(self, found: Answer, *, thinks: bool, counted: bool) -> JSON:
        """Candidates, or embeddings."""
        if self._verb == "batchEmbedContents":
            return {"embeddings": [{"values": each["embedding"]} for each in found.body["data"]]}
        candidates: list[JSON] = []
        for choice in found.body["choices"]:
            said = choice["message"]
            parts: list[JSON] = [{"text": THOUGHT * 2, "thought": True}] if thinks else []
            if said.get("content"):
                parts.append({"text": said["content"]})
            calls = [call["function"] for call in said.get("tool_calls") or ()]
            parts += [self._call(call["name"], call["arguments"]) for call in calls]
            content = {"role": "model", "parts": parts}
            finish = self._REASONS[choice["finish_reason"]]
            candidates.append({"index": choice["index"], "content": content, "finishReason": finish})
        return {"candidates": candidates, **self._foot(found, thinks=thinks, counted=counted)}

    def _call(self, name: str, arguments: str) -> JSON:
        return {"functionCall": {"name": name, "args": json.loads(arguments)}, "thoughtSignature": SIGNATURE}

    def _foot(self, found: Answer, *, thinks: bool, counted: bool) -> JSON:
        out: JSON = {"modelVersion": "gemini-test", "responseId": "r-1"}
        if counted:
            said = found.usage["completion_tokens"]
            counts = {"promptTokenCount": found.usage["prompt_tokens"] + 5, "cachedContentTokenCount": 5}
            counts |= {"candidatesTokenCount": said, "thoughtsTokenCount": 2 if thinks else 0}
            out["usageMetadata"] = counts
        return out

    def events(self, found: Answer, *, thinks: bool, counted: bool) -> Iterator[Event]:
        """Each an answer of its own; the last has the reason to stop."""
        texts, call, arguments = pieces(found)
        parts: list[JSON] = [{"text": THOUGHT, "thought": True}] * 2 if thinks else []
        parts += [{"text": text} for text in texts]
        if call is not None:
            parts.append(self._call(call["function"]["name"], "".join(arguments)))
        foot = self._foot(found, thinks=thinks, counted=counted)
        for part in parts:
            yield "", {"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}], **foot}
        end = {"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}}
        yield "", {"candidates": [{**end, "finishReason": reason(found, self._REASONS)}], **foot}

    def wrap(self, kind: str, data: bytes, end: bytes) -> bytes:  # noqa: ARG002 - its events have no names
        """Bare data."""
        return b"data: " + data + end + end

    def error(self, status: int, message: str) -> tuple[JSON, dict[str, str]]:
        """Google's status."""
        kind = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 401: "UNAUTHENTICATED", 404: "NOT_FOUND"}.get(
            status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT"
        )
        return {"error": {"code": status, "message": message, "status": kind}}, {}

    def error_event(self, message: str) -> Event:
        """The same in a stream."""
        return "", self.error(500, message)[0]


class Bedrock:
    """Converse, and Titan's embeddings."""

    content_type = "application/vnd.amazon.eventstream"
    _REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

    def __init__(self, verb: str) -> None:
        self._verb = verb

    def question(self, asked: Mapping[str, Any]) -> JSON:
        """From `/converse`."""
        if self._verb == "invoke":
            return {"input": asked.get("texts") or asked["inputText"]}
        config = asked.get("toolConfig") or {}
        specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
        named = (config.get("toolChoice") or {}).get("tool")
        out: JSON = {"messages": turns(asked["messages"]), "tools": [{"function": spec} for spec in specs]}
        out["tool_choice"] = {"function": {"name": named["name"]}} if named else "auto"
        form = (asked.get("outputConfig") or {}).get("textFormat")
        if form:
            schema = {"schema": json.loads(form["structure"]["jsonSchema"]["schema"])}
            out["response_format"] = {"type": "json_schema", "json_schema": schema}
        limit = (asked.get("inferenceConfig") or {}).get("maxTokens")
        out["max_tokens"] = limit if limit is not None and limit < 1000 else None
        return {**out, "stream": self._verb == "converse-stream"}

    def whole(self, found: Answer, *, thinks: bool, counted: bool) -> JSON:
        """A message, or an embedding."""
        if self._verb == "invoke":
            return {"embedding": found.body["data"][0]["embedding"], "inputTextTokenCount": 3}
        said = message(found)
        blocks: list[JSON] = []
        if thinks:
            blocks.append({"reasoningContent": {"reasoningText": {"text": THOUGHT * 2, "signature": SIGNATURE}}})
        if said.get("content"):
            blocks.append({"text": said["content"]})
        for call in said.get("tool_calls") or ():
            function = call["function"]
            use = {"toolUseId": call["id"], "name": function["name"], "input": json.loads(function["arguments"])}
            blocks.append({"toolUse": use})
        out: JSON = {"output": {"message": {"role": "assistant", "content": blocks}}}
        out |= {"stopReason": reason(found, self._REASONS), "metrics": {"latencyMs": 1}}
        return {**out, "usage": self._usage(found)} if counted else out

    def _usage(self, found: Answer) -> JSON:
        sent, said = found.usage["prompt_tokens"], found.usage["completion_tokens"]
        cached = {"cacheReadInputTokens": 5, "cacheWriteInputTokens": 7}
        return {"inputTokens": sent, "outputTokens": said, "totalTokens": sent + said + 12, **cached}

    def events(self, found: Answer, *, thinks: bool, counted: bool) -> Iterator[Event]:
        """From `messageStart` to `messageStop`, after which come the metadata."""
        texts, call, arguments = pieces(found)
        yield "messageStart", {"role": "assistant"}
        index = 0
        if thinks:
            thoughts: list[JSON] = [{"text": THOUGHT}] * 2 + [{"signature": SIGNATURE}]
            yield from self._block(index, [{"reasoningContent": piece} for piece in thoughts])
            index += 1
        if texts:
            yield from self._block(index, [{"text": text} for text in texts])
            index += 1
        if call is not None:
            use = {"toolUseId": call["id"], "name": call["function"]["name"]}
            yield "contentBlockStart", {"start": {"toolUse": use}, "contentBlockIndex": index}
            yield from self._block(index, [{"toolUse": {"input": part}} for part in arguments])
        if counted:
            yield "messageStop", {"stopReason": reason(found, self._REASONS)}
            yield "metadata", {"usage": self._usage(found), "metrics": {"latencyMs": 1}}
        else:
            yield "messageStop", {"stopReason": reason(found, self._REASONS)}

    def _block(self, index: int, deltas: list[JSON]) -> Iterator[Event]:
        for delta in deltas:
            yield "contentBlockDelta", {"delta": delta, "contentBlockIndex": index}
        yield "contentBlockStop", {"contentBlockIndex": index}

    def wrap(self, kind: str, data: bytes, end: bytes) -> bytes:  # noqa: ARG002 - frames have no lines
        """A frame."""
        failed = kind.endswith("Exception")
        named = {":exception-type" if failed else ":event-type": kind, ":content-type": "application/json"}
        return frame({**named, ":message-type": "exception" if failed else "event"}, data)

    def error(self, status: int, message: str) -> tuple[JSON, dict[str, str]]:
        """Its kind is in a header."""
        kinds = {
            429: "ThrottlingException",
            503: "ServiceUnavailableException",
            403: "AccessDeniedException",
            401: "UnrecognizedClientException",
        }
        kind = kinds.get(
            status, "InternalServerException" if status in (200, *range(500, 600)) else "ValidationException"
        )
        return {"message": message}, {"x-amzn-errortype": kind}

    def error_event(self, message: str) -> Event:
        """An exception."""
        return "modelStreamErrorException", {"message": message}
