"""A prompt on its way to a better one: its instructions can be worded anew, examples can be shown in it. Asks nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Example
from loopwright.prompts.definition import Definition
from loopwright.prompts.fault import Fault
from loopwright.prompts.version import read
from loopwright.tasks.task import Shot

_HEAD: Final = ("system", "developer")
_SIGNS: Final = re.compile(r"\{\{|\{%|\{#")
_PLACEHOLDER: Final = re.compile(r"\{\{|\{%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to put a task in words."""

    prompt: Definition
    shots: tuple[Shot, ...] = ()
    """Examples that the variant shows whatever its prompt is."""
    text_input: str | None = None
    """The input that follows by itself where the prompt is instructions only."""
    made: str = "the incumbent"
    """How it came about, for people."""
    showing: tuple[str, ...] = field(default=())
    """Ids of the examples that were put into it."""

    @property
    def sha(self) -> str:
        """What is the same has the same."""
        return self.prompt.sha

    @property
    def instructions(self) -> dict[str, str]:
        """The texts that say what to do, by their place; those of the system, else the first one."""
        messages = self.prompt.document["messages"]
        texts = {
            f"messages[{at}]": each["content"]
            for at, each in enumerate(messages)
            if isinstance(each.get("content"), str) and each["content"].strip()
        }
        head = {place: text for place, text in texts.items() if messages[_at(place)]["role"] in _HEAD}
        return head or dict([*texts.items()][:1])

    def messages(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What is asked: the instructions, each example as a turn with its answer, the question; as the gateway does.

        Raises:
            BadRequest: the inputs do not fill it.
        """
        head, turn = self._parted(inputs)
        shown: list[dict[str, Any]] = []
        for shot in self.shots:
            shown += [*self._parted(shot.input)[1], {"role": "assistant", "content": answer(shot.output)}]
        return [*head, *shown, *turn]

    def instructed(self, texts: Mapping[str, str], made: str) -> Candidate:
        """The same with other instructions, by their place.

        Raises:
            BadRequest: a text is no template, or names a variable that is not there.
        """
        document = json.loads(json.dumps(dict(self.prompt.document)))
        for place, text in texts.items():
            document["messages"][_at(place)]["content"] = text
        return replace(self, prompt=read(document, "the new instructions"), made=made)

    def with_examples(self, examples: Sequence[Example], made: str) -> Candidate:
        """The same with examples shown after the instructions, as turns that were answered rightly.

        Raises:
            BadRequest: an example does not fill the prompt.
        """
        document = json.loads(json.dumps(dict(self.prompt.document)))
        messages = document["messages"]
        count = len([*takewhile(lambda each: each.get("role") in _HEAD, messages)])
        shown: list[dict[str, Any]] = []
        for example in examples:
            turn = self._parted(example.inputs)[1]
            shown += [{**each, "content": _literal(each.get("content"))} for each in turn]
            shown.append({"role": "assistant", "content": literal(answer(_first(example.expected)))})
        turn = messages[count:]
        if not turn and self.text_input is not None:  # the question no longer follows by itself
            document.setdefault("variables", {}).setdefault(self.text_input, {"type": "any"})
            turn = [{"role": "user", "content": "{{ " + self.text_input + " }}"}]
        document["messages"] = [*messages[:count], *shown, *turn]
        ids = tuple(example.id for example in examples)
        return replace(self, prompt=read(document, "the prompt with its examples"), made=made, showing=ids)

    def _parted(self, inputs: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        known = self.prompt.variables
        try:
            messages = self.prompt.render({name: value for name, value in inputs.items() if name in known})
        except Fault as fault:
            raise fault.refused("the prompt") from None
        head = [*takewhile(lambda message: message.get("role") in _HEAD, messages)]
        turn = messages[len(head) :]
        if not turn and self.text_input is not None:
            turn = [{"role": "user", "content": inputs.get(self.text_input, "")}]
        if not head and not turn:
            raise BadRequest("the prompt renders to no message", param="prompt")
        return head, turn


def literal(text: str) -> str:
    """A text as a template that renders to it."""
    return _SIGNS.sub(lambda found: "{{ '" + found[0] + "' }}", text)


def has_placeholders(text: str) -> bool:
    """Whether a text is more than itself once rendered."""
    return _PLACEHOLDER.search(text) is not None


def answer(output: Any) -> str:
    """An answer as the model would have given it."""
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _literal(content: Any) -> Any:
    if isinstance(content, str):
        return literal(content)
    if isinstance(content, list):
        return [_literal(each) for each in content]
    if isinstance(content, dict):
        return {name: _literal(each) for name, each in content.items()}
    return content


def _first(expected: Any) -> Any:
    """Of several answers each of which is right, one."""
    texts = isinstance(expected, list) and bool(expected) and all(isinstance(each, str) for each in expected)
    return expected[0] if texts else expected


def _at(place: str) -> int:
    return int(place.removeprefix("messages[").removesuffix("]"))
