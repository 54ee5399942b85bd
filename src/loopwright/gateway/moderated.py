"""Our own guardrails as a target: judges texts where it stands, so that none of them leaves the house."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from loopwright.core.chat import Delta, Request
from loopwright.core.money import Price, Usage
from loopwright.core.privacy import Place
from loopwright.gateway.route import Route, plain
from loopwright.gateway.routed import Target
from loopwright.guardrails.moderation import MODEL, Moderator
from loopwright.kit import moderating

PROVIDER: Final = "guardrails"
_BYTES_A_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class Moderated:
    """A Chat of the operation `moderations`."""

    moderator: Moderator

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """One judgement for each text.

        Raises:
            BadRequest: there is something to be judged that is no text.
        """
        texts = moderating.texts(request.body)
        judged = await self.moderator.judge(texts)
        raw = moderating.whole(request.id, MODEL, [each.shown() for each in judged])
        read = sum(len(text.encode("utf-8", "replace")) for text in texts)
        usage = Usage(input=max(read // _BYTES_A_TOKEN, 1), estimated=True)
        yield Delta(raw=raw, usage=usage, done=True, model=MODEL, provider=PROVIDER)


def house_routes() -> dict[str, Route]:
    """The names that our guardrails answer to where nothing else is configured under them."""
    target = Target(
        chat=Moderated(Moderator()),
        provider=PROVIDER,
        model=MODEL,
        operations=frozenset({"moderations"}),
        price=Price(input=0, output=0, source="own guardrails"),
        place=Place(provider=PROVIDER, model=MODEL, own=True),
    )
    made = plain(moderating.HOUSE_MODEL, target)
    return dict.fromkeys((moderating.HOUSE_MODEL, *moderating.OPENAI_NAMES), made)
