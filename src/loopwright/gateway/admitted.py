"""Lets through only what the key may use, and as much of it as limits and budgets leave."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from loopwright.access.allowances import Allowances, Sizes
from loopwright.access.limits import MONEY
from loopwright.access.pool import Asking, Pool
from loopwright.core.assignment import Assignment
from loopwright.core.chat import Chat, Delta, Operation, Request, answering
from loopwright.core.errors import Refused
from loopwright.core.money import Price, Usage
from loopwright.kit.nearest import hint
from loopwright.kit.settings import LimitSettings

_BYTES_A_TOKEN: Final = 3
"""English has more than four and most scripts about three; low, so that the estimate is rather high."""
_WITHOUT_WORDS: Final = frozenset({"embeddings", "moderations", "rerank"})
"""Operations whose answers have no tokens."""
PriceOf = Callable[[str], Price | None]
"""From the name that is asked for to what it may cost, at most."""


def _unpriced(_model: str) -> Price | None:
    return None


_DEFAULTS: Final = LimitSettings()


class _Most(msgspec.Struct):
    """What a body says of the length of its answer; the rest is skipped unread."""

    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None


_MOST: Final = msgspec.json.Decoder(_Most)
_UNSAID: Final = _Most()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The model that is checked here is the model that is dispatched: nobody below renames it.

    What is reserved here is settled by `Settled`, from the record of the call: there is no layer on the answer.
    """

    inner: Chat
    allowances: Allowances | None = None
    """None where nothing is limited: then only scopes are checked."""
    price: PriceOf = _unpriced
    settings: LimitSettings = _DEFAULTS

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer, or refuse at once."""
        who = request.who
        assignment = request.assignment
        if not (
            who.may_call(request.model) if assignment is None else who.may_have_done(assignment.task, assignment.models)
        ):
            allowed = hint(request.model, who.models or ())
            raise Refused(f"key {who.key_name!r} may not call {request.model!r}{allowed}", param="model")
        if who.operations is not None or who.tasks is not None:
            self._check_scopes(request)
        allowances = self.allowances
        if allowances is None or not (pools := allowances.of(request)):
            return self.inner(request)
        sizes = self._sizes(request, money=_counts_money(pools), allowances=allowances)
        if allowances.reserve(request, pools, sizes) is not None:
            return self._when_leased(request, pools, sizes, allowances)
        warning = allowances.warning(pools)
        return _warned(self.inner, request, warning) if warning else self.inner(request)

    def most(self, request: Request) -> Sizes | None:
        """What `request` is taken to need whenever it is asked; None where that depends on the moment, or it is refused."""
        price = self.price(request.model)
        if request.assignment is not None or self.allowances is None or (price is not None and price.second):
            return None
        if price is None and self.settings.unpriced == "refuse":
            return None
        return self._sizes(request, money=True, allowances=self.allowances)

    def lets_in(self, asking: Asking, model: str, operation: Operation, sizes: Sizes) -> bool:
        """Let a call in that needs no more than `sizes`, if that can be said at once and there is nothing to say with it."""
        who, allowances = asking.who, self.allowances
        if not (who.may_call(model) and who.may_use(operation) and who.may_do(model)):
            return False
        if allowances is None or not (pools := allowances.of(asking)):
            return True
        return not allowances.warning(pools) and allowances.reserve(asking, pools, sizes) is None

    async def _when_leased(
        self, request: Request, pools: tuple[Pool, ...], sizes: Sizes, allowances: Allowances
    ) -> AsyncGenerator[Delta, None]:
        await allowances.admit(request, pools, sizes)
        warning = allowances.warning(pools)
        answers = _warned(self.inner, request, warning) if warning else self.inner(request)
        async with aclosing(answers) as answer:
            async for delta in answer:
                yield delta

    def _check_scopes(self, request: Request) -> None:
        who = request.who
        if not who.may_use(request.operation):
            may = ", ".join(sorted(who.operations or ())) or "nothing"
            raise Refused(f"key {who.key_name!r} may not use {request.operation}; it may use: {may}")
        if not who.may_do(request.model):
            raise Refused(f"key {who.key_name!r} may not call {request.model!r}", param="model")

    def _sizes(self, request: Request, *, money: bool, allowances: Allowances) -> Sizes:
        """What the request is taken to need, rather too much than too little; what it costs only where `money` counts."""
        if request.assignment is not None:
            return self._assigned(request.assignment, allowances, money=money)
        prompt = len(request.raw or b"") // _BYTES_A_TOKEN + 1
        answer = 0 if request.operation in _WITHOUT_WORDS else self._longest(request)
        nano = self._cost(request.model, prompt, answer, allowances) if money else 0
        return 1, prompt + answer, 1, nano

    def _assigned(self, assignment: Assignment, allowances: Allowances, *, money: bool) -> Sizes:
        """As `_sizes`, of all requests that will be made for a task."""
        tokens = sum(need.input + need.output for need in assignment.needs)
        nano = 0
        if money:
            nano = sum(self._cost(need.model, need.input, need.output, allowances) for need in assignment.needs)
        return 1, tokens, 1, nano

    def _longest(self, request: Request) -> int:
        try:
            most = _MOST.decode(request.raw) if request.raw else _UNSAID
        except msgspec.MsgspecError:
            most = _UNSAID
        return (most.max_completion_tokens or most.max_tokens or self.settings.output_tokens) * (most.n or 1)

    def _cost(self, model: str, prompt: int, answer: int, allowances: Allowances) -> int:
        price = self.price(model)
        if price is None:
            if self.settings.unpriced == "refuse":
                raise Refused(
                    f"model {model!r} has no price and a budget holds here (limits.unpriced is refuse): "
                    f"set models.{model}.price",
                    param="model",
                )
            return 0
        seconds = allowances.seconds(model) if price.second else 0.0
        return price.cost(Usage(input=prompt, output=answer), seconds=seconds)


def _counts_money(pools: tuple[Pool, ...]) -> bool:
    for pool in pools:  # noqa: SIM110 - `any` over a generator would take three times as long
        if pool.unit == MONEY:
            return True
    return False


async def _warned(inner: Chat, request: Request, warning: str) -> AsyncGenerator[Delta, None]:
    """The answer, with a header that says how near its end a budget is."""
    said = False
    async with answering(inner, request) as answer:
        async for delta in answer:
            if not said or not request.stream:
                said = True
                yield replace(delta, headers=(*delta.headers, ("x-loopwright-budget", warning)))
            else:
                yield delta
