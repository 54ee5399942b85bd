"""Tools for models that know none: told of in words, called by a JSON object with a schema, turned into tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import jiter
import msgspec

from loopwright.core.errors import BadRequest
from loopwright.gateway.demanded import Demand, Settled, Tool, called, formed
from loopwright.kit.fitting import one_of
from loopwright.kit.schema import Schema, schema
from loopwright.kit.wire_read import dicts, text

SAY: Final = "say"
_CALLS: Final = "calls"
_MOST_CALLS: Final = 16
_ANY: Final = schema({"type": "object"}, "tools")
_ABSENT: Final = ("tools", "tool_choice", "parallel_tool_calls", "response_format")


def names_tools(body: Mapping[str, Any]) -> bool:
    """Whether the conversation so far holds calls or their results."""
    return any(message.get("role") == "tool" or message.get("tool_calls") for message in dicts(body.get("messages")))


def body_of(body: Mapping[str, Any], want: Demand | None) -> dict[str, Any]:
    """The question without anything a model must know of tools, and `response_format` left to the caller.

    Raises:
        BadRequest: a tool is not a function.
    """
    for i, tool in enumerate(dicts(body.get("tools"))):
        if tool.get("type") != "function":
            where = f"tools[{i}].type"
            raise BadRequest(f"{where}: this model takes functions only, not {tool.get('type')!r}", param=where)
    rest = {name: value for name, value in body.items() if name not in _ABSENT}
    messages = [_worded(message) for message in dicts(body.get("messages"))]
    if want is not None and want.tools:
        messages = with_system(messages, _briefing(want))
    return {**rest, "messages": messages}


def with_system(messages: list[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    """The conversation with `words` at the end of its system message, or as one."""
    if messages and messages[0].get("role") in ("system", "developer"):
        said = text(messages[0].get("content"))
        return [{**messages[0], "content": f"{said}\n\n{words}" if said else words}, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


def envelope(want: Demand) -> Schema:
    """What the model is made to say: `{"name", "arguments"}`, `{"calls": […]}` or `{"say": …}`."""
    calls = [_call_schema(tool) for tool in want.tools.values()]
    one: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    if want.parallel:
        one = _closed(_CALLS, {"type": "array", "items": one, "minItems": 1, "maxItems": _MOST_CALLS})
    if want.choice == "auto":
        words: dict[str, Any] = {"type": "string"}
        if want.values:
            words = {"enum": list(want.values)}
        elif want.schema is not None:
            words = want.schema.document
        one = {"anyOf": [*(one.get("anyOf") or [one]), _closed(SAY, words)]}
    return schema(one, "tools")


def settle(want: Demand, message: Mapping[str, Any], finish: str | None) -> Settled:
    """The message with tool calls that a model's object stands for."""
    said = text(message.get("content"))
    out = {name: value for name, value in message.items() if name != "content"}
    cut = finish == "length"
    if want.choice == "auto" and want.schema is None and not want.values:
        plain = _prose(said, cut=cut)
        if plain is not None:
            return Settled(message={**out, "content": plain})
    content, problems = formed(_ANY, said, cut=cut)
    value = {} if problems else msgspec.json.decode(content)
    if SAY in value and want.choice == "auto":
        words, problems = _said(want, value[SAY], cut=cut)
        if not problems:
            return Settled(message={**out, "content": words}, finish="stop")
    elif not problems:
        calls, problems = _called(want, value, cut=cut)
        if not problems:
            return Settled(message={**out, "content": None, "tool_calls": calls}, finish="tool_calls")
    return Settled(message=dict(message), problems=problems, cut=cut)


def _said(want: Demand, words: Any, *, cut: bool) -> tuple[str, tuple[str, ...]]:
    """The words of a plain answer, in the form that is demanded of them."""
    plain = words if isinstance(words, str) else msgspec.json.encode(words).decode()
    if want.values:
        return one_of(plain, want.values), ()
    if want.schema is not None:
        return formed(want.schema, msgspec.json.encode(words).decode(), cut=cut)
    return plain, ()


def _called(want: Demand, value: Mapping[str, Any], *, cut: bool) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The calls an object stands for, and what is wrong with them."""
    listed = value.get(_CALLS)
    given = dicts(listed) if isinstance(listed, list) else [value]
    if not want.parallel:
        given = given[:1]
    if not given:
        return [], (f"$.{_CALLS}: no tool was called",)
    calls, broken = [], []
    for i, each in enumerate(given):
        function = {"name": each.get("name"), "arguments": each.get("arguments", {})}
        where = f"$.tool_calls[{i}]"
        call, problems = called(want.tools, {"type": "function", "function": function}, where, cut=cut)
        calls.append({"id": f"call_{uuid4().hex[:24]}", **call})
        broken += problems
    return calls, tuple(broken)


def spoken(said: str) -> str | None:
    """The words of an answer in the making, when it is going to be words; None while it is not known."""
    try:
        value = jiter.from_json(said.encode(), partial_mode="trailing-strings")
    except ValueError:  # cut in the middle of an escape: the next piece brings the rest
        return None
    words = value.get(SAY) if isinstance(value, dict) else None
    return words if isinstance(words, str) else None


def _prose(said: str, *, cut: bool) -> str | None:
    """A plain answer: words without an object, or an object of words that ran out of tokens."""
    if "{" not in said:
        return said
    return spoken(said) if cut else None


def _call_schema(tool: Tool) -> dict[str, Any]:
    # Closed unless it says otherwise: a grammar that lets any member in lets the model invent some.
    arguments = {"additionalProperties": False, **tool.schema.document, "type": "object"}
    if "properties" not in arguments or "allOf" in arguments or "anyOf" in arguments or "oneOf" in arguments:
        arguments = {**tool.schema.document, "type": "object"}
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _closed(name: str, inner: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: inner}, "required": [name], "additionalProperties": False}


def _briefing(want: Demand) -> str:
    lines = ["You can call these tools:"]
    for tool in want.tools.values():
        arguments = msgspec.json.encode(tool.schema.document).decode()
        lines.append(f"- {tool.name}: {tool.description}\n  arguments: {arguments}")
    call = '{"name": "<tool>", "arguments": {…}}'
    if want.parallel:
        lines.append(f'To call tools, answer with {{"calls": [{call}, …]}} and nothing else.')
    else:
        lines.append(f"To call a tool, answer with {call} and nothing else.")
    if want.choice == "auto":
        lines.append('When no tool is needed, answer with {"say": "<your answer>"} and nothing else.')
    else:
        lines.append("You must call a tool now.")
    return "\n".join(lines)


def _worded(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of the conversation in words any chat template has."""
    if message.get("role") == "tool":
        return {"role": "user", "content": f"Result of the tool: {text(message.get('content'))}"}
    calls = dicts(message.get("tool_calls"))
    if not calls:
        return dict(message)
    made = []
    for call in calls:
        function = call.get("function") or {}
        name = msgspec.json.encode(function.get("name")).decode()
        made.append(f'{{"name": {name}, "arguments": {function.get("arguments") or "{}"}}}')
    said = text(message.get("content"))
    called = made[0] if len(made) == 1 else f'{{"{_CALLS}": [{", ".join(made)}]}}'
    return {"role": "assistant", "content": f"{said}\n{called}" if said else called}
