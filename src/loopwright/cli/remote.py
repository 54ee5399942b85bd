"""The models of a running Loopwright, asked over HTTP from a command: whole answers, and a Chat for judges."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from decimal import Decimal, InvalidOperation
from types import TracebackType
from typing import Any, Final, Self

from loopwright.cli.answered import Answered
from loopwright.core.chat import Delta, Request
from loopwright.core.errors import Busy, LoopwrightError, Spent
from loopwright.core.money import NANO, Usage
from loopwright.evals.asked import output_of
from loopwright.evals.evaluator import Output
from loopwright.evals.paced import Said
from loopwright.kit import wire_read
from loopwright.kit.http import HttpClient
from loopwright.kit.rest import raised
from loopwright.kit.settings import Timeouts

_TRIES: Final = 6
_LONGEST: Final = 60.0
"""Seconds that a limit may ask us to wait before another try."""


class Remote:
    """Asks in the name of one key; each call carries `tags` on record."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        tags: Mapping[str, str],
        timeout: float = 600.0,
        answered: Answered | None = None,
    ) -> None:
        """What was `answered` before is not asked again."""
        self._tags = dict(tags)
        self._answered = answered or Answered()
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = HttpClient(base_url=url, headers=headers, timeouts=Timeouts(total=timeout), limit=32)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def ask(self, body: Mapping[str, Any]) -> Output:
        """The answer to a conversation; where a limit has no room it waits and asks again.

        Raises:
            LoopwrightError: the server refused, or nobody answered.
            Spent: a budget there is used up.
        """
        return output_of(await self._said(body), formed=False)

    async def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        """As a Chat: judges ask so."""
        yield (await self._said(request.body)).delta

    async def _said(self, body: Mapping[str, Any]) -> Said:
        known = self._answered.take(body)
        if known is not None:
            return known
        own = {**(body.get("loopwright") or {}), "tags": self._tags}
        payload = json.dumps({**body, "stream": False, "loopwright": own}).encode()
        for tried in range(1, _TRIES + 1):
            began = time.monotonic()
            try:
                return await self._asked(payload, began)
            except Spent:
                raise
            except Busy as error:
                wait = error.retry_after or float(tried)
                if tried == _TRIES or wait > _LONGEST:
                    raise
                await asyncio.sleep(wait)
        raise LoopwrightError("unreachable")

    async def _asked(self, payload: bytes, began: float) -> Said:
        reply = await self._http.request("POST", "/v1/chat/completions", payload, {"content-type": "application/json"})
        headers = reply.headers
        if reply.status >= 400:
            raise _problem(reply.body, reply.status, headers.get("retry-after", ""))
        usage = wire_read.whole(reply.body).get("usage")
        told = usage if isinstance(usage, dict) else {}
        delta = Delta(
            raw=reply.body,
            usage=Usage(input=_count(told.get("prompt_tokens")), output=_count(told.get("completion_tokens"))),
            cost_nano=_nano(headers.get("x-loopwright-cost-usd")),
            model=headers.get("x-loopwright-model", ""),
            done=True,
        )
        took = int((time.monotonic() - began) * 1e6)
        return Said(delta=delta, call_id=headers.get("x-loopwright-call-id", ""), latency_us=took)


def _problem(body: bytes, status: int, wait: str) -> LoopwrightError:
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    inner = said.get("error") if isinstance(said, dict) else None
    if isinstance(inner, dict) and inner.get("code") == "insufficient_quota":
        return Spent(str(inner.get("message")))
    retry_after = float(wait) if wait.isdigit() else None
    return raised(said, status=status, otherwise=f"the server answered {status}", retry_after=retry_after)


def _count(given: object) -> int:
    return given if isinstance(given, int) else 0


def _nano(told: str | None) -> int | None:
    """Nanodollars of a price as the header has it; None is unpriced."""
    try:
        return None if not told else int(Decimal(told) * NANO)
    except InvalidOperation:
        return None
