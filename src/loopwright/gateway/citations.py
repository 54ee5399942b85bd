"""Citations such as [1] in a text that comes in pieces cut anywhere: those of unknown passages are taken out and counted.

What comes out does not depend on where the text was cut. Code between backticks is left as it is: `a[0]` cites nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

_WORDS: Final = frozenset(
    ("", "^", "source", "sources", "passage", "passages", "document", "documents", "doc", "ref", "quelle", "quellen")
)
# Whatever a citation can be the beginning of is a beginning by _BEGUN, or its rest would be taken for another text.
_CITATION: Final = re.compile(r"\[(\^|[A-Za-z]{0,9}) ?([0-9]{1,3}(?:[ ,;\u2013-]{1,3}[0-9]{1,3}){0,20}) ?\]")
_BEGUN: Final = re.compile(r"\[(?:\^|[A-Za-z]{0,9}) ?[0-9 ,;\u2013-]{0,130}")
_MARK: Final = re.compile(r"`+|\[")
_CODE_END: Final = re.compile(r"`+|\n")
_NUMBERS: Final = re.compile(r"([0-9]+) ?[\u2013-] ?([0-9]+)|([0-9]+)")
_FENCE: Final = 3
_WIDEST: Final = 100
"""Numbers that a range such as [1-3] may hold."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A citation that stands in the text."""

    number: int
    start: int
    """Character of the text at which the brackets begin."""
    end: int
    """Character behind them."""


class Citations:
    """Of one text."""

    __slots__ = ("_code", "_held", "_known", "_last", "_length", "_skip", "marks", "removed")

    def __init__(self, known: Collection[int]) -> None:
        """`known`: the numbers of the passages that were shown."""
        self._known = known
        self._held = ""
        self._last = "\n"
        self._length = 0
        self._code = 0
        """Backticks that the code began with; 0 is outside."""
        self._skip = False
        """A citation at the beginning of a line was taken out: so is the space behind it."""
        self.marks: list[Mark] = []
        """Of known passages, in order."""
        self.removed: list[int] = []
        """Numbers of passages that were not shown, as often as they were cited."""

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def feed(self, piece: str) -> str:
        """What can be said now."""
        return self._scan(self._held + piece, final=False)

    def end(self) -> str:
        """What was held back."""
        return self._scan(self._held, final=True)

    def _scan(self, text: str, *, final: bool) -> str:
        said: list[str] = []
        at = 0
        self._held = ""
        while at < len(text):
            if self._skip:
                self._skip = False
                at += text[at] == " "
                continue
            form = _CODE_END if self._code else _MARK
            found = form.search(text, at)
            if found is None:
                self._rest(text, at, said, final=final)
                break
            at = self._marked(text, at, found, said, final=final)
            if self._held:
                break
        return "".join(said)

    def _rest(self, text: str, at: int, said: list[str], *, final: bool) -> None:
        """Nothing is marked in it; a space at its end may yet go with a citation."""
        until = len(text) - (not final and not self._code and text[-1] == " ")
        self._say(text[at:until], said)
        self._held = text[until:]

    def _marked(self, text: str, at: int, found: re.Match[str], said: list[str], *, final: bool) -> int:
        """Text up to a mark, and the mark; where it goes on."""
        mark, start = found[0], found.start()
        if mark == "[":
            return self._bracket(text, at, start, said, final=final)
        if mark == "\n":
            self._code = self._code if self._code >= _FENCE else 0
        elif found.end() == len(text) and not final:  # there may be more of them
            self._say(text[at:start], said)
            self._held = text[start:]
            return start
        elif not self._code:
            self._code = len(mark)
        elif len(mark) == self._code or (self._code >= _FENCE and len(mark) > self._code):
            self._code = 0
        self._say(text[at : found.end()], said)
        return found.end()

    def _bracket(self, text: str, at: int, start: int, said: list[str], *, final: bool) -> int:
        cited = _CITATION.match(text, start)
        if cited is None:
            if final or _BEGUN.fullmatch(text, start) is None:
                self._say(text[at : start + 1], said)
                return start + 1
            until = start - (start > at and text[start - 1] == " ")
            self._say(text[at:until], said)
            self._held = text[until:]
            return start
        if cited[1].lower() not in _WORDS:
            self._say(text[at : cited.end()], said)
            return cited.end()
        named = _numbers(cited[2])
        known = [number for number in named if number in self._known]
        self.removed += [number for number in named if number not in self._known]
        if known:
            self._say(text[at:start], said)
            begun = self._length
            self._say(cited[0] if len(known) == len(named) else f"[{', '.join(map(str, known))}]", said)
            self.marks += [Mark(number, begun, self._length) for number in known]
            return cited.end()
        spaced = start > at and text[start - 1] == " "
        self._say(text[at : start - spaced], said)
        self._skip = not spaced and self._last == "\n"
        return cited.end()

    def _say(self, text: str, said: list[str]) -> None:
        if text:
            said.append(text)
            self._last = text[-1]
            self._length += len(text)


def _numbers(listed: str) -> list[int]:
    found: list[int] = []
    for low, high, single in _NUMBERS.findall(listed):
        if single:
            found.append(int(single))
        elif 0 <= int(high) - int(low) <= _WIDEST:
            found += range(int(low), int(high) + 1)
        else:
            found += [int(low), int(high)]
    return found
