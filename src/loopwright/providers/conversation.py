"""A chat request as turns of parts: what every dialect that is not OpenAI's translates from. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest

OPENING: Final = "(The conversation begins.)"
"""What the user says in a conversation that the assistant opens: other dialects let the user speak first."""
_DATA_URL: Final = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[\w.+-]+)*;base64,(?P<data>.*)", re.DOTALL)
_UNSAFE_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_ID: Final = 64
_KINDS: Final = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/mp3": "audio/mpeg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Words."""

    text: str
    cache: Mapping[str, Any] | None = None
    """Anthropic's `cache_control`, where the client put one: the prompt may be cached up to here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, a document or a sound: its bytes or where they are."""

    kind: str
    """Media type, `image/png`; empty when only the URL is known."""
    data: str = ""
    """Base64."""
    url: str = ""
    name: str = ""
    cache: Mapping[str, Any] | None = None
    where: str = ""
    """Its place in the request, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """What a model thought before, signed by its provider: it goes back untouched."""

    text: str = ""
    signature: str = ""
    redacted: str = ""
    """Encrypted thoughts, when they came without text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call the assistant made."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    signature: str = ""
    """Gemini's `thought_signature`, as `extra_content.google` carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call returned."""

    id: str
    name: str
    content: tuple[Text | Media, ...]
    failed: bool = False
    """The tool failed (`is_error`); the content says how."""
    cache: Mapping[str, Any] | None = None


Part = Text | Media | Thinking | ToolCall | ToolResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one side says until the other speaks."""

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]
    signature: str = ""
    """Gemini's signature of an answer without calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Instructions, and turns that alternate, the user's first."""

    system: tuple[Text, ...]
    turns: tuple[Turn, ...]

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the functions that were called, each once."""
        calls = (part.name for turn in self.turns for part in turn.parts if isinstance(part, ToolCall))
        return tuple(dict.fromkeys(calls))


def conversation(body: Mapping[str, Any]) -> Conversation:
    """The conversation of a chat request, or of a completion's prompt.

    Instructions (`system`, `developer`) are gathered from wherever they stand; neighbouring messages of one side become
    one turn, results of tools first; empty texts are left out; a conversation that the assistant opens gets an opening.

    Raises:
        BadRequest: a part that has no meaning here; `param` names it.
    """
    system: list[Text] = []
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for at, message in enumerate(_messages(body)):
        where = f"messages[{at}]"
        role = message.get("role")
        if role in ("system", "developer"):
            system += _instructions(message, where)
        elif role == "assistant":
            turns.append(_said(message, where, names))
        elif role in ("tool", "function"):
            turns.append(Turn(role="user", parts=(_result(message, where, names),)))
        else:
            turns.append(Turn(role="user", parts=tuple(_content(message.get("content"), where))))
    merged = _merged(turns)
    if not merged:
        if not system:
            raise BadRequest("messages: there is nothing to answer, every text is empty", param="messages")
        return Conversation(system=(), turns=(Turn(role="user", parts=tuple(system)),))
    if merged[0].role == "assistant":
        merged.insert(0, Turn(role="user", parts=(Text(text=OPENING),)))
    return Conversation(system=tuple(system), turns=tuple(merged))


def _messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "messages" in body:
        return list(body["messages"])
    prompt = body.get("prompt", "")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadRequest("prompt: this model takes one text, not several and not tokens", param="prompt")
    return [{"role": "user", "content": prompt}]


def _merged(turns: Iterable[Turn]) -> list[Turn]:
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            last = merged[-1]
            merged[-1] = replace(last, parts=last.parts + turn.parts, signature=turn.signature or last.signature)
        elif turn.parts:
            merged.append(turn)
    # Every dialect wants the results of tools before whatever else the user says.
    return [
        replace(turn, parts=tuple(sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult))))
        if turn.role == "user"
        else turn
        for turn in merged
    ]


def _instructions(message: Mapping[str, Any], where: str) -> list[Text]:
    parts = list(_content(message.get("content"), where))
    texts = [part for part in parts if isinstance(part, Text)]
    if len(texts) != len(parts):
        raise BadRequest(f"{where}.content: instructions are text only", param=f"{where}.content")
    return texts


def _said(message: Mapping[str, Any], where: str, names: dict[str, str]) -> Turn:
    parts: list[Part] = [*_thoughts(message), *_content(message.get("content"), where)]
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        parts.append(Text(text=refusal))
    for number, call in enumerate(message.get("tool_calls") or ()):
        parts.append(_call(call, f"{where}.tool_calls[{number}]"))
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):
        parts.append(_call({"id": f"function_{len(names)}", "function": legacy}, f"{where}.function_call"))
    for part in parts:
        if isinstance(part, ToolCall):
            names[part.id] = part.name
    return Turn(role="assistant", parts=tuple(parts), signature=_signature(message))


def _thoughts(message: Mapping[str, Any]) -> Iterator[Thinking]:
    """Only signed thoughts can go back; a bare `reasoning_content` is left out."""
    for block in message.get("thinking_blocks") or ():
        if not isinstance(block, Mapping):
            continue
        if block.get("type") == "redacted_thinking" and block.get("data"):
            yield Thinking(redacted=str(block["data"]))
        elif block.get("type") == "thinking" and block.get("signature"):
            yield Thinking(text=str(block.get("thinking") or ""), signature=str(block["signature"]))


def _call(call: Any, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadRequest(f"{where}: only calls of functions can be sent to this model", param=where)
    given = function.get("arguments") or "{}"
    try:
        arguments = msgspec.json.decode(given) if isinstance(given, str) else given
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, Mapping):
        param = f"{where}.function.arguments"
        raise BadRequest(f"{param}: must be a JSON object written as a text", param=param)
    return ToolCall(
        id=safe_id(str(call.get("id") or function["name"])),
        name=function["name"],
        arguments=arguments,
        signature=_signature(call),
    )


def _signature(holder: Mapping[str, Any]) -> str:
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    return signature if isinstance(signature, str) else ""


def _result(message: Mapping[str, Any], where: str, names: Mapping[str, str]) -> ToolResult:
    if message.get("role") == "function":
        name = str(message.get("name") or "")
        mark = next((mark for mark in reversed(tuple(names)) if names[mark] == name), "")
    else:
        mark = safe_id(str(message.get("tool_call_id") or ""))
    if mark not in names:
        param = f"{where}.tool_call_id"
        raise BadRequest(f"{param}: no message before it makes this call", param=param)
    return ToolResult(
        id=mark,
        name=names[mark],
        content=tuple(_content(message.get("content"), where)),
        failed=message.get("is_error") is True,
        cache=_cache(message),
    )


def safe_id(mark: str) -> str:
    """An id of a call in the letters and the length that every dialect takes; most ids are that already."""
    if len(mark) <= _LONGEST_ID and not _UNSAFE_ID.search(mark):
        return mark
    digest = hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_UNSAFE_ID.sub('_', mark)[: _LONGEST_ID - 17]}_{digest}"


def _content(content: Any, where: str) -> Iterator[Text | Media]:
    if isinstance(content, str):
        if content:
            yield Text(text=content)
        return
    for at, part in enumerate(content or ()):
        here = f"{where}.content[{at}]"
        kind = part.get("type")
        if kind in ("text", "refusal", "input_text", "output_text"):
            text = part.get("refusal") if kind == "refusal" else part.get("text")
            if not isinstance(text, str):
                raise BadRequest(f"{here}.text: is required", param=f"{here}.text")
            if text:
                yield Text(text=text, cache=_cache(part))
        else:
            yield _media(kind, part, here)


def _media(kind: str, part: Mapping[str, Any], where: str) -> Media:
    held = part.get(kind)
    inner: Mapping[str, Any] = held if isinstance(held, Mapping) else {"url": held}
    if kind == "image_url" and isinstance(inner.get("url"), str):
        return replace(_located(inner["url"], f"{where}.image_url.url"), cache=_cache(part))
    if kind == "input_audio" and isinstance(inner.get("data"), str):
        form = str(inner.get("format") or "wav")
        sound = "audio/mpeg" if form == "mp3" else f"audio/{form}"
        return Media(kind=sound, data=_checked(inner["data"], f"{where}.input_audio.data"), where=where)
    if kind == "file" and isinstance(inner.get("file_data"), str):
        found = _located(inner["file_data"], f"{where}.file.file_data")
        return replace(found, name=str(inner.get("filename") or ""), cache=_cache(part))
    raise BadRequest(f"{where}: parts of type {str(kind)[:80]!r} cannot be sent to this model", param=where)


def _located(url: str, where: str) -> Media:
    """The media at a URL: decoded from a data URL, else only pointed at."""
    found = _DATA_URL.fullmatch(url)
    if found is not None:
        kind = found["kind"].lower()
        return Media(kind=_KINDS.get(kind, kind), data=_checked(found["data"], where), where=where)
    if url[:8].lower().startswith(("http://", "https://")):
        return Media(kind="", url=url, where=where)
    raise BadRequest(f"{where}: is neither http(s)://… nor data:TYPE;base64,…", param=where)


def _checked(data: str, where: str) -> str:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where}: is not base64", param=where) from None
    return data


def _cache(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    cache = part.get("cache_control")
    return cache if isinstance(cache, Mapping) else None
