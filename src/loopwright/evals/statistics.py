"""The statistics of evaluation, by the names others import; the formulas and their sources stand beside this file."""

from __future__ import annotations

from loopwright.evals.agreement import cohen_kappa, krippendorff_alpha
from loopwright.evals.comparisons import discordant, holm, mcnemar, paired_bootstrap, permutation_test, tango
from loopwright.evals.corrections import prediction_powered, rogan_gladen
from loopwright.evals.intervals import (
    LEVEL,
    RESAMPLES,
    Estimate,
    bootstrap_interval,
    mean_interval,
    resampled_interval,
    wilson,
)
from loopwright.evals.power import ALPHA, POWER, examples_needed, minimum_detectable_effect

__all__ = [
    "ALPHA",
    "LEVEL",
    "POWER",
    "RESAMPLES",
    "Estimate",
    "bootstrap_interval",
    "cohen_kappa",
    "discordant",
    "examples_needed",
    "holm",
    "krippendorff_alpha",
    "mcnemar",
    "mean_interval",
    "minimum_detectable_effect",
    "paired_bootstrap",
    "permutation_test",
    "prediction_powered",
    "resampled_interval",
    "rogan_gladen",
    "tango",
    "wilson",
]
