"""What hangs together in a text: headings, tables, code and paragraphs, each with where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["heading", "table", "code", "text"]

# Texts come from anybody: nothing here may take more than linear time.
_HEADING: Final = re.compile(r" {0,3}(#{1,6})[ \t]")
_FENCE: Final = re.compile(r"[ \t]{0,12}(`{3,}|~{3,})")
_CELL_RULE: Final = re.compile(r":?-+:?")
_DEFINES: Final = re.compile(
    r"[ \t]{0,100}(?:(?:export|default|public|private|protected|internal|static|async|abstract|final|pub(?:\([a-z]+\))?|inline"
    r"|virtual|override|sealed|data|unsafe)[ \t]+){0,6}"
    r"(def|class|function|fn|func|interface|struct|enum|trait|impl|module|namespace|object|sub|proc|type)[ \t]+\*?([A-Za-z_$][\w$.:]{0,79})"
)
"""Lines that begin a class, a function or the like, in most languages."""
_LIST: Final = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]")
_INLINE: Final = re.compile(r"\[([^\]\n]*)\]\([^)\n]*\)|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading of the text."""

    level: int
    """1 to 6."""
    text: str
    """Without its signs."""
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Characters of a text that belong together. Blocks do not overlap; between them are blanks only."""

    kind: Kind
    start: int
    end: int
    level: int = 0
    """Of a heading; of code, how deep it is indented."""
    title: str = ""
    """Of a heading; the names of a table's columns; the classes and functions that code is in, joined by ` > `."""
    body: int = 0
    """Where the rows of a table begin."""


def headings(text: str) -> Iterator[Heading]:
    """The headings of a Markdown text, those in code left out."""
    for block in blocks(text):
        if block.kind == "heading":
            yield Heading(level=block.level, text=block.title, start=block.start)


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a Markdown text, in order."""
    lines = _Lines(text)
    while lines.more():
        if not lines.now.strip():
            lines.skip()
            continue
        yield _fenced(lines) or _heading(lines) or _table(lines) or _paragraph(lines)


def paragraphs(text: str) -> Iterator[Block]:
    """What stands between empty lines, in order: of texts whose signs mean nothing."""
    lines = _Lines(text)
    while lines.more():
        start = end = lines.start
        while lines.more() and lines.now.strip():
            end = lines.skip()
        if end > start:
            yield Block(kind="text", start=start, end=end)
        else:
            lines.skip()


def code(text: str) -> Iterator[Block]:
    """What stands between empty lines of source code, with how deep it is indented and what it is in."""
    above: list[tuple[int, str]] = []
    for block in paragraphs(text):
        depth: int | None = None
        title = ""
        for line in text[block.start : block.end].split("\n"):
            indent = len(line[:200].expandtabs(4)) - len(line[:200].expandtabs(4).lstrip())
            while above and above[-1][0] >= indent and (depth is None or _DEFINES.match(line)):
                above.pop()
            if found := _DEFINES.match(line):
                above.append((indent, f"{found[1]} {found[2].rstrip(':.')}"))
            if depth is None or (found and not title):
                depth, title = indent if depth is None else depth, " > ".join(name for _, name in above[-4:])
        yield Block(kind="code", start=block.start, end=block.end, level=(depth or 0) // 4, title=title)


class _Lines:
    """The lines of a text, one after the other."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.at = 0
        self.start = 0
        """Character at which the line begins."""

    @property
    def now(self) -> str:
        return self.lines[self.at]

    @property
    def next(self) -> str:
        return self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""

    def more(self) -> bool:
        return self.at < len(self.lines)

    def skip(self) -> int:
        """Go on to the next line; where this one ends."""
        end = self.start + len(self.now)
        self.start = end + 1
        self.at += 1
        return end


def _fenced(lines: _Lines) -> Block | None:
    opened = _FENCE.match(lines.now)
    if opened is None:
        return None
    start, sign = lines.start, opened[1]
    end = lines.skip()
    while lines.more():
        closes = lines.now.strip()
        end = lines.skip()
        if closes.startswith(sign) and not closes.strip(sign[0]):
            break
    return Block(kind="code", start=start, end=end)


def _heading(lines: _Lines) -> Block | None:
    start, found = lines.start, _hashes(lines.now)
    if found is not None:
        level, title = found
        return Block(kind="heading", start=start, end=lines.skip(), level=level, title=_plain(title))
    line, under = lines.now.strip(), lines.next.strip()
    if len(under) < 2 or (under.strip("=") and under.strip("-")) or lines.next.startswith("    "):
        return None
    if len(line) > 200 or "|" in line or _LIST.match(lines.now):
        return None
    lines.skip()
    return Block(kind="heading", start=start, end=lines.skip(), level=1 if under[0] == "=" else 2, title=_plain(line))


def _hashes(line: str) -> tuple[int, str] | None:
    """The level and the words of a heading like `## Words ##`."""
    found = _HEADING.match(line)
    words = line[found.end() :].strip().rstrip("#").rstrip() if found else ""
    return (len(found[1]), words) if found and words else None


def _begins_table(lines: _Lines) -> bool:
    if "|" not in lines.now or "|" not in lines.next:
        return False
    return all(_CELL_RULE.fullmatch(cell.strip()) for cell in lines.next.strip().strip("|").split("|"))


def _table(lines: _Lines) -> Block | None:
    if not _begins_table(lines):
        return None
    start, title = lines.start, columns(lines.now)
    lines.skip()
    end = lines.skip()
    body = lines.start
    while lines.more() and "|" in lines.now:
        end = lines.skip()
    return Block(kind="table", start=start, end=end, title=title, body=body)


def _paragraph(lines: _Lines) -> Block:
    start = lines.start
    end = lines.skip()
    while lines.more() and lines.now.strip() and not _FENCE.match(lines.now) and _hashes(lines.now) is None:
        if _begins_table(lines):
            break
        end = lines.skip()
    return Block(kind="text", start=start, end=end)


def columns(row: str) -> str:
    """The cells of a row of a table, joined by ` | `."""
    return " | ".join(cell.strip() for cell in row[:2_000].strip().strip("|").split("|"))[:300]


def _plain(text: str) -> str:
    return _INLINE.sub(lambda found: found[1] or "", text[:1_000]).strip()[:200]


def path(above: Sequence[Heading]) -> str:
    """Headings as they are shown above a piece."""
    return " > ".join(heading.text for heading in above)
