"""An evaluation at work in a test: a real database and real files, and a road that answers as a function says."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import LoopwrightError
from loopwright.core.money import Usage
from loopwright.core.who import Principal
from loopwright.datasets.example import Example
from loopwright.evals.asked import plain_messages
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.evaluator import Tools
from loopwright.evals.evaluators import make
from loopwright.evals.measure import Measure
from loopwright.evals.paced import Paced
from loopwright.evals.road import Road
from loopwright.evals.runner import Runner
from loopwright.evals.spec import Spec, Target
from loopwright.evals.store import Evaluations
from loopwright.evals.trust import Trust
from loopwright.kit import wire
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.jobs import Jobs
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings_evals import EvaluationSettings

WHO = Principal(key_id=1, key_name="k", project_id=1, project="p")
QUICK = EvaluationSettings(base=0.01, longest=0.02, concurrency=4, attempts=3, resamples=200)
Answer = Callable[[str, str], str | LoopwrightError]
"""From model and question to the answer, or why there is none."""


@dataclass
class Prepared:
    """A target of the script."""

    target: Target
    definition: Mapping[str, Any]
    formed: bool = False

    def body(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self.target.model, "messages": plain_messages(self.target.name, inputs)}


@dataclass
class Script:
    """A road that answers as `answer` says, and counts what it was asked."""

    answer: Answer = lambda _model, question: question
    cost_nano: int | None = 1_000
    delay: float = 0.0
    definitions: dict[str, str] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    at_once: int = 0
    most: int = 0
    ids: Ids = field(default_factory=Ids)

    @property
    def chat(self) -> Chat:
        return self._chat

    async def _chat(self, request: Request) -> AsyncGenerator[Delta, None]:
        question = request.body["messages"][-1]["content"]
        self.asked[request.model, question] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.at_once -= 1
        said = self.answer(request.model, question)
        if isinstance(said, LoopwrightError):
            raise said
        message = {"role": "assistant", "content": said}
        body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        usage = Usage(input=3, output=2)
        raw = msgspec.json.encode(body)
        yield Delta(raw=raw, usage=usage, cost_nano=self.cost_nano, done=True, model=request.model, provider="script")

    async def reached(self, count: int) -> None:
        """Wait until so many questions came."""
        while sum(self.asked.values()) < count:  # noqa: ASYNC110 - questions come in any order
            await asyncio.sleep(0.005)

    async def holder(self, key_id: int, project_id: int) -> Principal | None:
        return WHO if (key_id, project_id) == (1, 1) else None

    def request(self, who: Principal, body: Mapping[str, Any]) -> Request:
        return wire.parse(json.dumps(body).encode(), "chat", call_id=self.ids.new(), who=who, started_ns=0)

    async def prepare(self, who: Principal, target: Target) -> Prepared:
        assert who == WHO
        return Prepared(target, {"model": target.model, "is": self.definitions.get(target.model, "")})

    async def free(self, model: str) -> bool:
        assert model
        return True

    def tools(self, who: Principal, chat: Chat) -> Tools:
        return Tools(chat=chat, who=who)


def numbers(count: int) -> list[Example]:
    """Questions 0, 1, 2, …, each its own answer; even and odd ones are slices."""
    return [
        Example(id=f"e{n}", inputs={"q": str(n)}, expected=str(n), slices={"parity": "odd" if n % 2 else "even"})
        for n in range(count)
    ]


class Room:
    """Evaluations in a folder, over examples that a test makes."""

    def __init__(
        self, db: Database, folder: Path, settings: EvaluationSettings, seal: Seal, examples: Sequence[Example]
    ) -> None:
        self.db = db
        self.folder = folder
        self.examples = list(examples)
        self.store = Evaluations(db, settings, seal)
        self.trusted: dict[str, Trust] = {}
        self.made: Callable[[Mapping[str, Any], Tools], Any] = make

    async def create(
        self, *targets: str, evaluators: Sequence[str | Mapping[str, Any]] = ("exact_match",), **more: Any
    ) -> str:
        spec = Spec(
            targets=tuple(Target(name=name, model=name) for name in targets),
            dataset="numbers@1",
            evaluators=tuple({"kind": each} if isinstance(each, str) else each for each in evaluators),
            **more,
        )
        made = await self.store.create(WHO, spec, dataset="numbers@1", dataset_sha="sha", total=len(self.examples))
        return made.id

    def running(self, road: Road) -> asyncio.Task[None]:
        async def examples(_evaluation: Evaluation) -> AsyncIterator[Example]:
            for example in self.examples:
                yield example

        def measuring(evaluation: Evaluation, road: Road, who: Principal, paced: Paced) -> list[Measure]:
            tools = road.tools(who, paced)
            return [
                Measure(self.made(spec, tools), self.store.settings.evaluator_timeout)
                for spec in evaluation.spec.evaluators
            ]

        async def trusting(_evaluation: Evaluation, _measures: Sequence[Measure]) -> Mapping[str, Trust]:
            return self.trusted

        runner = Runner(
            self.store, road, self.folder / "evaluations", examples=examples, measuring=measuring, trusting=trusting
        )
        return asyncio.create_task(runner.run(once=True))

    async def run(self, road: Road) -> None:
        async with asyncio.timeout(60):
            await self.running(road)

    async def show(self, evaluation_id: str) -> Evaluation:
        return await self.store.show(evaluation_id, project_id=1)


@asynccontextmanager
async def room(
    url: str,
    folder: Path,
    examples: Sequence[Example],
    settings: EvaluationSettings = QUICK,
    seal: Seal = PLAIN,
) -> AsyncIterator[Room]:
    db = await Database.open(url, size=4)
    await migrate(db, ["evals"])
    await Jobs(db).prepare()
    try:
        yield Room(db, folder, settings, seal, examples)
    finally:
        await db.close()
