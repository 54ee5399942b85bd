"""A judge's card: how far its verdicts agree with people's, what it errs by, and whether that is enough to gate.

Pure functions over what was observed; who asked the judge, and where cards are kept, is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.evals import judge_biases as biases
from loopwright.evals.corrections import rogan_gladen
from loopwright.evals.intervals import LEVEL, Estimate, wilson
from loopwright.evals.judge_definition import FLIP, TIE, Definition
from loopwright.evals.observation import Observation
from loopwright.evals.statistics import cohen_kappa, krippendorff_alpha, mcnemar

KAPPA: Final = 0.6
"""Agreement a judge must surely have where a task says nothing: `substantial` of Landis and Koch 1977."""
FEWEST: Final = 50
"""Labels below which nobody is trusted."""
MISSING: Final = 0.1
"""Share of verdicts that may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known of one version of a judge."""

    judge: str
    form: str
    model: str
    sha: str
    """Of the definition it was made for: with another prompt, model or parameters it is stale."""
    answered_by: tuple[str, ...]
    """The models that answered to that name."""
    labelled: int
    """Things people agreed on a label for."""
    unsettled: int
    """Things left out because people did not."""
    judged: int
    """Of those labelled, with a verdict."""
    missing: int
    """Verdicts that nobody could read, of all that were asked for."""
    verdicts: int
    base_rates: Mapping[str, float]
    """Shares of the labels people gave."""
    constant: str | None
    """What a judge would always say that knows only the base rates."""
    positive: str | None
    """The label that sensitivity is about."""
    positives: int
    negatives: int
    figures: Mapping[str, Estimate]
    """Each with its interval: kappa, kappa_weighted, alpha, alpha_people, alpha_all, accuracy, constant_accuracy, gain,
    sensitivity, specificity, missing, consistency, flips, first_shown, verbosity, self_preference."""
    absent: Mapping[str, str]
    """Why a figure is not there."""
    confusion: Mapping[str, Mapping[str, int]]
    """People's label, then the judge's."""
    cost_nano: int | None = 0
    """Nanodollars of all verdicts; None when one was unpriced."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    def corrected(self, share: float, n: int, *, level: float = LEVEL) -> Estimate | None:
        """What share of `n` people would pass of which the judge passed `share` (Rogan-Gladen).

        Returns:
            None when its sensitivity and specificity are not known, it is no better than chance, or a judge of pairs:
            those that flipped are neither passed nor failed.
        """
        hit, spared = self.figures.get("sensitivity"), self.figures.get("specificity")
        if hit is None or spared is None or not n or self.form == "pairwise":
            return None
        return rogan_gladen(
            share, n, sensitivity=hit.estimate, positives=self.positives, specificity=spared.estimate,
            negatives=self.negatives, level=level,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """What `card_of` reads."""
        return {
            **asdict(self),
            "answered_by": list(self.answered_by),
            "figures": {name: each.shown for name, each in self.figures.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whether a judge may gate."""

    trusted: bool
    reasons: tuple[str, ...]
    """Why not; when trusted, none."""
    bar: float
    card: Card | None = None


def card_of(row: Mapping[str, Any]) -> Card:
    """A Card from its JSON."""
    return msgspec.convert(row, Card)


def calibrated(name: str, definition: Definition, observed: Sequence[Observation]) -> Card:
    """The card of a judge from what it said of things that people labelled.

    Raises:
        BadRequest: nothing was observed, or a label is none that the judge may say.
    """
    _check(definition, observed)
    figures: dict[str, Estimate] = {}
    absent: dict[str, str] = {}
    settled = [each for each in observed if each.truth is not None]
    judged = [each for each in settled if each.verdict is not None]
    rates = Counter(each.truth for each in settled if each.truth is not None)
    constant = max(sorted(rates), key=lambda label: rates[label]) if rates else None
    _agreement(definition, settled, observed, figures, absent)
    _accuracy(judged, constant, figures, absent)
    positive, positives, negatives = _errors(definition, judged, figures, absent)
    asked = [verdict for each in observed for verdict in each.all_verdicts]
    lost = sum(verdict is None for verdict in asked)
    figures["missing"] = wilson(lost, len(asked))
    biases.measure(definition, observed, figures, absent)
    confusion: dict[str, dict[str, int]] = {}
    for each in settled:
        row = confusion.setdefault(str(each.truth), {})
        said = each.verdict if each.verdict is not None else "(missing)"
        row[said] = row.get(said, 0) + 1
    costs = [each.cost_nano for each in observed]
    return Card(
        judge=name,
        form=definition.form,
        model=definition.model,
        sha=definition.sha,
        answered_by=tuple(sorted({each.model for each in observed if each.model}))[:20],
        labelled=len(settled),
        unsettled=len(observed) - len(settled),
        judged=len(judged),
        missing=lost,
        verdicts=len(asked),
        base_rates={label: rates[label] / len(settled) for label in sorted(rates)},
        constant=constant,
        positive=positive,
        positives=positives,
        negatives=negatives,
        figures=figures,
        absent=absent,
        confusion=confusion,
        cost_nano=None if None in costs else sum(cost or 0 for cost in costs),
        calls=sum(each.calls for each in observed),
        input_tokens=sum(each.input_tokens for each in observed),
        output_tokens=sum(each.output_tokens for each in observed),
    )


def trust(card: Card | None, bar: float = KAPPA) -> Trust:
    """Whether a judge may gate: its kappa must surely reach the bar, on enough labels, with few verdicts missing.

    "Surely" is the low end of the interval: a high kappa of few labels is not trust, and more labels are the remedy.
    """
    if card is None:
        return Trust(trusted=False, reasons=("it has no card: calibrate it against labels of people",), bar=bar)
    reasons = []
    kappa, missing, gain = card.figures.get("kappa"), card.figures["missing"], card.figures.get("gain")
    if card.judged < FEWEST:
        reasons.append(f"only {card.judged} labelled verdicts, at least {FEWEST} are needed")
    if kappa is None:
        reasons.append(f"no kappa: {card.absent.get('kappa', 'nothing was labelled')}")
    elif kappa.low < bar:
        known = "its low end must reach" if kappa.estimate >= bar else "the bar is"
        reasons.append(
            f"kappa with people is {kappa.estimate:.2f} ({kappa.low:.2f} to {kappa.high:.2f}), {known} {bar:g}"
        )
    if missing.estimate > MISSING:
        reasons.append(f"{missing.estimate:.0%} of its verdicts cannot be read, at most {MISSING:.0%} may be")
    if gain is not None and gain.low <= 0:
        reasons.append(f"it is not shown to be right more often than always saying {card.constant!r}")
    return Trust(trusted=not reasons, reasons=tuple(reasons), bar=bar, card=card)


def _check(definition: Definition, observed: Sequence[Observation]) -> None:
    if not observed:
        raise BadRequest("nothing was observed: a card needs labelled things", param="observations")
    if len({each.id for each in observed}) < len(observed):
        raise BadRequest("observations: two have the same id", param="observations")
    allowed = {"a", "b", TIE} if definition.form == "pairwise" else set(definition.labels)
    said = allowed | ({FLIP} if definition.form == "pairwise" else set())
    for each in observed:
        for label in each.human:
            if label is not None and label not in allowed:
                raise BadRequest(
                    f"{each.id[:80]}: people's label {label[:60]!r} is none of {', '.join(sorted(allowed))}",
                    param="observations",
                )
        for label in (each.verdict, *each.all_verdicts):
            if label is not None and label not in said:
                raise BadRequest(f"{each.id[:80]}: {label[:60]!r} is no verdict of this judge", param="observations")


def _agreement(
    definition: Definition,
    settled: Sequence[Observation],
    observed: Sequence[Observation],
    figures: dict[str, Estimate],
    absent: dict[str, str],
) -> None:
    """Kappa with what people settled on, and alpha: of those two, of people alone, of all together."""
    truths, said = [each.truth for each in settled], [each.verdict for each in settled]
    none = "people or judge gave one and the same label throughout, or there are no verdicts"
    _put("kappa", cohen_kappa(truths, said), none, figures, absent)
    _put("alpha", krippendorff_alpha([truths, said]), none, figures, absent)
    people = _rows(observed)
    lone = "nothing was labelled by two people" if len(people) < 2 else "people gave one label throughout"
    _put("alpha_people", krippendorff_alpha(people) if len(people) > 1 else None, lone, figures, absent)
    together = [*people, [each.verdict for each in observed]]
    _put("alpha_all", krippendorff_alpha(together), none, figures, absent)
    ranks = definition.labels
    if definition.form == "pairwise" or len(ranks) < 3:
        absent["kappa_weighted"] = "only three or more verdicts in an order can be near each other"
        return
    order = sorted(ranks, key=ranks.__getitem__)
    weighted = cohen_kappa(truths, said, weights="quadratic", order=order)
    _put("kappa_weighted", weighted, none, figures, absent)


def _rows(observed: Sequence[Observation]) -> list[list[str | None]]:
    """One row a rater: the first labels, the second and so on."""
    most = max((len(each.human) for each in observed), default=0)
    return [[each.human[at] if at < len(each.human) else None for each in observed] for at in range(most)]


def _accuracy(
    judged: Sequence[Observation], constant: str | None, figures: dict[str, Estimate], absent: dict[str, str]
) -> None:
    if not judged:
        for name in ("accuracy", "constant_accuracy", "gain"):
            absent[name] = "there are no verdicts on labelled things"
        return
    right = [float(each.verdict == each.truth) for each in judged]
    easy = [float(each.truth == constant) for each in judged]
    figures["accuracy"] = wilson(sum(right), len(right))
    figures["constant_accuracy"] = wilson(sum(easy), len(easy))
    figures["gain"] = mcnemar(right, easy)


def _errors(
    definition: Definition, judged: Sequence[Observation], figures: dict[str, Estimate], absent: dict[str, str]
) -> tuple[str | None, int, int]:
    """Sensitivity and specificity where labels fall into two: passed or not; of pairs, the first or the second better."""
    if definition.form == "pairwise":
        good, bad, positive = {"a"}, {"b"}, "a"
    else:
        good = {label for label in definition.labels if definition.passed(label)}
        bad = definition.labels.keys() - good
        positive = "passed" if len(good) > 1 else next(iter(good), "")
    if not good or not bad:
        absent["sensitivity"] = absent["specificity"] = "nobody said from which verdict on an answer passes (`least`)"
        return None, 0, 0
    hits = [each.verdict in good for each in judged if each.truth in good]
    spared = [each.verdict in bad for each in judged if each.truth in bad]
    for name, found in (("sensitivity", hits), ("specificity", spared)):
        if found:
            figures[name] = wilson(sum(found), len(found))
        else:
            absent[name] = f"people labelled nothing {'as good' if name == 'sensitivity' else 'as bad'} that was judged"
    return positive, len(hits), len(spared)


def _put(name: str, found: Estimate | None, why: str, figures: dict[str, Estimate], absent: dict[str, str]) -> None:
    if found is None:
        absent[name] = why
    else:
        figures[name] = found
