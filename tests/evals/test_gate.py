"""The gate and its reports, without a database: tables made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals import gate, reports
from loopwright.evals.comparing import compared
from loopwright.evals.evaluator import Output
from loopwright.evals.measure import Measure
from loopwright.evals.pareto import front
from loopwright.evals.spec import Gate, Spec, Target, check, check_names, spec_of
from loopwright.evals.table import Cell, Table
from loopwright.evals.trust import Trust


class Named:
    """An evaluator that is only asked what it is."""

    method = "deterministic"

    def __init__(self, name: str, *, higher: bool = True) -> None:
        self.name = name
        self.higher_is_better = higher

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"kind": self.name}

    async def __call__(self, _example: Example, _output: Output, /) -> Score:
        raise NotImplementedError


def measure(name: str = "right", *, higher: bool = True, pair: bool = False) -> Measure:
    return Measure(Named(name, higher=higher), 1.0, pair)  # type: ignore[arg-type]  # its method is a plain text


def table(*targets: Sequence[float | None], slices: Sequence[str] = ()) -> Table:
    made = Table(targets=len(targets), evaluators=1)
    for at, values in enumerate(zip(*targets, strict=True)):
        cells = tuple(
            Cell(
                values=(value,), answered=True, cached=False, cost_nano=1, latency_us=1, input_tokens=1, output_tokens=1
            )
            for value in values
        )
        made.add(at, f"e{at}", {"part": slices[at]} if slices else {}, cells)
    return made


def spec(count: int = 2, **more: Any) -> Spec:
    names = ("old", "new", "other")[:count]
    given = {"baseline": "old", "gate": Gate(), **more}
    return Spec(
        targets=tuple(Target(name=name, model=name) for name in names),
        dataset="d",
        evaluators=({"kind": "right"},),
        **given,
    )


def judged(told: Spec, found: Table, *measures: Measure, complete: bool = True, **trusted: Trust) -> dict[str, Any]:
    verdict = gate.judged(told, list(measures) or [measure()], found, trusted, complete=complete)
    assert verdict is not None
    return verdict


WORSE, BETTER = [0.0, 1.0] * 40, [1.0] * 80


def test_pass_fail_and_not_enough_evidence() -> None:
    assert judged(spec(), table(WORSE, BETTER))["verdict"] == "pass"
    failed = judged(spec(), table(BETTER, WORSE))
    assert failed["verdict"] == "fail"
    assert failed["reason"] == "failed: new by right"
    slight = judged(spec(), table([1.0] * 78 + [0.0, 0.0], BETTER))
    assert slight["verdict"] == "not enough evidence"
    assert slight["examples_needed"] > 80
    assert judged(spec(gate=Gate(margin=-0.1)), table(BETTER, BETTER))["verdict"] == "pass"
    assert gate.judged(spec(gate=None), [measure()], table(WORSE, BETTER), {}, complete=True) is None


def test_lower_may_be_better_and_bars_are_reached() -> None:
    errors = measure("errors", higher=False)
    assert judged(spec(), table(BETTER, WORSE), errors)["verdict"] == "pass"
    long, short = [10.0 + n % 3 for n in range(60)], [5.0 + n % 3 for n in range(60)]
    assert judged(spec(), table(long, short), errors)["verdict"] == "pass"
    assert judged(spec(), table(short, long), errors)["verdict"] == "fail"
    bar = spec(1, baseline=None, gate=Gate(bars={"right": 0.9}))
    assert judged(bar, table(BETTER))["verdict"] == "pass"
    assert judged(bar, table(WORSE))["verdict"] == "fail"
    assert judged(bar, table([1.0] * 10 + [0.0]))["verdict"] == "not enough evidence"
    most = spec(1, baseline=None, gate=Gate(bars={"errors": 0.1}))
    assert judged(most, table([0.0] * 80), errors)["verdict"] == "pass"
    assert judged(most, table(WORSE), errors)["verdict"] == "fail"


def test_missing_findings_and_early_ends_are_no_pass() -> None:
    holes: list[float | None] = [*BETTER[:60], *[None] * 20]
    missing = judged(spec(), table(WORSE, holes))
    assert missing["verdict"] == "not enough evidence"
    assert "25.0% of the examples have no finding" in missing["reason"]
    assert judged(spec(gate=Gate(max_missing=0.3)), table(WORSE, holes))["verdict"] == "pass"
    assert judged(spec(), table(WORSE, BETTER), complete=False)["verdict"] == "not enough evidence"
    assert judged(spec(), table(BETTER, WORSE), complete=False)["verdict"] == "fail"
    assert judged(spec(), table([], []))["verdict"] == "not enough evidence"


def test_who_is_not_trusted_informs() -> None:
    doubted = Trust(may_gate=False, why="kappa with people is 0.12")
    told = judged(spec(), table(WORSE, BETTER), right=doubted)
    assert (told["verdict"], told["reason"]) == ("not enough evidence", "no evaluator here may gate")
    assert told["informing"] == [{"evaluator": "right", "why": "kappa with people is 0.12"}]
    named = judged(spec(gate=Gate(evaluators=("right",))), table(WORSE, BETTER), right=doubted)
    assert named["reason"] == "not trusted enough to gate: right"


def test_pairs_are_held_against_a_half() -> None:
    nothing: list[float | None] = [None] * 80
    pair = measure("pair", pair=True)
    assert judged(spec(), table(nothing, [1.0] * 60 + [0.5] * 20), pair)["verdict"] == "pass"
    assert judged(spec(), table(nothing, [0.0] * 60 + [0.5] * 20), pair)["verdict"] == "fail"
    assert judged(spec(), table(nothing, [0.0, 1.0] * 40), pair)["verdict"] == "not enough evidence"


def test_comparisons_are_corrected_over_all_and_name_the_worst_slice() -> None:
    slices = ["short", "long"] * 40
    found = table(BETTER, WORSE, BETTER, slices=slices)
    told = compared(["old", "new", "other"], 0, [measure()], found, resamples=200)
    assert [each["target"] for each in told] == ["new", "other"]
    assert told[0]["worst_slice"]["slice"] == "part=short"
    assert told[0]["better"] is False
    assert told[0]["p_holm"] == pytest.approx(2 * told[0]["p"])
    assert (told[1]["ties"], told[1]["p_holm"], told[1]["better"]) == (80, 1.0, None)
    empty = compared(["old", "new"], 0, [measure()], table([None], [1.0]), resamples=200)
    assert (empty[0]["n"], empty[0]["effect"], empty[0]["p_holm"]) == (0, None, None)


def test_the_front_of_cost_and_quality() -> None:
    def target(name: str, cost: str | None, mean: float | None) -> dict[str, Any]:
        return {
            "name": name,
            "cost_each_usd": cost,
            "latency_p50_s": 0.1,
            "scores": {"right": {"mean": mean, "low": mean, "high": mean}},
        }

    every = [target("a", "0.1", 0.9), target("b", "0.2", 0.8), target("c", "0.05", 0.5), target("d", None, 1.0)]
    found = front(every, [measure()], {})
    assert found is not None
    assert {point["target"]: point["on_front"] for point in found["points"]} == {"a": True, "b": False, "c": True}
    assert front([target("d", None, 1.0)], [measure()], {}) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "nobody"}, "none of the targets"),
        ({"targets": ()}, "1 to 16"),
        ({"targets": (Target(name="a", model="a"),) * 2, "baseline": "a"}, "is there twice"),
        ({"targets": (Target(name="old", model="a"),)}, "name another target"),
        ({"baseline": None}, "needs a baseline"),
    ],
)
def test_what_makes_no_sense(change: dict[str, Any], said: str) -> None:
    good = spec()
    given = {name: getattr(good, name) for name in good.__slots__} | change
    with pytest.raises(BadRequest, match=said):
        check(Spec(**given))
    check(good)
    assert spec_of(good.as_json()) == good
    with pytest.raises(BadRequest, match="two are called"):
        check_names(good, ["right", "right"], {"right": 1.0})


def told_of(verdict: str, reason: str) -> dict[str, Any]:
    criterion = {
        "target": "<new>", "evaluator": "a|b", "kind": "comparison", "against": "old", "verdict": verdict, "reason": reason,
    }  # fmt: skip
    figure = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10, "missing": 2, "method": "wilson"}
    return {
        "id": "eval_1", "name": "new\x00 <script>", "status": "completed", "problem": None, "dataset": "d@1",
        "created_at": "2026-11-21T00:00:00+00:00", "done": 10, "total": 10, "cost_usd": "0.1", "seconds": 2.0, "cached": 1,
        "saved_usd": "0.2", "unanswered": 1, "missing": 2, "raised": 1, "unpriced": 0,
        "findings": {
            "evaluators": [{"name": "a|b"}],
            "targets": [
                {"name": "<new>", "scores": {"a|b": figure}, "cost_each_usd": "0.01", "latency_p50_s": 0.5,
                 "latency_p95_s": 1.5, "unanswered": 1}
            ],
            "comparisons": [],
            "gate": {"verdict": verdict, "reason": reason, "criteria": [criterion], "examples_needed": 400,
                     "informing": [{"evaluator": "judge", "why": "no card"}]},
        },
    }  # fmt: skip


def test_reports_for_ci_and_people() -> None:
    told = told_of("not enough evidence", "the interval spans nothing\x07 ]]>")
    suite = ET.fromstring(reports.junit(told))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "2")
    assert [each.get("type") for each in suite.iter("failure")] == ["not enough evidence"]
    assert ET.fromstring(reports.junit(told, allow_uncertain=True)).get("failures") == "0"
    assert ET.fromstring(reports.junit(told_of("fail", "x"))).find(".//failure[@type='fail']") is not None
    stopped = {**told_of("pass", "x"), "status": "stopped", "problem": "no money"}
    assert ET.fromstring(reports.junit(stopped)).get("errors") == "1"
    page = reports.markdown(told)
    assert "About 400 examples would decide it." in page
    assert "<script>" not in page
    assert r"a\|b" in page
    assert "2 scores missing**, 1 because the evaluator raised" in page
    assert "informs only" in page


def test_what_passes_alone_and_not_among_many_says_so() -> None:
    better = [1.0] * 6 + [1.0, 0.0] * 27
    worse = [0.0] * 6 + [1.0, 0.0] * 27
    alone = judged(spec(), table(worse, better))
    assert alone["verdict"] == "pass"
    many = Spec(
        targets=tuple(Target(name=name, model=name) for name in ("old", "new", "b", "c", "d", "e")),
        dataset="d",
        evaluators=({"kind": "right"},),
        baseline="old",
        gate=Gate(),
    )
    told = judged(many, table(worse, better, *[worse] * 4))
    [first, *_] = told["criteria"]
    assert first["verdict"] == "not enough evidence"
    assert "alone it would pass, but not among 5 criteria" in first["reason"]
    assert first["examples_needed"] > 60
