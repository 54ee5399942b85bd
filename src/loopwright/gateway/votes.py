"""Which answer most samples gave: what of a text counts, when two are the same, and what a tie is. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from loopwright.tasks.task import Strategy

_NUMBER: Final = re.compile(r"[-+]?(?:\d[\d,]*)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")
_EDGES: Final = " \t\r\n.,;:!?\"'`*()[]"
_LONGEST: Final = 200_000
_DIGITS: Final = 40
"""Of a number; a longer one is a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """How a vote went out."""

    chosen: int
    """Which sample is the answer: the first of those that won; the first of all when none could be read."""
    votes: int
    """For the answer."""
    cast: int
    """Samples that could be read."""
    tied: bool
    """Another answer has as many."""
    ballots: tuple[str | None, ...]
    """What each sample voted for; None could not be read."""


def count(texts: Sequence[str], strategy: Strategy, *, as_json: bool) -> Vote:
    """The majority of `texts`; `as_json`: they are JSON and are compared as such."""
    ballots = tuple(ballot(text, strategy, as_json=as_json) for text in texts)
    tally: dict[str, list[int]] = {}
    for at, each in enumerate(ballots):
        if each is not None:
            tally.setdefault(each, []).append(at)
    if not tally:
        return Vote(chosen=0, votes=0, cast=0, tied=False, ballots=ballots)
    won = max(tally.values(), key=lambda places: (len(places), -places[0]))
    return Vote(
        chosen=won[0],
        votes=len(won),
        cast=sum(map(len, tally.values())),
        tied=sum(len(places) == len(won) for places in tally.values()) > 1,
        ballots=ballots,
    )


def ballot(said: str, strategy: Strategy, *, as_json: bool) -> str | None:
    """What a text votes for, in one form for all that mean the same; None when it cannot be read."""
    said = said[-_LONGEST:]
    if strategy.marker:
        _, found, said = said.rpartition(strategy.marker)
        if not found:
            return None
    elif as_json:
        return _canonical(said)
    if strategy.answer == "number":
        numbers = _NUMBER.findall(said)
        # What follows a marker begins with the answer; without one the answer comes last, after the reasons.
        return _number(numbers[0 if strategy.marker else -1]) if numbers else None
    if strategy.answer == "last_line":
        said = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    plain = " ".join(said.casefold().split()).strip(_EDGES)
    return (_number(plain) or plain) or None


def _number(text: str) -> str | None:
    bare = text.replace(",", "").removeprefix("$").removesuffix("%")
    if len(bare) > _DIGITS:
        return None
    try:
        number = Decimal(bare)
    except InvalidOperation:
        return None
    return f"{number.normalize():E}" if number.is_finite() else None


def _canonical(said: str) -> str | None:
    try:
        return msgspec.json.encode(_plain(msgspec.json.decode(said)), order="sorted").decode()
    except (msgspec.MsgspecError, RecursionError, OverflowError):
        return None


def _plain(value: Any) -> Any:
    """1.0 is 1, and texts are the same in any case and spacing."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value
