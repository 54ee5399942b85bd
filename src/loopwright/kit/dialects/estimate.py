"""About how many tokens a conversation is, where nobody can count exactly. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loopwright.kit.wire_read import dicts

BYTES_A_TOKEN: Final = 4
A_MESSAGE: Final = 4
"""Tokens round each message: its role, its beginning, its end."""
AN_IMAGE: Final = 1600
"""Tokens of an image of the usual largest size; its bytes say nothing."""
A_PAGE: Final = 2000
"""Tokens of a document's page, of which a file is taken to have one for each 50 kB."""
_PAGE_BYTES: Final = 50_000


def tokens(body: Mapping[str, Any]) -> int:
    """Tokens of a canonical chat body: four bytes of UTF-8 a token, an image 1,600, and what frames each message."""
    size = 0
    for message in dicts(body.get("messages")):
        size += A_MESSAGE
        content = message.get("content")
        if isinstance(content, str):
            size += _of(content)
        else:
            size += sum(_part(part) for part in dicts(content))
        size += _of(str(message.get("reasoning_content") or ""))
        if message.get("tool_calls"):
            size += _of(_json(message["tool_calls"]))
    for name in ("tools", "response_format"):
        if body.get(name):
            size += _of(_json(body[name]))
    return max(size, 1)


def _part(part: Mapping[str, Any]) -> int:
    if isinstance(part.get("text"), str):
        return _of(part["text"])
    held = part.get("file")
    if isinstance(held, dict):
        return A_PAGE * max(len(str(held.get("file_data") or "")) // _PAGE_BYTES, 1)
    return AN_IMAGE


def _of(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
