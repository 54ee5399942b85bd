"""How to search: options of a query over those of its collection, read and checked. See docs/search.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint
from loopwright.retrieval.filters import Condition, condition_of
from loopwright.retrieval.terms import check_language

Mode = Literal["hybrid", "dense", "lexical"]
MODES: Final = ("hybrid", "dense", "lexical")
_NAMES: Final = (
    "mode", "candidates", "filter", "documents", "diversity", "rerank", "rewrite", "per_document", "neighbours",
    "weight", "explain",
)  # fmt: skip
_LATER: Final = ("language",)
"""Of a collection alone: it decides how words are indexed."""
_DOCUMENTS: Final = 1_000
_MODEL: Final = 256
_LARGEST_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """Who orders the best passages again."""

    model: str
    by: Literal["rerank", "chat"] = "rerank"
    """A model that reranks, or one that chats and is asked for a mark for each passage."""
    candidates: int = 30
    """How many of the best it reads."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"model": self.model, "by": self.by, "candidates": self.candidates}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """Which model says what else to search for."""

    model: str
    by: Literal["rewrite", "decompose"] = "rewrite"
    """The same in other words, or its parts."""
    queries: int = 3
    """How many at most, beside the one that was asked."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"model": self.model, "by": self.by, "queries": self.queries}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to search."""

    mode: Mode = "hybrid"
    candidates: int = 50
    """Of each list, before they become one."""
    filter: Condition | None = None
    documents: tuple[int, ...] | None = None
    """Only in these, by id; None is in all."""
    diversity: float = 0.0
    """0 takes the best; the nearer to 1, the more a passage loses by what is like it and ranked before it."""
    rerank: Reranking | None = None
    rewrite: Rewriting | None = None
    per_document: int = 0
    """Passages of one document at most; 0 is any number."""
    neighbours: int = 0
    """Chunks before and after each passage that are shown with it."""
    weight: float = 0.5
    """Of meaning against words, in `hybrid`."""
    explain: bool = False
    """Return every candidate with its text, not only those near the best."""


def options_of(said: Mapping[str, Any], collection: Mapping[str, Any], k: int) -> Options:
    """What a query says, over what its collection says, over what holds where neither does.

    Raises:
        BadRequest: something is said that cannot be; names it.
    """
    check(said)
    told = {**{name: value for name, value in collection.items() if name in _NAMES}, **_given(said)}
    mode = told.get("mode", "hybrid")
    documents = told.get("documents")
    return Options(
        mode=cast("Mode", mode),
        candidates=max(int(told.get("candidates", 50)), k),
        filter=condition_of(_both(collection.get("filter"), said.get("filter"))),
        documents=None if documents is None else tuple(dict.fromkeys(documents)),
        diversity=float(told.get("diversity", 0.0)),
        rerank=_reranking(told.get("rerank")),
        rewrite=_rewriting(told.get("rewrite")),
        per_document=int(told.get("per_document", 0)),
        neighbours=int(told.get("neighbours", 0)),
        weight=float(told.get("weight", 0.5)),
        explain=bool(told.get("explain", False)),
    )


def check(said: Mapping[str, Any], *, collection: bool = False) -> None:
    """See that options can be: of a query, or of a `collection`.

    Raises:
        BadRequest: one is unknown, or has a value that it cannot have.
    """
    known = (*_NAMES, *_LATER) if collection else _NAMES
    unknown = next((str(name) for name in said if name not in known), None)
    if unknown is not None:
        of_collection = " of a query: it is decided when words are indexed" if unknown in _LATER else ""
        raise BadRequest(
            f"options: {unknown[:60]!r} is none{of_collection}{hint(unknown, known)}; there are {', '.join(known)}",
            param=unknown[:60],
        )
    given = _given(said)
    if given.get("mode", "hybrid") not in MODES:
        raise BadRequest(f"mode: {str(given['mode'])[:40]!r} is none of {', '.join(MODES)}", param="mode")
    for name, low, high in (("candidates", 1, 1_000), ("per_document", 0, 100), ("neighbours", 0, 10)):
        _whole(given, name, low, high)
    for name in ("diversity", "weight"):
        _share(given, name)
    if not isinstance(given.get("explain", False), bool):
        raise BadRequest("explain: true or false", param="explain")
    _check_documents(given.get("documents"))
    condition_of(given.get("filter"))
    _reranking(given.get("rerank"))
    _rewriting(given.get("rewrite"))
    if "language" in given:
        check_language(given["language"])


def _given(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is null: that says nothing."""
    return {name: value for name, value in said.items() if value is not None}


def _both(one: object, two: object) -> object:
    """A query narrows the filter of its collection: it never takes its place."""
    return {"and": [one, two]} if one and two else one or two or None


def _whole(given: Mapping[str, Any], name: str, low: int, high: int) -> None:
    value = given.get(name, low)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadRequest(f"{name}: a whole number from {low} to {high:,}, not {_shown(value)}", param=name)


def _share(given: Mapping[str, Any], name: str) -> None:
    value = given.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadRequest(f"{name}: a number from 0 to 1, not {_shown(value)}", param=name)


def _check_documents(told: object) -> None:
    if told is None:
        return
    listed = isinstance(told, Sequence) and not isinstance(told, str) and len(told) <= _DOCUMENTS
    if not listed or not all(type(each) is int and 0 <= each <= _LARGEST_ID for each in cast("Sequence[Any]", told)):
        raise BadRequest(f"documents: a list of at most {_DOCUMENTS:,} ids", param="documents")


def _reranking(told: object) -> Reranking | None:
    found = _asked(told, "rerank", ("rerank", "chat"), ("candidates", 1, 200))
    return None if found is None else Reranking(**found)


def _rewriting(told: object) -> Rewriting | None:
    found = _asked(told, "rewrite", ("rewrite", "decompose"), ("queries", 1, 8))
    return None if found is None else Rewriting(**found)


def _asked(told: object, name: str, ways: Sequence[str], number: tuple[str, int, int]) -> dict[str, Any] | None:
    """A model by its name, or an object with `model`, `by` and a number."""
    if told is None or told is False:
        return None
    found: object = {"model": told} if isinstance(told, str) else told
    if not isinstance(found, Mapping) or not found.keys() <= {"model", "by", number[0]}:
        raise BadRequest(f"{name}: a model, or an object of `model`, `by` and `{number[0]}`", param=name)
    model = found.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= _MODEL or not model.isprintable():
        raise BadRequest(f"{name}.model: the name of a model is needed", param=name)
    if model.startswith("task/"):
        # A task may search itself: this would never end.
        raise BadRequest(f"{name}.model: a model is needed, not a task", param=name)
    if found.get("by", ways[0]) not in ways:
        raise BadRequest(f"{name}.by: {_shown(found['by'])} is none of {', '.join(ways)}", param=name)
    if number[0] in found:
        _whole(found, *number)
    return dict(found)


def _shown(value: object) -> str:
    return repr(value)[:60]
