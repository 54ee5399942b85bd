"""A Chat that minds limits, outages and money: it waits out refusals, tries failures again, and stops at a budget."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import Busy, InvalidOutput, LoopwrightError, Spent, UpstreamBroke, UpstreamTimeout
from loopwright.core.money import usd
from loopwright.kit import wire
from loopwright.kit.ids import Ids
from loopwright.kit.settings_evals import EvaluationSettings

TAG: Final = "loopwright.evaluation"
"""Which evaluation a call belongs to."""
_BUSY: Final = 0.25
"""Seconds to wait for an engine that others are using."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer that came whole."""

    delta: Delta
    call_id: str
    latency_us: int
    """Of the attempt that was answered."""


class Paced:
    """The road as one evaluation takes it: its answers and its judges share limits and budget."""

    def __init__(
        self,
        inner: Chat,
        settings: EvaluationSettings,
        evaluation_id: str,
        *,
        free: Callable[[str], Awaitable[bool]],
        budget_nano: int | None = None,
        spent_nano: int = 0,
        tag: str = TAG,
    ) -> None:
        """`free` says whether a question to a model keeps nobody waiting; `spent_nano` was spent before."""
        self._inner = inner
        self._settings = settings
        self._tags = {tag: evaluation_id}
        self._free = free
        self._budget = budget_nano
        self._ids = Ids()
        self._paused_until = 0.0
        self._asking: dict[str, int] = {}
        self._dearest: dict[str, int] = {}
        self._ended = asyncio.Event()
        self.spent_nano = spent_nano
        self.stop: Spent | None = None
        """Why nothing more may be asked."""

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """For judges: as `ask`, as a Chat. Answers come whole."""
        yield (await self.ask(request)).delta

    async def ask(self, request: Request) -> Said:
        """Ask until there is an answer.

        Raises:
            Spent: the budget of the evaluation, or of its key, is used up: nothing more is asked.
            LoopwrightError: it was refused, or failed as often as it may.
        """
        attempts = refusals = 0
        while True:
            await self._turn(request.model)
            try:
                return await self._once(request)
            except Spent as error:
                self.stop = self.stop or error
                raise
            except Busy as error:
                refusals += 1
                pause = max(self._backoff(refusals), min(error.retry_after or 0.0, self._settings.longest))
                self._paused_until = max(self._paused_until, time.monotonic() + pause)
            except InvalidOutput:
                raise  # an answer, and paid for: asking again until it fits would flatter the variant
            except LoopwrightError as error:
                attempts += 1
                if error.status < 500 or attempts >= self._settings.attempts:
                    raise
                await asyncio.sleep(max(self._backoff(attempts), min(error.retry_after or 0.0, self._settings.longest)))

    async def _turn(self, model: str) -> None:
        """Wait until `model` may be asked.

        Raises:
            Spent: nothing more may be asked.
        """
        while True:
            if self.stop is not None:
                raise self.stop
            pause = self._paused_until - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            elif not await self._free(model):
                await asyncio.sleep(_BUSY)
            elif self._may_pay(model):  # last, as nothing may come between this and the question
                return
            else:
                self._ended.clear()
                await self._ended.wait()

    def _may_pay(self, model: str) -> bool:
        """Whether what is being asked leaves room in the budget for one more; False is to wait and look again.

        Raises:
            Spent: there is none left.
        """
        if self._budget is None:
            return True
        asking = sum(self._asking.values())
        dearest = self._dearest.get(model)
        if dearest is None:  # nobody knows what this model costs: find out with one question
            if self.spent_nano < self._budget:
                return not asking
        else:
            held = sum(count * self._dearest.get(name, dearest) for name, count in self._asking.items())
            if self.spent_nano + held + dearest <= self._budget:
                return True
            if asking and self.spent_nano + dearest <= self._budget:
                return False
        if asking:
            return False
        self.stop = Spent(f"the budget of ${usd(self._budget)} is used up: ${usd(self.spent_nano)} are spent")
        raise self.stop

    async def _once(self, request: Request) -> Said:
        # Each attempt is a call of its own on record.
        call_id = self._ids.new()
        asked = replace(
            request,
            id=call_id,
            started_ns=time.time_ns(),
            trace=wire.new_trace(call_id=call_id),
            tags={**request.tags, **self._tags},
            deadline=time.monotonic() + self._settings.timeout,
            notes=[],
        )
        model = request.model
        self._asking[model] = self._asking.get(model, 0) + 1
        began = time.perf_counter_ns()
        try:
            last = await self._answer(asked)
        finally:
            self._asking[model] -= 1
            self._ended.set()
        self._pay(model, last.cost_nano)
        return Said(delta=last, call_id=asked.id, latency_us=(time.perf_counter_ns() - began) // 1_000)

    async def _answer(self, asked: Request) -> Delta:
        last: Delta | None = None
        try:
            async with asyncio.timeout(self._settings.timeout), answering(self._inner, asked) as answer:
                async for delta in answer:
                    last = delta
        except TimeoutError:
            raise UpstreamTimeout(f"no answer within {self._settings.timeout:g} s (evaluations.timeout)") from None
        if last is None:
            raise UpstreamBroke("the answer was empty")
        return last

    def _pay(self, model: str, cost_nano: int | None) -> None:
        if cost_nano is not None:
            self.spent_nano += cost_nano
            self._dearest[model] = max(self._dearest.get(model, 0), cost_nano)
        elif self._budget is not None:
            self.stop = Spent(f"what {model!r} costs is not known, so a budget cannot be kept: give it a price")

    def _backoff(self, count: int) -> float:
        settings = self._settings
        return min(settings.base * 2.0 ** min(count - 1, 40), settings.longest) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
