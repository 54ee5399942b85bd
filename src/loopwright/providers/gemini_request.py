"""From requests in OpenAI's form to Gemini's generateContent and batchEmbedContents. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from loopwright.core.errors import BadRequest
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
from loopwright.providers.parameters import Parameters, parameters, refuse

MINTED: Final = "call_gm_"
"""How ids begin that we gave to calls Gemini gave none."""
_SIGNED: Final = re.compile(r"gemini-(?!1|2)")
"""Models that refuse calls without their signature."""
_BUDGETED: Final = re.compile(r"gemini-2\.5")
"""Models whose thoughts are asked for by number instead of by level."""
_THOUGHTLESS: Final = re.compile(r"gemini-(1|2\.0)|gemma|learnlm|embedding")
_UNSIGNED: Final = "skip_thought_signature_validator"
"""What Google lets stand for the signature of a call that another model made."""
_BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576}
_LEVELS: Final = {
    "none": "minimal",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
}


def content(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The body of `POST /models/{model}:generateContent` and of `:streamGenerateContent`.

    Raises:
        BadRequest: something that has no meaning there and that leaving out would change the answer; `param` names it.
    """
    refuse(body, "Gemini", choices=True)
    talk = conversation(body)
    asked = parameters(body)
    signed = _SIGNED.search(model) is not None
    out: dict[str, Any] = {"contents": [_turn(turn, signed=signed) for turn in talk.turns]}
    if talk.system:
        out["systemInstruction"] = {"parts": [{"text": text.text} for text in talk.system]}
    settings = _generation(asked, model)
    if settings:
        out["generationConfig"] = settings
    out.update(_tools(asked, talk))
    return out


def _turn(turn: Turn, *, signed: bool) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    first_call = True
    for part in turn.parts:
        made = _part(part)
        if made is None:
            continue
        if isinstance(part, ToolCall):
            if part.signature:
                made["thoughtSignature"] = part.signature
            elif signed and first_call:
                made["thoughtSignature"] = _UNSIGNED
            first_call = False
        parts.append(made)
    if turn.signature and parts and "functionCall" not in parts[-1]:
        parts[-1]["thoughtSignature"] = turn.signature
    return {"role": "model" if turn.role == "assistant" else "user", "parts": parts or [{"text": " "}]}


def _part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"text": part.text}
        case Media():
            return _media(part)
        case Thinking():
            return None  # signed by another provider
        case ToolCall():
            call: dict[str, Any] = {"name": part.name, "args": dict(part.arguments)}
            return {"functionCall": call | _id(part.id)}
        case ToolResult():
            return {"functionResponse": _response(part) | _id(part.id)}


def _id(mark: str) -> dict[str, str]:
    return {} if mark.startswith(MINTED) else {"id": mark}


def _media(media: Media) -> dict[str, Any]:
    if media.url:
        raise BadRequest(f"{media.where}: Gemini takes bytes, not URLs: send a data: URL", param=media.where)
    return {"inlineData": {"mimeType": media.kind, "data": media.data}}


def _response(result: ToolResult) -> dict[str, Any]:
    """`response` must be an object, so that a text stands in one."""
    text = "".join(part.text for part in result.content if isinstance(part, Text))
    out: dict[str, Any] = {"name": result.name, "response": {"error" if result.failed else "result": text}}
    media = [_media(part) for part in result.content if isinstance(part, Media)]
    if media:
        out["parts"] = media
    return out


def _generation(asked: Parameters, model: str) -> dict[str, Any]:
    out: dict[str, Any] = {
        "maxOutputTokens": asked.limit,
        "temperature": asked.temperature,
        "topP": asked.top_p,
        "topK": asked.top_k,
        "stopSequences": list(asked.stop) or None,
        "candidateCount": asked.n if asked.n > 1 else None,
        "seed": asked.seed,
        "presencePenalty": asked.presence_penalty or None,
        "frequencyPenalty": asked.frequency_penalty or None,
        "thinkingConfig": _thinking(asked, model),
    }
    if asked.format is not None:
        out["responseMimeType"] = "application/json"
        if asked.format.schema is not None:
            out["responseJsonSchema"] = dict(asked.format.schema)
    return {name: value for name, value in out.items() if value is not None}


def _thinking(asked: Parameters, model: str) -> dict[str, Any] | None:
    if asked.effort is None or _THOUGHTLESS.search(model):
        return None
    shown = {"includeThoughts": asked.effort != "none"}
    if not _BUDGETED.search(model):
        return {**shown, "thinkingLevel": _LEVELS[asked.effort]}
    budget = _BUDGETS[asked.effort]
    return {**shown, "thinkingBudget": max(budget, 128) if "pro" in model else budget}  # Pro cannot stop thinking


def _tools(asked: Parameters, talk: Conversation) -> dict[str, Any]:
    declared: list[dict[str, Any]] = [
        {"name": tool.name, "parametersJsonSchema": dict(tool.schema)}
        | ({"description": tool.description} if tool.description else {})
        for tool in asked.tools
    ]
    choice = asked.choice
    if not declared:
        declared = [{"name": name} for name in talk.called]
        if not declared:
            return {}
        return {"tools": [{"functionDeclarations": declared}], "toolConfig": _calling("NONE")}
    out: dict[str, Any] = {"tools": [{"functionDeclarations": declared}]}
    if choice.given:
        out["toolConfig"] = _calling({"auto": "AUTO", "none": "NONE"}.get(choice.mode, "ANY"), choice.name)
    return out


def _calling(mode: str, name: str = "") -> dict[str, Any]:
    return {"functionCallingConfig": {"mode": mode, **({"allowedFunctionNames": [name]} if name else {})}}


def embeddings(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The body of `POST /models/{model}:batchEmbedContents`.

    Raises:
        BadRequest: tokens instead of texts.
    """
    wanted = {"outputDimensionality": body["dimensions"]} if body.get("dimensions") else {}
    return {
        "requests": [
            {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **wanted} for text in texts_of(body)
        ]
    }


def texts_of(body: Mapping[str, Any]) -> list[str]:
    """The texts to embed.

    Raises:
        BadRequest: tokens instead of texts.
    """
    given = body.get("input", "")
    texts = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest("input: this model takes texts, not tokens", param="input")
    return texts
