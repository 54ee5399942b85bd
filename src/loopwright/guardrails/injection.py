"""How much a text reads like instructions to a model: weighted rules over its words, unmasked. A score, not a wall.

Deterministic, linear, loads nothing. `docs/grounding.md` says how well it tells, measured; what protects an answer is
that documents are shown as data (`gateway/grounded.py`), and this only says which of them to look at.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from loopwright.guardrails.injection_words import PHRASES, UNSPACED, WORDS
from loopwright.guardrails.unmasked import unmasked

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*|[.!?:\n]")
_APOSTROPHES: Final = str.maketrans("", "", "'\u2019")
_STOPS: Final = frozenset(".!?:\n")
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    word: frozenset(kind for kind, words in WORDS.items() if word in words.split())
    for words in WORDS.values()
    for word in words.split()
}
_ROWS: Final[Mapping[str, Sequence[tuple[tuple[str, ...], str]]]] = {
    first: [
        (row, kind)
        for kind, (_, phrases) in PHRASES.items()
        for row in (tuple(phrase.split()) for phrase in phrases.split("|"))
        if row[0] == first
    ]
    for first in {phrase.split()[0] for _, phrases in PHRASES.values() for phrase in phrases.split("|")}
}
_UNSPACED: Final = {
    name: (weight, re.compile("|".join(unmasked(phrase).text.strip() for phrase in phrases.split("|"))))
    for name, (weight, phrases) in UNSPACED.items()
}
_CONTROL: Final = re.compile(
    r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id|begin_of_text)\|>|\[/?inst\]|<</?sys>>"
    r"|</?(?:system|instructions?|prompt)>|<start_of_turn>|###\s*(?:system|instruction|new instruction)|\[system\]"
    r"|(?:begin|end|start) (?:of )?(?:system|hidden|new) (?:prompt|instructions?)",
)
_CONTROL_MARKS: Final = ("<", "[", "#", "prompt", "instruction")
_SPEAKER: Final = re.compile(
    r"(?:^|\n)[ \t>*]{0,9}(?:system|assistant|developer|sudo|admin|instruction)s?(?: (?:message|note))?[*]{0,2} ?:"
)
_CARRIER: Final = re.compile(r"!\[[^\]]{0,100}\]\(https?://[^)\s]{1,300}[?=][^)]{0,300}\)")
_ADDRESS: Final = re.compile(r"https?://|[\w.+-]{1,64}@[\w-]{1,64}\.\w")
_BEFORE_ORDERS: Final = """
    please now then and but just so also must should will can first instead simply kindly bitte aber dann jetzt und nun y
    pero ahora et mais maintenant e ma ora you okay ok stop
"""
_POLITE: Final = frozenset(_BEFORE_ORDERS.split())
_ASKED: Final = frozenset(("i", "we", "to", "they", "he", "she", "how", "cant", "wont"))
_FAR: Final = frozenset({"prior", "all", "your"})
_WINDOW: Final = 400
"""Words that are judged together: the score of a long text is that of its worst part."""
_NEAR: Final = 7
"""Words a verb and what it is about may lie apart."""
_HIDDEN: Final = {"tags": 0.6, "base64": 0.4, "rot13": 0.4, "unseen": 0.4, "comment": 0.2}
"""What hiding adds to something that is suspicious by itself."""


def suspicion(text: str) -> float:
    """0 to 1; no probability: the higher, the more it reads like orders to a model, in about ten languages."""
    said = unmasked(text)
    found = _worst(said.text)
    for how, hidden in said.hidden:
        score = _worst(hidden)
        if score > 0.2:
            found = max(found, _or((score, _HIDDEN[how])))
        elif how == "tags":
            found = max(found, _HIDDEN[how])
    if "spaced" in said.tricks and not found:
        found = 0.2
    if said.tricks and found > 0.3:
        found = _or((found, *(0.2 for _ in said.tricks)))
    elif "widthless" in said.tricks:
        found = _or((found, 0.15))
    return found


def _worst(text: str) -> float:
    words = [word.translate(_APOSTROPHES) for word in _WORD.findall(text)]
    if len(words) <= _WINDOW:
        return _score(words, text)
    whole = _or(weight for _, weight in _signs(text))
    return max(_or((_score(words[start : start + _WINDOW], ""), whole)) for start in range(0, len(words), _WINDOW // 2))


def _score(words: Sequence[str], text: str) -> float:
    weights: dict[str, float] = defaultdict(float)
    kinds: dict[int, frozenset[str]] = {}
    for at, word in enumerate(words):
        if (kind := _KINDS.get(word)) is not None:
            kinds[at] = kind
        for row, name in _ROWS.get(word, ()):
            if tuple(words[at : at + len(row)]) == row:
                weights[name] = max(weights[name], PHRASES[name][0])
                if name == "prompt" and any("show" in each for each in _before(kinds, at, _NEAR)):
                    weights["leak"] = 0.6
    for at, kind in kinds.items():
        for name, weight in _rules(words, kinds, at, kind):
            weights[name] = max(weights[name], weight)
    for name, weight in _signs(text):
        weights[name] = max(weights[name], weight)
    return _or(weights.values())


def _rules(
    words: Sequence[str], kinds: Mapping[int, frozenset[str]], at: int, kind: frozenset[str]
) -> Iterator[tuple[str, float]]:
    """What the word at a place begins."""
    if "ignore" in kind:
        yield "override", _override(words, kinds, at)
    elif "order" in kind:  # German puts the verb last
        if _any_within(kinds, at + 1, 3, "ignore") and any(each & _FAR for each in _before(kinds, at, 4)):
            yield "override", 0.7
    elif kind & {"prior", "matter"}:
        if _any_within(kinds, at + 1, 3, "ignore") and any("prior" in each for each in (*_before(kinds, at, 2), kind)):
            yield "override", 0.5
    elif "no" in kind and _any_within(kinds, at + 1, 4, "limit"):
        yield "free", 0.35
    elif "send" in kind and any(_ADDRESS.match(word) or word in {"http", "https"} for word in words[at : at + 14]):
        yield "send", 0.35
    elif "hide" in kind and _any_within(kinds, at + 1, 4, "user") and _any_within(kinds, max(at - 2, 0), 2, "no"):
        yield "secret", 0.6


def _override(words: Sequence[str], kinds: Mapping[int, frozenset[str]], at: int) -> float:
    """Of a verb that sets aside: what it sets aside, and whether it is an order or a question."""
    near = _within(kinds, at + 1, _NEAR)
    about = frozenset().union(*near)
    far = about & _FAR
    if "order" in about:
        weight = 0.85 if far else 0.35
    elif {"prior", "all"} <= about or ("matter" in about and far):
        weight = 0.75
    elif "prior" in about:
        weight = 0.6
    elif "all" in about:
        weight = 0.4
    else:
        return 0.0
    before = words[at - 1] if at else "."
    if before in _ASKED:
        return weight * 0.4
    return weight if before in _STOPS or before in _POLITE else weight * 0.8


def _signs(text: str) -> Iterator[tuple[str, float]]:
    """What shows in the letters rather than in words."""
    if not text:
        return
    if any(each in text for each in _CONTROL_MARKS) and _CONTROL.search(text):
        yield "control", 0.7
    if ":" in text and _SPEAKER.search(text):
        yield "speaker", 0.4
    if "](http" in text and _CARRIER.search(text):
        yield "carrier", 0.4
    if not text.isascii():
        for name, (weight, phrases) in _UNSPACED.items():
            if phrases.search(text):
                yield name, weight


def _within(kinds: Mapping[int, frozenset[str]], start: int, count: int) -> list[frozenset[str]]:
    return [kinds[at] for at in range(start, start + count) if at in kinds]


def _before(kinds: Mapping[int, frozenset[str]], at: int, count: int) -> list[frozenset[str]]:
    return _within(kinds, max(at - count, 0), min(at, count))


def _any_within(kinds: Mapping[int, frozenset[str]], start: int, count: int, kind: str) -> bool:
    return any(kind in each for each in _within(kinds, start, count))


def _or(weights: Iterable[float]) -> float:
    left = 1.0
    for weight in weights:
        left *= 1.0 - weight
    return round(1.0 - left, 4)
