"""What a step of a variant asks, in words: its prompt rendered, its examples shown, its parameters and form set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, Protocol

import msgspec

from loopwright.gateway.plan import Asked
from loopwright.prompts.definition import Definition, definition
from loopwright.prompts.fault import Fault
from loopwright.tasks.task import Shot, Step, Task, Variant

_HEAD: Final = frozenset({"system", "developer"})
_LENGTHS: Final = frozenset({"max_tokens", "max_completion_tokens"})
_NOT_HANDED_ON: Final = frozenset({"model", "messages"})
_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
CONTEXT: Final = "context"
"""The variable that passages are shown by."""
_MENTIONED: Final = re.compile(rf"\b{CONTEXT}\b")
_PLAIN: Final = frozenset({"type", "title", "description"})
_MOST: Final = 10_000
"""Parsed templates that are remembered."""


class Version(Protocol):
    """A version of a stored prompt."""

    @property
    def name(self) -> str:
        """Of the prompt."""
        ...

    @property
    def number(self) -> int:
        """Of the version."""
        ...

    @property
    def variables(self) -> Mapping[str, Any]:
        """What its templates may use, by name."""
        ...

    def render(self, variables: Mapping[str, Any], /) -> list[dict[str, Any]]:
        """The messages; raises BadRequest naming the variable."""
        ...


class Prompts(Protocol):
    """Where versions are found, without waiting."""

    def find(self, project_id: int, name: str, ref: str | None = None, /) -> Version:
        """The version that a reference names now; raises NotFound."""
        ...

    async def fetch(self, project_id: int, name: str, ref: str | None = None, /) -> Version:
        """As `find`, also of one that is not held; raises NotFound, Unavailable."""
        ...


@dataclass(slots=True, kw_only=True)
class Worder:
    """Words steps."""

    prompts: Prompts
    _parsed: dict[int, tuple[Step, Definition, str]] = field(default_factory=dict)

    def asked(
        self,
        task: Task,
        step: Step,
        values: Mapping[str, Any],
        *,
        project_id: int,
        shots: Sequence[Shot] = (),
        context: str | None = None,
        beside: Mapping[str, Any] | None = None,
    ) -> Asked:
        """What a step asks with these values of its variables.

        Args:
            task: whose step it is.
            step: what is asked.
            values: of the inputs, and of the answers of steps before.
            project_id: whose prompts are meant.
            shots: examples to show.
            context: passages to show: where a template says `context`, else behind the instructions; empty is none yet.
            beside: what the client said of the answer (parameters); the step's own win.

        Raises:
            BadRequest: a template cannot be rendered with these values.
            NotFound: there is no such prompt or version.
        """
        render, prompt = self._renderer(task, step, project_id)
        if context is not None:
            values = {**values, CONTEXT: context}
            # What stands on passages has examples that stand on none: they show the form of an answer.
            shots = [Shot(input={CONTEXT: "", **shot.input}, output=shot.output) for shot in shots]
        messages = _with_shots(render, values, shots, task.text_input)
        if context and not render.shows(CONTEXT):
            messages = _behind_instructions(messages, context)
        return Asked(
            name=step.name,
            model=step.model,
            prompt=prompt,
            body=_body(task, step, messages, beside or {}),
        )

    def version(self, task: Task, step: Step, project_id: int) -> str:
        """What stands on record for its prompt.

        Raises:
            NotFound: there is no such prompt or version.
        """
        return self._renderer(task, step, project_id)[1]

    def variables(self, task: Task, step: Step, project_id: int) -> list[str]:
        """The variables that a step cannot do without; those of inline templates were checked with the task.

        Raises:
            NotFound: there is no such prompt or version.
            BadRequest: its templates cannot be used.
        """
        if step.prompt is None:
            self._definition(task, step)
            return []
        name, _, ref = step.prompt.partition("@")
        found = self.prompts.find(project_id, name, ref or None).variables
        return [each for each, about in found.items() if getattr(about, "required", True)]

    async def fetch(self, variant: Variant, project_id: int) -> None:
        """Have the prompts of a variant at hand, also those that are seldom used.

        Raises:
            NotFound: there is no such prompt or version.
            Unavailable: one is not at hand, and the database does not answer.
        """
        for prompt in variant.prompts:
            name, _, ref = prompt.partition("@")
            await self.prompts.fetch(project_id, name, ref or None)

    def _renderer(self, task: Task, step: Step, project_id: int) -> tuple[_Render, str]:
        if step.prompt is None:
            parsed, sha = self._definition(task, step)
            return _Inline(parsed, f"task {task.name!r}, {step.name}"), f"{task.name}.{step.name}@{sha}"
        name, _, ref = step.prompt.partition("@")
        found = self.prompts.find(project_id, name, ref or None)
        return _Stored(found), f"{found.name}@{found.number}"

    def _definition(self, task: Task, step: Step) -> tuple[Definition, str]:
        known = self._parsed.get(id(step))
        if known is not None and known[0] is step:
            return known[1], known[2]
        names = _variables(task)
        if any(_MENTIONED.search(str(message.get("content"))) for message in step.messages):
            names.append(CONTEXT)
        document = {
            "variables": {name: {"type": "any", "required": False} for name in names},
            "messages": [dict(message) for message in step.messages],
        }
        try:
            parsed = definition(document)
        except Fault as fault:
            raise fault.refused(f"task {task.name!r}, {step.name}") from None
        sha = hashlib.sha256(msgspec.json.encode(document["messages"])).hexdigest()[:8]
        if len(self._parsed) >= _MOST:
            self._parsed.clear()
        self._parsed[id(step)] = (step, parsed, sha)
        return parsed, sha


class _Render(Protocol):
    def __call__(self, values: Mapping[str, Any], /) -> list[dict[str, Any]]:
        """The messages of these values."""
        ...

    def shows(self, variable: str, /) -> bool:
        """Whether a template uses a variable."""
        ...


@dataclass(frozen=True, slots=True)
class _Inline:
    parsed: Definition
    where: str

    def __call__(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        known = self.parsed.variables
        try:
            return self.parsed.render({name: value for name, value in values.items() if name in known})
        except Fault as fault:
            raise fault.refused(self.where) from None

    def shows(self, variable: str) -> bool:
        return variable in self.parsed.variables


@dataclass(frozen=True, slots=True)
class _Stored:
    version: Version

    def __call__(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        known = self.version.variables
        return self.version.render({name: value for name, value in values.items() if name in known})

    def shows(self, variable: str) -> bool:
        return variable in self.version.variables


def _variables(task: Task) -> list[str]:
    """Every name that a template of a task may use: its inputs, and steps."""
    properties = task.inputs.document.get("properties")
    steps = [step.name for variant in task.variants.values() for step in variant.steps if len(variant.steps) > 1]
    return list(dict.fromkeys([*(properties if isinstance(properties, Mapping) else ()), *steps]))


def _with_shots(
    render: _Render, values: Mapping[str, Any], shots: Sequence[Shot], text_input: str | None
) -> list[dict[str, Any]]:
    """Instructions, then each example as a turn with its answer, then the question."""
    head, turn = _parted(render(values), values, text_input)
    shown: list[dict[str, Any]] = []
    for shot in shots:
        _, question = _parted(render(shot.input), shot.input, text_input)
        answer = shot.output if isinstance(shot.output, str) else msgspec.json.encode(shot.output).decode()
        shown += [*question, {"role": "assistant", "content": answer}]
    return [*head, *shown, *turn]


def _behind_instructions(messages: Sequence[Mapping[str, Any]], context: str) -> list[dict[str, Any]]:
    """With passages as the end of the instructions: many chat templates take one system message only."""
    kept = [dict(message) for message in messages]
    if kept and kept[0].get("role") in _HEAD and isinstance(kept[0].get("content"), str):
        kept[0]["content"] = f"{kept[0]['content']}\n\n{context}"
        return kept
    return [{"role": "system", "content": context}, *kept]


def _parted(
    messages: list[dict[str, Any]], values: Mapping[str, Any], text_input: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    head = list(takewhile(lambda message: message.get("role") in _HEAD, messages))
    turn = messages[len(head) :]
    if not turn and text_input is not None:  # instructions only: the input follows by itself
        turn = [{"role": "user", "content": values.get(text_input, "")}]
    return head, turn


def _body(task: Task, step: Step, messages: Sequence[Mapping[str, Any]], beside: Mapping[str, Any]) -> dict[str, Any]:
    dropped = _NOT_HANDED_ON | (_LENGTHS if _LENGTHS & step.parameters.keys() else frozenset())
    kept = {name: value for name, value in beside.items() if name not in dropped}
    form = _form(task, step)
    if form is not None:
        kept["response_format"] = form
    return {"model": step.model, "messages": messages, **kept, **step.parameters}


def _form(task: Task, step: Step) -> dict[str, Any] | None:
    """What the answer must be, as a client would demand it; None for free text."""
    document = step.output
    if document is None or free_text(document):
        return None
    allowed = document.get("enum")
    if isinstance(allowed, list) and allowed and all(isinstance(each, str) and each for each in allowed):
        return {"type": "enum", "enum": allowed}
    name = _NAME.sub("_", task.name)
    return {"type": "json_schema", "json_schema": {"name": name, "schema": document}}


def free_text(document: Mapping[str, Any]) -> bool:
    """Whether a schema says no more than that the answer is a text."""
    return document.get("type") == "string" and not document.keys() - _PLAIN
