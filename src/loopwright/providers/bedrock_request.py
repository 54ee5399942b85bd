"""From requests in OpenAI's form to Bedrock's Converse, and to its embedding models. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

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
from loopwright.providers.gemini_request import texts_of
from loopwright.providers.parameters import Parameters, in_words, parameters, refuse
from loopwright.providers.schema import closed

_IMAGES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_CACHE_POINT: Final = {"cachePoint": {"type": "default"}}
_ANY_TOOL: Final = {"type": "object", "properties": {}}


def converse(body: Mapping[str, Any], model: str, *, limit: int | None = None) -> dict[str, Any]:
    """The body of `POST /model/{id}/converse` and of `/converse-stream`; bytes are base64, as JSON carries them.

    `limit` is `maxTokens` when the client names none; without it, the model's own default.

    Raises:
        BadRequest: something that has no meaning there and that leaving out would change the answer; `param` names it.
    """
    refuse(body, "Bedrock")
    claude = "claude" in model
    talk = conversation(body)
    talk = unfinished(talk) if claude else talk
    asked = parameters(body)
    out: dict[str, Any] = {"messages": [_turn(turn) for turn in talk.turns]}
    family = family_of(model) if claude else None
    most = asked.limit or limit or (family.limit if family else None)
    settings: dict[str, Any] = {"maxTokens": most} if most else {}
    further: dict[str, Any] = {}
    if family is not None:
        further = thinking(asked, talk, family, limit=most or family.limit)
        taken = sampling(asked, family, thinks=further.get("thinking", {}).get("type") in ("enabled", "adaptive"))
    else:
        taken = {"temperature": asked.temperature, "top_p": asked.top_p}
        if asked.effort is not None and "gpt-oss" in model:
            further["reasoning_effort"] = asked.effort if asked.effort in ("low", "medium", "high") else "high"
    if taken.get("temperature") is not None:
        settings["temperature"] = taken["temperature"]
    if taken.get("top_p") is not None:
        settings["topP"] = taken["top_p"]
    if taken.get("top_k") is not None:
        further["top_k"] = taken["top_k"]
    if asked.stop:
        settings["stopSequences"] = list(asked.stop)
    system = _held_to_form(out, asked, list(talk.system), native=family is not None and family.schemas)
    if system:
        out["system"] = [block for text in system for block in _blocks(text)]
    if settings:
        out["inferenceConfig"] = settings
    if further:
        out["additionalModelRequestFields"] = further
    out.update(_tools(asked, talk))
    return out


def _held_to_form(out: dict[str, Any], asked: Parameters, system: list[Text], *, native: bool) -> list[Text]:
    """Ask for the form natively where the model has that, otherwise in words."""
    form = asked.format
    if form is None:
        return system
    if form.schema is None or not native:
        return [*system, Text(text=in_words(form))]
    schema = {"schema": msgspec.json.encode(closed(form.schema)).decode(), "name": form.name}
    if form.description:
        schema["description"] = form.description
    out["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    return system


def _turn(turn: Turn) -> dict[str, Any]:
    return {"role": turn.role, "content": [block for part in turn.parts for block in _blocks(part)]}


def _blocks(part: Part) -> list[dict[str, Any]]:
    """A part, and the cache point after it if the client put one."""
    match part:
        case Text():
            block: dict[str, Any] = {"text": part.text}
        case Media():
            block = _media(part)
        case Thinking():
            if part.redacted:
                return [{"reasoningContent": {"redactedContent": part.redacted}}]
            return [{"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}]
        case ToolCall():
            return [{"toolUse": {"toolUseId": part.id, "name": part.name, "input": dict(part.arguments)}}]
        case ToolResult():
            content = [_media(each) if isinstance(each, Media) else {"text": each.text} for each in part.content]
            result = {"toolUseId": part.id, "content": content or [{"text": "(nothing)"}]}
            block = {"toolResult": {**result, "status": "error"} if part.failed else result}
    return [block, dict(_CACHE_POINT)] if part.cache else [block]


def _media(media: Media) -> dict[str, Any]:
    if media.url:
        raise BadRequest(f"{media.where}: Bedrock takes bytes, not URLs: send a data: URL", param=media.where)
    if media.kind in _IMAGES:
        return {"image": {"format": _IMAGES[media.kind], "source": {"bytes": media.data}}}
    if media.kind in _DOCUMENTS:
        # Bedrock allows few letters in names of documents.
        name = "".join(letter if letter.isalnum() else " " for letter in media.name)
        name = " ".join(name.encode("ascii", "ignore").decode().split())[:200]
        document = {"format": _DOCUMENTS[media.kind], "name": name or "document", "source": {"bytes": media.data}}
        return {"document": document}
    raise BadRequest(f"{media.where}: Bedrock does not take {media.kind}", param=media.where)


def _tools(asked: Parameters, talk: Conversation) -> dict[str, Any]:
    """`toolConfig`. A conversation with calls needs its tools; Converse has no way to forbid their use."""
    tools: list[dict[str, Any]] = []
    forbidden = asked.choice.mode == "none"
    for tool in asked.tools:
        if forbidden and not talk.called:
            break
        spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": dict(tool.schema)}}
        if tool.description:
            spec["description"] = tool.description
        if tool.strict:
            spec["strict"] = True
        tools += [{"toolSpec": spec}, *([dict(_CACHE_POINT)] if tool.cache else [])]
    if not tools:
        tools = [{"toolSpec": {"name": name, "inputSchema": {"json": dict(_ANY_TOOL)}}} for name in talk.called]
        return {"toolConfig": {"tools": tools}} if tools else {}
    config: dict[str, Any] = {"tools": tools}
    if asked.choice.mode == "required":
        config["toolChoice"] = {"any": {}}
    elif asked.choice.mode == "named":
        config["toolChoice"] = {"tool": {"name": asked.choice.name}}
    elif asked.choice.given and not forbidden:
        config["toolChoice"] = {"auto": {}}
    return {"toolConfig": config}


def embeddings(body: Mapping[str, Any], model: str) -> list[dict[str, Any]]:
    """The bodies of the `POST /model/{id}/invoke` that embed the texts: Titan takes one each, Cohere 96.

    Raises:
        BadRequest: tokens instead of texts, or a model whose form is not known.
    """
    texts = texts_of(body)
    size = body.get("dimensions")
    if "titan-embed" in model:
        wanted = {"dimensions": size} if size else {}
        return [{"inputText": text, **wanted} for text in texts]
    if "cohere.embed" in model:
        wanted = {"output_dimension": size} if size else {}
        kind = str(body.get("input_type") or "search_document")
        return [{"texts": texts[at : at + 96], "input_type": kind, **wanted} for at in range(0, len(texts), 96)]
    raise BadRequest(f"embeddings: only Titan's and Cohere's are known on Bedrock, not {model!r}", param="model")
