"""Does what a call of a task was assigned: one request that passes through, or several that make one answer.

Stands where a request has been admitted, so inside it asks models as the house, under the call's limits, policy and
deadline; whatever it asks is on the record of that one call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import Refused
from loopwright.gateway import voiced
from loopwright.gateway.confined import texts_of
from loopwright.gateway.plan import Plan
from loopwright.gateway.sampled import Rank, best_of_n, self_consistency
from loopwright.gateway.stepped import chain, single
from loopwright.gateway.tallied import Asker, PriceOf, Whole
from loopwright.guardrails.moderation import Judgement
from loopwright.kit import wire_out
from loopwright.kit.wire_read import dicts

VARIANT: Final = "x-loopwright-variant"
Judge = Callable[[Sequence[str]], Awaitable[Sequence[Judgement]]]
"""Of texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """What has no assignment passes."""

    inner: Chat
    price: PriceOf
    judge: Judge
    """Moderation, where a task wants it."""
    rank: Rank

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer.

        Raises:
            Refused: a guardrail of the task said no.
        """
        plan = request.assignment
        if plan is None or not isinstance(plan, Plan):
            return self.inner(request)
        return self._perform(request, plan)

    async def _perform(self, request: Request, plan: Plan) -> AsyncGenerator[Delta, None]:
        guard = plan.of.guardrails.get("moderation", {})
        if guard.get("input"):
            await self._check(plan, "input", list(texts_of(plan.inputs)))
        answers = self._several(request, plan) if plan.several else self._one(request, plan)
        told = False
        async with answering(lambda _request: answers, request) as answer:
            async for delta in answer:
                if not told or not request.stream:
                    told = True
                    yield replace(delta, headers=(*delta.headers, (VARIANT, plan.variant)))
                else:
                    yield delta

    def _one(self, request: Request, plan: Plan) -> AsyncGenerator[Delta, None]:
        """The answer of one request, as it comes."""
        body = plan.first.body
        if plan.beside:  # what was looked up for it stands in what it is asked, and so on record
            plan.beside["messages"] = body["messages"]
        return self.inner(
            replace(
                request,
                model=plan.first.model,
                body=body,
                raw=msgspec.json.encode(body),
                formed=request.formed or "response_format" in body,
                adapter=plan.first.adapter,
                assignment=None,
            )
        )

    async def _several(self, request: Request, plan: Plan) -> AsyncGenerator[Delta, None]:
        """The answer that several requests make, once it is there."""
        asker = Asker(chat=self.inner, price=self.price, request=request, plan=plan)
        kind = plan.way.strategy.kind
        if kind == "chain":
            found = await chain(asker)
        elif kind == "self_consistency":
            found = await self_consistency(asker)
        elif kind == "best_of_n":
            found = await best_of_n(asker, self.rank)
        else:
            found = await single(asker)
        found.made.chosen = True
        if plan.of.guardrails.get("moderation", {}).get("output"):
            await self._check(plan, "output", [found.text])
        for delta in _said(found, request, plan):
            yield delta

    async def _check(self, plan: Plan, what: str, texts: Sequence[str]) -> None:
        for judgement in await self.judge(texts):
            if judgement.flagged:
                fell = ", ".join(name for name, said in judgement.categories.items() if said)
                raise Refused(
                    f"the {what} was refused by the moderation of task {plan.task!r}: {fell}",
                    param="messages" if what == "input" else None,
                )


def _said(found: Whole, request: Request, plan: Plan) -> Sequence[Delta]:
    """A whole answer with the usage of all requests, in the form that was asked for."""
    usage = plan.bill().usage
    model, provider = found.made.target, found.made.provider
    if request.stream:
        deltas = list(voiced.events(dicts(found.body.get("choices")), usage, request))
        return [replace(deltas[0], model=model, provider=provider), *deltas[1:]]
    body = {**found.body, "usage": wire_out.usage_body(usage)}
    return [Delta(raw=msgspec.json.encode(body), usage=usage, done=True, model=model, provider=provider)]
