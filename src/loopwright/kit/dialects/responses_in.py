"""OpenAI's Responses, in: a body checked once and turned into a canonical chat body. Pure; knows no records.

What a chat has no member for goes aside (`Question.aside`), so that the answer can echo it, now and when it is asked
for again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.dialects.foreign import without_idle_choice
from loopwright.kit.dialects.responses_items import FREE_TEXT, Item, messages_of
from loopwright.kit.wire import House, decoded

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[_Tool] | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _TextConfig(msgspec.Struct):
    format: _Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class _Reasoning(msgspec.Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


_Metadata = dict[
    Annotated[str, msgspec.Meta(min_length=1, max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]
]


class _Create(msgspec.Struct, kw_only=True):
    model: _Name
    input: str | list[Item] = ""
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    store: bool | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    text: _TextConfig | None = None
    reasoning: _Reasoning | None = None
    include: list[str] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Annotated[_Metadata, msgspec.Meta(max_length=16)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None
    loopwright: House | None = None


BODY: Final[type] = _Create
"""What a body is read as."""
_CREATE: Final = msgspec.json.Decoder(_Create)
_SAME: Final = (
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
    "stream",
)
"""Parameters a chat has by the same name."""
LOGPROBS: Final = "message.output_text.logprobs"
ENCRYPTED: Final = "reasoning.encrypted_content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A body read."""

    body: dict[str, Any]
    """Canonical, but for the conversation before it when there is a `previous`."""
    aside: dict[str, Any]
    """What the chat has no member for: `dialect`, and what `responses_echo` reads."""
    previous: str | None
    """The response whose conversation goes on."""
    house: House | None
    """Our own member."""


def read(raw: bytes) -> Question:
    """The body of `POST /v1/responses`.

    Raises:
        BadRequest: it cannot be used; `param` names the field as this dialect calls it.
    """
    asked = decoded(_CREATE, raw)
    _refuse(asked)
    body: dict[str, Any] = {"model": asked.model, "messages": _messages(asked)}
    aside: dict[str, Any] = {"dialect": "responses"}
    if asked.instructions:
        aside["instructions"] = True
    if asked.tools:
        body["tools"] = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(asked.tools)]
        custom = {tool.name: _given(tool) for tool in asked.tools if tool.type == "custom"}
        if custom:
            aside["custom"] = custom
    _choose(asked, body, aside)
    _shape(asked, body, aside)
    include = asked.include or []
    if LOGPROBS in include or asked.top_logprobs:
        body["logprobs"] = True
    rest = {name: getattr(asked, name) for name in _SAME}
    rest["max_completion_tokens"] = asked.max_output_tokens
    rest["top_logprobs"] = asked.top_logprobs
    body.update({name: value for name, value in rest.items() if value is not None})
    without_idle_choice(body)
    notes = {
        "previous_response_id": asked.previous_response_id,
        "store": False if asked.store is False else None,
        "metadata": asked.metadata or None,
        "include": include or None,
    }
    aside.update({name: value for name, value in notes.items() if value is not None})
    return Question(body=body, aside=aside, previous=asked.previous_response_id, house=asked.loopwright)


def continued(question: Question, before: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical body of a question that goes on from a call on record: its conversation, its answer, what is new.

    `before` is that call's body as it is on record, `answer` its answer. Its instructions are not carried over.

    Raises:
        BadRequest: that call has no conversation or no answer to go on from.
    """
    messages = before.get("messages")
    said = next((choice.get("message") for choice in answer.get("choices") or ()), None)
    if not isinstance(messages, list) or not isinstance(said, dict):
        raise BadRequest(
            "previous_response_id: that call has no conversation to go on from", param="previous_response_id"
        )
    aside = before.get("loopwright")
    if isinstance(aside, dict) and aside.get("instructions"):
        messages = messages[1:]
    kept = {name: value for name, value in said.items() if value not in (None, [], "")} | {"role": "assistant"}
    kept.setdefault("content", None if kept.get("tool_calls") else "")
    new = list(question.body["messages"])
    opening = [new.pop(0)] if question.aside.get("instructions") else []
    return {**question.body, "messages": [*opening, *messages, kept, *new]}


def _refuse(asked: _Create) -> None:
    """What would change the meaning of the answer if it were left out."""
    if asked.background:
        raise BadRequest("background: answers are given at once here: leave it out", param="background")
    for name, instead in (("conversation", "previous_response_id"), ("prompt", "input and instructions")):
        if getattr(asked, name) is not None:
            raise BadRequest(f"{name}: is kept at OpenAI only: use {instead}", param=name)
    if not asked.input and asked.previous_response_id is None:
        raise BadRequest("input: is required", param="input")


def _messages(asked: _Create) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if asked.instructions:
        messages.append({"role": "system", "content": asked.instructions})
    if isinstance(asked.input, str):
        return [*messages, {"role": "user", "content": asked.input}] if asked.input else messages
    return messages + messages_of(asked.input)


def _tool(tool: _Tool, where: str) -> dict[str, Any]:
    if tool.type not in ("function", "custom"):
        raise BadRequest(
            f"{where}.type: {tool.type!r} runs at OpenAI only: give a tool of type 'function'", param=f"{where}.type"
        )
    if not tool.name:
        raise BadRequest(f"{where}.name: is required", param=f"{where}.name")
    if tool.type == "custom":
        return _custom(tool)
    function: dict[str, Any] = {"name": tool.name}
    for name in ("description", "parameters", "strict"):
        value = getattr(tool, name)
        if value is not None:
            function[name] = value
    return {"type": "function", "function": function}


def _custom(tool: _Tool) -> dict[str, Any]:
    """A tool that takes free text as a function with one text, which every model can call."""
    said = tool.description or ""
    form = tool.format or {}
    if form.get("type") == "grammar":
        said += f"\nThe input must follow this {form.get('syntax')} grammar:\n{form.get('definition')}"
    text = {"type": "string", "description": "The whole input of the tool, as free text."}
    schema = {"type": "object", "properties": {FREE_TEXT: text}, "required": [FREE_TEXT], "additionalProperties": False}
    return {"type": "function", "function": {"name": tool.name, "description": said.strip(), "parameters": schema}}


def _given(tool: _Tool) -> dict[str, Any]:
    held = {"type": "custom", "name": tool.name, "description": tool.description, "format": tool.format}
    return {name: value for name, value in held.items() if value is not None}


def _choose(asked: _Create, body: dict[str, Any], aside: dict[str, Any]) -> None:
    """`tool_choice`; what only this dialect can say is also put aside, to be echoed."""
    choice = asked.tool_choice
    if isinstance(choice, str):
        body["tool_choice"] = choice
        return
    if choice is None:
        return
    if choice.type in ("function", "custom"):
        if not choice.name:
            raise BadRequest("tool_choice.name: is required", param="tool_choice.name")
        if choice.type == "custom":
            aside["tool_choice"] = {"type": "custom", "name": choice.name}
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice.type == "allowed_tools":
        # Leaving the other tools out is what every model understands.
        names = {tool.name for tool in choice.tools or ()}
        aside["tool_choice"] = msgspec.to_builtins(choice)
        aside["tools"] = body.get("tools", [])
        body["tools"] = [tool for tool in body.get("tools", []) if tool["function"]["name"] in names]
        if not body["tools"]:
            raise BadRequest("tool_choice.tools: names none of the tools", param="tool_choice.tools")
        body["tool_choice"] = choice.mode
    else:
        raise BadRequest(f"tool_choice.type: {choice.type!r} is not for functions", param="tool_choice.type")


def _shape(asked: _Create, body: dict[str, Any], aside: dict[str, Any]) -> None:
    """`text` and `reasoning`."""
    text, reasoning = asked.text, asked.reasoning
    if text is not None and text.verbosity is not None:
        body["verbosity"] = text.verbosity
    form = text.format if text is not None else None
    if form is not None and form.type == "json_object":
        body["response_format"] = {"type": "json_object"}
    elif form is not None and form.type == "json_schema":
        for name in ("name", "schema"):
            if getattr(form, name) is None:
                raise BadRequest(f"text.format.{name}: is required", param=f"text.format.{name}")
        held = {"name": form.name, "schema": form.schema, "strict": form.strict, "description": form.description}
        schema = {name: value for name, value in held.items() if value is not None}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if reasoning is not None:
        if reasoning.effort is not None:
            body["reasoning_effort"] = reasoning.effort
        summary = reasoning.summary or reasoning.generate_summary
        if summary is not None:
            aside["summary"] = summary
