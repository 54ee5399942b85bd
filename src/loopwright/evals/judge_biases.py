"""What moves a judge beside what it is asked: place, length, who wrote it, and chance. Each with its interval.

Length and authorship are measured against people on the same things: that people, too, prefer the longer answer is
no bias of the judge, only that it does so more often than they.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from statistics import median

from loopwright.evals.intervals import Estimate, mean_interval, wilson
from loopwright.evals.judge_definition import Definition
from loopwright.evals.observation import Observation
from loopwright.evals.statistics import mcnemar, tango

Figures = MutableMapping[str, Estimate]


def measure(
    definition: Definition, observed: Sequence[Observation], figures: Figures, absent: MutableMapping[str, str]
) -> None:
    """Add what can be measured to `figures`, and why the rest cannot to `absent`."""
    _consistency(observed, figures, absent)
    if definition.form == "pairwise":
        _position(observed, figures, absent)
        _pair_length(observed, figures, absent)
        _pair_authorship(definition, observed, figures, absent)
    else:
        absent["flips"] = absent["first_shown"] = "only of two answers one stands first"
        _length(definition, observed, figures, absent)
        _authorship(definition, observed, figures, absent)


def _consistency(observed: Sequence[Observation], figures: Figures, absent: MutableMapping[str, str]) -> None:
    """How often it says the same when it is asked the same again: of each thing the share of pairs of answers."""
    shares = []
    for each in observed:
        first = each.orders[0] if each.orders is not None else each.verdict
        answers = [label for label in (first, *each.repeats) if label is not None]
        pairs = [(a, b) for at, a in enumerate(answers) for b in answers[at + 1 :]]
        if each.repeats and pairs:
            shares.append(sum(a == b for a, b in pairs) / len(pairs))
    if not shares:
        absent["consistency"] = "nothing was asked twice"
    elif set(shares) <= {0.0, 1.0}:
        figures["consistency"] = wilson(sum(shares), len(shares))
    else:
        figures["consistency"] = mean_interval(shares)


def _position(observed: Sequence[Observation], figures: Figures, absent: MutableMapping[str, str]) -> None:
    """How often the order decides, and for which place.

    `first_shown` is the share of preferences that fall on the answer shown first, less one half: asked in both orders,
    a judge without position bias has zero whatever it prefers. Its test is McNemar's on the pairs that flipped.
    """
    whole = [each.orders for each in observed if each.orders is not None and None not in each.orders]
    if not whole:
        absent["flips"] = absent["first_shown"] = "no pair has a verdict in both orders"
        return
    figures["flips"] = wilson(sum(first != second for first, second in whole), len(whole))
    shift = [((first == "a") - (first == "b") + (second == "b") - (second == "a")) / 4 for first, second in whole]
    found = mean_interval(shift)
    towards, away = sum(each > 0 for each in shift), sum(each < 0 for each in shift)
    figures["first_shown"] = Estimate(
        estimate=found.estimate,
        low=max(found.low, -0.5),
        high=min(found.high, 0.5),
        n=found.n,
        p=mcnemar([1] * towards + [0] * away, [0] * towards + [1] * away).p if towards + away else 1.0,
        method="share beyond one half",
    )


def _against_people(judge: Sequence[bool], people: Sequence[bool]) -> Estimate:
    """Share of the judge less share of people on the same things."""
    more = sum(a and not b for a, b in zip(judge, people, strict=True))
    less = sum(b and not a for a, b in zip(judge, people, strict=True))
    found = tango(more, less, len(judge))
    return Estimate(
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        n=found.n,
        p=mcnemar([1] * more + [0] * less, [0] * more + [1] * less).p if more + less else 1.0,
        method="judge less people",
    )


def _settled(observed: Sequence[Observation]) -> list[Observation]:
    return [each for each in observed if each.truth in ("a", "b") and each.verdict in ("a", "b") and len(each.human)]


def _pair_length(observed: Sequence[Observation], figures: Figures, absent: MutableMapping[str, str]) -> None:
    """How much more often than people it prefers the longer answer."""
    apart = [each for each in _settled(observed) if len(each.lengths) == 2 and each.lengths[0] != each.lengths[1]]
    if not apart:
        absent["verbosity"] = "no pair of different lengths has a preference of both people and judge"
        return
    longer = ["a" if each.lengths[0] > each.lengths[1] else "b" for each in apart]
    judge = [each.verdict == side for each, side in zip(apart, longer, strict=True)]
    people = [each.truth == side for each, side in zip(apart, longer, strict=True)]
    figures["verbosity"] = _against_people(judge, people)


def _pair_authorship(
    definition: Definition, observed: Sequence[Observation], figures: Figures, absent: MutableMapping[str, str]
) -> None:
    """How much more often than people it prefers the answer its own model wrote."""
    judge, people = [], []
    for each in _settled(observed):
        own = [_own(author, definition, each) for author in each.authors]
        if len(own) == 2 and own[0] != own[1]:
            side = "a" if own[0] else "b"
            judge.append(each.verdict == side)
            people.append(each.truth == side)
    if judge:
        figures["self_preference"] = _against_people(judge, people)
    else:
        absent["self_preference"] = "no answer with a known author is by the judge's own model, beside one that is not"


def _too_kind(definition: Definition, each: Observation) -> float | None:
    """By how much its verdict counts for more than people's, on a scale of 0 to 1."""
    if each.truth is None or each.verdict is None:
        return None
    values: Mapping[str, float] = definition.labels
    if definition.least is not None:
        return float(values[each.verdict] >= definition.least) - float(values[each.truth] >= definition.least)
    span = max(values.values()) - min(values.values())
    return 0.0 if span == 0 else (values[each.verdict] - values[each.truth]) / span


def _length(
    definition: Definition, observed: Sequence[Observation], figures: Figures, absent: MutableMapping[str, str]
) -> None:
    """How much kinder than people it is to the longer half of answers than to the shorter half."""
    found = [
        (each.lengths[0], kind)
        for each in observed
        if len(each.lengths) == 1 and (kind := _too_kind(definition, each)) is not None
    ]
    middle = median(length for length, _ in found) if found else 0
    long = [kind for length, kind in found if length > middle]
    short = [kind for length, kind in found if length <= middle]
    _put_difference(
        "verbosity", long, short, "answers of different lengths, judged and labelled, are needed", figures, absent
    )


def _authorship(
    definition: Definition, observed: Sequence[Observation], figures: Figures, absent: MutableMapping[str, str]
) -> None:
    """How much kinder than people it is to what its own model wrote than to others."""
    own: list[float] = []
    others: list[float] = []
    for each in observed:
        kind = _too_kind(definition, each)
        if kind is not None and each.authors and each.authors[0] is not None:
            (own if _own(each.authors[0], definition, each) else others).append(kind)
    why = "answers by the judge's own model and by others, with known authors, are needed"
    _put_difference("self_preference", own, others, why, figures, absent)


def _own(author: str | None, definition: Definition, each: Observation) -> bool:
    return author is not None and author in {definition.model, each.model}


def _put_difference(
    name: str,
    first: Sequence[float],
    second: Sequence[float],
    why: str,
    figures: Figures,
    absent: MutableMapping[str, str],
) -> None:
    """The difference of two means with the interval of Welch (1947, Biometrika 34:28), its degrees kept to the smaller."""
    if len(first) < 2 or len(second) < 2:
        absent[name] = why
        return
    one, two = mean_interval(first), mean_interval(second)
    half = ((one.high - one.estimate) ** 2 + (two.high - two.estimate) ** 2) ** 0.5
    estimate = one.estimate - two.estimate
    figures[name] = Estimate(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        n=len(first) + len(second),
        method="kinder than people, difference",
    )
