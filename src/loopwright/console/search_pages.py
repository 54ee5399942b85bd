"""The search playground: what a question finds in a collection, why each passage is where it is, two ways side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.routing import Route

from loopwright.app import App
from loopwright.console.asking import whole_of
from loopwright.console.collection_pages import opened
from loopwright.console.marked import parts_of
from loopwright.console.overview import chat_models
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.core.passage import Evidence, Passage
from loopwright.laboratory.searching import Looked, searched
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.options import MODES

_STAGES: Final = (
    ("dense", "meaning", "cosine of the question's vector and the passage's"),
    ("lexical", "words", "BM25 of the words that both have"),
    ("document", "document", "BM25 of the whole document, which words of `hybrid` count too"),
    ("fused", "together", "meaning and words on one scale, by their weight"),
    ("questions", "questions", "reciprocal ranks over all that was searched for"),
    ("reranked", "read again", "the mark of the model that read it with the question"),
)
"""Of a search: the score's name, what a page calls it, what it is."""
_K: Final = 8
_MOST: Final = 50
_ASKED: Final = (
    "mode",
    "k",
    "filter",
    "rerank",
    "rewrite",
    "rewrite_by",
    "diversity",
    "per_document",
    "neighbours",
    "weight",
)
"""What a form says of one side."""


class SearchPages:
    """Everybody searches the collections of their project, and finds what their key may."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """One page: a search is an address."""
        return [*self._shell.page("/collections/{name}/search", "collection_search.html", self._view)]

    async def _view(self, visit: Visit) -> View:
        project, collection = await opened(self._app, visit)
        text, compared = visit.asked("q"), visit.asked("compare") is not None
        names = ["a", "b"] if compared else ["a"]
        typed = {name: _typed(visit, name) for name in names}
        sides = [await self._side(visit, collection, text, typed[name]) for name in names] if text else []
        data: dict[str, Any] = {
            "project": project.name,
            "collection": collection.name,
            "query": text,
            "sides": [each["data"] for each in sides],
        }
        columns = [each["drawn"] for each in sides]
        if len(columns) == 2:
            _moved(columns[0], columns[1])
        drawn = {
            "scope": {} if project.name == visit.who.project else {"project": project.name},
            "about": collection,
            "typed": typed,
            "compared": compared,
            "columns": columns,
            "modes": MODES,
            "rerankers": [name for name, target in self._app.targets.items() if "rerank" in target.operations],
            "chats": chat_models(self._app, visit),
        }
        return View(data=data, drawn=drawn)

    async def _side(
        self, visit: Visit, collection: Collection, text: str, typed: Mapping[str, str]
    ) -> dict[str, dict[str, Any]]:
        """What one way finds; what is wrong with it is its own business, not the other's."""
        try:
            k, options = _options(typed, self._app)
            looked = await searched(
                self._app,
                visit.who,
                collection.project_id,
                [collection.name],
                text=text,
                k=k,
                options={**options, "explain": True},
            )
            evidence = await self._app.calibrations(looked.query, looked.found)
        except LoopwrightError as error:
            return {"data": {"error": error.message}, "drawn": {"error": error.message, "passages": []}}
        found = looked.found
        data = {
            "options": options,
            "k": k,
            "passages": [looked.shown(each) for each in found.passages],
            "candidates": len(found.candidates),
            "queries": [*found.queries],
            "evidence": evidence.value,
            "threshold": evidence.threshold,
            "took_us": dict(found.took_us),
            "warnings": [*found.warnings],
        }
        return {"data": data, "drawn": _drawn(looked, evidence)}


def _typed(visit: Visit, side: str) -> dict[str, str]:
    """The fields of a side; the second's names end in `_b`."""
    end = "" if side == "a" else "_b"
    found = {name: visit.asked(name + end) or "" for name in _ASKED}
    if any("\x00" in text for text in found.values()):
        raise BadRequest("a field holds NUL", param="filter")
    return found


def _options(typed: Mapping[str, str], app: App) -> tuple[int, dict[str, Any]]:
    """How many passages, and the options of a search; what is left empty is as the collection says.

    Raises:
        BadRequest: a field holds what cannot be.
    """
    options: dict[str, Any] = {}
    if typed["mode"]:
        options["mode"] = typed["mode"]
    if typed["filter"]:
        try:
            options["filter"] = json.loads(typed["filter"])
        except (ValueError, RecursionError):
            raise BadRequest('filter: a JSON object, e.g. {"year": {"gte": 2020}}', param="filter") from None
    if model := typed["rerank"]:
        target = app.targets.get(model)
        ranks = target is not None and "rerank" in target.operations
        options["rerank"] = {"model": model, "by": "rerank" if ranks else "chat"}
    if typed["rewrite"]:
        options["rewrite"] = {"model": typed["rewrite"], "by": typed["rewrite_by"] or "rewrite"}
    for name in ("diversity", "weight"):
        if typed[name]:
            options[name] = _number(name, typed[name])
    for name in ("per_document", "neighbours"):
        if (value := whole_of(typed, name, high=1_000)) is not None:
            options[name] = value
    k = whole_of(typed, "k", high=_MOST)
    return max(k or _K, 1), options


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadRequest(f"{name}: {text[:40]!r} is not a number from 0 to 1", param=name) from None


def _drawn(looked: Looked, evidence: Evidence) -> dict[str, Any]:
    """A side for the eye."""
    found = looked.found
    tops = {
        stage: max((each.scores.get(stage, 0.0) for each in found.candidates or found.passages), default=0.0)
        for stage, _, _ in _STAGES
    }
    return {
        "error": None,
        "passages": [
            {
                "passage": each,
                "rank": rank,
                "parts": parts_of(each.text, looked.marks(each)),
                "terms": len(looked.marks(each)),
                "why": _why(each, tops),
                "moved": None,
            }
            for rank, each in enumerate(found.passages, start=1)
        ],
        "candidates": len(found.candidates),
        "queries": found.queries,
        "evidence": evidence,
        "took": {name: us / 1000 for name, us in found.took_us.items()},
        "warnings": found.warnings,
    }


def _why(passage: Passage, tops: Mapping[str, float]) -> list[dict[str, Any]]:
    """What each stage said of a passage, beside the best of the stage."""
    scores, said = passage.scores, []
    for stage, name, about in _STAGES:
        if stage not in scores or (stage == "document" and not scores[stage]):
            continue
        top = tops[stage]
        rank = scores.get(f"{stage}_rank")
        said.append(
            {
                "name": name,
                "about": about,
                "value": scores[stage],
                "rank": None if rank is None else int(rank),
                "share": min(max(scores[stage] / top, 0.0), 1.0) if top > 0 else 0.0,
            }
        )
    if "diverse_rank" in scores:
        said.append({"name": "unlike others", "about": "after what is like those before it lost", "value": None,
                     "rank": int(scores["diverse_rank"]), "share": 0.0})  # fmt: skip
    return said


def _moved(one: Mapping[str, Any], two: Mapping[str, Any]) -> None:
    """Note of each passage of a side where the other has it: 0 is nowhere."""
    ranks = [{each["passage"].id: each["rank"] for each in side["passages"]} for side in (one, two)]
    for side, other in ((one, ranks[1]), (two, ranks[0])):
        for each in side["passages"]:
            each["moved"] = other.get(each["passage"].id, 0)
