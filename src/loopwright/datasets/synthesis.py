"""Variations of examples, written by a model: each differs from all others by embedding, and says of which it is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.chat import Chat, Embedder, Request, answering
from loopwright.core.errors import BadRequest, InvalidOutput, LoopwrightError, Spent
from loopwright.core.who import Principal
from loopwright.datasets.example import Example
from loopwright.kit import wire, wire_read
from loopwright.kit.ids import Ids

ALIKE: Final = 0.95
"""Cosine of two texts from which on the second says nothing new."""
MOST: Final = 10_000
"""Variations of one synthesis."""
TAG: Final = "loopwright.synthesis"
"""Tag of the calls that write them; its value is the dataset."""
_WAYS: Final = (
    "in other words",
    "more briefly",
    "in more detail",
    "as somebody in a hurry would type it, with a slip of the keyboard",
    "more formally",
    "beginning with other words and in another order",
    "as somebody who is new to the subject would say it",
    "as part of a longer message",
)
_TASK: Final = (
    "You write test data. You get one example as JSON and rewrite its texts as you are told. {keep} "
    "Answer with a JSON object that has the same members and nothing else."
)
_KEEP: Final = "Whatever was the right answer to the example must be exactly the right answer to yours."
_FREE: Final = "Keep its subject and its kind of text; names, numbers and details should differ."
_TRIES: Final = 3
"""Questions for each variation that is wanted, at most: some answers say nothing new."""
_FAILURES: Final = 5
"""Failures in a row that end it."""
_PATIENCE: Final = 20
"""Answers without the texts that end it while not one had them."""

Answers = Literal["keep", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is wanted."""

    model: str
    each: int = 3
    """Variations of each seed."""
    most: int = 1_000
    """Variations in all."""
    budget_nano: int | None = None
    """Nanodollars that may be spent; None is as much as limits and budgets of the key allow."""
    alike: float = ALIKE
    answers: Answers = "keep"
    """`keep`: the reference stays that of the seed. `drop`: details differ, and there is none."""
    temperature: float = 1.0
    at_once: int = 4


@dataclass(slots=True)
class Made:
    """How far it is."""

    written: int = 0
    asked: int = 0
    nothing_new: int = 0
    """Answers too near to an example."""
    unreadable: int = 0
    """Answers without the texts."""
    failed: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    """Calls nobody knows the price of."""
    ended: str = "done"
    """Why it went no further: `done`, `budget`, or what failed."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Synthesis:
    """One making of variations."""

    chat: Chat
    who: Principal
    recipe: Recipe
    embedder: Embedder
    dataset: str
    made: Made = field(default_factory=Made)
    _vectors: list[NDArray[np.float32]] = field(default_factory=list)
    _dearest: int = 0
    _ids: Ids = field(default_factory=Ids)

    async def run(
        self, seeds: Sequence[Example], known: Sequence[Example], told: Callable[[Made], None]
    ) -> AsyncIterator[Example]:
        """Variations of `seeds`, none too near to another, to a seed or to what is `known` already.

        Raises:
            BadRequest: a seed has no text, or a budget is set and the model has no price.
            LoopwrightError: nothing could be written at all; else what was written is kept, and `made.ended` says why.
        """
        varied = [(seed, texts) for seed in seeds if (texts := texts_of(seed.inputs))]
        if not varied:
            raise BadRequest("none of the seeds has a text that could be varied", param="seeds")
        await self._know([*(seed for seed, _ in varied), *known])
        rounds = iter([(seed, texts, way) for way in range(self.recipe.each * _TRIES) for seed, texts in varied])
        enough = {seed.id: self.recipe.each for seed, _ in varied}
        in_a_row = 0
        while self.made.written < self.recipe.most:
            some = list(islice((one for one in rounds if enough[one[0].id] > 0), self._free()))
            if not some:
                return
            found = await asyncio.gather(*(self._ask(*one) for one in some), return_exceptions=True)
            for (seed, texts, _), answer in zip(some, found, strict=True):
                if isinstance(answer, BaseException):
                    in_a_row += 1
                    self._failed(answer, over=in_a_row >= _FAILURES)
                    continue
                in_a_row = 0
                if answer is None or enough[seed.id] <= 0 or self.made.written >= self.recipe.most:
                    continue
                example = varied_of(seed, texts, answer, self.recipe)
                if await self._new(example):
                    enough[seed.id] -= 1
                    self.made.written += 1
                    yield example
            told(self.made)
            if self.made.unreadable == self.made.asked >= _PATIENCE:
                self.made.ended = f"{self.recipe.model} does not write such JSON"
            if self.made.ended != "done":
                return

    def _free(self) -> int:
        """How many may be asked now; 0 when the money is spent."""
        if self.recipe.budget_nano is None:
            return self.recipe.at_once
        if self.made.unpriced:
            raise BadRequest(
                f"model {self.recipe.model!r} has no price, so no budget can hold: leave it out", param="budget_usd"
            )
        left = self.recipe.budget_nano - self.made.cost_nano
        # Before anything is known of its price, one is asked alone.
        count = 1 if not self.made.asked else self.recipe.at_once if not self._dearest else left // self._dearest
        if left <= 0 or count < 1:
            self.made.ended = "budget"
            return 0
        return min(self.recipe.at_once, count)

    def _failed(self, error: BaseException, *, over: bool) -> None:
        self.made.failed += 1
        if not isinstance(error, LoopwrightError):
            raise error
        if isinstance(error, Spent) or over:
            if not self.made.written:
                raise error
            self.made.ended = f"{error.message} ({error.code})"

    async def _ask(self, seed: Example, texts: Mapping[str, str], way: int) -> dict[str, str] | None:
        """New texts; None when the answer has none."""
        keep = _KEEP if self.recipe.answers == "keep" and seed.expected is not None else _FREE
        names = {name: {"type": "string"} for name in texts}
        form = {"type": "object", "properties": names, "required": list(texts), "additionalProperties": False}
        body = {
            "model": self.recipe.model,
            "messages": [
                {"role": "system", "content": _TASK.format(keep=keep)},
                {
                    "role": "user",
                    "content": f"Rewrite {_WAYS[way % len(_WAYS)]}:\n{msgspec.json.encode(texts).decode()}",
                },
            ],
            "temperature": self.recipe.temperature,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "example", "schema": form, "strict": True},
            },
            "loopwright": {"tags": {TAG: self.dataset}},
        }
        self.made.asked += 1
        try:
            said = await self._said(body)
        except InvalidOutput:
            # It was paid for, and nobody says how much: as much as the dearest.
            self.made.cost_nano += self._dearest
            said = ""
        try:
            found = msgspec.json.decode(said, type=dict[str, str])
        except (msgspec.MsgspecError, RecursionError):
            found = {}
        kept = {name: found[name].strip() for name in texts if found.get(name, "").strip()}
        if len(kept) < len(texts):
            self.made.unreadable += 1
            return None
        return kept

    async def _said(self, body: Mapping[str, Any]) -> str:
        now = time.time_ns()
        request: Request = wire.parse(
            msgspec.json.encode(body),
            "chat",
            call_id=self._ids.new(now),
            who=self.who,
            started_ns=now,
            client="loopwright",
        )
        raw, cost = b"", None
        async with answering(self.chat, request) as answer:
            async for delta in answer:
                raw += delta.raw
                cost = delta.cost_nano if delta.cost_nano is not None else cost
        if cost is None:
            self.made.unpriced += 1
        else:
            self.made.cost_nano += cost
            self._dearest = max(self._dearest, cost)
        choice = wire_read.choice_of(wire_read.whole(raw)) or {}
        message = choice.get("message")
        return wire_read.text(message.get("content")) if isinstance(message, dict) else ""

    async def _know(self, examples: Sequence[Example]) -> None:
        texts = [_joined(example.inputs) for example in examples]
        for start in range(0, len(texts), 64):
            vectors = await self.embedder(texts[start : start + 64])
            self._vectors.extend(np.asarray(vectors, np.float32))

    async def _new(self, example: Example) -> bool:
        """Whether it says what none says yet; then it is one of them."""
        [found] = await self.embedder([_joined(example.inputs)])
        vector = np.asarray(found, np.float32)
        if float((np.stack(self._vectors) @ vector).max()) >= self.recipe.alike:
            self.made.nothing_new += 1
            return False
        self._vectors.append(vector)
        return True


def texts_of(inputs: Mapping[str, Any]) -> dict[str, str]:
    """What can be varied: the texts of the inputs, and of a conversation its last question as `question`."""
    found = {name: value for name, value in inputs.items() if isinstance(value, str) and value.strip()}
    last = _last(inputs)
    return found | ({"question": inputs["messages"][last]["content"]} if last is not None else {})


def varied_of(seed: Example, texts: Mapping[str, str], new: Mapping[str, str], recipe: Recipe) -> Example:
    """The example that is `seed` with new texts."""
    inputs: dict[str, Any] = {**seed.inputs, **{name: text for name, text in new.items() if name in seed.inputs}}
    last = _last(seed.inputs)
    if last is not None and "question" in texts and "question" not in seed.inputs:
        messages = [dict(message) for message in seed.inputs["messages"]]
        messages[last]["content"] = new["question"]
        inputs["messages"] = messages
    return Example(
        id="",
        inputs=inputs,
        expected=seed.expected if recipe.answers == "keep" else None,
        slices=seed.slices,
        tags=seed.tags,
        metadata={"seed": seed.id, "model": recipe.model},
        origin="synthetic",
    )


def _last(inputs: Mapping[str, Any]) -> int | None:
    """Where the last question of a conversation is."""
    messages = inputs.get("messages")
    if not isinstance(messages, list):
        return None
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str):
            return at
    return None


def _joined(inputs: Mapping[str, Any]) -> str:
    return "\n".join(texts_of(inputs).values())[:8_000] or "-"
