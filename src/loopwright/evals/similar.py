"""Model-assisted measures without a judge: likeness of meaning, and whether an answer stands in its passages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from loopwright.core.chat import Embedder
from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Method, Output, Tools
from loopwright.evals.plain import LONGEST, Plain, clipped, references, said
from loopwright.evals.sentences import sentences

_EMBEDDED: Final = 8_000
"""Characters of a text that is embedded."""
_MOST_REFERENCES: Final = 20
_MOST_SAID: Final = 60
"""Sentences of an answer that are looked for."""
_MOST_PASSAGES: Final = 1_000
"""Sentences of passages that are looked into."""
_NEAREST: Final = 3
"""Windows of the passages, by shared words, that are compared in meaning with each sentence."""
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_CITATION: Final = re.compile(r" ?\[\d{1,3}(?:[ ,;-]{1,3}\d{1,3}){0,20}\]")
_NUMERAL: Final = re.compile(r"\d[\d,.]*")
_STOP: Final = frozenset(
    [
        "a",
        "about",
        "after",
        "all",
        "also",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "like",
        "may",
        "me",
        "might",
        "more",
        "most",
        "my",
        "no",
        "not",
        "now",
        "of",
        "on",
        "one",
        "only",
        "or",
        "other",
        "our",
        "out",
        "over",
        "said",
        "says",
        "she",
        "should",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "up",
        "us",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)


def _embedder(evaluator: Plain[Any], tools: Tools, model: str | None) -> Embedder:
    if tools.embedder is None:
        raise BadRequest(f"{evaluator.kind}: there is no embedding model here", param="kind")
    return tools.embedder(model)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of vectors of unit length."""
    return max(-1.0, min(1.0, sum(a * b for a, b in zip(one, other, strict=True))))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityArgs:
    """Of `similarity`."""

    model: Annotated[str | None, "The embedding model; by default the house's own"] = None
    least: Annotated[float | None, "From which likeness on an answer passes; without, nothing is said of that"] = None


class Similarity(Plain[SimilarityArgs]):
    """Likeness of meaning with the best reference: the cosine of their embeddings, -1 to 1."""

    __slots__ = ("_embed",)
    Args = SimilarityArgs
    method: Method = "model-assisted"

    def prepare(self, tools: Tools) -> None:
        """Find the embedding model."""
        self._embed = _embedder(self, tools, self.args.model)

    async def measured(self, example: Example, output: Output) -> Score:
        """The cosine with the reference that is nearest."""
        wanted = [each for each in references(example)[:_MOST_REFERENCES] if each.strip()]
        if not wanted:
            return self.missing("the example has no expected value")
        if not output.text.strip():
            return self.figure(0.0, least=self.args.least, why="the answer is empty")
        texts = [each[:_EMBEDDED] for each in (output.text, *wanted)]
        vectors = await self._embed(texts)
        cut = {"clipped_from": len(output.text)} if len(output.text) > _EMBEDDED else {}
        value = max(cosine(vectors[0], each) for each in vectors[1:])
        return self.figure(value, least=self.args.least, model=self._embed.name, **cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedArgs:
    """Of `grounded`."""

    context: Annotated[
        str,
        "Which of the example's inputs (or metadata) holds the passages: a text, or a list of them; where it has none, they"
        " are those that the answer's variant looked up",
    ] = "context"
    embedding: Annotated[bool, "Whether meaning counts besides words"] = True
    model: Annotated[str | None, "The embedding model; by default the house's own"] = None
    least: Annotated[float, "From which value on an answer passes"] = 0.6


class Grounded(Plain[GroundedArgs]):
    """How much of an answer stands in its passages, 0 to 1: words, numbers and names shared, and nearness of meaning.

    It tells what came from elsewhere, not what contradicts: "is" and "is not" share their words.
    """

    __slots__ = ("_embed",)
    Args = GroundedArgs
    method: Method = "model-assisted"

    def prepare(self, tools: Tools) -> None:
        """Find the embedding model."""
        self._embed = _embedder(self, tools, self.args.model) if self.args.embedding else None

    async def measured(self, example: Example, output: Output) -> Score:
        """The mean over sentences, longer ones counting more; the least supported is in the explanation."""
        passages = passages_of(example, self.args.context) or [each[:LONGEST] for each in output.passages]
        if not passages:
            return self.missing(f"the example has no passages in {self.args.context!r}, and none were looked up"[:200])
        text, cut = clipped(_CITATION.sub("", output.text))
        claims = [each for each in sentences(text)[:_MOST_SAID] if content_words(each)]
        if not claims:
            return self.missing("the answer says nothing that could be looked for")
        sources = _Sources(passages)
        support = [sources.overlap(each) for each in claims]
        if self._embed is not None:
            near = await self._nearness(claims, sources)
            support = [(shared + meant) / 2 for shared, meant in zip(support, near, strict=True)]
        weights = [len(content_words(each)) for each in claims]
        value = sum(one * weight for one, weight in zip(support, weights, strict=True)) / sum(weights)
        worst = min(range(len(claims)), key=lambda at: support[at])
        return self.figure(
            value, least=self.args.least, why=f"least supported ({support[worst]:.2f}): {claims[worst][:300]}",
            sentences=[round(each, 4) for each in support], **cut,
        )  # fmt: skip

    async def _nearness(self, claims: Sequence[str], sources: _Sources) -> list[float]:
        """Of each sentence, the highest cosine with one of the windows that share most words with it."""
        assert self._embed is not None
        chosen = [sources.windows_for(each) for each in claims]
        texts = list(dict.fromkeys(text[:_EMBEDDED] for text in (*claims, *(each for some in chosen for each in some))))
        vectors = dict(zip(texts, await self._embed(texts), strict=True))
        return [
            max(0.0, *(cosine(vectors[claim[:_EMBEDDED]], vectors[each[:_EMBEDDED]]) for each in some))
            for claim, some in zip(claims, chosen, strict=True)
        ]


def passages_of(example: Example, name: str) -> list[str]:
    """The passages of an example: texts, or objects with a `text` or `content`."""
    found = example.inputs.get(name, example.metadata.get(name))
    listed = found if isinstance(found, list | tuple) else [] if found is None else [found]
    texts = []
    for each in listed:
        inner = (each.get("text") or each.get("content")) if isinstance(each, Mapping) else each
        if inner is not None and said(inner).strip():
            texts.append(said(inner)[:LONGEST])
    return texts


class _Sources:
    """Passages, cut into windows of up to three sentences, with the words of each."""

    __slots__ = ("_all", "_windows")

    def __init__(self, passages: Sequence[str]) -> None:
        self._windows: list[tuple[str, frozenset[str]]] = []
        for passage in passages:
            said_there = sentences(passage)[:_MOST_PASSAGES]
            for at in range(len(said_there)):
                window = " ".join(said_there[at : at + 3])
                self._windows.append((window, frozenset(_stems(window))))
            if len(self._windows) > _MOST_PASSAGES:
                break
        self._all = frozenset().union(*(words for _, words in self._windows))

    def overlap(self, claim: str) -> float:
        """The share of its words in the best window; numbers and names that stand nowhere count threefold."""
        words = content_words(claim)
        best = max((sum(word in there for word in words) for _, there in self._windows), default=0)
        foreign = [word for word in _telling(claim) if word not in self._all]
        return best / (len(words) + 2 * len(foreign))

    def windows_for(self, claim: str) -> list[str]:
        """Those that share most words."""
        words = set(content_words(claim))
        ranked = sorted(self._windows, key=lambda window: -len(words & window[1]))
        return [text for text, _ in ranked[:_NEAREST]]


def _stems(text: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(text.casefold())] + _NUMERAL.findall(text)


def content_words(text: str) -> list[str]:
    """The words that say something, without their commonest endings."""
    return [_stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOP]


def _stem(word: str) -> str:
    """Plural, possessive and the commonest endings away: enough to find a word again."""
    plain = word.replace("\u2019", "'").removesuffix("'s")
    for ending in ("ing", "ed", "es", "s"):
        if plain.endswith(ending) and len(plain) - len(ending) >= 3:
            return plain[: -len(ending)]
    return plain


def _telling(text: str) -> list[str]:
    """Numbers, and names: words with a capital that do not begin the sentence."""
    words = list(_WORD.finditer(text))
    names = [
        _stem(each[0].casefold()) for each in words[1:] if each[0][0].isupper() and each[0].casefold() not in _STOP
    ]
    return names + [_stem(each[0].casefold()) for each in words if each[0][0].isdigit()]
