"""Ends an answer at its deadline, wherever it is: also in a queue, between two attempts, in the middle of a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import UpstreamTimeout
from loopwright.gateway.alarm import Alarm


@dataclass(frozen=True, slots=True)
class Timed:
    """Raises UpstreamTimeout at the deadline of the request or after `seconds`, whichever comes first."""

    inner: Chat
    seconds: float | None = None
    """From now; None: only the deadline a request brings."""

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer in time."""
        began = time.monotonic()
        deadline = request.deadline
        if self.seconds is not None and (deadline is None or began + self.seconds < deadline):
            deadline = began + self.seconds
            request = replace(request, deadline=deadline)
        if deadline is None:
            deadline = float("inf")
        answer = self.inner(request)
        alarm = Alarm(min(deadline, began + 86_400.0))
        try:
            while (delta := await alarm.next(answer)) is not None:
                yield delta
        except TimeoutError:
            passed = time.monotonic() - began
            raise UpstreamTimeout(
                f"{request.model!r} did not answer by its deadline ({passed:.2f} s): give it more time by"
                " `x-loopwright-timeout` or `deadline` in its settings"
            ) from None
        finally:
            alarm.stop()
            await answer.aclose()
