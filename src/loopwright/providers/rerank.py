"""Reranking at an OpenAI-compatible place: the question in its words, its answer in ours. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loopwright.core.errors import UpstreamBroke
from loopwright.core.money import Usage
from loopwright.kit import reranking
from loopwright.kit.reranking import Asked

_OURS: Final = ("model", "query", "documents", "top_n", "return_documents")


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a place wants to be asked; member `rerank` of a preset. An empty name is left out."""

    path: str = "/rerank"
    root: bool = False
    """`path` is from the root of the host, not from `base_url`."""
    model: str = "model"
    documents: str = "documents"
    top_n: str = "top_n"
    batch: int = 0
    """Documents of one request; 0 is all."""
    add: dict[str, Any] = {}
    """Members it wants besides."""


def questions(body: Mapping[str, Any], asked: Asked, words: Words, model: str) -> Iterator[tuple[int, bytes]]:
    """What to send, and at which document each begins. Documents come back from us, so they are never asked for."""
    other = {name: value for name, value in body.items() if name not in _OURS}
    size = words.batch or len(asked.texts)
    for start in range(0, len(asked.texts), size):
        texts = asked.texts[start : start + size]
        said: dict[str, Any] = {**words.add, **other, "query": asked.query, words.documents: texts}
        if words.model:
            said[words.model] = model
        if words.top_n and size >= len(asked.texts):
            said[words.top_n] = asked.top_n
        yield start, msgspec.json.encode(said)


class Gathered:
    """The answers to the parts of one question."""

    __slots__ = ("_about", "_asked", "_scores", "_usage")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._scores: dict[int, float] = {}
        self._usage: Usage | None = None
        self._about: dict[str, Any] = {}

    def take(self, start: int, documents: int, raw: bytes) -> None:
        """The answer to the part that begins at document `start`.

        Raises:
            UpstreamBroke: it is none.
        """
        try:
            answer = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamBroke("it did not answer with results of a reranking") from None
        scores = reranking.scores_in(answer, documents)
        self._scores.update({start + at: score for at, score in scores.items()})
        usage = reranking.usage_in(answer)
        if usage is not None:
            self._usage = Usage(input=usage.input + (0 if self._usage is None else self._usage.input))
        if isinstance(answer, Mapping):
            self._about |= {name: answer[name] for name in ("id", "meta") if name in answer}

    def whole(self, model: str) -> tuple[bytes, Usage]:
        """The answer, and what it took."""
        usage = self._usage or self._asked.estimate()
        return reranking.whole(model, reranking.ranked(self._scores, self._asked), usage, **self._about), usage
