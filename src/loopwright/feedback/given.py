"""What is said of a call: a score from code, a judge or a person, and a correction. Knows no table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec

from loopwright.core.call import CallDetail
from loopwright.core.errors import BadRequest, Refused
from loopwright.core.money import usd
from loopwright.core.score import Score
from loopwright.core.who import Principal

Source = Literal["code", "judge", "person"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
LONGEST: Final = 200_000
"""Bytes of a correction as JSON."""
NOTE: Final = 4_000
"""Characters of a text beside a score or a correction."""
_NAME: Final = re.compile(r"[^\W_][\w.:/-]{0,79}")
_WORD: Final = 200
_LARGEST: Final = 1e15
_KEPT_APART: Final = {"loopwright.store": "false"}
"""Tag of a call of which only metadata is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who says something."""

    name: str
    source: Source = "person"
    key_id: int
    """The key that tells us."""

    @classmethod
    def of(cls, who: Principal, name: str | None = None, source: Source = "person") -> Author:
        """A key, or somebody in whose name it speaks.

        Raises:
            BadRequest: the name is none.
        """
        return cls(name=_word(name, "author") if name else who.key_name, source=source, key_id=who.key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A score on record."""

    id: int
    call_id: str
    score: Score
    source: Source
    author: str
    created_at: datetime
    """When it was last said."""
    weight: float = 1.0
    """Calls that it stands for: it was found of one in so many, drawn by lot."""

    def shown(self) -> dict[str, Any]:
        """As REST and pages show it."""
        score = self.score
        return {
            "id": self.id,
            "call_id": self.call_id,
            "name": score.name,
            "value": score.value,
            "label": score.label,
            "passed": score.passed,
            "explanation": score.explanation,
            "source": self.source,
            "author": self.author,
            "weight": round(self.weight, 6),
            "cost_usd": None if score.cost_nano is None else usd(score.cost_nano),
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What the answer to a call should have been."""

    id: int
    call_id: str
    project_id: int
    output: Any
    """A text, or JSON."""
    note: str
    """Why."""
    author: str
    latest: bool
    """Whether it is the one that counts: the last that was given."""
    created_at: datetime
    learnt: Mapping[str, Any] | None = field(default=None, compare=False)
    """What became of it in memory, of one that was just given."""

    def shown(self) -> dict[str, Any]:
        """As REST and pages show it."""
        return {
            "id": self.id,
            "call_id": self.call_id,
            "project_id": self.project_id,
            "output": self.output,
            "note": self.note,
            "author": self.author,
            "latest": self.latest,
            "created_at": self.created_at,
        }


def score_of(
    name: str,
    *,
    value: float | None = None,
    label: str | None = None,
    passed: bool | None = None,
    explanation: str = "",
) -> Score:
    """A score that somebody gives.

    Raises:
        BadRequest: it says nothing, or something out of range.
    """
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"name: {name[:80]!r} is no name of a score; write up to 80 letters, digits and . _ - : / such as `helpful`",
            param="name",
        )
    if value is None and label is None and passed is None:
        raise BadRequest(
            "a score says a value (a number), a label (a word), passed (true or false), or several", param="value"
        )
    if value is not None and not (math.isfinite(value) and abs(value) <= _LARGEST):
        raise BadRequest("value: a number between -1e15 and 1e15", param="value")
    return Score(
        name=name,
        value=value,
        label=None if label is None else _word(label, "label"),
        passed=passed,
        explanation=text_of(explanation, "explanation"),
    )


def text_of(text: str, param: str) -> str:
    """A text beside something.

    Raises:
        BadRequest: it is too long, or no Unicode.
    """
    if len(text) > NOTE:
        raise BadRequest(f"{param}: {len(text):,} characters; allowed are {NOTE:,}", param=param)
    _encoded(text, param)
    return text


def correction_of(output: Any, note: str = "") -> bytes:
    """A correction as it is sealed.

    Raises:
        BadRequest: there is no output, it is too long, or no JSON that can be kept.
    """
    if output is None or output == "":
        raise BadRequest("output: say what the answer should have been, as a text or as JSON", param="output")
    said = _encoded(output, "output")
    if len(said) > LONGEST:
        raise BadRequest(f"output: {len(said):,} bytes; allowed are {LONGEST:,}", param="output")
    return _encoded({"output": output, "note": text_of(note, "note")}, "output")


def check_kept(detail: CallDetail, *, texts: bool, what: str) -> None:
    """Refuse a text about a call of which no texts are kept.

    Args:
        detail: the call.
        texts: whether this house keeps texts at all.
        what: is refused, for the message.

    Raises:
        Refused: they are not kept.
    """
    apart = all(detail.call.tags.get(name) == value for name, value in _KEPT_APART.items())
    if apart or not texts:
        why = "its client or a policy of privacy wished so" if apart else "calls.payloads is off"
        raise Refused(
            f"of call {detail.call.id} only metadata is kept ({why}), so no {what} is: it would hold its text;"
            " scores by number, word or passed are"
        )


def _encoded(value: Any, param: str) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError, TypeError) as error:
        raise BadRequest(f"{param}: this cannot be kept as JSON: {type(error).__name__}", param=param) from None


def _word(text: str, param: str) -> str:
    said = text.strip()
    if not 0 < len(said) <= _WORD or not said.isprintable():
        raise BadRequest(f"{param}: 1 to {_WORD} printable characters in one line", param=param)
    return said


def parsed(body: bytes) -> Mapping[str, Any]:
    """What `correction_of` made."""
    said = msgspec.json.decode(body)
    return said if isinstance(said, dict) else {}
