import asyncio
from contextlib import suppress

import pytest

from loopwright.kit.ending import end

pytestmark = pytest.mark.anyio


async def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def loses_two() -> None:
        nonlocal lost
        while lost < 2:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            lost += 1
        await asyncio.Event().wait()

    async def fails() -> None:
        raise ValueError("on its way out")

    tasks = [asyncio.create_task(each()) for each in (loses_two, fails)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end(tasks, again=0.01)
    assert lost == 2
    assert tasks[0].cancelled()
    assert all(task.done() for task in tasks)
    await end(tasks)  # of what has ended there is nothing to do
