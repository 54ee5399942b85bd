"""Which calls show best what moved: of now, and of then. Knows no table and no text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from loopwright.monitoring import drift_statistics as statistics
from loopwright.monitoring.drift_looking import Scores
from loopwright.monitoring.drift_sample import Point, Sample
from loopwright.monitoring.drift_statistics import Floats, Vectors

EXAMPLES: Final = 8
"""Of each side."""
_NEAR: Final = 300


def examples(  # noqa: PLR0911 - one for each kind
    feature: str,
    told: Mapping[str, Any],
    reference: Sample,
    current: Sample,
    centres: Vectors | None,
    scores: Scores,
) -> tuple[list[str], list[str]]:
    """(calls of now, calls of then) for one feature; `told` is what the look said of it."""
    side, _, kind = feature.partition(".")
    if side == "score":
        return _by_number(scores.get(kind, {}).get, reference, current, up=float(told["effect"]) > 0)
    if kind == "strangers":
        return _strangers(side, reference, current)
    if kind == "meaning":
        return _witnesses(side, reference, current)
    if kind == "topics" and centres is not None:
        return _of_topics(reference, current, centres)
    if kind == "length":
        name = f"{side}_length"
        read = {each.call_id: getattr(each, name) for each in (*reference.points, *current.points)}
        return _by_number(read.get, reference, current, up=float(told["effect"]) > 0)
    if kind == "language":
        return _by_language("language" if side == "input" else "output_language", reference, current)
    flag = "refused" if kind == "refusals" else "malformed"
    more = float(told["effect"]) > 0
    fresh = [each.call_id for each in current.points if getattr(each, flag) is more]
    former = [each.call_id for each in reference.points if getattr(each, flag) is (not more)]
    return fresh[-EXAMPLES:][::-1], former[-EXAMPLES:][::-1]


def _strangers(side: str, reference: Sample, current: Sample) -> tuple[list[str], list[str]]:
    """The strangest, each with the one of then that is nearest to it."""
    then, now, ids, others = *_vectors(side, reference, current), _ids(side, current), _ids(side, reference)
    order = np.argsort(-statistics.strangeness(then, now))[:EXAMPLES]
    nearest = (now[order] @ then.T).argmax(axis=1)
    return [ids[at] for at in order], list(dict.fromkeys(others[at] for at in nearest))


def _witnesses(side: str, reference: Sample, current: Sample) -> tuple[list[str], list[str]]:
    """Where there is more of now than of then, and the other way round."""
    then, now = _vectors(side, reference, current)
    some, other = then[-_NEAR:], now[-_NEAR:]
    return (
        _highest(now @ other.mean(axis=0) - now @ some.mean(axis=0), _ids(side, current)),
        _highest(then @ some.mean(axis=0) - then @ other.mean(axis=0), _ids(side, reference)),
    )


def _of_topics(reference: Sample, current: Sample, centres: Vectors) -> tuple[list[str], list[str]]:
    """Of the topic that grew most, and of the one that shrank most."""
    then, now = statistics.nearest(centres, reference.inputs), statistics.nearest(centres, current.inputs)
    had = np.bincount(then, minlength=len(centres)) / max(len(then), 1)
    have = np.bincount(now, minlength=len(centres)) / max(len(now), 1)
    grew, shrank = int((have - had).argmax()), int((have - had).argmin())
    return (
        _highest(np.where(now == grew, current.inputs @ centres[grew], -2.0), current.ids, least=-1.5),
        _highest(np.where(then == shrank, reference.inputs @ centres[shrank], -2.0), reference.ids, least=-1.5),
    )


def _by_language(name: str, reference: Sample, current: Sample) -> tuple[list[str], list[str]]:
    had = Counter(getattr(each, name) for each in reference.points)
    have = Counter(getattr(each, name) for each in current.points)
    grew = max(have, key=lambda each: have[each] / len(current) - had[each] / max(len(reference), 1))
    shrank = max(had, key=lambda each: had[each] / max(len(reference), 1) - have[each] / len(current))
    return (
        [each.call_id for each in current.points if getattr(each, name) == grew][-EXAMPLES:][::-1],
        [each.call_id for each in reference.points if getattr(each, name) == shrank][-EXAMPLES:][::-1],
    )


def _by_number(
    value: Callable[[str], float | None], reference: Sample, current: Sample, *, up: bool
) -> tuple[list[str], list[str]]:
    """The most extreme of now on the side it moved to, and ordinary ones of then."""
    now = [(found, each.call_id) for each in current.points if (found := value(each.call_id)) is not None]
    then = [(found, each.call_id) for each in reference.points if (found := value(each.call_id)) is not None]
    fresh = [name for _, name in sorted(now, reverse=up)[:EXAMPLES]]
    middle = sorted(then)[max(len(then) // 2 - EXAMPLES // 2, 0) :]
    return fresh, [name for _, name in middle[:EXAMPLES]]


def _highest(values: Floats, ids: Sequence[str], *, least: float = -np.inf) -> list[str]:
    order = np.argsort(-values)[:EXAMPLES]
    return [ids[at] for at in order if values[at] > least]


def _vectors(side: str, reference: Sample, current: Sample) -> tuple[Vectors, Vectors]:
    return (reference.inputs, current.inputs) if side == "input" else (reference.outputs, current.outputs)


def _ids(side: str, sample: Sample) -> list[str]:
    points: Sequence[Point] = sample.points
    return [each.call_id for each in points if side == "input" or each.output is not None]
