"""Things that people labelled, from a file of JSON lines: ours, and what PandaLM, QAGS and Falke's pairs look like.

A wrong line is refused with its number; nothing is skipped silently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.evals.judge_definition import TIE
from loopwright.evals.judge_prompt import Material, text_of
from loopwright.evals.observation import MOST

_LONGEST_LINE: Final = 2_000_000
_PANDALM: Final = {0: TIE, 1: "a", 2: "b"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One thing to judge, and what people said of it."""

    id: str
    material: Material
    human: tuple[str | None, ...]
    """One label a rater; of pairs `a`, `b`, `tie`."""
    authors: tuple[str | None, ...] = ()
    """Models that wrote the answer; of pairs both."""
    pair: bool = False

    @property
    def lengths(self) -> tuple[int, ...]:
        """Characters of the answer; of pairs of both."""
        first = len(self.material.answer)
        return (first, len(self.material.other)) if self.pair else (first,)


def labelled(lines: Iterable[bytes], *, most: int = MOST) -> Iterator[Labelled]:
    """The things in JSON lines.

    Raises:
        BadRequest: a line cannot be read, names its number; or there are more than `most` things.
    """
    seen: set[str] = set()
    for number, raw in enumerate(lines, 1):
        line = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
        if not line:
            continue
        for thing in _things(line, number):
            if thing.id in seen:
                raise BadRequest(f"line {number}: the id {thing.id[:80]!r} is there already", param="FILE")
            seen.add(thing.id)
            if len(seen) > most:
                raise BadRequest(f"more than {most:,} things: take fewer", param="FILE")
            yield thing


def _things(line: bytes, number: int) -> list[Labelled]:
    if len(line) > _LONGEST_LINE:
        raise BadRequest(f"line {number}: over {_LONGEST_LINE:,} bytes", param="FILE")
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"line {number}: no JSON: {error}", param="FILE") from None
    if not isinstance(row, dict):
        raise BadRequest(f"line {number}: an object is needed", param="FILE")
    for names, reader in _READERS:
        if all(name in row for name in names):
            try:
                return reader(row, number)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                what = f"{type(error).__name__}: {error}"[:200]
                raise BadRequest(f"line {number}: not what its members promise ({what})", param="FILE") from None
    raise BadRequest(
        f"line {number}: neither `answer` with `human` nor `a`, `b` with `human`; see docs/judges.md", param="FILE"
    )


def _single(row: Mapping[str, Any], number: int) -> list[Labelled]:
    reference = row.get("reference", "")
    return [
        Labelled(
            id=_id(row, number),
            material=Material(
                input=_input(row),
                answer=_text(row["answer"]),
                reference="\n".join(map(_text, reference)) if isinstance(reference, list) else _text(reference),
            ),
            human=_human(row["human"]),
            authors=(_author(row.get("author")),),
        )
    ]


def _pair(row: Mapping[str, Any], number: int) -> list[Labelled]:
    authors = row.get("authors") or {}
    return [
        Labelled(
            id=_id(row, number),
            material=Material(input=_input(row), answer=_text(row["a"]), other=_text(row["b"])),
            human=_human(row["human"]),
            authors=(_author(authors.get("a")), _author(authors.get("b"))),
            pair=True,
        )
    ]


def _pandalm(row: Mapping[str, Any], number: int) -> list[Labelled]:
    """PandaLM's test set: three annotators say 1, 2, or 0 for neither; `cmp_key` names both models."""
    first, _, second = str(row.get("cmp_key", "")).partition("_")
    asked = "\n\n".join(_text(row[name]) for name in ("instruction", "input") if row.get(name))
    return [
        Labelled(
            id=str(row.get("idx", number)),
            material=Material(input=asked, answer=_text(row["response1"]), other=_text(row["response2"])),
            human=tuple(_PANDALM[row[f"annotator{at}"]] for at in (1, 2, 3)),
            authors=(first or None, second or None),
            pair=True,
        )
    ]


def _qags(row: Mapping[str, Any], number: int) -> list[Labelled]:
    """QAGS: sentences of a summary, each of which three workers call supported by the article or not."""
    return [
        Labelled(
            id=f"{number}.{at}",
            material=Material(input=_text(row["article"]), answer=_text(sentence["sentence"])),
            human=tuple(_label(each["response"]) for each in sentence["responses"]),
        )
        for at, sentence in enumerate(row["summary_sentences"])
    ]


def _falke(row: Mapping[str, Any], number: int) -> list[Labelled]:
    """Pairs of one right and one wrong sentence (Falke et al. 2019). Which of them is `a` is drawn by hash.

    Were the right one always `a`, a judge that always says `a` would be right, and kappa undefined.
    """
    right, wrong = _text(row["correct_sent"]), _text(row["incorrect_sent"])
    first = hashlib.sha256(f"{right}\x00{wrong}".encode()).digest()[0] % 2 == 0
    return [
        Labelled(
            id=f"{row.get('article_id', '')}:{number}",
            material=Material(
                input=_text(row["article_sent"]), answer=right if first else wrong, other=wrong if first else right
            ),
            human=("a" if first else "b",),
            pair=True,
        )
    ]


_READERS: Final[tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any], int], list[Labelled]]], ...]] = (
    (("a", "b", "human"), _pair),
    (("answer", "human"), _single),
    (("response1", "response2", "annotator1"), _pandalm),
    (("article", "summary_sentences"), _qags),
    (("article_sent", "correct_sent", "incorrect_sent"), _falke),
)


def _id(row: Mapping[str, Any], number: int) -> str:
    found = row.get("id")
    return str(number) if found is None else str(found)[:200]


def _input(row: Mapping[str, Any]) -> str:
    inputs = row.get("inputs")
    return text_of(inputs) if isinstance(inputs, Mapping) else _text(row.get("input", ""))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _human(value: Any) -> tuple[str | None, ...]:
    labels = value if isinstance(value, list) else [value]
    if not labels or len(labels) > 20:
        raise ValueError("`human` holds 1 to 20 labels")
    return tuple(None if each is None else _label(each) for each in labels)


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).strip()[:60]


def _author(value: Any) -> str | None:
    return None if value is None else str(value)[:200]
