"""Runs evaluations: asks example after example, finds out, concludes. Knows no road by itself.

One runner works for all evaluations of a data folder; whatever ends it, the next one goes on from their ledgers. An
answer is paid once; one that was under way when the process died, and never came, is asked for again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from loopwright.core.errors import LoopwrightError, Unavailable
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.road import Road
from loopwright.evals.store import Evaluations
from loopwright.evals.work import Examples, Measuring, Trusting, Work
from loopwright.kit.lock import FolderLock

_LOOK: Final = 0.25
"""Seconds between looks for new evaluations, and for those to be cancelled."""
_REST: Final = 5.0
"""Seconds after which an evaluation that could not go on is tried again."""
_TRIES: Final = 3
"""Times it is tried before it counts as failed."""
_log = logging.getLogger(__name__)


class Runner:
    """Runs the evaluations of one data folder until it is cancelled."""

    def __init__(
        self,
        store: Evaluations,
        road: Road,
        folder: Path,
        *,
        examples: Examples,
        measuring: Measuring,
        trusting: Trusting,
        ended: Callable[[Evaluation], Awaitable[None]] | None = None,
    ) -> None:
        """Keep ledgers in `folder`; `ended` hears of every evaluation that came to its end here."""
        self._store = store
        self._road = road
        self._folder = folder
        self._examples = examples
        self._measuring = measuring
        self._trusting = trusting
        self._ended = ended
        self._works: dict[str, Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._rests: dict[str, float] = {}

    async def run(self, *, once: bool = False) -> None:
        """Work until cancelled; with `once`, until nothing is left.

        Raises:
            StartError: another process works in this folder.
        """
        lock = FolderLock.take(self._folder / "lock")
        loop = asyncio.get_running_loop()
        try:
            while True:
                waiting = await self._look(loop.time())
                if once and not waiting and not self._tasks:
                    return
                await (asyncio.wait(self._tasks.values(), timeout=_LOOK) if self._tasks else asyncio.sleep(_LOOK))
                for name in [name for name, task in self._tasks.items() if task.done()]:
                    await self._returned(name, loop.time())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            lock.release()

    async def _look(self, now: float) -> int:
        """Begin what waits and there is room for, cancel what is to be; how many are not at their end."""
        try:
            unfinished = await self._store.unfinished()
        except Unavailable as error:
            _log.warning("evaluations go on without the database: %s", error)
            return 1
        for evaluation in unfinished:
            if evaluation.id in self._tasks:
                if evaluation.status == "cancelling":
                    self._works[evaluation.id].cancel()
            elif len(self._tasks) < self._store.settings.at_once and self._rests.get(evaluation.id, 0.0) <= now:
                self._begin(evaluation)
        return len(unfinished)

    def _begin(self, evaluation: Evaluation) -> None:
        work = self._works[evaluation.id] = Work(
            evaluation,
            self._store,
            self._road,
            self._folder,
            examples=self._examples,
            measuring=self._measuring,
            trusting=self._trusting,
        )
        self._tasks[evaluation.id] = asyncio.create_task(self._run(work), name=evaluation.id)

    async def _run(self, work: Work) -> None:
        evaluation = await work.run()
        _log.info("evaluation %s is %s: %d examples", evaluation.id, evaluation.status, evaluation.tally.done)
        if self._ended is not None and not evaluation.open:
            try:
                await self._ended(evaluation)
            except LoopwrightError as error:
                _log.warning("evaluation %s was not put on record as a run: %s", evaluation.id, error)

    async def _returned(self, name: str, now: float) -> None:
        """See whether an evaluation could go on: otherwise it is tried again, and its log line says why."""
        task = self._tasks.pop(name)
        del self._works[name]
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._failures.pop(name, None)
            return
        _log.error("evaluation %s could not go on: %s", name, error, exc_info=error)
        self._rests[name] = now + _REST
        if isinstance(error, Unavailable):
            return
        self._failures[name] = self._failures.get(name, 0) + 1
        if self._failures[name] >= _TRIES:
            said = error.message if isinstance(error, LoopwrightError) else f"{type(error).__name__}: see the log"
            with suppress(Unavailable):
                await self._store.finish(name, "failed", problem=f"it could not go on: {said}")
