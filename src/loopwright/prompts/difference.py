"""What changed between two definitions, line by line, as people read them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Sign = Literal[" ", "+", "-", "@"]
_AROUND: Final = 3
"""Lines shown before and after a change."""
_COMPARED: Final = 5_000
"""Lines of one definition up to which lines are matched; longer ones are shown as gone and come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a difference."""

    sign: Sign
    """Kept, come, gone, or where the next lines stand."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """From one definition to another."""

    before: str
    after: str
    """What the two are called."""
    lines: tuple[Line, ...]
    """Changes with the lines around them; nothing when the two are the same."""

    @property
    def same(self) -> bool:
        """Nothing changed."""
        return not self.lines

    @property
    def added(self) -> int:
        """Lines that came."""
        return sum(line.sign == "+" for line in self.lines)

    @property
    def removed(self) -> int:
        """Lines that went."""
        return sum(line.sign == "-" for line in self.lines)

    @property
    def unified(self) -> str:
        """As `diff -u` writes it; empty when the two are the same."""
        if self.same:
            return ""
        body = (f"{'@@ ' if line.sign == '@' else line.sign}{line.text}" for line in self.lines)
        return "\n".join([f"--- {self.before}", f"+++ {self.after}", *body]) + "\n"

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "from": self.before,
            "to": self.after,
            "same": self.same,
            "added": self.added,
            "removed": self.removed,
            "lines": [{"sign": line.sign, "text": line.text} for line in self.lines],
            "unified": self.unified,
        }


def difference(one: Mapping[str, Any], two: Mapping[str, Any], before: str, after: str) -> Difference:
    """What changed from definition `one` to `two`."""
    return Difference(before=before, after=after, lines=tuple(_lines(list(written(one)), list(written(two)))))


def written(document: Mapping[str, Any]) -> Iterator[str]:
    """A definition as lines: what it is about, its variables, each message and partial under a heading."""
    if document.get("description"):
        yield from _under("description", document["description"])
    for name, said in (document.get("variables") or {}).items():
        yield f"variable {name}: {_json(said)}"
    for message in document.get("messages") or ():
        if "insert" in message:
            yield f"[insert {message['insert']}]"
            continue
        content = message["content"]
        yield from _under(
            f"{message['role']} {message.get('name', '')}".strip(),
            content if isinstance(content, str) else _json(content),
        )
    for name, text in (document.get("partials") or {}).items():
        yield from _under(f"partial {name}", text)
    for name, value in (document.get("metadata") or {}).items():
        yield f"metadata {name}: {_json(value)}"


def _under(heading: str, text: str) -> Iterator[str]:
    yield f"[{heading}]"
    yield from text.split("\n")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _lines(one: Sequence[str], two: Sequence[str]) -> Iterable[Line]:
    if one == two:
        return
    if max(len(one), len(two)) > _COMPARED:
        yield Line(sign="@", text="too long to be compared line by line")
        yield from (Line(sign="-", text=text) for text in one)
        yield from (Line(sign="+", text=text) for text in two)
        return
    for group in difflib.SequenceMatcher(None, one, two).get_grouped_opcodes(_AROUND):
        yield Line(sign="@", text=f"from line {group[0][3] + 1}")
        for tag, start, end, from_, to in group:
            if tag == "equal":
                yield from (Line(sign=" ", text=text) for text in one[start:end])
                continue
            yield from (Line(sign="-", text=text) for text in one[start:end])
            yield from (Line(sign="+", text=text) for text in two[from_:to])
