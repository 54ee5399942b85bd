"""Puts back what placeholders stand for, in texts that come in pieces cut anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

_WHOLE: Final = re.compile(r"<([A-Z0-9_]{3,32})>")
_END: Final = re.compile(r"<([A-Z0-9_]{0,32})\Z")
# In JSON, brackets may be written as escapes. An escape that is none of these is taken whole, for `\\\\` is no beginning.
_WHOLE_JSON: Final = re.compile(r"(?:<|\\u003[cC])([A-Z0-9_]{3,32})(?:>|\\u003[eE])|\\[^<]")
_END_JSON: Final = re.compile(
    r"(?:(?:<|\\u003[cC])([A-Z0-9_]{0,32})(\\(?:u(?:0(?:03?)?)?)?)?|\\(?:u(?:0(?:03?)?)?)?)\Z"
)
_LONGEST: Final = 48
"""Characters of the longest beginning of a placeholder, escapes and all."""


class Restorer:
    """Of one request: what its placeholders stand for."""

    __slots__ = ("_begun", "_escaped", "_values")

    def __init__(self, values: Mapping[str, str]) -> None:
        """`values`: what each placeholder stands for, by its name without brackets."""
        self._values = values
        self._escaped = {name: json.dumps(value, ensure_ascii=False)[1:-1] for name, value in values.items()}
        self._begun = {name[:length] for name in values for length in range(len(name) + 1)}

    def whole(self, text: str, *, as_json: bool = False) -> str:
        """A text that is all there. `as_json`: it is JSON itself, such as a tool's arguments."""
        if as_json:
            return _WHOLE_JSON.sub(lambda found: self._escaped.get(found[1] or "", found[0]), text)
        return _WHOLE.sub(lambda found: self._values.get(found[1], found[0]), text)

    def held(self, text: str, *, as_json: bool = False) -> int:
        """How many characters at the end of `text` may be the beginning of one of these placeholders."""
        form = _END_JSON if as_json else _END
        found = form.search(text, max(len(text) - _LONGEST, 0))
        while found is not None:
            if self._may_begin(text, found, closing=as_json and found[2] is not None):
                return len(text) - found.start()
            # What begins further on may still be one: `\\u003c` and half of the next escape.
            found = form.search(text, found.start() + 1)
        return 0

    def _may_begin(self, text: str, found: re.Match[str], *, closing: bool) -> bool:
        start, name = found.start(), found[1] or ""
        if text[start] == "\\" and _backslashes(text, start) % 2:
            return False
        return name in self._values if closing else name in self._begun


def _backslashes(text: str, until: int) -> int:
    """How many stand right before `until`: an odd number escapes what follows."""
    return until - len(text[:until].rstrip("\\"))


class Flow:
    """One text of an answer as it streams; holds back only what may turn out to be a placeholder."""

    __slots__ = ("_as_json", "_held", "_restorer")

    def __init__(self, restorer: Restorer, *, as_json: bool = False) -> None:
        self._restorer = restorer
        self._as_json = as_json
        self._held = ""

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def feed(self, piece: str) -> str:
        """What can be said now."""
        text = self._held + piece
        until = len(text) - self._restorer.held(text, as_json=self._as_json)
        self._held = text[until:]
        return self._restorer.whole(text[:until], as_json=self._as_json)

    def end(self) -> str:
        """What was held back and is no placeholder."""
        text, self._held = self._held, ""
        return text
