"""Processes that the recorder has beside it while there is something for them to do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from loopwright.core.errors import Unavailable
from loopwright.kit.jobs import Jobs
from loopwright.kit.processes import Program, Supervisor
from loopwright.kit.settings import Settings

_LOOK: Final = 0.5
"""Seconds between looks whether there is still something to do."""
_LINGER: Final = 15.0
"""Seconds the process stays when there is nothing: what comes next begins at once."""
_GRACE: Final = 5.0
_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Threads of linear algebra wait by spinning: beside gateways and engines that costs more than it brings."""


async def alongside(
    jobs: Jobs, settings: Settings, name: str, busy: Callable[[], Awaitable[object]], *, linger: float = _LINGER
) -> None:
    """Keep `loopwright _NAME` running while it is busy and `linger` seconds longer, or until the jobs are to stop.

    An outage of the database counts as busy: the process waits it out by itself.
    """
    if not await busy():
        return
    clock = asyncio.get_running_loop().time
    supervisor = Supervisor()
    await supervisor.start(
        Program(
            name=name,
            command=[sys.executable, "-m", "loopwright.cli.child", f"_{name}"],
            env={"LOOPWRIGHT_HOME": str(settings.home.resolve()), **_ONE_THREAD},
            log=settings.home / "logs" / f"{name}.log",
            grace=_GRACE,
        )
    )
    try:
        works, at = True, clock()
        while works or (clock() - at < linger and not jobs.stopping.is_set()):
            await (asyncio.sleep(_LOOK) if works else jobs.rest(_LOOK))
            try:
                works = bool(await busy())
            except Unavailable:
                works = True
            at = clock() if works else at
    finally:
        await supervisor.stop_all()
