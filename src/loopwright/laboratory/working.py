"""The process of evaluations: a house of its own, with the same limits and the same record, that runs what waits."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from loopwright.app import build
from loopwright.core.who import Principal
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.measure import Measure
from loopwright.evals.paced import Paced
from loopwright.evals.road import Road
from loopwright.evals.runner import Runner
from loopwright.evals.sample import examples
from loopwright.kit.settings import Settings
from loopwright.laboratory.road import EvaluationRoad

FOLDER: Final = "evaluations"
"""Of the data folder: what evaluations at work have paid for."""
_POOL: Final = 4


async def evaluate(settings: Settings) -> None:
    """Run evaluations in this process until cancelled: over a house of its own, with the same limits and the same record.

    Raises:
        StartError: the database does not answer, or another process runs evaluations in this data folder.
    """
    app = await build(replace(settings, database=replace(settings.database, pool=_POOL)))
    watching = asyncio.create_task(app.watch())
    road, workshop = EvaluationRoad(app), app.workshop

    def measuring(evaluation: Evaluation, road: Road, who: Principal, paced: Paced) -> list[Measure]:
        return workshop.fitting.measures(evaluation.spec, road, who, paced)

    async def ended(evaluation: Evaluation) -> None:
        await workshop.fitting.record(evaluation)

    runner = Runner(
        workshop.evaluations,
        road,
        settings.home / FOLDER,
        examples=partial(examples, workshop.datasets),
        measuring=measuring,
        trusting=partial(workshop.fitting.trusted, behind=app.leads_to),
        ended=ended,
    )
    try:
        await runner.run()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await road.close()
        await app.close()
