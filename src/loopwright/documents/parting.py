"""The parts that pieces of a document are put together from: none is over the limit, and each knows how good it is to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from semantic_text_splitter import TextSplitter

from loopwright.documents.document import Parsed
from loopwright.documents.sentences import sentence_starts
from loopwright.documents.sniffing import PLAIN, is_code
from loopwright.documents.structure import Block, blocks, code, paragraphs

By = Literal["recursive", "headings", "sentences"]
Count = Callable[[str], int]
INSIDE: Final = 1
"""How good it is to begin a piece within a paragraph, a table, a function."""
BLOCK: Final = 8
"""At a paragraph, a table, code."""
_WINDOW: Final = 32
"""Characters a token, at most, that are given to the splitter at once: it takes quadratic time where nothing parts a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Characters of a document that stay together."""

    start: int
    end: int
    tokens: int
    strength: int
    """How good it is to begin a piece here."""
    kind: str
    level: int = 0
    """Of a heading, from 1."""
    title: str = ""
    """Of a heading."""
    under: str = ""
    """What it stands under that is no heading: the names of its columns, which stand in a part before; the class."""


def parts_of(parsed: Parsed, *, by: By, tokens: int, count: Count) -> Iterator[Part]:
    """The parts of a document, in order; each counts `tokens` at most, but for a single character that counts more."""
    text, cutter = parsed.text, _Cutter(parsed.text, tokens, count)
    above = 0
    """Tokens of the headings right above, with which a block stands in a piece if it can."""
    for block in _blocks(parsed):
        start, end = _trimmed(text, block.start, block.end, block.kind)
        n = count(text[start:end])
        if block.kind == "text" and (by == "sentences" or n + above > tokens):
            yield from cutter.sentences(block)
        elif n <= tokens:
            yield _whole(block, start, end, n)
        elif block.kind == "table":
            yield from cutter.rows(block, above)
        else:
            yield from cutter.divided(block)
        above = above + n if block.kind == "heading" else 0


def _blocks(parsed: Parsed) -> Iterator[Block]:
    if is_code(parsed.media_type):
        return code(parsed.text)
    return paragraphs(parsed.text) if parsed.media_type == PLAIN else blocks(parsed.text)


def _strength(block: Block) -> int:
    return 24 - 2 * block.level if block.kind == "heading" else BLOCK - min(block.level, BLOCK - INSIDE - 1)


def _whole(block: Block, start: int, end: int, tokens: int) -> Part:
    heading = block.kind == "heading"
    return Part(
        start=start,
        end=end,
        tokens=tokens,
        strength=_strength(block),
        kind=block.kind,
        level=block.level if heading else 0,
        title=block.title if heading else "",
        under=block.title if block.kind == "code" else "",
    )


class _Cutter:
    """Cuts blocks of a text that are too long."""

    def __init__(self, text: str, tokens: int, count: Count) -> None:
        self._text = text
        self._tokens = tokens
        self._count = count
        self._splitter = TextSplitter.from_callback(count, tokens, trim=False)

    def sentences(self, block: Block) -> Iterator[Part]:
        """A part for each sentence."""
        shown = self._text[block.start : block.end]
        starts = [block.start + start for start in sentence_starts(shown)]
        strength = _strength(block)
        for start, end in zip(starts, [*starts[1:], block.end], strict=True):
            yield from self._spans(start, end, block.kind, strength)
            strength = INSIDE + 1

    def divided(self, block: Block) -> Iterator[Part]:
        """Parts at the ends of lines, of words, of characters at last."""
        strength = _strength(block)
        for number, part in enumerate(self._spans(block.start, block.end, block.kind, strength)):
            if number == 0 and block.kind == "heading":
                yield replace(part, level=block.level, title=block.title)
            else:
                yield replace(part, under=block.title if block.kind == "code" else "")

    def rows(self, table: Block, above: int) -> Iterator[Part]:
        """Parts of whole rows; the names of the columns are told with all but the first, which leaves room for `above`."""
        head = self._text[table.start : table.body]
        room = self._tokens - min(self._count(head), self._tokens // 2)
        start, tokens, first = table.start, self._count(head), True
        at = table.body
        while at < table.end:
            end = self._text.find("\n", at, table.end)
            end = table.end if end < 0 else end + 1
            n = self._count(self._text[at:end])
            if at > start and tokens + n > (self._tokens - above if first else room):
                yield from self._rows(start, at, table, first=first)
                start, tokens, first = at, 0, False
            tokens += n
            at = end
        yield from self._rows(start, table.end, table, first=first)

    def _rows(self, start: int, end: int, table: Block, *, first: bool) -> Iterator[Part]:
        strength = BLOCK if first else INSIDE + 1
        for number, part in enumerate(self._spans(start, end, "table", strength)):
            yield part if first and number == 0 else replace(part, under=table.title)

    def _spans(self, start: int, end: int, kind: str, strength: int) -> Iterator[Part]:
        start, end = _trimmed(self._text, start, end, kind)
        if start >= end:
            return
        n = self._count(self._text[start:end]) if end - start <= self._tokens * _WINDOW else self._tokens + 1
        if n <= self._tokens:
            yield Part(start=start, end=end, tokens=n, strength=strength, kind=kind)
            return
        for begins, ends in self._windows(start, end):
            for offset, piece in self._splitter.chunk_indices(self._text[begins:ends]):
                a, b = _trimmed(self._text, begins + offset, begins + offset + len(piece), kind)
                if a < b:
                    yield from self._fitting(a, b, kind, strength)
                    strength = INSIDE

    def _fitting(self, start: int, end: int, kind: str, strength: int) -> Iterator[Part]:
        """The span, halved until it fits: a count need not grow with a text, and trimming may change it."""
        n = self._count(self._text[start:end])
        if n <= self._tokens or end - start == 1:
            yield Part(start=start, end=end, tokens=n, strength=strength, kind=kind)
            return
        middle = (start + end) // 2
        for a, b in ((start, middle), (middle, end)):
            a, b = _trimmed(self._text, a, b, kind)  # noqa: PLW2901 - the same span, without its blanks
            if a < b:
                yield from self._fitting(a, b, kind, strength)
                strength = INSIDE

    def _windows(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The span in bounded stretches, parted at the end of a line or a word where there is one."""
        width = self._tokens * _WINDOW
        while end - start > width:
            stop = start + width
            for sign in ("\n", ". ", " "):
                found = self._text.rfind(sign, start + width // 2, stop)
                if found >= 0:
                    stop = found + len(sign)
                    break
            yield start, stop
            start = stop
        yield start, end


def _trimmed(text: str, start: int, end: int, kind: str) -> tuple[int, int]:
    """Without blanks at the ends; of code, the indentation of the first line stays."""
    first = start
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if kind == "code" and start < end:
        start = max(text.rfind("\n", first, start) + 1, first)
    return start, end
