"""What is shown of drift: watches, distributions of then and now, example calls. JSON, for the console and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from loopwright.calls.onward import with_texts
from loopwright.monitoring.drift_features import answer, said_by_user
from loopwright.monitoring.drift_findings import effect_of, spoken
from loopwright.monitoring.drift_looking import counted
from loopwright.monitoring.drift_sample import Sample
from loopwright.monitoring.drift_statistics import stability
from loopwright.monitoring.drift_store import Drift, Finding, Watch

_BINS: Final = 10
_NAMES: Final = 12
"""Categories that are shown by name."""
_CLIP: Final = 400
"""Characters of an example."""
_KEYS: Final = "asked by key"
_TOPICS: Final = "topics of inputs"


def watch_shown(watch: Watch, counts: Mapping[int, int], open_finding: Finding | None) -> dict[str, Any]:
    """A watch as JSON, with how far it is."""
    now = 0 if watch.state == "learning" else watch.window_number
    return {
        "id": watch.id,
        "project_id": watch.project_id,
        "subject": watch.subject,
        "kind": watch.kind,
        "name": watch.name,
        "state": watch.state,
        "embedder": watch.embedder,
        "trailing": watch.trailing,
        "reference": {"calls": counts.get(0, 0), "size": watch.reference_size, "learnt_at": watch.learnt_at},
        "window": {"number": watch.window_number, "calls": counts.get(now, 0) if now else 0, "size": watch.window_size},
        "per_day": watch.per_day,
        "taken_today": watch.taken,
        "alpha": watch.alpha,
        "problem": watch.problem,
        "created_at": watch.created_at,
        "created_by": watch.created_by,
        "finding": None if open_finding is None else finding_shown(open_finding),
    }


def finding_shown(finding: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    return {
        "id": finding.id,
        "watch_id": finding.watch_id,
        "subject": f"task/{finding.name}" if finding.kind == "task" else finding.name,
        "state": finding.state,
        "since": finding.since,
        "found_at": finding.found_at,
        "window": finding.number,
        "calls": finding.calls,
        "features": features_shown(finding.features),
        "fresh": list(finding.fresh),
        "former": list(finding.former),
        "closed_at": finding.closed_at,
        "closed_by": finding.closed_by,
    }


def features_shown(features: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a look said of each feature, the surest first."""
    found = [
        {
            "name": name,
            "says": spoken(name),
            "p": told["p"],
            "holm": told.get("holm", 1.0),
            "effect": told["effect"],
            "effect_of": effect_of(name),
        }
        for name, told in features.items()
    ]
    return sorted(found, key=lambda each: (each["holm"], each["p"], each["name"]))


async def whole(store: Drift, watch: Watch, finding_id: int | None = None) -> dict[str, Any]:
    """All that is shown of one watch; `finding_id` chooses whose examples."""
    findings = await store.findings(project_id=watch.project_id, watch_id=watch.id, limit=50)
    chosen = next((each for each in findings if each.id == finding_id), findings[0] if findings else None)
    counts = await store.counts(watch)
    current = [number for number in (watch.window_number, watch.window_number - 1) if number and counts.get(number)]
    looks = await store.looks(watch)
    opened = next((each for each in findings if each.state == "open"), None)
    return {
        "watch": watch_shown(watch, counts, opened),
        "looks": looks,
        "now": features_shown(looks[-1]["features"]) if looks else [],
        "findings": [finding_shown(each) for each in findings],
        "distributions": await distributions(store, watch, current[0]) if current else [],
        "examples": None
        if chosen is None
        else {
            "finding": chosen.id,
            "fresh": await examples(store, chosen.fresh),
            "former": await examples(store, chosen.former),
        },
    }


async def distributions(drift: Drift, watch: Watch, number: int) -> list[dict[str, Any]]:
    """Of the reference and of a window: lengths, languages, topics, keys, refusals, formats, with their shares."""
    then, now = await _columns(drift, watch, 0), await _columns(drift, watch, number)
    if not then or not now:
        return []
    found = []
    for name, says in (("input_length", "characters of inputs"), ("output_length", "characters of outputs")):
        found += _lengths(says, _values(then, name), _values(now, name))
    for name, says in (
        ("language", "language of inputs"),
        ("output_language", "language of outputs"),
        ("topic", _TOPICS),
        ("key_id", _KEYS),
        ("refused", "refusals"),
        ("malformed", "answers out of form"),
    ):
        found += _categories(says, _values(then, name), _values(now, name))
    await _exemplify(drift, watch, found)
    return found


async def _exemplify(drift: Drift, watch: Watch, found: Sequence[dict[str, Any]]) -> None:
    """Topics have no names: each is shown with the call of the reference that is nearest to its middle."""
    rows: Sequence[dict[str, Any]] = next((each["rows"] for each in found if each["says"] == _TOPICS), [])
    reference = await drift.sample(watch, 0) if rows else Sample([])
    if not len(reference):
        return
    vectors = reference.inputs
    centres = drift.topics(watch, vectors.shape[1])
    if centres is None:
        return
    middle = (vectors @ centres.T).argmax(axis=0)
    ids = {f"topic {at + 1}": reference.ids[int(index)] for at, index in enumerate(middle)}
    texts = {each["id"]: each["input"] for each in await examples(drift, list(ids.values()))}
    for row in rows:
        row["example"] = texts.get(ids.get(row["name"], ""), "")[:_CLIP]


async def examples(drift: Drift, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Calls with the beginnings of their texts, in the order asked for; those that are gone are left out."""
    found = {detail.call.id: detail for detail in await with_texts(drift.db, ids, drift.seal)}
    shown = []
    for name in ids:
        detail = found.get(name)
        if detail is None:
            continue
        asked = said_by_user(detail.request) if detail.request else ""
        shown.append(
            {
                "id": name,
                "started_at": detail.call.started_at,
                "input": asked[:_CLIP],
                "output": (answer(detail.response) or "")[:_CLIP],
            }
        )
    return shown


async def _columns(drift: Drift, watch: Watch, number: int) -> Sequence[Mapping[str, Any]]:
    return await drift.db.rows(
        """select key_id, input_length, output_length, language, output_language, refused, malformed, topic
           from drift_points where watch_id = %s and number = %s""",
        (watch.id, number),
    )


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows if row[name] is not None]


def _lengths(says: str, then: Sequence[int], now: Sequence[int]) -> list[dict[str, Any]]:
    if len(then) < _BINS or not now:
        return []
    edges = np.unique(np.quantile(then, np.linspace(0, 1, _BINS + 1)[1:-1]).round()).astype(int)
    one = np.bincount(np.searchsorted(edges, then, side="right"), minlength=len(edges) + 1)
    other = np.bincount(np.searchsorted(edges, now, side="right"), minlength=len(edges) + 1)
    lows = [0, *edges.tolist()]
    names = [_between(low, high - 1) for low, high in pairwise(lows)]
    return [_shown(says, [*names, f"{lows[-1]:,} and more"], one.tolist(), other.tolist())]


def _between(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _categories(says: str, then: Sequence[Any], now: Sequence[Any]) -> list[dict[str, Any]]:
    shares = {
        each: max(then.count(each) / max(len(then), 1), now.count(each) / max(len(now), 1)) for each in {*then, *now}
    }
    names = sorted(shares, key=lambda each: (-shares[each], str(each)))[:_NAMES]
    if not then or not now or (len(names) < 2 and says != _TOPICS):
        return []
    one, other = counted(then, names), counted(now, names)
    labels = [_label(says, each) for each in names]
    if one[-1] or other[-1]:
        return [_shown(says, [*labels, "others"], one, other)]
    return [_shown(says, labels, one[:-1], other[:-1])]


def _label(says: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if says == _KEYS:
        return f"key {value}"
    return f"topic {value + 1}" if isinstance(value, int) else str(value)


def _shown(says: str, names: Sequence[str], then: Sequence[int], now: Sequence[int]) -> dict[str, Any]:
    n, m = max(sum(then), 1), max(sum(now), 1)
    rows = [
        {"name": name, "then": a / n, "now": b / m, "calls_then": a, "calls_now": b, "example": ""}
        for name, a, b in zip(names, then, now, strict=True)
    ]
    return {"says": says, "psi": stability(np.asarray(then), np.asarray(now)), "rows": rows}
