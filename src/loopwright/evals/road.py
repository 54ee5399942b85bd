"""What an evaluation needs of the road that every request takes, and of the rooms it may not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from loopwright.core.chat import Chat, Request
from loopwright.core.who import Principal
from loopwright.evals.evaluator import Tools
from loopwright.evals.spec import Target


class Prepared(Protocol):
    """A target as it is now."""

    @property
    def definition(self) -> Mapping[str, Any]:
        """All that makes its answers what they are, as JSON: down to the version of its prompt and where its model leads."""
        ...

    @property
    def formed(self) -> bool:
        """Whether its answers are JSON."""
        ...

    def body(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What it is asked for an example, in OpenAI's form.

        Raises:
            BadRequest: the inputs do not fill its template.
        """
        ...


class Road(Protocol):
    """The road every request takes, for evaluations."""

    @property
    def chat(self) -> Chat:
        """The whole of it: limits, budgets, routes, the record."""
        ...

    async def holder(self, key_id: int, project_id: int) -> Principal | None:
        """Whose key that is, in a project; None when it has ended or was revoked."""
        ...

    def request(self, who: Principal, body: Mapping[str, Any]) -> Request:
        """A checked request of a body in OpenAI's form.

        Raises:
            BadRequest: it is none.
        """
        ...

    async def prepare(self, who: Principal, target: Target) -> Prepared:
        """A target that a key may ask.

        Raises:
            BadRequest, NotFound, Refused: there is no such thing, or the key may not ask it.
            Unavailable: nobody can tell now.
        """
        ...

    async def free(self, model: str) -> bool:
        """Whether one more question for `model` would keep nobody else waiting."""
        ...

    def tools(self, who: Principal, chat: Chat) -> Tools:
        """What evaluators may use; judges ask `chat`."""
        ...
