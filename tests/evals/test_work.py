"""Evaluations over a real database and real files: what is paid is paid once, whatever happens."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import Busy, Conflict, InvalidOutput, NotFound, Spent, Unavailable, UpstreamRefused
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals import results
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.evaluators import make
from loopwright.evals.ledger import SUFFIX, keys_of_files
from loopwright.evals.spec import Gate
from loopwright.evals.trust import Trust
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from tests.evals.running import QUICK, Script, numbers, room

pytestmark = pytest.mark.anyio


async def test_every_example_is_asked_measured_and_told(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(30)) as made:
        name = await made.create(
            "right", "wrong", evaluators=["exact_match", {"kind": "length", "args": {"most": 3}}], baseline="wrong"
        )
        script = Script(lambda model, question: question if model == "right" else "no")
        await made.run(script)
        found = await made.show(name)
        assert found.status == "completed"
        assert found.tally.done == found.total == 30
        assert found.tally.answers == 60
        assert found.tally.cost_nano == 60_000
        assert script.most <= QUICK.concurrency * 2
        told = found.findings
        assert told is not None
        assert [each["scores"]["exact_match"]["mean"] for each in told["targets"]] == [1.0, 0.0]
        [comparison, _] = told["comparisons"]
        assert comparison["effect"] == 1.0
        assert comparison["wins"] == 30
        assert comparison["p_holm"] < 0.001
        assert comparison["better"] is True
        assert {each["slice"] for each in told["slices"]} == {"parity=odd", "parity=even"}
        assert told["pareto"]["evaluator"] == "exact_match"
        page = await results.page(made.store, found, limit=3)
        assert [row.example_id for row in page] == ["e0", "e1", "e2"]
        output = page[1].found[0].output
        assert output is not None
        assert output.text == "1"
        assert page[1].found[1].scores[0].value == 0.0


async def test_an_answer_is_paid_once_over_evaluations(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(10)) as made:
        script = Script()
        first = await made.create("m")
        await made.run(script)
        again = await made.create("m", evaluators=[{"kind": "length", "args": {"most": 3}}])
        await made.run(script)
        assert set(script.asked.values()) == {1}
        found = await made.show(again)
        assert (found.tally.answers, found.tally.cached) == (0, 10)
        assert (found.tally.cost_nano, found.tally.saved_nano) == (0, 10_000)
        fresh = await made.create("m", fresh=True)
        await made.run(script)
        assert set(script.asked.values()) == {2}
        assert (await made.show(fresh)).tally.answers == 10
        script.definitions["m"] = "another"
        await made.create("m")
        await made.run(script)
        assert set(script.asked.values()) == {3}
        assert (await made.show(first)).tally.answers == 10


async def test_the_same_question_twice_is_asked_once(database_url: str, tmp_path: Path) -> None:
    twice = [Example(id=f"{n}", inputs={"q": "same"}, expected="same") for n in range(20)]
    async with room(database_url, tmp_path, twice) as made:
        script = Script(delay=0.01)
        name = await made.create("m")
        await made.run(script)
        assert script.asked == {("m", "same"): 1}
        found = await made.show(name)
        assert (found.tally.answers, found.tally.cached, found.tally.done) == (1, 19, 20)


@pytest.mark.parametrize("sealed", [False, True])
async def test_going_on_repeats_nothing_that_was_answered(database_url: str, tmp_path: Path, sealed: bool) -> None:  # noqa: FBT001
    seal = Seal((SealingKey(id="k1", secret=b"s" * 32),)) if sealed else Seal()
    async with room(database_url, tmp_path, numbers(60), seal=seal) as made:
        script = Script(delay=0.01)
        name = await made.create("m", "n")
        running = made.running(script)
        await script.reached(40)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        folder = tmp_path / "evaluations"
        assert keys_of_files(folder).keys() <= {"k1" if sealed else None}
        asked = sum(script.asked.values())
        under_way = QUICK.concurrency * 2
        await made.run(script)
        found = await made.show(name)
        assert found.status == "completed"
        assert found.tally.done == 60
        assert sum(script.asked.values()) <= 120 + under_way
        assert asked < 120
        assert found.tally.answers == 120
        assert found.tally.cost_nano == 120_000
        assert not list(folder.glob(f"*{SUFFIX}"))
        rows = await made.db.rows("select payload from evaluation_answers")
        assert all((b'"text"' in bytes(row["payload"])) != sealed for row in rows)


async def test_a_line_cut_off_by_a_power_cut_is_asked_again(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(4)) as made:
        name = await made.create("m")
        folder = tmp_path / "evaluations"
        folder.mkdir()
        (folder / f"{name}{SUFFIX}").write_bytes(b"00ff\nhalf of a li")
        script = Script()
        await made.run(script)
        assert sum(script.asked.values()) == 4
        assert (await made.show(name)).status == "completed"


async def test_evaluators_that_raise_mark_the_example_and_the_run_goes_on(database_url: str, tmp_path: Path) -> None:
    class Moody:
        name = "moody"
        method = "deterministic"
        higher_is_better = True
        spec = {"kind": "moody"}  # noqa: RUF012

        async def __call__(self, example: Example, _output: Output) -> Any:
            number = int(example.inputs["q"])
            if number == 1:
                raise ZeroDivisionError("by nothing")
            if number == 2:
                raise SystemExit(3)
            if number == 3:
                return Score(name="moody", value=math.nan)
            if number == 4:
                return "no score"
            if number == 5:
                await asyncio.sleep(60)
            if number == 6:
                return Score(name="moody", value=1.0, details={"odd": object(), "deep": "\ud800"})
            return Score(name="moody", value=1.0)

    settings = replace(QUICK, evaluator_timeout=0.1)
    async with room(database_url, tmp_path, numbers(12), settings) as made:
        made.made = lambda spec, tools: Moody() if spec["kind"] == "moody" else make(spec, tools)
        name = await made.create("m", evaluators=[{"kind": "moody"}, "exact_match"])
        await made.run(Script())
        found = await made.show(name)
        assert found.status == "completed"
        assert (found.tally.done, found.tally.missing, found.tally.raised) == (12, 5, 5)
        assert found.findings is not None
        figure = found.findings["targets"][0]["scores"]["moody"]
        assert (figure["n"], figure["missing"]) == (7, 5)
        rows = await results.page(made.store, found, sort="missing", limit=5)
        whys = [row.found[0].scores[0].missing or "" for row in rows]
        assert "the evaluator raised ZeroDivisionError: by nothing" in whys
        assert any("TimeoutError" in why for why in whys)
        assert any("no finite number" in why for why in whys)


async def test_failures_are_tried_again_and_then_told(database_url: str, tmp_path: Path) -> None:
    def answer(_model: str, question: str) -> str | Exception:
        if question == "1":
            return Unavailable("down")
        if question == "2":
            return UpstreamRefused("no such thing", upstream_status=400)
        if question == "3":
            return InvalidOutput("does not fit")
        return question

    async with room(database_url, tmp_path, numbers(6)) as made:
        script = Script(answer)  # type: ignore[arg-type]  # errors of ours
        name = await made.create("m")
        await made.run(script)
        found = await made.show(name)
        assert script.asked["m", "1"] == QUICK.attempts
        assert script.asked["m", "3"] == 1
        assert found.tally.unanswered == 3
        assert found.tally.missing == 3
        again = await made.create("m")
        await made.run(script)
        assert script.asked["m", "3"] == 1  # it was paid for
        assert script.asked["m", "1"] == 2 * QUICK.attempts
        assert (await made.show(again)).tally.cached == 4


async def test_limits_are_waited_out(database_url: str, tmp_path: Path) -> None:
    refused: set[str] = set()

    def answer(_model: str, question: str) -> str | Busy:
        if question not in refused:
            refused.add(question)
            return Busy("slow down", retry_after=0.001)
        return question

    async with room(database_url, tmp_path, numbers(8)) as made:
        name = await made.create("m")
        await made.run(Script(answer))
        found = await made.show(name)
        assert (found.status, found.tally.unanswered, found.tally.done) == ("completed", 0, 8)


async def test_a_budget_stops_cleanly_and_what_was_found_stays(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(50)) as made:
        script = Script(delay=0.001)
        name = await made.create("m", budget_nano=10_500)
        await made.run(script)
        found = await made.show(name)
        assert found.status == "stopped"
        assert found.problem is not None
        assert "budget" in found.problem
        assert found.tally.cost_nano == 10_000
        assert found.tally.done == 10
        assert found.findings is not None
        assert found.findings["complete"] is False
        again = await made.create("m")
        await made.run(script)
        assert set(script.asked.values()) == {1}
        assert (await made.show(again)).tally.cached == 10


async def test_a_budget_needs_prices_and_a_spent_key_stops(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(20)) as made:
        name = await made.create("m", budget_nano=10_500)
        script = Script(cost_nano=None)
        await made.run(script)
        found = await made.show(name)
        assert found.status == "stopped"
        assert "not known" in str(found.problem)
        assert sum(script.asked.values()) == 1
        other = await made.create("n")
        await made.run(Script(lambda _model, _question: Spent("the key has no money left")))
        assert (await made.show(other)).problem == "the key has no money left"


async def test_cancelling_keeps_what_was_found(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(2_000)) as made:
        name = await made.create("m")
        script = Script(delay=0.01)
        running = made.running(script)
        await script.reached(20)
        assert (await made.store.cancel(name, project_id=1)).status == "cancelling"
        await running
        found = await made.show(name)
        assert found.status == "cancelled"
        assert 0 < found.tally.done < 2_000
        with pytest.raises(NotFound):
            await made.store.cancel("eval_no", project_id=1)
        await made.store.delete(name, project_id=1)
        with pytest.raises(NotFound):
            await made.show(name)


async def test_a_target_that_changes_meanwhile_stops(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(2_000)) as made:
        name = await made.create("m")
        script = Script(delay=0.01)
        running = made.running(script)
        await script.reached(1)
        with pytest.raises(Conflict):
            await made.store.delete(name, project_id=1)
        script.definitions["m"] = "another"
        await running
        found = await made.show(name)
        assert found.status == "stopped"
        assert "changed while it was evaluated" in str(found.problem)


async def test_the_gate_decides_and_an_untrusted_judge_does_not(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(40)) as made:
        script = Script(lambda model, question: question if model == "new" or int(question) % 4 else "no")
        name = await made.create("old", "new", baseline="old", gate=Gate(evaluators=("exact_match",)))
        await made.run(script)
        found = await made.show(name)
        assert found.verdict == "pass"
        worse = await made.create("old", "new", baseline="new", gate=Gate())
        await made.run(script)
        assert (await made.show(worse)).verdict == "fail"
        same = await made.create("new", "also", baseline="new", gate=Gate())
        await made.run(Script())
        gate = ((await made.show(same)).findings or {})["gate"]
        assert gate["verdict"] == "not enough evidence"
        made.trusted = {"exact_match": Trust(may_gate=False, why="it has no card")}
        untrusted = await made.create("old", "new", baseline="old", gate=Gate(evaluators=("exact_match",)))
        await made.run(script)
        gate = ((await made.show(untrusted)).findings or {})["gate"]
        assert gate["verdict"] == "not enough evidence"
        assert gate["informing"] == [{"evaluator": "exact_match", "why": "it has no card"}]


async def test_pages_are_sorted_by_what_matters(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path, numbers(12)) as made:
        name = await made.create("old", "new", baseline="old")
        await made.run(
            Script(lambda model, question: "no" if (model, question) in {("new", "7"), ("old", "3")} else question)
        )
        found = await made.show(name)
        regression = await results.page(made.store, found, sort="regression", limit=2)
        assert [row.example_id for row in regression] == ["e7", "e0"]
        disagreement = await results.page(made.store, found, sort="disagreement", limit=3)
        assert [row.example_id for row in disagreement] == ["e3", "e7", "e0"]
        odd = await results.page(made.store, found, slice=("parity", "odd"), offset=1, limit=2)
        assert [row.example_id for row in odd] == ["e3", "e5"]
        tools = Tools()
        assert make("exact_match", tools).name == "exact_match"
