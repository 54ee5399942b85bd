"""What full text reads of a call, its words, and what a search asks for. Pure; knows no tables.

A word is a run of letters, digits and underscores, case-folded; in scripts written without spaces each character is a
word. What stands together in a search without a space, or in quotes, must stand together in the text.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from loopwright.calls.payloads import Payload
from loopwright.core.errors import BadRequest

_SPACELESS: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Han
    "\U00020000-\U0003ffff"  # Han, extended
)
_WORD: Final = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")
_TERM: Final = re.compile(r'"([^"]*)"?|([^\s"]+)')
_ASCII: Final = "".join(char.lower() if char.isalnum() or char == "_" else " " for char in map(chr, range(128)))
"""What each ASCII character is in a word; a blank parts words."""
_MOST_TERMS: Final = 32
_DEEPEST: Final = 8
_decode: Final = msgspec.json.Decoder().decode

Phrase = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """The words of `text` in order."""
    if text.isascii():
        # The same by table: an eighth of what the pattern takes, and this is most of what filling full text does.
        return text.translate(_ASCII).split()
    text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


def hash_of(word: str, secret: bytes | None = None) -> int:
    """A word as 32 bits; with a `secret` nobody can tell without it which word it is."""
    data = word.encode("utf-8", "surrogatepass")
    return zlib.crc32(data) if secret is None else int.from_bytes(hmac.digest(secret, data, "sha256")[:4], "big")


def phrases_of(search: str) -> list[Phrase]:
    """What must occur, each a run of words.

    Raises:
        BadRequest: there is no word in it, or there are too many.
    """
    found = [words for match in _TERM.finditer(search) if (words := tuple(words_of(match[1] or match[2] or "")))]
    if not found:
        raise BadRequest(f"{search!r} has no word to search for: give letters or digits", param="text")
    if len(found) > _MOST_TERMS:
        raise BadRequest(f"a search has at most {_MOST_TERMS} words and phrases, not {len(found)}", param="text")
    return found


def holds(payload: Payload, phrases: Iterable[Phrase]) -> bool:
    """Whether every phrase occurs in the prompt or in the answer."""
    phrases = list(phrases)
    raw = payload.request + b" " + payload.response
    if b"\\u" not in raw and raw.isascii():
        # Plain bytes show most misses without parsing. Escapes and other scripts can hide a word: those are read.
        lower = raw.lower()
        if any(word.isascii() and word.encode() not in lower for phrase in phrases for word in phrase):
            return False
    runs = [f" {' '.join(words_of(text))} " for text in texts_of(payload)]
    return all(any(f" {' '.join(phrase)} " in run for run in runs) for phrase in phrases)


def all_words_of(payload: Payload) -> list[str]:
    """The words of a call, some more than once."""
    return words_of("\n".join(texts_of(payload)))


def texts_of(payload: Payload) -> Iterator[str]:
    """The texts of a call that people search: messages, prompts, inputs, answers, tool calls. Not parameters."""
    request = _read(payload.request)
    if isinstance(request, dict):
        for name in ("messages", "prompt", "suffix", "input"):
            yield from _texts(request.get(name), _DEEPEST)
    elif payload.request:
        yield payload.request.decode("utf-8", "replace")
    response = _read(payload.response)
    if isinstance(response, dict):
        for name in ("choices", "error"):
            yield from _texts(response.get(name), _DEEPEST)
    elif payload.response:
        yield payload.response.decode("utf-8", "replace")


_TEXTS: Final = frozenset(
    {
        "arguments", "choices", "content", "custom", "delta", "error", "function", "function_call", "input", "input_text",
        "message", "name", "reasoning", "reasoning_content", "refusal", "text", "tool_calls",
    },
)  # fmt: skip


def _texts(value: object, depth: int) -> Iterator[str]:
    """Strings below `value`, of members that carry text: not roles, ids or pictures."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _texts(item, depth - 1)
    elif isinstance(value, dict) and depth:
        for name, item in value.items():
            if name in _TEXTS:
                yield from _texts(item, depth - 1)


def _read(data: bytes) -> Any:
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
