"""Queries with judgements: which documents answer them, by name. As the files of BEIR hold them, and checked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from loopwright.core.errors import BadRequest
from loopwright.kit.db import plain
from loopwright.retrieval.measures import check_cutoffs
from loopwright.retrieval.options import check

QUERIES: Final = 5_000
JUDGEMENTS: Final = 500_000
WAYS: Final = 12
_TEXT: Final = 20_000
_NAME: Final = 2_000
_LARGEST: Final = 1e6
"""Of a grade."""
_LINE: Final = 1_000_000
CUTOFFS: Final = (5, 10)
BY: Final = "ndcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A query, and how good documents are for it."""

    id: str
    text: str
    grades: Mapping[str, float]
    """By the document's name; above 0 is relevant."""
    synthetic: bool = False
    """A model wrote it."""

    @property
    def measurable(self) -> bool:
        """Whether anything is relevant."""
        return any(grade > 0 for grade in self.grades.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to search."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Over those of the collection: docs/search.md."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "options": dict(self.options)}


DEFAULT_WAYS: Final = tuple(Way(name=mode, options={"mode": mode}) for mode in ("lexical", "dense", "hybrid"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured."""

    queries: Sequence[Judged]
    ways: Sequence[Way] = DEFAULT_WAYS
    """The first is what the others are compared with."""
    cutoffs: Sequence[int] = CUTOFFS
    note: str = ""

    @property
    def by(self) -> str:
        """The measure that ways are compared by."""
        return f"{BY}@{self.cutoffs[-1]}"

    def checked(self) -> Self:
        """The same, put in order.

        Raises:
            BadRequest: there are too many queries, a way is unknown or named twice, nothing can be measured.
        """
        if not 1 <= len(self.queries) <= QUERIES:
            raise BadRequest(f"queries: 1 to {QUERIES:,} of them, not {len(self.queries):,}", param="queries")
        if sum(len(each.grades) for each in self.queries) > JUDGEMENTS:
            raise BadRequest(f"qrels: at most {JUDGEMENTS:,} judgements", param="qrels")
        if not any(each.measurable for each in self.queries):
            raise BadRequest("qrels: no query has a relevant document, so nothing can be measured", param="qrels")
        names = [each.name for each in self.ways]
        if not 1 <= len(names) <= WAYS or len(set(names)) < len(names):
            raise BadRequest(f"ways: 1 to {WAYS} of them, each with a name of its own", param="ways")
        for way in self.ways:
            if not way.name.strip() or len(way.name) > 60 or not way.name.isprintable():
                raise BadRequest(f"ways: {way.name[:60]!r} is no name: 1 to 60 printable characters", param="ways")
            if "per_document" in way.options or "neighbours" in way.options or "explain" in way.options:
                raise BadRequest(
                    f"ways: {way.name}: documents are ranked, so per_document, neighbours and explain say nothing here",
                    param="ways",
                )
            check(way.options)
        return type(self)(
            queries=self.queries, ways=tuple(self.ways), cutoffs=check_cutoffs(self.cutoffs), note=self.note[:2_000]
        )


def judged_of(queries: Iterable[Mapping[str, Any]], judgements: Iterable[Mapping[str, Any]] = ()) -> list[Judged]:
    """Queries with their judgements.

    Args:
        queries: `{"_id", "text"}`, as BEIR's; `relevant` may name documents, or hold their grades by name.
        judgements: `{"query-id", "corpus-id", "score"}`, as BEIR's; `query`, `document` and `grade` are the same.

    Raises:
        BadRequest: one is none, an id stands twice, or a judgement is of no query; says which.
    """
    found: dict[str, tuple[str, bool]] = {}
    grades: dict[str, dict[str, float]] = defaultdict(dict)
    for number, each in enumerate(queries, start=1):
        name = _id(each, ("_id", "id"), f"query {number}")
        text = each.get("text", each.get("query"))
        if not isinstance(text, str) or not text.strip() or len(text) > _TEXT:
            raise BadRequest(f"query {number}: `text` is a text of 1 to {_TEXT:,} characters", param="queries")
        if name in found:
            raise BadRequest(f"query {number}: {name[:80]!r} is the id of another one, too", param="queries")
        found[name] = (plain(text, _TEXT), each.get("synthetic") is True)
        grades[name] |= _relevant(each.get("relevant", {}), number)
        if len(found) > QUERIES:
            raise BadRequest(f"queries: more than {QUERIES:,}", param="queries")
    for number, each in enumerate(judgements, start=1):
        where = f"judgement {number}"
        query = _id(each, ("query-id", "query"), where)
        if query not in found:
            raise BadRequest(f"{where}: there is no query {query[:80]!r}", param="qrels")
        document = _id(each, ("corpus-id", "document"), where)
        grades[query][document] = _grade(each.get("score", each.get("grade", 1)), where)
        if number > JUDGEMENTS:
            raise BadRequest(f"qrels: at most {JUDGEMENTS:,} judgements", param="qrels")
    return [
        Judged(id=name, text=text, grades=grades[name], synthetic=synthetic)
        for name, (text, synthetic) in found.items()
    ]


def lines_of(text: str, where: str) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines.

    Raises:
        BadRequest: a line is none; says which.
    """
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line) if len(line) <= _LINE else None
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"{where}:{number}: not JSON: {error}") from None
        if not isinstance(told, dict):
            raise BadRequest(f"{where}:{number}: no JSON object of at most {_LINE:,} characters")
        yield told


def _relevant(told: object, number: int) -> dict[str, float]:
    where = f"query {number}: relevant"
    if isinstance(told, list):
        told = dict.fromkeys(map(str, told), 1.0)
    if not isinstance(told, Mapping) or len(told) > JUDGEMENTS:
        raise BadRequest(f"{where}: names of documents, or their grades by name", param="queries")
    return {plain(str(name), _NAME): _grade(grade, where) for name, grade in told.items()}


def _id(told: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    found = next((told[name] for name in names if told.get(name) is not None), None)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not found or len(found) > _NAME:
        raise BadRequest(f"{where}: `{names[0]}` is a text of 1 to {_NAME:,} characters", param=names[0])
    return plain(found, _NAME)


def _grade(told: object, where: str) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not abs(told) <= _LARGEST:
        raise BadRequest(f"{where}: a grade is a number, not {str(told)[:40]!r}", param="qrels")
    return float(told)
