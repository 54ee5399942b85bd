"""What was looked up for a call, as its page shows it: the question, what was found, what of it went into the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loopwright.console.conversation import TEXT_LIMIT, plain
from loopwright.kit.wire_read import dicts

_MOST: Final = 60
"""Passages on a page."""
_OUTCOMES: Final = {
    "grounded": "the answer stands on these passages",
    "weak": "the evidence was weak; the model was asked all the same",
    "refused": "the evidence was weak; the answer says so, and no model was asked",
}
_LEFT: Final = {
    "suspicious": "left out: reads like orders to a model",
    "tokens": "left out: no room for it",
    "rank": "left out: others are nearer",
}


def retrieved(request: object) -> dict[str, Any] | None:
    """What is drawn of the request of a call as it is on record; None where nothing was looked up."""
    aside = request.get("loopwright") if isinstance(request, Mapping) else None
    told = aside.get("retrieval") if isinstance(aside, Mapping) else None
    if not isinstance(told, Mapping):
        return None
    numbers, took = _list(told.get("cited")), told.get("took_us")
    candidates = dicts(told.get("candidates"))
    return {
        "outcome": plain(told.get("outcome", "")),
        "said": _OUTCOMES.get(plain(told.get("outcome", "")), ""),
        "collections": [plain(each) for each in _list(told.get("collections"))],
        "queries": [plain(each)[:2_000] for each in _list(told.get("queries"))],
        "warnings": [plain(each)[:500] for each in _list(told.get("warnings"))],
        "evidence": _number(told.get("evidence")),
        "threshold": _number(told.get("threshold")),
        "removed": [plain(each) for each in _list(told.get("removed_citations"))],
        "took": {plain(name): (_number(us) or 0) / 1000 for name, us in took.items()}
        if isinstance(took, Mapping)
        else {},
        "passages": [_passage(each, numbers) for each in candidates[:_MOST]],
        "more": max(len(candidates) - _MOST, 0),
    }


def _passage(told: Mapping[str, Any], cited: list[Any]) -> dict[str, Any]:
    number = told.get("number")
    scores = told.get("scores")
    about = [plain(told.get("heading") or "")] if told.get("heading") else []
    if told.get("page") is not None:
        about.append(f"page {plain(told.get('page'))}")
    return {
        "number": number if isinstance(number, int) else None,
        "cited": number is not None and number in cited,
        "title": plain(told.get("title") or told.get("document") or "")[:300],
        "about": ", ".join(about)[:300],
        "collection": plain(told.get("collection", "")),
        "document_id": told.get("document_id") if isinstance(told.get("document_id"), int) else None,
        "start": _place(told.get("start")),
        "end": _place(told.get("end")),
        "score": _number(told.get("score")),
        "scores": {plain(name): _number(value) for name, value in scores.items()}
        if isinstance(scores, Mapping)
        else {},
        "suspicion": _number(told.get("suspicion")) or 0.0,
        "marked": told.get("marked") is True,
        "left": _LEFT.get(plain(told.get("left", "")), ""),
        "text": plain(told.get("text", ""))[:TEXT_LIMIT],
    }


def _place(value: object) -> int:
    return value if isinstance(value, int) else 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
