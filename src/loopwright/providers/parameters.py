"""The parameters of a chat request that dialects have in common; which of them a dialect refuses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest

_MODES: Final[tuple[Literal["auto", "required", "none"], ...]] = ("auto", "required", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function the model may call."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON schema of its arguments; always an object's."""
    strict: bool = False
    cache: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which tools may or must be called."""

    mode: Literal["auto", "required", "none", "named"] = "auto"
    name: str = ""
    """The function that must be called, when `named`."""
    given: bool = False
    """The client said so; otherwise it is the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The form the answer must have: any JSON object, or what a schema says."""

    schema: Mapping[str, Any] | None
    name: str = "answer"
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What was asked for, beside the conversation. None is not given."""

    limit: int | None
    """Tokens of the answer, thoughts included."""
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop: tuple[str, ...]
    seed: int | None
    n: int
    presence_penalty: float | None
    frequency_penalty: float | None
    effort: str | None
    """`none`, `minimal`, `low`, `medium`, `high`, `xhigh`."""
    tools: tuple[Tool, ...]
    choice: Choice
    parallel: bool
    """Several calls in one turn are allowed."""
    format: Format | None
    user: str | None


def parameters(body: Mapping[str, Any]) -> Parameters:
    """The parameters of a chat or completion request.

    Raises:
        BadRequest: a tool or a format has no meaning here; `param` names it.
    """
    stop = body.get("stop")
    tools, choice = _chosen(_tools(body), body)
    return Parameters(
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        top_k=body.get("top_k"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        seed=body.get("seed"),
        n=body.get("n") or 1,
        presence_penalty=body.get("presence_penalty"),
        frequency_penalty=body.get("frequency_penalty"),
        effort=_effort(body),
        tools=tools,
        choice=choice,
        parallel=body.get("parallel_tool_calls") is not False,
        format=_format(body),
        user=body.get("safety_identifier") or body.get("user"),
    )


def refuse(body: Mapping[str, Any], who: str, *, choices: bool = False) -> None:
    """Refuse what would change the meaning of the answer if it were left out.

    `choices`: the dialect has several answers to one question.

    Raises:
        BadRequest: names the parameter.
    """
    for name in ("n", "best_of"):
        if (body.get(name) or 1) > 1 and not (choices and name == "n"):
            raise BadRequest(f"{name}: {who} gives one answer a call; ask {body[name]} times", param=name)
    for name in ("logprobs", "top_logprobs", "echo", "suffix"):
        if body.get(name) not in (None, False, 0, ""):
            raise BadRequest(f"{name}: {who} has no such thing; leave it out", param=name)
    if set(body.get("modalities") or ()) - {"text"}:
        raise BadRequest(f"modalities: {who} answers here in text only", param="modalities")
    if body.get("web_search_options") is not None:
        raise BadRequest(f"web_search_options: {who} does not search here; leave it out", param="web_search_options")


def _effort(body: Mapping[str, Any]) -> str | None:
    effort = body.get("reasoning_effort")
    if effort is None and isinstance(body.get("reasoning"), Mapping):
        effort = body["reasoning"].get("effort")
    known = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    if effort is None:
        return None
    if effort not in known:
        raise BadRequest(f"reasoning_effort: must be one of {', '.join(known)}", param="reasoning_effort")
    return "xhigh" if effort == "max" else str(effort)


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for at, tool in enumerate(body.get("tools") or ()):
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, Mapping):
            where = f"tools[{at}]"
            kind = str(tool.get("type"))[:80]
            raise BadRequest(f"{where}: tools of type {kind!r} cannot be given to this model", param=where)
        tools.append(_tool(function, f"tools[{at}].function", tool.get("cache_control")))
    for at, function in enumerate(body.get("functions") or ()):  # before there were tools
        tools.append(_tool(function, f"functions[{at}]", None))
    return tuple(tools)


def _tool(function: Any, where: str, cache: Any) -> Tool:
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise BadRequest(f"{where}.name: is required", param=f"{where}.name")
    schema = function.get("parameters")
    if schema is not None and not isinstance(schema, Mapping):
        raise BadRequest(f"{where}.parameters: must be a JSON schema", param=f"{where}.parameters")
    schema = {"type": "object", "properties": {}} if not schema else {"type": "object", **schema}
    return Tool(
        name=function["name"],
        description=str(function.get("description") or ""),
        schema=schema,
        strict=function.get("strict") is True,
        cache=cache if isinstance(cache, Mapping) else None,
    )


def _chosen(tools: tuple[Tool, ...], body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], Choice]:
    choice = body.get("tool_choice")
    if choice is None:
        choice = body.get("function_call")
    if choice is None or not tools:
        return tools, Choice()
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools")
        allowed = allowed if isinstance(allowed, Mapping) else choice
        names = {str((tool.get("function") or tool).get("name")) for tool in allowed.get("tools") or ()}
        tools, choice = tuple(tool for tool in tools if tool.name in names), allowed.get("mode", "auto")
    if isinstance(choice, Mapping):
        name = (choice.get("function") or choice).get("name")
        if name not in {tool.name for tool in tools}:
            raise BadRequest(f"tool_choice: there is no tool {str(name)[:80]!r}", param="tool_choice")
        return tools, Choice(mode="named", name=str(name), given=True)
    if choice == "any":  # Mistral's word
        choice = "required"
    for mode in _MODES:
        if choice == mode:
            return tools, Choice(mode=mode, given=True)
    raise BadRequest("tool_choice: must be auto, none, required or a function", param="tool_choice")


def _format(body: Mapping[str, Any]) -> Format | None:
    wanted = body.get("response_format")
    if wanted is None or wanted.get("type") == "text":
        return None
    if wanted.get("type") == "json_object":
        return Format(schema=None)
    held = wanted.get("json_schema")
    schema = held.get("schema") if isinstance(held, Mapping) else None
    if wanted.get("type") != "json_schema" or not isinstance(held, Mapping) or not isinstance(schema, Mapping):
        raise BadRequest("response_format: must be text, json_object or json_schema", param="response_format")
    return Format(schema=schema, name=str(held.get("name") or "answer"), description=str(held.get("description") or ""))


def in_words(form: Format) -> str:
    """An instruction for models that cannot be held to a form."""
    asked = "Answer with one JSON object and nothing else: no words around it, no code fence."
    if form.schema is None:
        return asked
    return f"{asked} It must be valid against this JSON schema:\n{msgspec.json.encode(form.schema).decode()}"
