"""Anthropic's Messages, in: a body checked once and turned into a canonical chat body. Pure; knows no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.dialects.foreign import without_idle_choice
from loopwright.kit.wire import House, decoded

_Count = Annotated[int, msgspec.Meta(ge=1)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Cache = dict[str, Any] | None


class _Text(msgspec.Struct, tag="text"):
    text: str
    cache_control: _Cache = None


class _Base64(msgspec.Struct, tag="base64"):
    media_type: Annotated[str, msgspec.Meta(pattern=r"^[\w.+-]+/[\w.+-]+$")]
    data: Annotated[str, msgspec.Meta(min_length=1)]


class _Url(msgspec.Struct, tag="url"):
    url: Annotated[str, msgspec.Meta(min_length=1)]


class _Plain(msgspec.Struct, tag="text"):
    data: str


class _Image(msgspec.Struct, tag="image"):
    source: _Base64 | _Url
    cache_control: _Cache = None


class _Inner(msgspec.Struct, tag="content"):
    content: str | list[_Text | _Image]


class _Document(msgspec.Struct, tag="document"):
    source: _Base64 | _Url | _Plain | _Inner
    title: str | None = None
    context: str | None = None
    cache_control: _Cache = None


class _SearchResult(msgspec.Struct, tag="search_result"):
    source: str
    title: str
    content: list[_Text]
    cache_control: _Cache = None


class _ToolUse(msgspec.Struct, tag="tool_use"):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    name: _Name
    input: dict[str, Any]
    cache_control: _Cache = None


class _ToolResult(msgspec.Struct, tag="tool_result"):
    tool_use_id: Annotated[str, msgspec.Meta(min_length=1)]
    content: str | list[_Text | _Image | _Document | _SearchResult] | None = None
    is_error: bool | None = None
    cache_control: _Cache = None


class _Thinking(msgspec.Struct, tag="thinking"):
    thinking: str
    signature: str = ""


class _Redacted(msgspec.Struct, tag="redacted_thinking"):
    data: str


_Block = _Text | _Image | _Document | _SearchResult | _ToolUse | _ToolResult | _Thinking | _Redacted
_Shown = _Text | _Image | _Document | _SearchResult


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Tool(msgspec.Struct):
    name: _Name
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: _Cache = None


class _ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _ThinkingConfig(msgspec.Struct):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, msgspec.Meta(ge=1024)] | None = None
    display: str | None = None


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _OutputConfig(msgspec.Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Asked(msgspec.Struct, kw_only=True):
    model: _Name
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    system: str | list[_Text] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _ThinkingConfig | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None  # where betas put it before output_config
    container: Any = None
    mcp_servers: Any = None
    loopwright: House | None = None


class _Create(_Asked, kw_only=True):
    max_tokens: _Count
    stream: bool | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    metadata: _Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None


BODY: Final[type] = _Create
"""What a body is read as."""
COUNTED: Final[type] = _Asked
"""What the body of a question for its tokens is read as."""
_CREATE: Final = msgspec.json.Decoder(_Create)
_COUNT: Final = msgspec.json.Decoder(_Asked)
_EFFORTS: Final = ((4096, "low"), (8192, "medium"))  # up to how many tokens of thought; more is `high`
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A body read."""

    body: dict[str, Any]
    """Canonical."""
    house: House | None
    """Our own member."""


def read(raw: bytes) -> Question:
    """The body of `POST /v1/messages`.

    Raises:
        BadRequest: it cannot be used; `param` names the field as Anthropic calls it.
    """
    asked = decoded(_CREATE, raw)
    body = _body(asked)
    body["max_completion_tokens"] = asked.max_tokens
    rest = {
        "stop": asked.stop_sequences or None,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "user": asked.metadata and asked.metadata.user_id,
        "service_tier": asked.service_tier and {"auto": "auto", "standard_only": "default"}[asked.service_tier],
        "stream": asked.stream,
    }
    body.update({name: value for name, value in rest.items() if value is not None})
    return Question(body=body, house=asked.loopwright)


def read_count(raw: bytes) -> Question:
    """The body of `POST /v1/messages/count_tokens`. Raises as `read`."""
    asked = decoded(_COUNT, raw)
    return Question(body=_body(asked), house=asked.loopwright)


def _body(asked: _Asked) -> dict[str, Any]:
    for name in ("container", "mcp_servers"):
        if getattr(asked, name):
            raise BadRequest(f"{name}: runs at Anthropic only, not here: leave it out", param=name)
    messages: list[dict[str, Any]] = []
    if asked.system:
        messages.append({"role": "system", "content": _texts(asked.system)})
    for at, message in enumerate(asked.messages):
        messages += _messages(message, f"messages[{at}]")
    if not messages:
        raise BadRequest("messages: there is nothing to answer, every content is empty", param="messages")
    body: dict[str, Any] = {"model": asked.model, "messages": messages}
    if asked.tools:
        body["tools"] = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(asked.tools)]
    if asked.tool_choice is not None:
        body.update(_choice(asked.tool_choice))
        without_idle_choice(body)
    body.update(_thoughts(asked))
    form = (asked.output_config and asked.output_config.format) or asked.output_format
    if form is not None:
        schema = {"name": "answer", "schema": form.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _thoughts(asked: _Asked) -> dict[str, Any]:
    """`reasoning_effort` for every model, and Anthropic's own `thinking` where the effort does not say it all."""
    thinking = asked.thinking
    effort = None if asked.output_config is None else asked.output_config.effort
    if thinking is None:
        return {} if effort is None else {"reasoning_effort": effort}
    if thinking.type == "enabled" and thinking.budget_tokens is None:
        raise BadRequest("thinking.budget_tokens: is required", param="thinking.budget_tokens")
    if effort is not None and thinking.type != "disabled":
        return {"reasoning_effort": effort}
    own = {"type": thinking.type, "budget_tokens": thinking.budget_tokens, "display": thinking.display}
    found: dict[str, Any] = {"thinking": {name: value for name, value in own.items() if value is not None}}
    if thinking.type == "enabled":
        budget = thinking.budget_tokens or 0
        found["reasoning_effort"] = next((effort for most, effort in _EFFORTS if budget <= most), "high")
    return found


def _choice(choice: _ToolChoice) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if choice.type == "tool":
        if not choice.name:
            raise BadRequest("tool_choice.name: is required", param="tool_choice.name")
        found["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        found["tool_choice"] = _CHOICES[choice.type]
    if choice.disable_parallel_tool_use:
        found["parallel_tool_calls"] = False
    return found


def _tool(tool: _Tool, where: str) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise BadRequest(f"{where}.type: {tool.type!r} runs at Anthropic only: give a tool of your own", param=where)
    if tool.input_schema is None:
        raise BadRequest(f"{where}.input_schema: is required", param=f"{where}.input_schema")
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return _marked({"type": "function", "function": function}, tool.cache_control)


def _messages(message: _Message, where: str) -> Iterator[dict[str, Any]]:
    """One message as one or, where tools answered, several."""
    content = message.content
    if isinstance(content, str):
        yield {"role": message.role, "content": content}
    elif message.role == "assistant":
        yield _said(content, where)
    elif message.role == "system":
        yield {"role": "system", "content": _content([_only(_Text, block, where, "system") for block in content])}
    else:
        yield from _asked_by_user(content, where)


def _asked_by_user(blocks: list[_Block], where: str) -> Iterator[dict[str, Any]]:
    """Results first, each a message of its own; then what the user says, and images that tools have brought."""
    parts: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        if not isinstance(block, _ToolResult):
            parts += _parts(_shown(block, f"{where}.content[{at}]", "user"))
            continue
        texts: list[dict[str, Any]] = []
        images: list[dict[str, Any]] = []
        inner = [_Text(block.content)] if isinstance(block.content, str) else block.content or []
        for part in (piece for item in inner for piece in _parts(item)):
            (texts if part["type"] == "text" else images).append(part)
        result = {"role": "tool", "tool_call_id": block.tool_use_id, "content": _flat(texts)}
        if block.is_error:
            result["is_error"] = True
        yield _marked(result, block.cache_control)
        if images:  # OpenAI's tools answer with text only
            parts += [{"type": "text", "text": f"From the result of {block.tool_use_id}:"}, *images]
    if parts:
        yield {"role": "user", "content": _flat(parts)}


def _said(blocks: list[_Block], where: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    texts: list[_Text] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        if isinstance(block, _ToolUse):
            function = {"name": block.name, "arguments": msgspec.json.encode(block.input).decode()}
            calls.append(_marked({"id": block.id, "type": "function", "function": function}, block.cache_control))
        elif isinstance(block, _Thinking):
            thoughts.append({"type": "thinking", "thinking": block.thinking, "signature": block.signature})
        elif isinstance(block, _Redacted):
            thoughts.append({"type": "redacted_thinking", "data": block.data})
        else:
            texts.append(_only(_Text, block, f"{where}.content[{at}]", "assistant"))
    if texts:
        message["content"] = _content(texts)
    if thoughts:
        message["reasoning_content"] = "".join(thought.get("thinking", "") for thought in thoughts)
        if any(thought.get("signature") or thought.get("data") for thought in thoughts):
            message["thinking_blocks"] = thoughts
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        message["content"] = ""
    return message


def _shown(block: _Block, where: str, role: str) -> _Shown:
    if isinstance(block, _Text | _Image | _Document | _SearchResult):
        return block
    kind = block.__struct_config__.tag
    raise BadRequest(f"{where}.type: a block of type {kind!r} has no place in what the {role} says", param=where)


def _only(kind: type[_Text], block: _Block, where: str, role: str) -> _Text:
    if isinstance(block, kind):
        return block
    found = block.__struct_config__.tag
    raise BadRequest(f"{where}.type: a block of type {found!r} has no place in what the {role} says", param=where)


def _texts(content: str | list[_Text]) -> Any:
    return content if isinstance(content, str) else _content(content)


def _content(blocks: Iterable[_Shown]) -> Any:
    return _flat([part for block in blocks for part in _parts(block)])


def _flat(parts: list[dict[str, Any]]) -> Any:
    """A single plain text as a string, which every model takes; anything else as parts."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _parts(block: _Shown) -> list[dict[str, Any]]:
    found: list[dict[str, Any]]
    if isinstance(block, _Text):
        found = [{"type": "text", "text": block.text}]
    elif isinstance(block, _Image):
        source = block.source
        url = source.url if isinstance(source, _Url) else f"data:{source.media_type};base64,{source.data}"
        found = [{"type": "image_url", "image_url": {"url": url}}]
    elif isinstance(block, _SearchResult):
        body = "\n".join(text.text for text in block.content)
        found = [{"type": "text", "text": f"{block.title} ({block.source})\n{body}"}]
    else:
        found = _document(block)
    _marked(found[-1], block.cache_control)
    return found


def _document(block: _Document) -> list[dict[str, Any]]:
    about = "\n".join(part for part in (block.title, block.context) if part)
    source = block.source
    if isinstance(source, _Url):
        raise BadRequest("documents by URL are not fetched here: send the bytes as base64", param="messages")
    if isinstance(source, _Base64):
        data = f"data:{source.media_type};base64,{source.data}"
        part = {"type": "file", "file": {"filename": block.title or "document.pdf", "file_data": data}}
        return [{"type": "text", "text": block.context}, part] if block.context else [part]
    if isinstance(source, _Plain):
        return [{"type": "text", "text": f"{about}\n{source.data}" if about else source.data}]
    inner = [_Text(source.content)] if isinstance(source.content, str) else source.content
    parts = [part for item in inner for part in _parts(item)]
    return [{"type": "text", "text": about}, *parts] if about or not parts else parts


def _marked(part: dict[str, Any], cache: _Cache) -> dict[str, Any]:
    if cache:
        part["cache_control"] = cache
    return part
