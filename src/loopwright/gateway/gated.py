"""The last gate before a target: whoever asks it, and by whatever way, what the policy does not allow does not leave.

Stands directly round the Chat of a provider or an engine, so that each body that leaves is one departure on record.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import Refused
from loopwright.core.privacy import Place, Privacy

_TOLD: Final = 6
"""Places that a refusal names."""


@dataclass(frozen=True, slots=True)
class Gated:
    """Composed only where a policy is configured."""

    inner: Chat
    place: Place

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer.

        Raises:
            Refused: the policy does not let the request leave for here.
        """
        privacy = request.privacy
        if privacy is None:
            return self.inner(request)
        if not privacy.allows(self.place):
            raise refusal(privacy, request.model, (self.place,))
        leaving = privacy.leaving(self.place)
        return self.inner(request) if leaving is privacy else self._noted(replace(request, privacy=leaving), leaving)

    async def _noted(self, request: Request, privacy: Privacy) -> AsyncGenerator[Delta, None]:
        departure = privacy.departure
        assert departure is not None
        bodies = departure.bodies
        try:
            async with answering(self.inner, request) as answer:
                async for delta in answer:
                    departure.answered = True
                    yield delta
        finally:
            if departure.bodies == bodies:
                # A plug-in that does not say what it sends: at the most it was what it had been given.
                departure.exact = False
                departure.sent(request.raw if request.raw is not None else msgspec.json.encode(request.body))


def refusal(privacy: Privacy, model: str, places: Iterable[Place], others: Iterable[str] = ()) -> Refused:
    """Why no target of `model` may be asked, and what to do. `others` are models that may be."""
    if privacy.own_only:
        rule = f"it was found sensitive ({privacy.because}), so only what is ours may answer"
    else:
        rule = "; ".join("residency is " + ", ".join(sorted(allowed)) for allowed in privacy.residency)
    named = sorted({_where(place) for place in places})
    more = f" and {len(named) - _TOLD} more" if len(named) > _TOLD else ""
    there = ", ".join(named[:_TOLD]) + more if named else "none"
    known = sorted(others)
    advice = f"ask one of: {', '.join(known[:_TOLD])}" if known else "let an administrator add a target that it allows"
    return Refused(
        f"{' and '.join(privacy.sources) or 'privacy'} lets this request reach no target of model {model!r}: {rule}; "
        f"its targets are {there}: {advice}",
        param="model",
    )


def _where(place: Place) -> str:
    if place.region is not None:
        return f"{place.provider} in {place.region}"
    return f"{place.provider} (ours)" if place.own else f"{place.provider} (no region in its settings)"
