"""A document cut into pieces of at most so many tokens, at the best places there are. Knows no tokenizer."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from loopwright.core.errors import BadRequest
from loopwright.documents.document import Parsed, Piece
from loopwright.documents.parting import BLOCK, By, Count, Part, parts_of
from loopwright.documents.sentences import sentence_starts

SMALLEST: Final = 8
"""Tokens of a piece, at least."""
_REACH: Final = 8
"""Characters a token, at most, that are looked through for what to repeat."""
_HEADING: Final = 400
"""Characters that headings above a piece may take; longer ones are cut short each."""
_LOOKS: Final = 3
"""How often it is looked whether parts that are too long one by one fit together, where blanks between them count."""
_WORD: Final = 24
"""Characters that are taken for a token at least: tokenizers of words take any length of what they do not know for one."""


def cut(parsed: Parsed, *, by: By, tokens: int, overlap: int, count: Count) -> list[Piece]:
    """The document in pieces, in order: every character that is no blank is in one of them at least.

    `tokens` is the most that a piece counts by `count`; only a single character that counts more is a piece all the same.
    No piece has more than 24 characters a token.
    `overlap` is how many tokens at most a piece repeats of the one before. `by`: `recursive` fills pieces and cuts at the
    best boundary near their end, `headings` also begins one at every heading, `sentences` cuts behind whole sentences.

    Raises:
        BadRequest: less than 8 tokens, or an overlap of more than half of them.
    """
    if tokens < SMALLEST:
        raise BadRequest(f"pieces of {tokens} tokens are too small: {SMALLEST} at least", param="tokens")
    if not 0 <= overlap <= tokens // 2:
        raise BadRequest(f"an overlap of {overlap} tokens: 0 to {tokens // 2} for pieces of {tokens}", param="overlap")

    def weigh(text: str) -> int:
        return max(count(text), len(text) // _WORD)

    text, room = parsed.text, tokens - overlap
    page_starts = [page.start for page in parsed.pages]
    repeating = _Repeating(text, overlap, tokens, weigh)
    above: list[tuple[int, str]] = []
    pieces: list[Piece] = []
    for group in _Packing(text, room, weigh).groups(parts_of(parsed, by=by, tokens=room, count=weigh), by):
        start = repeating.start(group, by)
        heading = _heading(above, group)
        page = parsed.pages[max(bisect_right(page_starts, start) - 1, 0)].number if page_starts else None
        pieces.append(
            Piece(text=text[start : group[-1].end], start=start, end=group[-1].end, heading=heading, page=page)
        )
    return pieces


def _heading(above: list[tuple[int, str]], group: Sequence[Part]) -> str:
    """What the piece stands under: the headings down to its first words. Brings `above` to where the piece ends."""
    found: list[str] | None = None
    for part in group:
        if part.level:
            while above and above[-1][0] >= part.level:
                above.pop()
            above.append((part.level, part.title))
        elif found is None:
            found = [*(title for _, title in above), *([part.under] if part.under else [])]
    titles = [title for _, title in above] if found is None else found
    whole = " > ".join(titles)
    return whole if len(whole) <= _HEADING else " > ".join(title[: _HEADING // len(titles)] for title in titles)


class _Packing:
    """Puts parts together to pieces."""

    def __init__(self, text: str, room: int, count: Count) -> None:
        self._text = text
        self._room = room
        self._count = count
        self._blank = count("\n\n")
        """What parting two parts counts."""
        self._looks = _LOOKS if self._blank else 0

    def groups(self, parts: Iterable[Part], by: By) -> Iterator[list[Part]]:
        """The parts of each piece."""
        group: list[Part] = []
        total = looks = 0
        for part in parts:
            if by == "headings" and part.level and group and not group[-1].level:
                yield from self._emptied(group)
                group, total, looks = [], 0, 0
            while group and total + part.tokens > self._room:
                together = self._count(self._text[group[0].start : part.end]) if looks < self._looks else self._room + 1
                if together <= self._room:
                    total, looks = together - part.tokens, looks + 1
                    break
                taken = self._fitting(group, self._best(group, part))
                yield group[:taken]
                group, looks = group[taken:], 0
                total = sum(part.tokens + self._blank for part in group)
            group.append(part)
            total += part.tokens + self._blank
        yield from self._emptied(group)

    def _emptied(self, group: list[Part]) -> Iterator[list[Part]]:
        while group:
            taken = self._fitting(group, len(group))
            yield group[:taken]
            group = group[taken:]

    def _best(self, group: Sequence[Part], coming: Part) -> int:
        """How many parts to take: up to the best boundary in the second half, the last one if there are several."""
        best, strength, total = len(group), coming.strength, 0
        for number, part in enumerate(group):
            if number and total * 2 >= self._room and part.strength > strength:
                best, strength = number, part.strength
            total += part.tokens + self._blank
        # A heading stands with what is under it, if anything stands before it.
        under = best
        while under and group[under - 1].level:
            under -= 1
        return under or best

    def _fitting(self, group: Sequence[Part], taken: int) -> int:
        """As many of those parts as count no more than there is room for, together and with what parts them."""
        while taken > 1 and self._count(self._text[group[0].start : group[taken - 1].end]) > self._room:
            taken -= 1
        return taken


class _Repeating:
    """Begins a piece a little before its first part, so that it can be read without the piece before."""

    def __init__(self, text: str, overlap: int, tokens: int, count: Count) -> None:
        self._text = text
        self._overlap = overlap
        self._tokens = tokens
        self._count = count
        self._before: Part | None = None
        self._begun = 0

    def start(self, group: Sequence[Part], by: By) -> int:
        """Where the piece of this group begins."""
        first, before, begun = group[0], self._before, self._begun
        self._before, self._begun = group[-1], first.start
        if not self._overlap or before is None or first.strength > BLOCK or self._closed(before, first):
            return first.start
        for start in self._starts(begun, before, first.start, whole=by == "sentences"):
            if self._count(self._text[start : group[-1].end]) <= self._tokens:
                return start
        return first.start

    @staticmethod
    def _closed(before: Part, first: Part) -> bool:
        """Whether it must not be looked into: a row says little without its columns, a fence is closed by its other end."""
        return before.kind == "table" or (before.kind == "code" and first.kind != "code")

    def _starts(self, begun: int, before: Part, end: int, *, whole: bool) -> Iterator[int]:
        """Where it could begin, the best first: at a sentence, else at a word."""
        reach = max(begun + 1, end - self._overlap * _REACH)
        window = self._text[reach:end]
        if before.kind == "code":
            starts = [number + 1 for number, sign in enumerate(window) if sign == "\n"]
        else:
            starts = [start for start in sentence_starts(window) if start or self._begins(reach)]
        found = self._first(window, starts)
        if not found and not whole and before.kind == "text":
            starts = [
                number + 1
                for number, sign in enumerate(window[:-1])
                if sign.isspace() and not window[number + 1].isspace()
            ]
            found = self._first(window, starts)
        yield from (reach + start for start in found[:3])

    def _begins(self, at: int) -> bool:
        return at == 0 or self._text[at - 1].isspace()

    def _first(self, window: str, starts: list[int]) -> list[int]:
        """Of these, those from which no more than the overlap is repeated."""
        first = bisect_left(starts, -self._overlap, key=lambda start: -self._count(window[start:].rstrip()))
        return [start for start in starts[first:] if window[start:].strip()]
