"""Judges texts by OpenAI's categories, as far as words can tell: a linear model for offence, a lexicon for the rest.

What neither can tell is reported as false with a score of 0 and applied to no input: see `JUDGED`.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.guardrails.lexicon import Lexicon
from loopwright.guardrails.offence import Offence

MODEL: Final = "loopwright-moderation-1"
CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""OpenAI's, in its order."""
JUDGED: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "self-harm",
    "sexual",
    "sexual/minors",
    "violence",
)
"""Those that words tell well enough to be of use; `docs/moderation.md` says how well."""
THRESHOLD: Final = 0.5
"""From which score on a category is true."""
_LONG: Final = 20_000
"""Characters that are judged on the event loop (a few milliseconds); more are judged beside it."""
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_APOSTROPHES: Final = str.maketrans("", "", "'\u2019")


@dataclass(frozen=True, slots=True)
class Judgement:
    """On one text."""

    scores: Mapping[str, float]
    """Of each category that is judged, 0 to 1; no probability: comparable only within its category."""

    @property
    def categories(self) -> dict[str, bool]:
        """Which categories it falls into, of all that OpenAI has."""
        return {category: self._falls_into(category) for category in CATEGORIES}

    @property
    def flagged(self) -> bool:
        """Whether it falls into any."""
        return any(self._falls_into(category) for category in JUDGED)

    def _falls_into(self, category: str) -> bool:
        return self.scores.get(category, 0.0) >= THRESHOLD

    def shown(self) -> dict[str, Any]:
        """As a result in OpenAI's form."""
        return {
            "flagged": self.flagged,
            "categories": self.categories,
            "category_scores": {category: round(self.scores.get(category, 0.0), 6) for category in CATEGORIES},
            "category_applied_input_types": {
                category: ["text"] if category in JUDGED else [] for category in CATEGORIES
            },
        }


@dataclass(frozen=True, slots=True)
class Judge:
    """What judging needs, once it is loaded."""

    lexicon: Lexicon
    offence: Offence

    def judge(self, text: str) -> Judgement:
        """One text; linear in its length."""
        text = text if text.isascii() else unicodedata.normalize("NFKC", text)
        lowered = text.lower()
        said = self.lexicon.scores([word.translate(_APOSTROPHES) for word in _WORD.findall(lowered)])
        offence = self.offence.score(lowered)
        threat, violence, sexual = (said.get(each, 0.0) for each in ("threat", "violence", "sexual"))
        hate = said.get("group", 0.0) * max(said.get("hostile", 0.0), offence)
        return Judgement(
            {
                "harassment": offence,
                "harassment/threatening": threat * max(offence, 0.5),
                "hate": hate,
                "hate/threatening": hate * max(threat, violence),
                "self-harm": said.get("self-harm", 0.0),
                "sexual": sexual,
                "sexual/minors": sexual * said.get("minor", 0.0),
                "violence": violence,
            }
        )


def load() -> Judge:
    """Read words and weights; see the package's docs for what that takes."""
    return Judge(Lexicon.load(), Offence.load())


class Moderator:
    """Loads what it needs when it is first asked, beside the event loop, and then keeps it."""

    def __init__(self) -> None:
        self._judge: Judge | None = None
        self._loading = asyncio.Lock()

    async def judge(self, texts: Sequence[str]) -> list[Judgement]:
        """A judgement on each text, in order."""
        judge = (self._judge or await self._loaded()).judge
        if sum(map(len, texts)) > _LONG:
            return await asyncio.to_thread(lambda: [judge(text) for text in texts])
        return [judge(text) for text in texts]

    async def _loaded(self) -> Judge:
        async with self._loading:
            if self._judge is None:
                self._judge = await asyncio.to_thread(load)
            return self._judge
