import json
import os
from pathlib import Path
from typing import Any, Literal

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from loopwright.core.errors import BadRequest
from loopwright.evals.statistics import cohen_kappa, krippendorff_alpha

DATA = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SCALES: tuple[Literal["nominal", "ordinal", "interval"], ...] = ("nominal", "ordinal", "interval")
WEIGHTS: tuple[Literal["linear", "quadratic"] | None, ...] = (None, "linear", "quadratic")


def rows(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"there is no {name}: set LOOPWRIGHT_TEST_DATA to the folder of published data")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_kappa_and_alpha_of_pandalm_are_what_others_compute() -> None:
    labels = [[row[f"annotator{at}"] for row in rows("pandalm/testset-v1.jsonl")] for at in (1, 2, 3)]
    told = {"1": 1, "2": 2, "Tie": 0}
    judge = [told.get(str(row["gpt_result"])) for row in rows("pandalm/gpt35-judge-testset-v1.jsonl")]
    for first, second in ((labels[0], labels[1]), (labels[1], labels[2]), (labels[0], judge)):
        pairs = [(a, b) for a, b in zip(first, second, strict=True) if b is not None]
        for weights in WEIGHTS:
            found = cohen_kappa(first, second, weights=weights)
            assert found is not None
            expected = cohen_kappa_score([a for a, _ in pairs], [b for _, b in pairs], weights=weights)
            assert found.estimate == pytest.approx(expected, abs=1e-9)
            assert found.low < found.estimate < found.high
    for scale in SCALES:
        found = krippendorff_alpha(labels, scale=scale, resamples=50)
        expected = krippendorff.alpha(np.array(labels, dtype=float), level_of_measurement=scale)
        assert found is not None
        assert found.estimate == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["cnndm", "xsum"])
def test_alpha_of_qags_is_what_others_compute(name: str) -> None:
    sentences = [each for row in rows(f"qags/mturk_{name}.jsonl") for each in row["summary_sentences"]]
    labels = [[each["responses"][at]["response"] for each in sentences] for at in range(3)]
    found = krippendorff_alpha(labels, resamples=50)
    expected = krippendorff.alpha(np.array([[each == "yes" for each in row] for row in labels], dtype=float),
                                  level_of_measurement="nominal")  # fmt: skip
    assert found is not None
    assert found.estimate == pytest.approx(expected, abs=1e-9)
    assert found.estimate == pytest.approx({"cnndm": 0.514, "xsum": 0.342}[name], abs=5e-4)
    kappa = cohen_kappa(labels[0], labels[1])
    assert kappa is not None
    assert kappa.estimate == pytest.approx(cohen_kappa_score(labels[0], labels[1]), abs=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_alpha_copes_with_gaps(scale: Literal["nominal", "ordinal", "interval"]) -> None:
    random = np.random.default_rng(6)
    values = random.integers(1, 6, (4, 80)).astype(float)
    values[random.random(values.shape) < 0.4] = np.nan
    ratings = [[None if np.isnan(value) else value for value in row] for row in values]
    found = krippendorff_alpha(ratings, scale=scale, resamples=20)
    assert found is not None
    assert found.estimate == pytest.approx(krippendorff.alpha(values, level_of_measurement=scale), abs=1e-9)


def test_alpha_of_numbers_that_lie_far_off_keeps_its_digits() -> None:
    random = np.random.default_rng(7)
    values = 1e9 + random.normal(0, 1, (3, 50))
    found = krippendorff_alpha(values.tolist(), scale="interval", resamples=5)
    near = krippendorff_alpha((values - 1e9).tolist(), scale="interval", resamples=5)
    assert found is not None
    assert near is not None
    assert found.estimate == pytest.approx(near.estimate, abs=1e-6)


def test_kappas_interval_is_as_wide_as_resampling_finds_it() -> None:
    table = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]
    first = [at for at, row in enumerate(table) for count in row for _ in range(count)]
    second = [at for row in table for at, count in enumerate(row) for _ in range(count)]
    found = cohen_kappa(first, second)
    assert found is not None
    assert found.estimate == pytest.approx(cohen_kappa_score(first, second))
    random = np.random.default_rng(1)
    chosen = [random.integers(0, 100, 100) for _ in range(300)]
    drawn = [cohen_kappa_score(np.array(first)[each], np.array(second)[each]) for each in chosen]
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(np.std(drawn), abs=0.01)


def test_what_is_undefined_is_none_and_never_nan() -> None:
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    assert cohen_kappa([], []) is None
    assert cohen_kappa([None, "a"], ["b", None]) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a", None], [None, "b"]]) is None
    assert krippendorff_alpha([[1.0, 1.0], [1.0, 1.0]], scale="interval") is None
    constant = cohen_kappa(["a", "b", "a"], ["a", "a", "a"])
    assert constant is not None
    assert constant.estimate == 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadRequest, match="pair"):
        cohen_kappa(["a"], [])
    with pytest.raises(BadRequest, match="order"):
        cohen_kappa(["a", "b"], ["a", "c"], order=["a", "b"])
    with pytest.raises(BadRequest, match="each rater"):
        krippendorff_alpha([["a"], ["a", "b"]])
    with pytest.raises(BadRequest, match="numbers"):
        krippendorff_alpha([["a", "b"], ["a", "a"]], scale="interval")
    with pytest.raises(BadRequest, match="labels"):
        cohen_kappa(list(range(501)), list(range(501)))
