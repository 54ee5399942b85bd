"""Roads on which tasks are done: what the product composes, over models that tests play."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopwright.core.chat import Chat, Delta, Operation, Request
from loopwright.core.errors import LoopwrightError, NotFound, UnknownModel
from loopwright.core.money import Price, Usage
from loopwright.core.score import Score
from loopwright.gateway.adapted import Adapted
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.guarded import Guarded, Policies
from loopwright.gateway.performed import Performed
from loopwright.gateway.prompted import Prompted
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.routed import Routed, Target
from loopwright.gateway.structured import Structured
from loopwright.gateway.worded import Worder
from loopwright.guardrails.moderation import Moderator
from loopwright.kit.nearest import hint
from loopwright.kit.settings_privacy import PrivacySettings
from loopwright.prompts.definition import Definition, definition
from loopwright.tasks.definition import checked
from loopwright.tasks.task import Task, task_of
from tests.gateway.roads import Memory

CHEAP = Price(input=1_000_000, output=2_000_000, source="cheap")
DEAR = Price(input=10_000_000, output=20_000_000, source="dear")
OPERATIONS: frozenset[Operation] = frozenset({"chat"})
Said = str | LoopwrightError


class Player:
    """A model that answers what it is told to, and keeps what it was asked."""

    def __init__(self, say: Callable[[Request, int], Said]) -> None:
        self.requests: list[Request] = []
        self._say = say

    async def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        said = self._say(request, len(self.requests) - 1)
        if isinstance(said, LoopwrightError):
            raise said
        usage = Usage(input=10, output=len(said.split()))
        message = {"role": "assistant", "content": said}
        if not request.stream:
            body = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            yield Delta(raw=json.dumps(body).encode(), usage=usage, done=True, model="m", provider="p")
            return
        for word in said.split(" "):
            piece = {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
            yield Delta(raw=f"data: {json.dumps(piece)}\n\n".encode(), model="m", provider="p")
        yield Delta(raw=b"data: [DONE]\n\n", usage=usage, done=True, speaks=False)


def last(request: Request, _number: int) -> str:
    """Says what was asked last."""
    return str(request.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Version:
    """A version of a prompt in a list."""

    name: str
    number: int
    prompt: Definition

    @property
    def variables(self) -> Mapping[str, Any]:
        return self.prompt.variables

    def render(self, variables: Mapping[str, Any], /) -> list[dict[str, Any]]:
        return self.prompt.render(variables)


@dataclass
class Prompts:
    """Prompts at hand, and those that must be fetched."""

    held: dict[str, Version] = field(default_factory=dict)
    far: dict[str, Version] = field(default_factory=dict)

    def find(self, _project_id: int, name: str, ref: str | None = None, /) -> Version:
        found = self.held.get(name if ref is None else f"{name}@{ref}")
        if found is None:
            raise NotFound(f"there is no prompt {name!r}", param="prompt")
        return found

    async def fetch(self, project_id: int, name: str, ref: str | None = None, /) -> Version:
        named = name if ref is None else f"{name}@{ref}"
        if named in self.far:
            self.held[named] = self.far[named]
        return self.find(project_id, name, ref)


def version(name: str, number: int, *messages: tuple[str, str], **variables: str) -> Version:
    told = {"variables": variables, "messages": [{"role": role, "content": content} for role, content in messages]}
    return Version(name, number, definition(told))


async def longest(
    _evaluator: str | Mapping[str, Any],
    *,
    chat: Chat,
    request: Request,
    inputs: Mapping[str, Any],
    answer: Mapping[str, Any],
    as_json: bool,
) -> Score:
    """The longer the better; of an answer that says nothing there is no score."""
    said = answer["choices"][0]["message"]["content"]
    return Score(name="length", value=float(len(said)) or None, missing=None if said else "empty")


@dataclass
class Road:
    """The whole road for some tasks over some models."""

    players: dict[str, Player]
    tasks: dict[str, dict[str, Any]]
    prompts: Prompts = field(default_factory=Prompts)
    rank: Any = longest
    privacy: PrivacySettings | None = None
    spool: Memory = field(default_factory=Memory)
    adapters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of players, with their scales, in their order."""
    before: Callable[[Chat], Chat] | None = None
    """What stands before the tasks are done."""

    def __post_init__(self) -> None:
        self.made: dict[str, Task] = {name: task_of(name, checked(name, told)) for name, told in self.tasks.items()}
        prices = {name: DEAR if name == "dear" else None if name == "unpriced" else CHEAP for name in self.players}
        targets = {
            name: Target(
                chat=Structured(inner=self._adapted(name, player), schemas="asked"),
                provider="p",
                model="m",
                operations=OPERATIONS,
                price=prices[name],
                adapters=self.adapters.get(name, {}),
            )
            for name, player in self.players.items()
        }

        def price(name: str, _provider: str, _model: str) -> Price | None:
            return prices.get(name)

        chat: Chat = Performed(inner=Routed(targets), price=price, judge=Moderator().judge, rank=self.rank)
        if self.before is not None:
            chat = self.before(chat)
        recorded = Recorded(Admitted(chat), self.spool, price)
        inner = recorded if self.privacy is None else Guarded(recorded, Policies(self.privacy, {}))
        self.chat = Prompted(inner=inner, find=self._find, worder=Worder(prompts=self.prompts), models=targets)

    def _adapted(self, name: str, player: Chat) -> Chat:
        return Adapted(player, tuple(self.adapters[name])) if name in self.adapters else player

    def _find(self, _project_id: int, name: str) -> Task:
        if name not in self.made:
            raise UnknownModel(f"there is no task {name!r}{hint(name, self.made)}", param="model")
        return self.made[name]
