"""What a share or a mean would be without the errors of the judge who found it, with an interval that knows them.

Both take the labels of people on a sample beside the judge's verdicts on everything.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from loopwright.core.errors import BadRequest
from loopwright.evals.intervals import LEVEL, Estimate, finite, normal
from loopwright.kit.postponed import Postponed

special: Final = Postponed("scipy.special")


def rogan_gladen(
    share: float,
    n: int,
    *,
    sensitivity: float,
    positives: int,
    specificity: float,
    negatives: int,
    level: float = LEVEL,
) -> Estimate | None:
    """The true share behind the share a judge passed: (share + sp - 1)/(se + sp - 1) (Rogan and Gladen 1978, AJE 107:71).

    The interval also carries that sensitivity and specificity are themselves estimates: Lang and Reiczigel 2014, Prev.
    Vet. Med. 113:13-22, which adds z² and 2 to the counts. It is cut to [0, 1], as is the estimate.

    Args:
        share: what the judge passed, of `n`.
        n: how many it judged.
        sensitivity: share it passed of what people passed.
        positives: how many of those people labelled.
        specificity: share it failed of what people failed.
        negatives: how many of those.
        level: of the interval.

    Returns:
        None when the judge is no better than chance (se + sp ≤ 1): nothing can be told from its verdicts.

    Raises:
        BadRequest: a count is not positive, or a share is none.
    """
    if min(n, positives, negatives) < 1:
        raise BadRequest("n, positives, negatives: each must be at least 1", param="n")
    if not all(0 <= each <= 1 for each in (share, sensitivity, specificity)):
        raise BadRequest("share, sensitivity, specificity: each is between 0 and 1", param="share")
    if sensitivity + specificity - 1 <= 1e-9:
        return None
    z = normal(level)
    count, good, bad = n + z * z, positives + 2, negatives + 2
    passed = (n * share + z * z / 2) / count
    hit, spared = (positives * sensitivity + 1) / good, (negatives * specificity + 1) / bad
    power = hit + spared - 1
    if power <= 1e-9:
        return None
    true = (passed + spared - 1) / power
    of_hit, of_spared = hit * (1 - hit) / good, spared * (1 - spared) / bad
    middle = true + 2 * z * z * (true * of_hit - (1 - true) * of_spared)
    spread = passed * (1 - passed) / count + true**2 * of_hit + (1 - true) ** 2 * of_spared
    half = z * math.sqrt(spread) / power
    estimate = min(1.0, max(0.0, (share + specificity - 1) / (sensitivity + specificity - 1)))
    return Estimate(
        estimate=estimate,
        low=min(estimate, max(0.0, middle - half)),
        high=max(estimate, min(1.0, middle + half)),
        n=n,
        level=level,
        method="rogan-gladen",
    )


def prediction_powered(
    labels: ArrayLike,
    verdicts: ArrayLike,
    further: ArrayLike,
    *,
    level: float = LEVEL,
) -> Estimate:
    """The mean people would find, from few labels and many verdicts: PPI++ (Angelopoulos, Duchi and Zrnic 2023).

    θ = λ·mean(further) + mean(labels - λ·verdicts) (arXiv 2311.01453; λ = 1 is Angelopoulos et al. 2023, Science
    382:669), with the λ between 0 and 1 that makes the variance smallest, (cov(labels, verdicts)) / ((1 + n/N)·var).
    Whatever the judge is, it is right; a bad judge is just given no weight. Student's quantile instead of the
    normal one, as labels are few.

    Args:
        labels: of people, on a random sample.
        verdicts: the judge's on the same.
        further: the judge's on everything else.
        level: of the interval.

    Returns:
        `n` counts labels.

    Raises:
        BadRequest: fewer than two labels, verdicts that do not pair, none further.
    """
    true, told = finite(labels, "labels", least=2), finite(verdicts, "verdicts", least=2)
    rest = finite(further, "further")
    if true.size != told.size:
        raise BadRequest(f"labels: {true.size}, verdicts on them: {told.size}: pair them", param="verdicts")
    n, many = true.size, rest.size
    varies = float(np.concatenate([told, rest]).var(ddof=1))
    weight = 0.0
    if varies > 0:
        together = float(((true - true.mean()) * (told - told.mean())).sum()) / (n - 1)
        weight = min(1.0, max(0.0, together / ((1 + n / many) * varies)))
    rectified = true - weight * told
    estimate = float(weight * rest.mean() + rectified.mean())
    variance = weight**2 * (float(rest.var(ddof=1)) if many > 1 else varies) / many + float(rectified.var(ddof=1)) / n
    normal(level)  # checks it
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance)
    return Estimate(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        n=n,
        level=level,
        method=f"ppi++ λ={weight:.3f}",
    )
