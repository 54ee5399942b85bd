"""One evaluation at work, from whatever status it is found in to its end. Doing it again goes on where it stopped."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from loopwright.core.errors import BadRequest, NotFound, Refused, Spent, Unavailable
from loopwright.core.who import Principal
from loopwright.datasets.example import Example
from loopwright.evals import asked, results
from loopwright.evals.asking import Asking, Due
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.findings import conclude, so_far
from loopwright.evals.ledger import Ledger
from loopwright.evals.measure import Measure
from loopwright.evals.paced import Paced
from loopwright.evals.road import Road
from loopwright.evals.store import Evaluations
from loopwright.evals.table import Table
from loopwright.evals.trust import Trusted

Examples = Callable[[Evaluation], AsyncIterator[Example]]
"""The examples of an evaluation, always the same and in the same order."""
Measuring = Callable[[Evaluation, Road, Principal, Paced], list[Measure]]
"""Its evaluators, ready to find."""
Trusting = Callable[[Evaluation, Sequence[Measure]], Awaitable[Trusted]]
"""Which of them may gate, and why others may not."""
_CHUNK: Final = 256
"""Examples whose paid answers are looked up at a time."""
_NOTE: Final = 1.0
"""Seconds between notes of how far it is, at least."""
_GRACE: Final = 10.0
"""Seconds that examples being asked may take to finish when an evaluation is ended early."""
_IDLE: Final = 0.002
"""Seconds between looks for an example to be asked."""


class Work:
    """Brings one evaluation to its end."""

    def __init__(
        self,
        evaluation: Evaluation,
        store: Evaluations,
        road: Road,
        folder: Path,
        *,
        examples: Examples,
        measuring: Measuring,
        trusting: Trusting,
    ) -> None:
        self.evaluation = evaluation
        self._store = store
        self._road = road
        self._folder = folder
        self._examples = examples
        self._measuring = measuring
        self._trusting = trusting
        self._table = Table(targets=len(evaluation.spec.targets), evaluators=len(evaluation.spec.evaluators))
        self._due: deque[Due] = deque()
        self._seen: set[bytes] = set()
        self._ending: Literal["cancelled", "stopped"] | None = None
        self._problem: str | None = None

    def cancel(self) -> None:
        """End it early; examples being asked have ten seconds."""
        self._ending = "cancelled"

    async def run(self) -> Evaluation:
        """Work to the end of the evaluation; as it is then.

        Raises:
            Unavailable: the database cannot answer now; do it again.
        """
        evaluation = self.evaluation
        if evaluation.status == "cancelling" or not await self._store.began(evaluation.id, total=evaluation.total):
            self._ending = "cancelled"
        ledger = await asyncio.to_thread(Ledger.open, self._store, evaluation, self._folder)
        try:
            try:
                asking = await self._asking(ledger)
            except (BadRequest, NotFound, Refused) as error:
                await ledger.flush()
                await self._store.finish(evaluation.id, "failed", problem=error.message)
            else:
                await self._work(asking)
            await asyncio.to_thread(ledger.remove)
        finally:
            ledger.close()
        return await self._store.show(evaluation.id, project_id=None)

    async def _asking(self, ledger: Ledger) -> Asking:
        """All that is needed to ask.

        Raises:
            BadRequest, NotFound, Refused: something is not there any more, or not allowed.
        """
        evaluation, spec = self.evaluation, self.evaluation.spec
        who = await self._road.holder(evaluation.key_id, evaluation.project_id)
        if who is None:
            raise Refused("the key that made the evaluation has ended or was revoked")
        paced = Paced(
            self._road.chat,
            self._store.settings,
            evaluation.id,
            free=self._road.free,
            budget_nano=spec.budget_nano,
            spent_nano=evaluation.tally.spent_nano,
        )
        measures = self._measuring(evaluation, self._road, who, paced)
        prepared = [await self._road.prepare(who, target) for target in spec.targets]
        return Asking(
            evaluation=evaluation,
            road=self._road,
            who=who,
            paced=paced,
            ledger=ledger,
            table=self._table,
            measures=measures,
            labels=any(measure.aggregate for measure in measures),
            prepared=prepared,
            definitions=[asked.digest(each.definition) for each in prepared],
            nonce=evaluation.id if spec.fresh else "",
        )

    async def _work(self, asking: Asking) -> None:
        try:
            await self._recall(asking)
            await self._ask_all(asking)
        except (BadRequest, NotFound) as error:  # the dataset went
            self._stop(error.message)
        await asking.ledger.flush()
        if asking.paced.stop is not None:
            self._stop(asking.paced.stop.message)
        evaluation = await self._store.show(self.evaluation.id, project_id=None)
        trusted = await self._trusting(evaluation, asking.measures)
        found = await asyncio.to_thread(
            conclude, evaluation, asking.measures, self._table, trusted, resamples=self._store.settings.resamples
        )
        await self._store.finish(
            evaluation.id,
            self._ending or "completed",
            problem=self._problem,
            findings=found,
            verdict=None if found["gate"] is None else found["gate"]["verdict"],
        )

    async def _recall(self, asking: Asking) -> None:
        """What was found before this process began."""
        if self.evaluation.tally.done:
            await results.recall(self._store, self.evaluation, asking.measures, self._table)

    def _stop(self, problem: str) -> None:
        if self._ending is None:
            self._ending, self._problem = "stopped", problem

    # ---- asking ----

    def _over(self, asking: Asking) -> bool:
        return self._ending is not None or asking.paced.stop is not None

    async def _ask_all(self, asking: Asking) -> None:
        if self._ending is not None:
            return
        loop = asyncio.get_running_loop()
        noting = loop.create_task(self._note(asking))
        feeding = loop.create_task(self._feed(asking))
        pending: set[asyncio.Task[Any]] = {feeding}
        pending |= {loop.create_task(self._worker(asking, feeding)) for _ in range(self._store.settings.concurrency)}
        every = {noting, *pending}
        try:
            while pending:
                over = self._over(asking)
                done, pending = await asyncio.wait(
                    pending, timeout=_GRACE if over else 0.25, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
                if over and self._ending is not None:
                    break
        finally:
            for task in every:
                task.cancel()
            await asyncio.gather(*every, return_exceptions=True)

    async def _worker(self, asking: Asking, feeding: asyncio.Task[None]) -> None:
        while not self._over(asking):
            if self._due:
                with suppress(Spent):  # the example is not whole and does not count; nothing more is begun
                    await asking.example(self._due.popleft())
            elif feeding.done():
                return
            else:
                await asyncio.sleep(_IDLE)

    async def _feed(self, asking: Asking) -> None:
        """Keep examples due that are not yet found, with what was paid for them before."""
        done = set(self._table.positions)
        chunk: list[tuple[int, Example]] = []
        position = 0
        async for example in self._examples(self.evaluation):
            if self._over(asking):
                return
            if position not in done:
                chunk.append((position, example))
            position += 1
            if len(chunk) == _CHUNK:
                await self._add(chunk, asking)
                chunk = []
        await self._add(chunk, asking)

    async def _add(self, chunk: Sequence[tuple[int, Example]], asking: Asking) -> None:
        keyed = [(position, example, asking.keys(example)) for position, example in chunk]
        paid = await asking.ledger.known([key for _, _, keys in keyed for key in keys])
        for position, example, keys in keyed:
            again = frozenset(key for key in keys if key in self._seen)
            self._seen.update(keys)
            self._due.append(Due(position, example, keys, paid, again))
        while len(self._due) > _CHUNK and not self._over(asking):  # noqa: ASYNC110 - a look is cheaper than an event each
            await asyncio.sleep(2 * _IDLE)

    async def _note(self, asking: Asking) -> None:
        """Have what was found in the database, and its figures so far."""
        noted, pause = -1, _NOTE
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            with suppress(Unavailable):
                await asking.ledger.flush()
                await self._check_same(asking)
                if len(self._table) != noted:
                    noted = len(self._table)
                    await self._store.note(self.evaluation.id, so_far(self.evaluation, asking.measures, self._table))
            pause = max(_NOTE, 10 * (time.monotonic() - began))

    async def _check_same(self, asking: Asking) -> None:
        """Stop when a target is not what it was: answers of two would stand as those of one."""
        for target, known in zip(self.evaluation.spec.targets, asking.definitions, strict=True):
            try:
                now = await self._road.prepare(asking.who, target)
            except (BadRequest, NotFound, Refused) as error:
                return self._stop(error.message)
            if asked.digest(now.definition) != known:
                return self._stop(f"{target.name!r} was changed while it was evaluated: evaluate it again")
        return None
