"""Reranking in the shape that Cohere, Jina and vLLM share: a question read and checked, scores put into an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from loopwright.core.errors import BadRequest, UpstreamBroke
from loopwright.core.money import Usage
from loopwright.kit.wire import House, decoded

MOST: Final = 1_000
"""Documents of one question, unless configured otherwise."""
_QUERY: Final = 100_000
_TEXT: Final = 1_000_000
"""Characters of the query, and of one document."""
_BYTES_A_TOKEN: Final = 4
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Document(msgspec.Struct):
    text: str


class Body(msgspec.Struct, kw_only=True):
    """What is looked at; other members go through."""

    model: _Name
    query: str
    documents: list[str | _Document]
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: bool | None = None
    loopwright: House | None = None


_BODY: Final = msgspec.json.Decoder(Body, strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question."""

    query: str
    texts: tuple[str, ...]
    top_n: int
    """Results that are wanted; never more than there are documents."""
    returned: bool
    """Documents come back with their results."""

    def estimate(self) -> Usage:
        """Tokens where nobody counted: a reranker reads the query with each document; four bytes are a token."""
        read = sum(len(text.encode()) for text in self.texts) + len(self.query.encode()) * len(self.texts)
        return Usage(input=max(read // _BYTES_A_TOKEN, 1), estimated=True)


def read(raw: bytes, *, most: int = MOST) -> Body:
    """The body of a question, checked.

    Raises:
        BadRequest: not JSON, a member is wrong, more than `most` documents; `param` names it.
    """
    body = decoded(_BODY, raw)
    if not body.query.strip():
        raise BadRequest("query: must not be empty", param="query")
    if len(body.query) > _QUERY:
        raise BadRequest(f"query: has {len(body.query):,} characters; at most {_QUERY:,}", param="query")
    if not body.documents:
        raise BadRequest("documents: must not be empty", param="documents")
    if len(body.documents) > most:
        raise BadRequest(f"documents: {len(body.documents):,} were sent; at most {most:,} at once", param="documents")
    for at, document in enumerate(body.documents):
        text = document if isinstance(document, str) else document.text
        if not text.strip():
            raise BadRequest(f"documents[{at}]: must not be empty", param=f"documents[{at}]")
        if len(text) > _TEXT:
            raise BadRequest(
                f"documents[{at}]: has {len(text):,} characters; at most {_TEXT:,}", param=f"documents[{at}]"
            )
    return body


def asked(body: Mapping[str, Any]) -> Asked:
    """The question of a body that `read` has let through."""
    texts = tuple(each if isinstance(each, str) else each["text"] for each in body["documents"])
    return Asked(
        query=body["query"],
        texts=texts,
        top_n=min(body.get("top_n") or len(texts), len(texts)),
        returned=bool(body.get("return_documents")),
    )


def ranked(scores: Mapping[int, float], question: Asked) -> list[dict[str, Any]]:
    """Results, the most relevant first, from the score of each document by its place in the question."""
    order = sorted(scores, key=lambda at: (-scores[at], at))[: question.top_n]
    results: list[dict[str, Any]] = []
    for at in order:
        result: dict[str, Any] = {"index": at, "relevance_score": scores[at]}
        if question.returned:
            result["document"] = {"text": question.texts[at]}
        results.append(result)
    return results


def whole(model: str, results: Sequence[Mapping[str, Any]], usage: Usage, **other: Any) -> bytes:
    """The body of an answer."""
    counted = {"prompt_tokens": usage.input, "total_tokens": usage.input + usage.output}
    return msgspec.json.encode({**other, "object": "list", "model": model, "results": results, "usage": counted})


def scores_in(answer: object, documents: int) -> dict[int, float]:
    """The score of each document from an upstream's answer: `results` or `data` of Cohere's form, or TEI's bare list.

    Raises:
        UpstreamBroke: it is none of these, or speaks of documents that were not sent.
    """
    found = answer
    if isinstance(answer, Mapping):
        found = answer.get("results", answer.get("data"))
    if not isinstance(found, list) or not found:
        raise UpstreamBroke("it did not answer with results of a reranking")
    scores: dict[int, float] = {}
    for each in found:
        at, score = (
            (each.get("index"), each.get("relevance_score", each.get("score"))) if _is_object(each) else (None, None)
        )
        if type(at) is not int or not 0 <= at < documents or at in scores:
            raise UpstreamBroke(f"a result of its reranking has the index {at!r}, of {documents} documents")
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise UpstreamBroke(f"a result of its reranking has no score (document {at})")
        scores[at] = float(score)
    return scores


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def usage_in(answer: object) -> Usage | None:
    """What an upstream says it read: `usage`, or Cohere's `meta.tokens`; None when it does not say."""
    if not isinstance(answer, Mapping):
        return None
    usage, meta = answer.get("usage"), answer.get("meta")
    tokens = meta.get("tokens") if isinstance(meta, Mapping) else None
    for said, names in ((usage, ("prompt_tokens", "total_tokens")), (tokens, ("input_tokens",))):
        for name in names:
            count = said.get(name) if isinstance(said, Mapping) else None
            if isinstance(count, int | float) and not isinstance(count, bool) and math.isfinite(count) and count > 0:
                return Usage(input=int(count))
    return None
