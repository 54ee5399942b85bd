"""Stable placeholders for what is found in a request: `<EMAIL_1>` for one address wherever it stands in the body.

Everything in a body is searched but what is known to be structure (roles, ids, URLs, pictures), so a member that only
one provider knows leaks nothing either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.guardrails.pii import find
from loopwright.guardrails.span import Span

_STRUCTURE: Final = frozenset(
    {
        *("model", "role", "type", "id", "tool_call_id", "object", "detail", "format", "encoding_format", "loopwright"),
        *("url", "data", "file_data", "file_id", "media_type", "mime_type", "signature", "encrypted_content"),
        *("response_id", "tool_choice", "reasoning_effort", "service_tier", "cache_control", "required", "pattern"),
        *("$ref", "$defs", "$schema", "$id"),
    }
)
"""Members whose strings are no texts."""
_BARE: Final = frozenset({"name", "user", "safety_identifier", "prompt_cache_key"})
"""Members in which providers refuse angle brackets."""
_CALLS: Final = frozenset({"function", "function_call", "custom"})
"""Objects whose `name` is that of a tool."""
_TOKENS: Final = frozenset({"prompt", "input"})
_LIKE_OURS: Final = re.compile(r"<?([A-Z][A-Z_]{1,15}_[0-9]{1,9})>?")
_MOST_SOUGHT: Final = 64
"""Values that are also sought where nothing marks them; more would cost each text too much."""
_Change = Callable[[str], str]


class Placeholders:
    """Of one request. The numbers follow the order of the body, so a conversation that goes on keeps them."""

    def __init__(self, kinds: frozenset[str]) -> None:
        """`kinds`: what is replaced, of `span.KINDS`."""
        self._kinds = kinds
        self._names: dict[str, str] = {}
        self._used: set[str] = set()
        self._spans: dict[str, list[Span]] = {}
        """What stands in each text: searching is what takes time, so it is done once."""
        self._numbers: dict[str, int] = {}
        self._sought: re.Pattern[str] | None = None
        self.values: dict[str, str] = {}
        """What each placeholder stands for, by its name without brackets."""
        self.counts: dict[str, int] = {}
        """How often something of a kind was replaced."""
        self._kind_of: dict[str, str] = {}

    def hide(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body of a request with placeholders; the same object when there is nothing to replace.

        Raises:
            BadRequest: nested too deeply, or there are tokens where a text could be searched.
        """
        found: list[tuple[str, str]] = []
        try:
            _Walk(self._noting(found)).members(body)
            if not found:
                return body
            self._name(found)
            return _Walk(self._replaced).members(body)
        except RecursionError:
            raise BadRequest("the request body is nested too deeply to be searched for personal data") from None

    def text(self, text: str) -> str:
        """One text with placeholders, where there is no body."""
        found: list[tuple[str, str]] = []
        self._noting(found)(text)
        self._name(found)
        return self._replaced(text)

    def _noting(self, found: list[tuple[str, str]]) -> _Change:
        """Takes note of what there is, and of what already looks like one of ours and must stay what it is."""

        def note(text: str) -> str:
            if "_" in text:
                self._used.update(_LIKE_OURS.findall(text))
            self._spans[text] = spans = find(text, self._kinds)
            found.extend((text[span.start : span.end], span.kind) for span in spans)
            return text

        return note

    def _name(self, found: list[tuple[str, str]]) -> None:
        """Give each value its name, in the order of their first finds."""
        for value, kind in found:
            if value in self._names:
                continue
            number = self._numbers.get(kind, 0) + 1
            while (name := f"{kind.upper()}_{number}") in self._used:
                number += 1
            self._numbers[kind] = number
            self._names[value] = name
            self.values[name] = value
            self._kind_of[name] = kind
        if 0 < len(self._names) <= _MOST_SOUGHT:
            longest_first = sorted(self._names, key=len, reverse=True)
            self._sought = re.compile(f"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, longest_first))})(?![A-Za-z0-9])")

    def _replaced(self, text: str) -> str:
        pieces: list[str] = []
        at = 0
        for span in self._spans.get(text, ()):
            name = self._names.get(text[span.start : span.end])
            if name is None:
                continue
            pieces += (self._elsewhere(text[at : span.start]), self._count(name))
            at = span.end
        pieces.append(self._elsewhere(text[at:]))
        return "".join(pieces)

    def _elsewhere(self, text: str) -> str:
        """A value that was recognised by the words around it may stand without them in another place."""
        if self._sought is None or not text:
            return text
        return self._sought.sub(lambda found: self._count(self._names[found[0]]), text)

    def _count(self, name: str) -> str:
        kind = self._kind_of[name]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"<{name}>"


class _Walk:
    """Changes every text of a JSON value; what it does not change it does not copy."""

    __slots__ = ("_change",)

    def __init__(self, change: _Change) -> None:
        self._change = change

    def members(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The whole body."""
        for field in _TOKENS:
            if _holds_tokens(body.get(field)):
                raise BadRequest(
                    f"{field}: tokens cannot be searched for personal data, which must not leave here: send text",
                    param=field,
                )
        return self._object(body, ())

    def _any(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            return self._change(value)
        if isinstance(value, list):
            changed = [self._any(each, path) for each in value]
            return changed if any(one is not two for one, two in zip(changed, value, strict=True)) else value
        if isinstance(value, dict):
            return self._object(value, path)
        return value

    def _object(self, members: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
        changes: dict[str, Any] = {}
        for name, value in members.items():
            changed = self._member(name, value, path)
            if changed is not value:
                changes[name] = changed
        return {**members, **changes} if changes else members

    def _member(self, name: str, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            if name in _STRUCTURE or (name == "name" and path and path[-1] in _CALLS):
                return value
            if name in _BARE:
                return _bare(value, self._change(value))
            if name == "arguments":
                return self._arguments(value)
        if name in _STRUCTURE and name != "$defs":
            return value
        return self._any(value, (*path[-1:], name))

    def _arguments(self, text: str) -> str:
        """JSON stays JSON: keys, texts and long numbers are changed in it, not its signs."""
        try:
            value = json.loads(text)
        except ValueError:
            return self._change(text)
        changed = self._json(value)
        return text if changed == value else json.dumps(changed, ensure_ascii=False)

    def _json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._change(value)
        if isinstance(value, dict):
            return {self._change(name): self._json(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._json(each) for each in value]
        if isinstance(value, int) and not isinstance(value, bool) and value > 99_999:
            text = str(value) if value < 10**40 else ""
            changed = self._change(text)
            return value if changed == text else changed
        return value


def _bare(before: str, after: str) -> str:
    """Without the brackets of placeholders."""
    return before if after == before else _LIKE_OURS.sub(lambda found: found[1], after)


def _holds_tokens(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(each, int) or (isinstance(each, list) and any(isinstance(one, int) for one in each))
        for each in value[:1]
    )
