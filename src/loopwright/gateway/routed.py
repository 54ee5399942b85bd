"""From the name of a model to the target that answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from loopwright.core.chat import Chat, Delta, Operation, Request
from loopwright.core.errors import BadRequest, UnknownModel
from loopwright.core.money import Price
from loopwright.core.privacy import NOWHERE, Place
from loopwright.gateway.timed import Timed
from loopwright.kit.nearest import hint
from loopwright.kit.settings_adapters_check import lacking


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place that answers for a model, or a whole route that does."""

    chat: Chat
    provider: str
    model: str
    """The name the provider knows."""
    operations: frozenset[Operation]
    price: Price | None
    """None when nobody knows: unpriced is not free."""
    adapters: Mapping[str, float] = field(default_factory=dict)
    """Those it can answer with, and their default scales; of a whole route, those that all of it can."""
    place: Place = NOWHERE
    """Where it is and whose, for policies of privacy; of a whole route nobody asks."""


@dataclass(frozen=True, slots=True)
class Routed:
    """Dispatches by name."""

    targets: Mapping[str, Target]

    def target(self, request: Request) -> Target:
        """The target of a request.

        Raises:
            UnknownModel: names the nearest.
            BadRequest: the model cannot do this operation, or has no such adapter.
        """
        target = self.targets.get(request.model)
        if target is None:
            known = [name for name in self.targets if request.who.may_call(name)]
            raise UnknownModel(f"there is no model {request.model!r}{hint(request.model, known)}", param="model")
        if request.adapter is not None:
            problem = lacking(request.adapter.name, request.model, target.adapters)
            if problem is not None:  # also of a model that a policy put in place of the one that has it
                raise BadRequest(problem, param="model")
        if request.operation not in target.operations:
            can = ", ".join(sorted(target.operations))
            raise BadRequest(f"model {request.model!r} does not do {request.operation}; it does: {can}", param="model")
        return target

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer from the target: no layer of its own, so nothing is added to each Delta."""
        chat = self.target(request).chat
        return chat(request) if request.deadline is None else Timed(chat)(request)
