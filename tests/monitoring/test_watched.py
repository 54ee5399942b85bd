"""What is watched of a task, and the lot by which its calls are drawn."""

from uuid import UUID

from loopwright.monitoring.drawing import draw_of
from loopwright.monitoring.watched import plan_of
from loopwright.tasks.task import task_of
from tests.monitoring.keeping import drawn_by, record, watched_task


def test_an_evaluator_that_cannot_be_made_is_told() -> None:
    plan = plan_of(
        task_of(
            "t",
            watched_task(evaluators=["refusal", "nonsense", {"kind": "python", "args": {"function": "os:abort"}}]),
            source="stored",
        ),
        may=lambda _: False,
    )
    assert plan is not None
    assert [each.name for each in plan.computed] == ["refusal"]
    assert "nonsense" in (plan.by_name["nonsense"].broken or "")
    assert plan.by_name["python"].broken is not None


def test_the_draw_is_of_the_id_alone() -> None:
    one = record().id
    assert draw_of(UUID(one)) == drawn_by(one)
