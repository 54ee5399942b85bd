"""What a question demands of the form of its answer, and whether a message keeps to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit import fitting
from loopwright.kit.nearest import hint
from loopwright.kit.schema import Schema, schema
from loopwright.kit.wire_read import dicts, text

_NAME: Final = 128
_TOOLS: Final = 512
_VALUES: Final = 1000
_FORMATS: Final = ("text", "json_object", "json_schema", "enum")
_OBJECT: Final = {"type": "object"}
_NO_ARGUMENTS: Final = {"type": "object", "properties": {}}
_CUT: Final = "$: the answer was cut off before its end: allow more tokens (`max_tokens`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One function the model may call."""

    name: str
    description: str
    schema: Schema
    """Of its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The form an answer must have."""

    schema: Schema | None = None
    """Of the text; None leaves it free."""
    values: tuple[str, ...] = ()
    """The text is one of these."""
    tools: Mapping[str, Tool] = field(default_factory=dict)
    choice: str = "auto"
    """`auto`, `required` or `none`."""
    parallel: bool | None = None
    """Several calls in one answer; None is as the model likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A message as the client gets it, or what is wrong with it."""

    message: dict[str, Any]
    problems: tuple[str, ...] = ()
    """Each with its place, e.g. `$.items[0].name: …`; empty when the message may go out."""
    finish: str | None = None
    """The finish reason that fits; None leaves the upstream's."""
    cut: bool = False
    """It ended for want of tokens."""


Settle = Callable[[Mapping[str, Any], str | None], Settled]
"""From a message and its finish reason."""


def demand(body: Mapping[str, Any]) -> Demand | None:
    """What `body` demands; None when the answer may have any form.

    Raises:
        BadRequest: a schema or tool cannot be used; `param` names its place.
    """
    document, values = _format(body.get("response_format"))
    tools = _tools(body.get("tools"))
    choice, tools = _choice(body.get("tool_choice"), tools)
    if document is None and not values and not tools:
        return None
    return Demand(schema=document, values=values, tools=tools, choice=choice, parallel=body.get("parallel_tool_calls"))


def _format(given: Any) -> tuple[Schema | None, tuple[str, ...]]:
    if not isinstance(given, Mapping) or given.get("type") == "text":
        return None, ()
    kind = given.get("type")
    if kind == "json_object":
        inner = given.get("schema")  # llama.cpp's and Together's way to hand a schema over
        return schema(_OBJECT if inner is None else inner, "response_format.schema"), ()
    if kind == "json_schema":
        named = given.get("json_schema")
        inner = named.get("schema") if isinstance(named, Mapping) else None
        if inner is None:
            where = "response_format.json_schema.schema"
            raise BadRequest(f"{where}: is required", param=where)
        return schema(inner, "response_format.json_schema.schema"), ()
    if kind == "enum":
        values, where = given.get("enum"), "response_format.enum"
        if not isinstance(values, list) or not 0 < len(values) <= _VALUES:
            raise BadRequest(f"{where}: must be a list of 1 to {_VALUES} texts", param=where)
        if not all(isinstance(value, str) and value for value in values) or len(set(values)) < len(values):
            raise BadRequest(f"{where}: must hold texts, none empty, none twice", param=where)
        return None, tuple(values)
    where = "response_format.type"
    raise BadRequest(f"{where}: {kind!r} is not known{hint(str(kind), _FORMATS)}", param=where)


def _tools(given: Any) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    listed = given if isinstance(given, list) else []
    if len(listed) > _TOOLS:
        raise BadRequest(f"tools: {len(listed)} are too many; the limit is {_TOOLS}", param="tools")
    for i, each in enumerate(listed):
        function, where = each.get("function"), f"tools[{i}].function"
        if each.get("type") != "function":
            continue  # a provider's own tool: its business
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not 0 < len(name) <= _NAME:
            raise BadRequest(f"{where}.name: must be a text of 1 to {_NAME} characters", param=f"{where}.name")
        if name in tools:
            raise BadRequest(f"{where}.name: {name!r} stands there twice", param=f"{where}.name")
        parameters = function.get("parameters")
        kept = schema(_NO_ARGUMENTS if parameters is None else parameters, f"{where}.parameters")
        if kept.document.get("type", "object") != "object":
            param = f"{where}.parameters.type"
            raise BadRequest(f"{param}: arguments are an object, not {kept.document['type']!r}", param=param)
        tools[name] = Tool(name=name, description=str(function.get("description") or ""), schema=kept)
    return tools


def _choice(given: Any, tools: dict[str, Tool]) -> tuple[str, dict[str, Tool]]:
    """The choice, and the tools that are left to it."""
    if given is None or given in ("auto", "none"):
        return given or "auto", tools if given != "none" else {}
    if given == "required":
        return "required", tools
    if isinstance(given, Mapping) and given.get("type") == "allowed_tools":
        allowed = given.get("allowed_tools")
        listed = dicts(allowed.get("tools")) if isinstance(allowed, Mapping) else []
        names = [str((each.get("function") or each).get("name")) for each in listed]
        mode = "required" if isinstance(allowed, Mapping) and allowed.get("mode") == "required" else "auto"
        return mode, {name: _known(name, tools) for name in names}
    if isinstance(given, Mapping) and given.get("type") == "function" and isinstance(given.get("function"), Mapping):
        name = str(given["function"].get("name"))
        return "required", {name: _known(name, tools)}
    if isinstance(given, Mapping) and given.get("type") not in (None, "function"):
        return "auto", tools  # a provider's own kind of choice
    message = f"tool_choice: {given!r} is not known; there are none, auto, required and a named function"
    raise BadRequest(message, param="tool_choice")


def _known(name: str, tools: Mapping[str, Tool]) -> Tool:
    if name not in tools:
        raise BadRequest(f"tool_choice: there is no tool {name!r}{hint(name, tools)}", param="tool_choice")
    return tools[name]


def settle(want: Demand, message: Mapping[str, Any], finish: str | None) -> Settled:
    """A message of a model that knows schemas and tools itself."""
    out = dict(message)
    if message.get("refusal"):
        return Settled(message=out)
    cut = finish == "length"
    calls = dicts(message.get("tool_calls"))
    problems: tuple[str, ...] = ()
    if calls and want.tools:
        found = [called(want.tools, call, f"$.tool_calls[{i}]", cut=cut) for i, call in enumerate(calls)]
        out["tool_calls"] = [call for call, _ in found]
        problems = tuple(problem for _, broken in found for problem in broken)
    elif calls:
        pass  # of tools that are the provider's own
    elif want.tools and want.choice == "required":
        problems = ("$.tool_calls: no tool was called, though one must be",)
    elif want.values:
        out["content"] = fitting.one_of(_bare(text(message.get("content"))), want.values)
        return Settled(message=out, finish="stop")
    elif want.schema is not None:
        out["content"], problems = formed(want.schema, text(message.get("content")), cut=cut)
    return Settled(message=out, problems=problems, cut=bool(problems) and cut)


def formed(document: Schema, said: str, *, cut: bool) -> tuple[str, tuple[str, ...]]:
    """A text made valid, and what is wrong with it still. What was cut off is never mended: that would invent an end."""
    try:
        value = msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError):
        if cut:
            return said, (_CUT,)
        try:
            value = fitting.read(said)
        except fitting.NotJson as error:
            return said, (f"$: {error}",)
    else:
        if not document.problems(value, most=1):
            return said, ()
    value = fitting.fitted(value, document)
    return msgspec.json.encode(value).decode(), tuple(document.problems(value))


def called(
    tools: Mapping[str, Tool], call: Mapping[str, Any], where: str, *, cut: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """A call with arguments that are valid, or what is wrong with it."""
    function = call.get("function")
    if not isinstance(function, Mapping):
        return dict(call), []  # a provider's own kind of call
    name = function.get("name")
    tool = tools.get(name) if isinstance(name, str) else None
    if tool is None:
        return dict(call), [f"{where}.function.name: there is no tool {name!r}{hint(str(name), tools)}"]
    given = function.get("arguments")
    said = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    arguments, problems = formed(tool.schema, said.strip() or "{}", cut=cut)
    placed = [f"{where}.function.arguments{problem.removeprefix('$')}" for problem in problems]
    return {**call, "function": {**function, "arguments": arguments}}, placed


def _bare(said: str) -> str:
    """The text in `"A"` or `{"answer": "A"}`."""
    try:
        value = msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError):
        return said
    if isinstance(value, dict):
        value = next(iter(value.values()), said)
    return value if isinstance(value, str) else said
