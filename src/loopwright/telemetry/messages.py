"""What a model was asked and answered, in OpenAI's form, from whatever form it was told in. Pure; never raises."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from loopwright.telemetry.aliases import ROLES
from loopwright.telemetry.reading import Heard, parsed, tree

_MOST: Final = 5_000
"""Messages."""
_PARAMETERS: Final = (
    "temperature", "top_p", "top_k", "max_tokens", "seed", "stop", "frequency_penalty", "presence_penalty", "n",
    "dimensions", "reasoning_effort",
)  # fmt: skip
_ASKED: Final = ("tools", "tool_choice", "response_format", "max_completion_tokens", *_PARAMETERS)
"""Members of a request that is told whole."""
Message = dict[str, Any]


def asked(found: Heard) -> dict[str, Any]:
    """The body of a chat's request, without its model; no `messages` when nothing was said of them."""
    body: dict[str, Any] = {}
    whole = parsed(found.fields.get("input"))
    messages = messages_of(tree(found.parts["input_messages"])) if "input_messages" in found.parts else []
    if not messages and whole is not None:
        messages = _asked_messages(whole)
    instructions = parsed(found.fields.get("instructions"))
    if instructions and not any(each["role"] in ("system", "developer") for each in messages[:1]):
        messages = [{"role": "system", "content": _joined_text(instructions)}, *messages]
    if messages:
        body["messages"] = messages[:_MOST]
    if isinstance(whole, dict):
        body |= {name: whole[name] for name in _ASKED if whole.get(name) is not None}
    tools = _tools(found)
    if tools:
        body["tools"] = tools
    given = parsed(found.fields.get("parameters"))
    if isinstance(given, dict):
        body |= {name: given[name] for name in _ASKED if given.get(name) is not None and name not in body}
    for name in _PARAMETERS:
        value = parsed(found.fields.get(name)) if name in found.fields else None
        if value is not None:
            body[name] = value
    return body


def answered(found: Heard) -> list[dict[str, Any]]:
    """The choices of a chat's answer; none when nothing was said of it."""
    whole = parsed(found.fields.get("output"))
    finish = _finishes(found)
    listed = messages_of(tree(found.parts["output_messages"])) if "output_messages" in found.parts else []
    if not listed and whole is not None:
        listed = _answer_messages(whole)
    calls = parsed(found.fields.get("answer_calls"))
    if isinstance(calls, list) and not any("tool_calls" in each for each in listed):
        made = [_tool_call(each) for each in calls if isinstance(each, dict)]
        listed = listed or [{"role": "assistant", "content": None}]
        listed[0]["tool_calls"] = made
    choices = []
    for index, message in enumerate(listed[:_MOST]):
        reason = message.pop("finish_reason", None)
        reason = reason or (finish[index] if index < len(finish) else finish[0] if finish else None)
        choices.append({"index": index, "message": {**message, "role": "assistant"}, "finish_reason": reason})
    return choices


def documents(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Numbered documents of OpenInference: id, content, score, metadata."""
    return [
        each["document"] if isinstance(each, dict) and isinstance(each.get("document"), dict) else {"content": each}
        for each in tree(parts)
    ]


def embedded(found: Heard) -> list[str]:
    """The texts that were embedded."""
    texts = []
    for each in tree(found.parts.get("embedded", {})):
        inner = each.get("embedding") if isinstance(each, dict) else None
        text = inner.get("text", inner.get("embedding.text")) if isinstance(inner, dict) else None
        if isinstance(text, str):
            texts.append(text)
    if texts:
        return texts
    whole = parsed(found.fields.get("input"))
    if isinstance(whole, dict):
        whole = whole.get("input", whole.get("texts", whole))
    if isinstance(whole, list):
        return [each if isinstance(each, str) else _written(each) for each in whole[:_MOST]]
    return [] if whole is None else [whole if isinstance(whole, str) else _written(whole)]


def messages_of(listed: Iterable[Any]) -> list[Message]:
    """Messages of any dialect as OpenAI's; what is none of them is left out."""
    found: list[Message] = []
    for each in listed:
        if isinstance(each, dict):
            found += _messages(each)
        elif isinstance(each, list):  # LangChain's lists of lists
            found += messages_of(each)
        elif isinstance(each, str):
            found.append({"role": "user", "content": each})
    return found


def _messages(told: Mapping[str, Any]) -> list[Message]:
    """One message of a dialect: several where tools' results lie in one."""
    for wrap in ("message", "kwargs", "data", "prompt", "completion"):
        inner = told.get(wrap)
        if isinstance(inner, dict) and "role" not in told:
            outer = {name: told[name] for name in ("finish_reason", "type") if isinstance(told.get(name), str)}
            return _messages({**outer, **inner})
    role = _role(told)
    if role is None:
        return []
    parts = told.get("parts", told.get("contents"))
    content = told.get("content", told.get("text"))
    if isinstance(content, str):
        # OpenLLMetry tells lists of parts as JSON.
        inner = parsed(content) if content[:2] in ("[{", "[ ") else content
        content = inner if isinstance(inner, list) and all(isinstance(each, dict) for each in inner) else content
    if isinstance(parts, list):
        content = parts
    message: Message = {"role": role}
    results: list[Message] = []
    if isinstance(content, list):
        _take_parts(message, results, content)
    else:
        message["content"] = content if content is None or isinstance(content, str) else _written(content)
    calls = told.get("tool_calls")
    if isinstance(calls, list) and calls:
        message["tool_calls"] = [_tool_call(each) for each in calls if isinstance(each, dict)]
    for name in ("tool_call_id", "name", "refusal", "reasoning_content", "finish_reason"):
        if isinstance(told.get(name), str):
            message[name] = told[name]
    spoken = message.get("content") is not None or "tool_calls" in message or "reasoning_content" in message
    return [*([message] if spoken or not results else []), *results]


def _take_parts(message: Message, results: list[Message], parts: list[Any]) -> None:
    texts: list[str] = []
    kept: list[dict[str, Any]] = []
    for each in parts:
        part = each.get("message_content", each) if isinstance(each, dict) else {"type": "text", "content": each}
        if not isinstance(part, dict):
            continue
        kind = str(part.get("type", "text")).replace("-", "_")
        said = part.get("content", part.get("text"))
        if kind in ("text", "input_text", "output_text"):
            texts.append(said if isinstance(said, str) else _written(said))
            kept.append({"type": "text", "text": texts[-1]})
        elif kind in ("tool_call", "tool_use", "function_call"):
            message.setdefault("tool_calls", []).append(_tool_call(part))
        elif kind in ("tool_call_response", "tool_result", "function_call_output"):
            answer = next((part[name] for name in _RESULTS if part.get(name) is not None), "")
            call_id = next((part[name] for name in _CALL_IDS if isinstance(part.get(name), str)), "")
            text = answer if isinstance(answer, str) else _written(answer)
            results.append({"role": "tool", "tool_call_id": call_id, "content": text})
        elif kind in ("reasoning", "thinking"):
            spoken = said if said is not None else part.get("thinking")
            if isinstance(spoken, str):
                message["reasoning_content"] = message.get("reasoning_content", "") + spoken
        else:
            kept.append(dict(part))
    if message["role"] == "tool" and results and not texts:
        message["content"] = None
    elif len(kept) == len(texts):
        message["content"] = "".join(texts) if texts else None
    else:
        message["content"] = kept


_RESULTS: Final = ("response", "result", "output", "content")
_CALL_IDS: Final = ("id", "tool_call_id", "toolCallId", "call_id", "tool_use_id")


def _tool_call(told: Mapping[str, Any]) -> dict[str, Any]:
    inner = told.get("tool_call", told)
    inner = inner if isinstance(inner, dict) else told
    function = inner.get("function", inner)
    function = function if isinstance(function, dict) else inner
    arguments = next((function[name] for name in _ARGUMENTS if function.get(name) is not None), "{}")
    name = next((function[key] for key in ("name", "toolName") if isinstance(function.get(key), str)), "")
    call_id = next((inner[key] for key in _CALL_IDS if isinstance(inner.get(key), str)), "")
    text = arguments if isinstance(arguments, str) else _written(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


_ARGUMENTS: Final = ("arguments", "args", "input", "parameters")


def _role(told: Mapping[str, Any]) -> str | None:
    for name in ("role", "type"):
        said = told.get(name)
        if isinstance(said, str) and said.lower() in ROLES:
            return ROLES[said.lower()]
    kinds = told.get("id")  # LangChain's serialised messages: ["langchain", "schema", "messages", "HumanMessage"]
    if isinstance(kinds, list) and kinds and isinstance(kinds[-1], str):
        return ROLES.get(kinds[-1].lower())
    return "user" if "content" in told or "parts" in told or "text" in told else None


def _asked_messages(whole: Any) -> list[Message]:
    """Messages from the input of a step as somebody logged it: the request whole, its messages, a text."""
    if isinstance(whole, dict):
        for name in (
            "messages",
            "input",
            "inputs",
            "prompt",
            "prompts",
            "kwargs",
            "args",
            "contents",
            "question",
            "query",
        ):
            inner = whole.get(name)
            if inner:
                found = _asked_messages(inner)
                if found:
                    system = whole.get("system", whole.get("instructions"))
                    head = [{"role": "system", "content": _joined_text(system)}] if system else []
                    return [*head, *found]
        return _messages(whole) if _role(whole) else [{"role": "user", "content": _written(whole)}]
    if isinstance(whole, list):
        return messages_of(whole)
    return [] if whole is None else [{"role": "user", "content": str(whole)}]


def _answer_messages(whole: Any) -> list[Message]:
    if isinstance(whole, dict):
        for name in (
            "choices",
            "generations",
            "messages",
            "message",
            "output",
            "outputs",
            "content",
            "text",
            "response",
        ):
            inner = whole.get(name)
            if inner and (name not in ("content", "text") or _role(whole) is None or "type" not in whole):
                if name in ("content", "text") and "tool_calls" in whole:
                    break
                found = _answer_messages(inner)
                if found:
                    return found
        return _messages(whole) if _role(whole) else [{"role": "assistant", "content": _written(whole)}]
    if isinstance(whole, list):
        return [{**each, "role": "assistant"} for each in messages_of(whole)]
    return [] if whole is None else [{"role": "assistant", "content": str(whole)}]


def _tools(found: Heard) -> list[Any]:
    told = parsed(found.fields.get("tools"))
    if not isinstance(told, list):
        told = tree(found.parts.get("tools_listed", {}))
    tools = []
    for each in told[:_MOST]:
        tool = parsed(each)
        if isinstance(tool, dict):
            inner = tool.get("tool", tool)
            inner = parsed(inner.get("json_schema", inner)) if isinstance(inner, dict) else inner
            if isinstance(inner, dict):
                named = {name: parsed(value) for name, value in inner.items()}
                tools.append(named if "function" in named else {"type": "function", "function": named})
    return tools


def _finishes(found: Heard) -> list[str]:
    told = parsed(found.fields.get("finish"))
    told = told if isinstance(told, list) else [told]
    return [_FINISHES.get(each, each) for each in told if isinstance(each, str)]


_FINISHES: Final = {"tool_call": "tool_calls", "tool-calls": "tool_calls", "end_turn": "stop", "tool_use": "tool_calls"}


def _joined_text(told: Any) -> str:
    """Texts of a list of parts."""
    if isinstance(told, list):
        return "\n".join(_joined_text(each) for each in told)
    if isinstance(told, dict):
        said = told.get("content", told.get("text"))
        return _joined_text(said) if said is not None else _written(told)
    return "" if told is None else str(told)


def _written(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return str(value)[:_MOST]
