"""When two requests ask the same: the canonical form of a question, and its key. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from loopwright.core.chat import Operation, Request

_LEFT_OUT: Final = frozenset({"stream", "stream_options", "user", "metadata", "model", "loopwright"})
"""Members that change how an answer travels or who is said to have asked, never what it says."""
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question as the cache knows it."""

    key: bytes
    """32 bytes: the same for two requests of one project, model, adapter and operation that ask the same."""
    settled: bool
    """The same answer is to be expected each time: temperature 0, a seed, vectors, or relevance."""
    members: dict[str, Any]
    """What was asked, without what is left out."""
    canonical: bytes
    """The same as it counts for the key."""
    aside: dict[str, Any]
    """What is left out."""

    @property
    def quotes(self) -> int:
        """Quotation marks in all that was read of the body, written anew."""
        return self.canonical.count(b'"') + _canonical(self.aside).count(b'"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The last user message of a chat, and everything round it."""

    text: str
    partition: bytes
    """32 bytes: project, model, adapter, earlier messages, tools, response format and parameters; only within it may two
    questions share an answer by likeness."""


def question(request: Request, model: str) -> Question | None:
    """The question of `request` to `model` (its configured name, not an alias); None when it has no canonical form."""
    try:
        whole = _decode(request.raw) if request.raw else request.body
        members: dict[str, Any] = {}
        aside: dict[str, Any] = {}
        for name, value in whole.items():
            if value is None or name in _LEFT_OUT:
                aside[name] = value
            else:
                members[name] = int(value) if type(value) is float and value.is_integer() else value
        canonical = _canonical(members)
        key = _digest(request, model, canonical)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError, TypeError, ValueError):
        return None
    settled = request.operation in ("embeddings", "rerank") or members.get("temperature") == 0 or "seed" in members
    return Question(key=key, settled=settled, members=members, canonical=canonical, aside=aside)


def said(request: Request, model: str, members: dict[str, Any]) -> Said | None:
    """What is said in a chat whose last message is a user's text; None for anything else."""
    messages = members.get("messages")
    if request.operation != "chat" or not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "user" or last.keys() - {"role", "content", "name"}:
        return None
    text = _text(last.get("content"))
    if not text:
        return None
    around = {**members, "messages": [*messages[:-1], {"name": last.get("name")}]}
    try:
        return Said(text=text, partition=_digest(request, model, _canonical(around)))
    except (OverflowError, TypeError, ValueError, RecursionError):
        return None


def plain(raw: bytes, quotes: int) -> bool:
    """Whether a glance shows that no object in `raw` has a member twice; takes what `repeats_a_member` does."""
    return quotes == raw.count(b'"') and (b"\\" not in raw or b"\\u" not in raw)  # to look for one byte takes a tenth


def repeats_a_member(raw: bytes, quotes: int) -> bool:
    """Whether an object in `raw` has a member twice: we and an upstream could each believe another one.

    Deliberately strict; the request path never waits for it. Written anew from what was read, a body has fewer `quotes`
    when a member was lost, provided none of its quotes were spelt by their number.
    """
    if plain(raw, quotes):
        return False
    repeated = False

    def seen(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len({name for name, _ in pairs}) != len(pairs)

    try:
        json.loads(raw, object_pairs_hook=seen)
    except (ValueError, RecursionError):
        return True
    return repeated


def _text(content: object) -> str:
    """The text of a message that is nothing but text."""
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list):
        return ""
    parts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            return ""
        parts.append(part["text"])
    return "\n".join(parts).strip()


def _digest(request: Request, model: str, canonical: bytes) -> bytes:
    adapter, project_id = request.adapter, request.who.project_id
    if adapter is None:
        head = _head(project_id, model, request.operation)
    else:
        head = _canonical((project_id, model, request.operation, (adapter.name, adapter.scale)))[:-1]
    return blake2b(b"%b,%b]" % (head, canonical), digest_size=32).digest()


@lru_cache(maxsize=1024)
def _head(project_id: int, model: str, operation: Operation) -> bytes:
    return _canonical((project_id, model, operation))[:-1]
