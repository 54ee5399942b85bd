"""What tests of memory stand on: a task's form, an embedder of words, and rooms over one database."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

from loopwright.core.call import Call, CallDetail
from loopwright.core.errors import LoopwrightError, UnknownModel
from loopwright.core.privacy import Privacy
from loopwright.kit.db import Database
from loopwright.kit.schema import schema
from loopwright.kit.seal import PLAIN, Seal
from loopwright.memory.entry import Lesson
from loopwright.memory.form import Form
from loopwright.memory.held import Held
from loopwright.memory.learning import Learning
from loopwright.memory.store import Memory, New
from loopwright.memory.tally import Tally
from tests.feedback.saying import call

DIMENSIONS = 384
INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
FORM = Form(embedder="words", text_input="input", inputs=schema(INPUT, "input"), output=None)
LABELS = replace(FORM, output=schema({"enum": ["billing", "bug", "other"]}, "output"))


@dataclass
class Words:
    """Texts are like each other as far as they have the same words."""

    name: str = "words"
    dimensions: int = DIMENSIONS
    problem: LoopwrightError | None = None
    asked: list[tuple[list[str], Privacy | None]] = field(default_factory=list)

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        self.asked.append((texts, privacy))
        if self.problem is not None:
            raise self.problem
        return [vector(text) for text in texts]


def vector(text: str) -> list[float]:
    counts = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        counts[zlib.crc32(word.encode()) % DIMENSIONS] += 1.0
    length = math.sqrt(sum(value * value for value in counts)) or 1.0
    return [value / length for value in counts]


@dataclass
class Rooms:
    """Memory as one process has it."""

    db: Database
    seal: Seal = PLAIN
    form: Form = FORM
    tasks: frozenset[str] = frozenset({"t", "u"})
    most: int = 128_000_000
    words: Words = field(default_factory=Words)

    def __post_init__(self) -> None:
        self.memory = Memory(self.db, self.seal)
        self.held = Held(self.memory, most=self.most)
        self.learning = Learning(
            memory=self.memory,
            held=self.held,
            tally=Tally(self.db),
            form_of=self._form,
            embedder_of=lambda name: self.words if name == "words" else None,
            policy_of=self._policy,
        )

    def _form(self, _project_id: int, task: str) -> Form:
        if task not in self.tasks:
            raise UnknownModel(f"there is no task {task!r}")
        return self.form

    async def _policy(self, _project_id: int, _task: str) -> Privacy | None:
        return None

    async def tell(self, text: str, output: Any, *, project: int = 1, task: str = "t", author: str = "ann") -> str:
        """Have an entry that is embedded."""
        ids, _, _ = await self.learning.bring([new(text, output, project=project, task=task, author=author)])
        return ids[0]

    async def correct(self, of: CallDetail, output: Any, *, author: str = "ann") -> Any:
        """As feedback does."""
        async with self.db.transaction() as connection:
            learnt = await self.learning.corrected(connection, of, 1, output, (author, 1))
        return await self.learning.settled(learnt, of.call.project_id)

    async def like(self, text: str, *, project: int = 1, task: str = "t") -> list[tuple[Any, float]]:
        """What is nearest to a text: outputs and similarities."""
        near = await self.held.nearest((project, task), "words", vector(text), 10)
        return [(each.entry.lesson(self.seal).output, round(each.similarity, 3)) for each in near]


def new(text: str, output: Any, *, project: int = 1, task: str = "t", author: str = "ann") -> New:
    return New(
        project_id=project,
        task=task,
        lesson=Lesson(inputs={"input": text}, output=output),
        author=author,
        by_key_id=1,
    )


def asked(text: str, answer: str, **changes: Any) -> CallDetail:
    """A call of task t on record."""
    told: Call = call(**{"task": "t", "variant": "base", **changes})
    response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}]}
    return CallDetail(call=told, request={"loopwright": {"variables": {"input": text}}}, response=response)
