"""Questions made of a collection's own texts, whose answer is known to be there: for calibration, without a model.

A question shares some of its words with the passage that answers it, and all of its meaning. So each is made twice of
one sentence: the words that carry it, whose meaning is searched for; and the same with every third word in the place of
one from elsewhere, whose words are. Measured beside the questions of xquad: docs/grounding.md. Pure.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SENTENCE: Final = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n{2,}")
_WORD: Final = re.compile(r"[^\W_][\w'\u2019-]*")
_SHORTEST, _LONGEST = 40, 400
"""Characters of a sentence that is asked about."""
_WORDS: Final = 7
"""Of a question."""
_SWAPPED: Final = 0.35
"""Of the words of a question, those that its passage says in other words."""
_SMALL_WORDS: Final = """
    the and for are was were been being have has had having its their there these those this that they them then than with
    from into over under about after before during between which who whom whose when where while what why how will would
    could should shall may might must can not nor but also other more most some such only very one two
    der die das und ist nicht ein eine einer eines dem den des mit von auf aus bei wird sind war dass auch
    les une est dans pour que qui sur par los las una del con por para como
"""
_SMALL: Final = frozenset(_SMALL_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownItem:
    """One sentence as two questions."""

    chunk_id: int
    document_id: int
    start: int
    """Characters of the document at which its chunk begins, and behind which it ends."""
    end: int
    meaning: str
    """Searched for by meaning."""
    words: str
    """Searched for by words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A chunk that questions are made of."""

    chunk_id: int
    document_id: int
    start: int
    end: int
    text: str


def known_items(excerpts: Sequence[Excerpt], *, most: int, seed: int) -> list[KnownItem]:
    """At most so many questions, of as many excerpts as there are; the same again for the same `seed`."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    sentences = [(excerpt, _sentences(excerpt.text)) for excerpt in excerpts]
    pool = [word for _, each in sentences for sentence in each for word in carrying(sentence)]
    found: list[KnownItem] = []
    for turn in range(3):
        for excerpt, listed in sentences:
            if len(found) >= most:
                return found
            if turn >= len(listed):
                continue
            words = carrying(listed[drawn.randrange(len(listed))] if turn == 0 else listed[turn])
            places = sorted(drawn.sample(range(len(words)), min(_WORDS, len(words))))
            if len(places) < 4:
                continue
            kept = [words[at] for at in places]
            swapped = [drawn.choice(pool) if drawn.random() < _SWAPPED else word for word in kept]
            found.append(
                KnownItem(
                    chunk_id=excerpt.chunk_id,
                    document_id=excerpt.document_id,
                    start=excerpt.start,
                    end=excerpt.end,
                    meaning=" ".join(kept),
                    words=" ".join(swapped),
                )
            )
    return found


def carrying(sentence: str) -> list[str]:
    """The words of a sentence that say something."""
    return [word for word in _WORD.findall(sentence) if len(word) > 2 and word.lower() not in _SMALL]


def _sentences(text: str) -> list[str]:
    found = [each.strip() for each in _SENTENCE.split(text)]
    return [each for each in found if _SHORTEST <= len(each) <= _LONGEST]


_ELSEWHERE: Final = """
How long do eggs have to boil until they are hard?
Which enzyme unwinds the double helix before it is copied?
Who wrote the opera about the barber of Seville?
How do I get red wine out of a white tablecloth?
What is the capital of Mongolia?
How many players of a volleyball team stand on the court?
Why did the Roman republic become an empire?
What does the offside rule say?
How do noise-cancelling headphones work?
Which vaccines does a newborn child need in the first year?
How do I terminate a rental contract early?
What is the difference between a violin and a viola?
How are interest rates and inflation connected?
When should tomato seedlings be planted outdoors?
How is the area of a triangle calculated from its three sides?
Which volcano buried the city of Pompeii?
How can I change the password of my e-mail account?
What does a catalytic converter do with exhaust gases?
Which planets have rings?
How do penguins keep their eggs warm?
What was agreed at the congress of Vienna?
How do I knit a sweater with a round yoke?
Why do leaves turn red in autumn?
Which documents are needed to apply for a passport?
How does a public key encrypt a message?
What are the symptoms of a vitamin D deficiency?
How high is the highest waterfall of the world?
Who painted the ceiling of the Sistine Chapel?
How do I train a puppy not to bite?
What makes bread dough rise?
Which languages are spoken in Switzerland?
How does a heat pump warm a house in winter?
When was the printing press with movable letters invented?
What is the penalty for driving without a licence?
How do whales find their way across oceans?
Which chess opening begins with the queen's pawn?
How many bones does a human hand have?
What is a good marinade for grilled chicken?
Why does the moon always show the same side?
How do I descale a coffee machine?
"""
"""Questions of many fields: of any one collection, nearly all of them are of another."""
ELSEWHERE: Final = tuple(line for line in _ELSEWHERE.split("\n") if line)
