"""Asks one target after another until one answers, as long as nothing was sent to the client.

What comes before the first content (the role, comments) is held back, so a failure there goes unnoticed. The happy path
is one look at the first target; everything else is on the way of failures.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from msgspec.structs import replace

from loopwright.core.chat import Delta, Request
from loopwright.core.errors import Busy, InvalidOutput, LoopwrightError, Unavailable, UpstreamTimeout
from loopwright.core.money import Usage
from loopwright.core.notes import guessed
from loopwright.core.privacy import Privacy
from loopwright.gateway.alarm import Alarm
from loopwright.gateway.fair_queue import FairQueue, QueueFull
from loopwright.gateway.gated import refusal
from loopwright.gateway.retry_budget import RetryBudget
from loopwright.gateway.standing import Standing
from loopwright.gateway.strategies import Order
from loopwright.gateway.verdict import verdict
from loopwright.kit.settings_routes import RetrySettings

_HELD_BYTES: Final = 65_536
_CURIOUS: Final = 20
"""Every so manieth request may go to a demoted target first, to learn whether it is well again."""
_POLL: Final = 0.05
_NOBODY: Final = "no target of {model!r} can be asked now: all have failed or limit our rate"


class Retried:
    """A Chat over several targets, or one that is tried again."""

    def __init__(self, standings: Sequence[Standing], order: Order, settings: RetrySettings) -> None:
        self.standings = tuple(standings)
        self.budget = RetryBudget(settings.budget)
        self._order = order
        self._settings = settings
        self._count = 0

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer."""
        self.budget.deposit()
        return self.answer(request, [])

    async def answer(self, request: Request, trail: list[Standing]) -> AsyncGenerator[Delta, None]:
        """Answer; `trail` is filled with the targets of the attempts, and those already in it are asked last."""
        order = self._order(request, self._allowed(request))
        waited, full = 0.0, set[Standing]()
        last: BaseException | None = None
        while True:
            chosen = order[0]
            if not chosen.fit or trail or full:
                chosen, waited = await self._turn(request, order, trail, full, waited, last)
            trail.append(chosen)
            attempt = _Attempt(chosen, request, len(trail))
            try:
                if chosen.queue is not None:
                    await attempt.enter(chosen.queue)
                # Inside: a target may refuse before there is anything to await.
                async for delta in attempt.ask(self._settings.timeout):
                    if attempt.spoken:
                        yield delta
                        continue
                    for each in attempt.heard(delta):
                        yield each
                attempt.succeeded()
            except BaseException as error:
                attempt.ended(error)
                last, pause = error, self._again(error, attempt, order, trail, full)
                if pause is None:
                    raise
            else:
                return
            finally:
                await attempt.close()
            await asyncio.sleep(pause)

    def allows(self, privacy: Privacy) -> bool:
        """Whether any of its targets may be asked under `privacy`."""
        return any(privacy.allows(each.target.place) for each in self.standings)

    def _allowed(self, request: Request) -> Sequence[Standing]:
        """The targets that the request's policy lets be asked.

        Raises:
            Refused: there is none.
        """
        privacy = request.privacy
        if privacy is None or not privacy.confines:
            return self.standings
        found = [each for each in self.standings if privacy.allows(each.target.place)]
        if not found:
            raise refusal(privacy, request.model, [each.target.place for each in self.standings])
        return found

    async def _turn(
        self,
        request: Request,
        order: Sequence[Standing],
        trail: Sequence[Standing],
        full: set[Standing],
        waited: float,
        last: BaseException | None,
    ) -> tuple[Standing, float]:
        """Whose turn it is, where it is not simply the first one's, and the seconds that were waited for it in all.

        Raises:
            LoopwrightError: nobody can be asked soon.
        """
        while True:
            now = time.monotonic()
            chosen = self._choose(order, trail, full, now)
            if chosen is not None:
                return chosen, waited
            waited += await self._wait(request, order, now, waited, last)

    def _again(
        self,
        error: BaseException,
        attempt: _Attempt,
        order: Sequence[Standing],
        trail: list[Standing],
        full: set[Standing],
    ) -> float | None:
        """Seconds before the next attempt after one that failed; None when there is none."""
        standing = attempt.standing
        if isinstance(error, QueueFull):
            trail.remove(standing)
            full.add(standing)
            return None if len(full) == len(order) else 0.0
        if not isinstance(error, LoopwrightError):
            return None
        error.served = (standing.target.provider, standing.target.model)
        return self._pause(error, attempt, order, trail)

    def _choose(
        self, order: Sequence[Standing], trail: Sequence[Standing], full: set[Standing], now: float
    ) -> Standing | None:
        """Of those that may be asked the one that was asked least, then the one that is well, then the first."""
        ready = [each for each in order if each.ready(now) and each not in full]
        if len(ready) < 2:
            return ready[0] if ready else None
        self._count += 1
        curious = not trail and self._count % _CURIOUS == 0
        if curious:
            demoted = [each for each in ready if each.breaker.demoted]
            if demoted:
                return demoted[0]
        return min(ready, key=lambda each: (trail.count(each), each.shunned))

    async def _wait(
        self, request: Request, order: Sequence[Standing], now: float, waited: float, last: BaseException | None
    ) -> float:
        """Sleep until a target may be asked; the seconds slept.

        Raises:
            LoopwrightError: that would take too long.
        """
        known = min(each.ready_at(now) for each in order) - now
        pause = max(known, _POLL) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret
        late = request.deadline is not None and now + pause >= request.deadline
        if late or waited + pause > self._settings.wait:
            raise last or Unavailable(_NOBODY.format(model=request.model), retry_after=max(known, 1.0))
        await asyncio.sleep(pause)
        return pause

    def _pause(
        self, error: LoopwrightError, attempt: _Attempt, order: Sequence[Standing], trail: Sequence[Standing]
    ) -> float | None:
        """Seconds before the next attempt; None when there is none."""
        settings, found = self._settings, verdict(error)
        backoff = min(settings.base * 2 ** (len(trail) - 1), settings.longest)
        if found == "limited":
            wait = error.retry_after if isinstance(error, Busy) and error.retry_after is not None else backoff
            attempt.standing.refused(attempt.began, wait)
        if attempt.spoken or found == "final" or found not in settings.when or len(trail) >= settings.attempts:
            return None
        if not self.budget.take():
            return None
        elsewhere = any(each not in trail for each in order)
        pause = 0.0
        if found != "credentials" or not elsewhere:
            pause = random.uniform(0.0, settings.base if elsewhere else backoff)  # noqa: S311 - no secret
        request = attempt.request
        if request.deadline is not None and time.monotonic() + pause >= request.deadline:
            return None
        if isinstance(error, InvalidOutput) and error.usage is not None:  # the last one's counts the recorder
            attempt.standing.wasted(request, error.usage, 0.0)
        return pause


class _Attempt:
    """One question to one target."""

    __slots__ = (
        "_answer",
        "_entered",
        "_held",
        "_number",
        "_probe",
        "_queue",
        "began",
        "request",
        "spoken",
        "standing",
    )

    def __init__(self, standing: Standing, request: Request, number: int) -> None:
        self.standing = standing
        self.request = request
        self.spoken = False
        """Something has gone to the client."""
        self.began = 0.0
        """`time.monotonic()` at which the target was asked; 0 is not yet."""
        self._number = number
        self._held: list[Delta] = []
        """What came before the first content."""
        self._probe = False
        self._answer: AsyncGenerator[Delta, None] | None = None
        self._queue: FairQueue | None = None
        self._entered = 0.0

    async def enter(self, queue: FairQueue) -> None:
        """Wait for its turn."""
        await queue.enter(self.request.who.key_id, self.request.deadline)
        self._queue, self._entered = queue, time.monotonic()

    async def close(self) -> None:
        """Close its answer, and let the next one in where there is a queue."""
        if self._answer is not None:
            await self._answer.aclose()
        if self._queue is not None:
            self._queue.leave(time.monotonic() - self._entered)

    def ask(self, patience: float | None) -> AsyncGenerator[Delta, None]:
        """The target's answer; `patience` seconds to its first content."""
        standing, request = self.standing, self.request
        self.began = time.monotonic()
        self._probe = standing.began()
        answer = standing.target.chat(request) if patience is None else _prompt(standing, request, patience)
        self._answer = answer
        return answer

    def heard(self, delta: Delta) -> Sequence[Delta]:
        """What may be passed on now that `delta` came, as long as nothing was: all, from the first content on."""
        held = self._held
        held.append(delta)
        if not (delta.speaks or delta.done) and sum(len(each.raw) for each in held) <= _HELD_BYTES:
            return ()
        self.spoken = True
        self.standing.spoke(self.request, self.began, time.monotonic())
        if self._number > 1:
            held[0] = replace(held[0], attempts=self._number)
        return held

    def succeeded(self) -> None:
        """It came to its end."""
        self.standing.succeeded(probe=self._probe)

    def ended(self, error: BaseException) -> None:
        """It came to no good end, if it had begun."""
        if self.began:
            self._note(error, probe=self._probe)
            if not self.spoken:
                self._waste(error, self._held, time.monotonic() - self.began)

    def _waste(self, error: BaseException, held: list[Delta], seconds: float) -> None:
        """Note what the attempt took though nothing of it was passed on: as upstream told, else as far as it came.

        An error in place of an answer took nothing; one that had begun, was given up for time or was overtaken took
        at least the reading of the question.
        """
        usage: Usage | None = next((delta.usage for delta in reversed(held) if delta.usage is not None), None)
        timely = isinstance(error, LoopwrightError) and not (isinstance(error, UpstreamTimeout) and error.asked)
        if usage is None and (held or not timely):
            usage = guessed(self.request.raw, len([delta for delta in held if delta.speaks]))
        if usage is not None:
            self.standing.wasted(self.request, usage, seconds)

    def _note(self, error: BaseException, *, probe: bool) -> None:
        """What its end says of the target: nothing, when the client hung up or another attempt was faster."""
        if not isinstance(error, LoopwrightError):
            self.standing.left(self.began, probe=probe)
            return
        found = verdict(error)
        if found == "limited":  # `refused` is told with the time it names
            self.standing.succeeded(probe=probe)
        elif found == "final":
            self.standing.declined(self.began, probe=probe)
        else:
            self.standing.failed(self.began, time.monotonic(), probe=probe)


async def _prompt(standing: Standing, request: Request, seconds: float) -> AsyncGenerator[Delta, None]:
    """The answer, if its first content comes within `seconds`."""
    answer = standing.target.chat(request)
    alarm = Alarm(time.monotonic() + seconds)
    try:
        while (delta := await alarm.next(answer)) is not None:
            if delta.speaks or delta.done:
                alarm.stop()
                yield delta
                async for later in answer:
                    yield later
                return
            yield delta
    except TimeoutError:
        raise UpstreamTimeout(f"{standing.label} did not begin to answer within {seconds:g} s") from None
    finally:
        alarm.stop()
        await answer.aclose()
