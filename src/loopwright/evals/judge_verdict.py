"""The verdict in what a judge said; None when it cannot be told, and then why. Nothing is guessed.

What a judge quotes is not its verdict: only what it says of itself as one counts, and two different ones count as none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopwright.evals import extraction

_FENCED: Final = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_LONGEST: Final = 100_000
_EXPLAINED: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge said."""

    label: str | None
    """One of the verdicts there are; None is missing."""
    missing: str | None = None
    explanation: str = ""


def read(text: str, verdicts: Sequence[str]) -> Verdict:
    """The verdict in an answer, constrained or not."""
    said = extraction.spoken(text)[:_LONGEST].strip()
    if not said:
        return Verdict(label=None, missing="the judge said nothing")
    value = _object(said)
    if value is not None and "verdict" in value:
        label = _one_of(str(value["verdict"]), verdicts)
        told = value.get("explanation")
        explained = told[:_EXPLAINED] if isinstance(told, str) else ""
        if label is None:
            return Verdict(
                label=None, missing="the verdict is none of those that were asked for", explanation=explained
            )
        return Verdict(label=label, explanation=explained)
    return _in_words(said, verdicts)


def _object(said: str) -> dict[str, Any] | None:
    """The answer as JSON when all of it is: an object between words may be a quotation of what is judged."""
    fence = _FENCED.fullmatch(said)
    try:
        value = msgspec.json.decode(fence[1] if fence else said)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    return value if isinstance(value, dict) else None


def _in_words(said: str, verdicts: Sequence[str]) -> Verdict:
    explained = said[:_EXPLAINED]
    options = "|".join(re.escape(each) for each in sorted(verdicts, key=len, reverse=True))
    stated = re.findall(
        rf"\bverdict\b[\s\"'*_`]*(?:is\b)?[\s:=\"'*_`(\[]*(?:answer\s+)?({options})(?!\w)", said, re.IGNORECASE
    )
    found = {_one_of(each, verdicts) for each in stated}
    if len(found) > 1:
        return Verdict(label=None, missing="the judge states several verdicts", explanation=explained)
    if found:
        return Verdict(label=found.pop(), explanation=explained)
    label = _one_of(said.strip("\"'*_`.()[]: \n"), verdicts)
    if label is None:
        chosen = extraction.choice(said, list(verdicts))
        label = None if chosen is None else _one_of(chosen, verdicts)
    if label is None:
        return Verdict(label=None, missing="no verdict can be told from what the judge said", explanation=explained)
    return Verdict(label=label, explanation="" if explained == label else explained)


def _one_of(word: str, verdicts: Sequence[str]) -> str | None:
    folded = word.strip().casefold()
    return next((each for each in verdicts if each.casefold() == folded), None)
