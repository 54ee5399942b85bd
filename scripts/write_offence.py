"""Writes `guardrails/offence.tsv` from the model in the wheel of alt-profanity-check, in an environment of its own.

    python -m venv /somewhere && /somewhere/bin/pip install alt-profanity-check
    /somewhere/bin/python scripts/write_offence.py src/loopwright/guardrails/offence.tsv

The model is a pickle of scikit-learn's, opened here once, by hand, and never in the product.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_HEAD = """\
# How much a word speaks for offence: word, its inverse document frequency, its weight times that. One word a line.
# From alt-profanity-check {version} (MIT, see offence.LICENSE.txt): a linear SVM trained on 200,000 comments that people
# labelled. Its five calibrated parts are made one here; `scripts/write_offence.py` wrote this file.
# bias {bias:.6f}
"""


def main() -> None:
    """Write the table to the path that is the first argument."""
    known = importlib.import_module("profanity_check.profanity_check")
    parts = known.model.calibrated_classifiers_
    weights: Any = 0.0
    bias = 0.0
    for part in parts:
        # The chance of offence is one over one plus e to the power of a times the margin plus b.
        [sigmoid] = part.calibrators
        weights = weights - sigmoid.a_ * part.estimator.coef_[0] / len(parts)
        bias = bias - (sigmoid.a_ * part.estimator.intercept_[0] + sigmoid.b_) / len(parts)
    frequencies = known.vectorizer.idf_
    lines = [
        f"{word}\t{frequencies[at]:.3f}\t{weights[at] * frequencies[at]:.3f}\n"
        for word, at in sorted(known.vectorizer.vocabulary_.items())
    ]
    head = _HEAD.format(version=version("alt-profanity-check"), bias=bias)
    Path(sys.argv[1]).write_text(head + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
