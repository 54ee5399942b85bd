"""What layers tell the recorder of a call besides its answer: tags, and what was spent on answers that nobody got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from loopwright.core.money import Usage, usd

WASTED: Final = "loopwright.wasted"
"""`told`, or `estimated` when any part of it is."""
WASTED_USD: Final = "loopwright.wasted_usd"
CASCADE: Final = "loopwright.cascade"
"""`kept` or `escalated`."""
CASCADE_REASON: Final = "loopwright.cascade_reason"
SAVED_USD: Final = "loopwright.saved_usd"
_BYTES_A_TOKEN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing to tell."""

    tags: Mapping[str, str] = field(default_factory=dict)
    wasted_nano: int = 0
    """Nanodollars of an answer that nobody got: it failed, was given up, or would not do."""
    estimated: bool = False
    """Nobody told how many tokens it took."""


def told(tags: Mapping[str, str], notes: Sequence[Note]) -> tuple[Mapping[str, str], int]:
    """The tags of a call with those of its notes, and the nanodollars that were wasted."""
    found = dict(tags)
    wasted = 0
    estimated = False
    for note in notes:
        found |= note.tags
        wasted += note.wasted_nano
        estimated = estimated or (note.estimated and note.wasted_nano > 0)
    if wasted:
        found[WASTED] = "estimated" if estimated else "told"
        found[WASTED_USD] = usd(wasted)
    return found, wasted


def guessed(raw: bytes | None, pieces: int) -> Usage:
    """Tokens of an answer that broke off: four bytes of the question are one, and each piece that came."""
    return Usage(input=max(len(raw or b"") // _BYTES_A_TOKEN, 1), output=pieces, estimated=True)


def signed_usd(nano: int) -> str:
    """As `usd`, also of less than nothing."""
    return usd(nano) if nano >= 0 else f"-{usd(-nano)}"
