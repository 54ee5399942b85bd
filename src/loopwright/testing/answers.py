"""What the upstream says: deterministic OpenAI-shaped answers, each marked with a digest of its prompt."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

WORDS: Final = ("the", "naïve", "model", "says", "日本語", "and", "means", "🙂", "well", "enough", "for", "a", "test")
TOKENS: Final = 16
_DIMENSIONS: Final = 8
_CREATED: Final = 1_700_000_000

JSON = dict[str, Any]


def answer_to(prompt: str, *, tokens: int = TOKENS, index: int = 0) -> str:
    """The text answered to `prompt` (of a chat: its last user message) by choice `index`, in `tokens` tokens."""
    return "".join(_tokens(prompt, tokens, index))


def _tokens(prompt: str, tokens: int, index: int) -> list[str]:
    return [_digest(prompt, index), *(" " + WORDS[i % len(WORDS)] for i in range(tokens - 1))][:tokens]


def _digest(prompt: str, index: int = 0) -> str:
    return hashlib.sha256(f"{index}:{prompt}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, whole or in events."""

    body: JSON
    """The whole body, without usage."""
    events: tuple[JSON, ...]
    """A stream's chunks; those from `first` on carry tokens. Neither usage nor [DONE]."""
    first: int
    usage: JSON


def answer(path: str, request: Mapping[str, Any]) -> Answer | None:
    """The answer to a POST on `path`, or None when there is no such path."""
    if path.endswith("/chat/completions"):
        return _chat(request)
    if path.endswith("/completions"):
        return _completion(request)
    if path.endswith("/embeddings"):
        return _embeddings(request)
    if path.endswith("/rerank"):
        return _ranks(request)
    return None


def prompt_of(request: Mapping[str, Any]) -> str:
    """The text that is digested: the last user message, or the prompt."""
    if "messages" not in request:
        prompt = request.get("prompt", "")
        return prompt if isinstance(prompt, str) else json.dumps(prompt)
    for message in reversed(request["messages"]):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if isinstance(content, str) and message.get("role") == "user":
            return content
    return ""


def _chat(request: Mapping[str, Any]) -> Answer:
    prompt = prompt_of(request)
    head = {"id": f"chatcmpl-{_digest(prompt)}", "created": _CREATED, "model": request.get("model", "")}
    choices: list[JSON] = []
    events: list[JSON] = []
    said = 0
    for index in range(int(request.get("n") or 1)):
        said_here, message, deltas, finish = _say(request, prompt, index)
        said += said_here
        choices.append({"index": index, "message": message, "finish_reason": finish, "logprobs": None})
        events.append(_chunk(head, index, {"role": "assistant", "content": ""}, None))
        events += [_chunk(head, index, delta, None) for delta in deltas]
        events.append(_chunk(head, index, {}, finish))
        if request.get("logprobs"):
            texts = [delta.get("content") or "" for delta in deltas]
            choices[-1]["logprobs"] = {"content": [_logprob(text) for text in texts]}
            for event, text in zip(events[-1 - len(deltas) : -1], texts, strict=True):
                event["choices"][0]["logprobs"] = {"content": [_logprob(text)]}
    body = {**head, "object": "chat.completion", "choices": choices}
    return Answer(body=body, events=tuple(events), first=1, usage=_usage(prompt, said))


def _say(request: Mapping[str, Any], prompt: str, index: int) -> tuple[int, JSON, list[JSON], str]:
    """Tokens said, the message, its deltas, the finish reason."""
    tool = _tool(request)
    if tool is not None:
        arguments = json.dumps({"digest": _digest(prompt, index)})
        call = {"id": f"call_{_digest(prompt, index)}", "type": "function"}
        whole = {**call, "function": {"name": tool, "arguments": arguments}}
        deltas = [{"tool_calls": [{"index": 0, **call, "function": {"name": tool, "arguments": ""}}]}]
        half = len(arguments) // 2
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}
            for part in (arguments[:half], arguments[half:])
        ]
        return len(deltas), {"role": "assistant", "content": None, "tool_calls": [whole]}, deltas, "tool_calls"
    wanted = request.get("max_completion_tokens") or request.get("max_tokens")
    format_ = request.get("response_format") or {}
    if format_.get("type") in ("json_object", "json_schema"):
        schema = (format_.get("json_schema") or {}).get("schema") or {}
        value = _fitting(schema, _digest(prompt, index)) if schema else {"digest": _digest(prompt, index)}
        text = json.dumps(value)
        tokens = [text[i : i + 8] for i in range(0, len(text), 8)]
    else:
        tokens = _tokens(prompt, int(wanted or TOKENS), index)
    message = {"role": "assistant", "content": "".join(tokens)}
    return len(tokens), message, [{"content": token} for token in tokens], "length" if wanted else "stop"


def _tool(request: Mapping[str, Any]) -> str | None:
    tools = request.get("tools") or []
    choice = request.get("tool_choice", "auto")
    last = request["messages"][-1] if request.get("messages") else {}
    if not tools or choice == "none" or last.get("role") == "tool":
        return None
    if isinstance(choice, dict):
        return str(choice["function"]["name"])
    return str(tools[0]["function"]["name"])


def _fitting(schema: Mapping[str, Any], text: str) -> Any:
    """A small value that fits a JSON schema of the plain kind."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: _fitting(inner, text) for name, inner in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [_fitting(schema.get("items") or {"type": "string"}, text)]
    return {"string": text, "integer": 1, "number": 0.5, "boolean": True}.get(kind)


def _chunk(head: JSON, index: int, delta: JSON, finish: str | None) -> JSON:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {**head, "object": "chat.completion.chunk", "choices": [choice]}


def _logprob(token: str) -> JSON:
    value = -1.0 / (1 + len(token))
    return {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": []}


def _completion(request: Mapping[str, Any]) -> Answer:
    prompt = prompt_of(request)
    tokens = _tokens(prompt, int(request.get("max_tokens") or TOKENS), 0)
    head = {"id": f"cmpl-{_digest(prompt)}", "object": "text_completion", "created": _CREATED}
    head["model"] = request.get("model", "")

    def choice(text: str, finish: str | None) -> JSON:
        return {**head, "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": None}]}

    events = (*(choice(token, None) for token in tokens), choice("", "stop"))
    return Answer(body=choice("".join(tokens), "stop"), events=events, first=0, usage=_usage(prompt, len(tokens)))


def _embeddings(request: Mapping[str, Any]) -> Answer:
    texts = request.get("input", "")
    texts = [texts] if isinstance(texts, str) else list(texts)
    data: list[JSON] = []
    for index, text in enumerate(texts):
        vector: Any = list(_vector(str(text), int(request.get("dimensions") or _DIMENSIONS)))
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    words = sum(len(str(text).split()) for text in texts)
    body = {"object": "list", "model": request.get("model", ""), "data": data}
    return Answer(body=body, events=(), first=0, usage={"prompt_tokens": words, "total_tokens": words})


def _vector(text: str, dimensions: int) -> Iterator[float]:
    """A unit vector from the digest of `text`."""
    numbers = [
        int.from_bytes(hashlib.sha256(f"{i}:{text}".encode()).digest()[:4]) / 2**31 - 1 for i in range(dimensions)
    ]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    yield from (number / length for number in numbers)


def _ranks(request: Mapping[str, Any]) -> Answer:
    """Relevance is the share of the query's words that a document has."""
    wanted = set(str(request.get("query", "")).lower().split())
    texts = [each if isinstance(each, str) else str(each.get("text", "")) for each in request.get("documents", ())]
    scores = [len(wanted & set(text.lower().split())) / max(len(wanted), 1) for text in texts]
    order = sorted(range(len(texts)), key=lambda at: -scores[at])[: request.get("top_n")]
    results = [{"index": at, "relevance_score": scores[at]} for at in order]
    words = sum(len(text.split()) + len(wanted) for text in texts)
    body = {"id": "rerank-1", "model": request.get("model", ""), "results": results}
    return Answer(body=body, events=(), first=0, usage={"total_tokens": words})


def _usage(prompt: str, said: int) -> JSON:
    words = len(prompt.split())
    return {
        "prompt_tokens": words,
        "completion_tokens": said,
        "total_tokens": words + said,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
