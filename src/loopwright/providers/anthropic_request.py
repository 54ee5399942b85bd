"""From a chat request in OpenAI's form to Anthropic's Messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.providers.claude import family_of, sampling, thinking, unfinished
from loopwright.providers.conversation import (
    Conversation,
    Media,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    conversation,
)
from loopwright.providers.parameters import Parameters, in_words, parameters, refuse
from loopwright.providers.schema import closed

_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def messages(body: Mapping[str, Any], model: str, *, limit: int | None = None, plain: bool = True) -> dict[str, Any]:
    """The body of `POST /v1/messages`, without `stream`.

    `limit` is `max_tokens` when the client names none (by default what every model of the family can give). `plain`
    false: the API version knows no sampling parameters (2026-10-21 and later).

    Raises:
        BadRequest: something that has no meaning there and that leaving out would change the answer; `param` names it.
    """
    refuse(body, "Anthropic")
    family = family_of(model)
    talk = unfinished(conversation(body))
    asked = parameters(body)
    most = asked.limit or limit or family.limit
    out: dict[str, Any] = {"model": model, "max_tokens": most}
    out["messages"] = [{"role": turn.role, "content": _blocks(turn)} for turn in talk.turns]
    own = body.get("thinking")
    deep = {"thinking": dict(own)} if isinstance(own, Mapping) else thinking(asked, talk, family, limit=most)
    out.update(deep)
    system = list(talk.system)
    if asked.format is not None:
        if asked.format.schema is not None and family.schemas:
            form = {"type": "json_schema", "schema": closed(asked.format.schema)}
            out["output_config"] = {**out.get("output_config", {}), "format": form}
        else:
            system.append(Text(text=in_words(asked.format)))
    if system:
        out["system"] = _system(system)
    if plain:
        thinks = deep.get("thinking", {}).get("type") in ("enabled", "adaptive")
        out.update(sampling(asked, family, thinks=thinks))
    if asked.stop:
        out["stop_sequences"] = list(asked.stop)
    if asked.user is not None:
        out["metadata"] = {"user_id": asked.user}
    out.update(_tools(asked, talk))
    return out


def _system(texts: list[Text]) -> str | list[dict[str, Any]]:
    if any(text.cache for text in texts):
        return [_block(text) for text in texts]
    return "\n\n".join(text.text for text in texts)


def _blocks(turn: Turn) -> list[dict[str, Any]]:
    return [_block(part) for part in turn.parts]


def _block(part: Part) -> dict[str, Any]:
    block: dict[str, Any]
    match part:
        case Text():
            block = {"type": "text", "text": part.text}
        case Media():
            block = _media(part)
        case Thinking():
            if part.redacted:
                return {"type": "redacted_thinking", "data": part.redacted}
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case ToolCall():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": dict(part.arguments)}
        case ToolResult():
            block = {"type": "tool_result", "tool_use_id": part.id, **({"is_error": True} if part.failed else {})}
            if len(part.content) == 1 and isinstance(part.content[0], Text) and not part.content[0].cache:
                block["content"] = part.content[0].text
            elif part.content:
                block["content"] = [_block(each) for each in part.content]
    if part.cache:
        block["cache_control"] = dict(part.cache)
    return block


def _media(media: Media) -> dict[str, Any]:
    if media.url:
        return {"type": "image", "source": {"type": "url", "url": media.url}}
    if media.kind in _IMAGES:
        return {"type": "image", "source": {"type": "base64", "media_type": media.kind, "data": media.data}}
    if media.kind == "application/pdf":
        source = {"type": "base64", "media_type": media.kind, "data": media.data}
        return {"type": "document", "source": source, **({"title": media.name} if media.name else {})}
    taken = ", ".join(sorted(_IMAGES))
    raise BadRequest(f"{media.where}: Anthropic takes {taken} and application/pdf, not {media.kind}", param=media.where)


def _tools(asked: Parameters, talk: Conversation) -> dict[str, Any]:
    """`tools` and `tool_choice`. A conversation with calls needs its tools even when the client left them out."""
    tools: list[dict[str, Any]] = []
    for tool in asked.tools:
        one: dict[str, Any] = {"name": tool.name, "input_schema": dict(tool.schema)}
        if tool.description:
            one["description"] = tool.description
        if tool.strict:
            one["strict"] = True
        if tool.cache:
            one["cache_control"] = dict(tool.cache)
        tools.append(one)
    if not tools:
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in talk.called]
        return {"tools": tools, "tool_choice": {"type": "none"}} if tools else {}
    choice = asked.choice
    kind = {"auto": "auto", "required": "any", "none": "none", "named": "tool"}[choice.mode]
    chosen: dict[str, Any] = {"type": kind, **({"name": choice.name} if choice.name else {})}
    if not asked.parallel and kind != "none":
        chosen["disable_parallel_tool_use"] = True
    if not choice.given and asked.parallel:
        return {"tools": tools}
    return {"tools": tools, "tool_choice": chosen}
