"""A prompt's definition: its variables, messages and partials, checked once, the same bytes whoever wrote it.

description: Answers a question from documents.
variables: {question: string, documents: {type: array, default: []}}
messages:
- {role: system, content: "Answer from the documents. {% include 'tone' %}"}
- {insert: history}                        # a variable of type messages
- {role: user, content: "{{ question }}"}
partials: {tone: "Be brief."}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.kit.nearest import hint
from loopwright.prompts.fault import Fault
from loopwright.prompts.naming import check_names
from loopwright.prompts.rendering import Run
from loopwright.prompts.syntax import Template, template
from loopwright.prompts.values import Missing
from loopwright.prompts.variables import ROLES, Variable, filled, variables_of

PARTIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LONGEST: Final = 1_000_000
"""Bytes of a definition as JSON."""
MOST_MESSAGES: Final = 200
MOST_PARTIALS: Final = 100
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_MEMBERS: Final = ("description", "variables", "messages", "partials", "metadata")
_MESSAGE: Final = ("role", "content", "name", "insert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, or the place where those of a variable go."""

    role: str
    name: str | None = None
    content: Any = ""
    """A Template; for a message of several parts, lists and objects with Templates in them."""
    insert: str | None = None
    """The variable whose messages stand here."""

    def said(self, run: Run, values: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        """The messages it becomes; one that renders to nothing is left out."""
        if self.insert is not None:
            yield from (dict(each) for each in values.get(self.insert, ()))
            return
        content = _rendered(self.content, run, values)
        if content not in ("", []) and not (isinstance(content, str) and not content.strip()):
            named = {} if self.name is None else {"name": self.name}
            yield {"role": self.role, **named, "content": content}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A prompt that can be rendered."""

    description: str
    variables: Mapping[str, Variable]
    messages: tuple[Message, ...]
    partials: Mapping[str, Template]
    document: Mapping[str, Any]
    """The same as JSON, every member in its one form."""
    sha: str
    """SHA-256 of the document: what is the same has the same."""

    def render(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The messages, in OpenAI's form.

        Raises:
            Fault: a variable is missing, unknown or of another kind, or a template fails.
        """
        values = filled(self.variables, given)
        run = Run(self.partials)
        found = [said for message in self.messages for said in message.said(run, values)]
        if not found:
            raise Fault("renders to no message at all", place="messages")
        return found

    def sample(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Values to try it with, from examples and defaults, and the names of those made up for want of one."""
        values = {name: each.sample for name, each in self.variables.items()}
        invented = {
            name: _INVENTED[each.kind] if each.choices is None else each.choices[0]
            for name, each in self.variables.items()
            if each.required and isinstance(values[name], Missing)
        }
        given = {name: value for name, value in values.items() if not isinstance(value, Missing)}
        return given | invented, tuple(invented)


_INVENTED: Final[Mapping[str, Any]] = {
    "string": "…", "number": 0, "integer": 0, "boolean": False, "array": [], "object": {}, "messages": [], "any": "…",
}  # fmt: skip


def definition(given: Any) -> Definition:
    """Read a definition.

    Raises:
        Fault: it cannot be used; names the place, the line in its template, the variable.
    """
    if not isinstance(given, Mapping):
        raise Fault("a prompt is an object with messages")
    for name in given:
        if name not in _MEMBERS:
            raise Fault(f"{str(name)[:60]!r} is no member of a prompt{hint(str(name), _MEMBERS)}", place=str(name)[:60])
    description = given.get("description") or ""
    if not isinstance(description, str):
        raise Fault("must be a text", place="description")
    metadata = given.get("metadata") or {}
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise Fault("must be an object", place="metadata")
    variables = variables_of(given.get("variables"))
    partials = _partials(given.get("partials"))
    messages = _messages(given.get("messages"), variables)
    document: dict[str, Any] = {
        **({"description": description} if description else {}),
        **({"variables": {name: each.shown() for name, each in variables.items()}} if variables else {}),
        "messages": [_written(message) for message in messages],
        **({"partials": {name: each.text for name, each in partials.items()}} if partials else {}),
        **({"metadata": dict(metadata)} if metadata else {}),
    }
    sha = hashlib.sha256(canonical(document)).hexdigest()
    for each in _templates(message.content for message in messages):
        check_names(each, partials, set(variables))
    return Definition(
        description=description, variables=variables, messages=messages, partials=partials, document=document, sha=sha
    )


def canonical(document: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed: JSON with sorted names.

    Raises:
        Fault: it is no JSON, holds NUL or half a character, or is too long.
    """
    try:
        raw = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        raise Fault("holds what JSON in UTF-8 cannot", place="definition") from None
    if len(raw) > LONGEST:
        raise Fault(f"has {len(raw):,} bytes; a prompt may have {LONGEST:,}", place="definition")
    if _NUL.search(raw):
        raise Fault("holds the character NUL", place="definition")
    return raw


def _partials(given: Any) -> dict[str, Template]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or len(given) > MOST_PARTIALS:
        raise Fault(f"must be names with texts; at most {MOST_PARTIALS}", place="partials")
    found = {}
    for name, text in given.items():
        if not isinstance(name, str) or not PARTIAL.fullmatch(name) or not isinstance(text, str):
            raise Fault(f"{str(name)[:60]!r}: a partial is a name with a text", place="partials")
        found[name] = template(text, f"partials.{name}")
    return found


def _messages(given: Any, variables: Mapping[str, Variable]) -> tuple[Message, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_MESSAGES:
        raise Fault(f"must be a list of 1 to {MOST_MESSAGES} messages", place="messages")
    return tuple(_message(each, f"messages[{at}]", variables) for at, each in enumerate(given))


def _message(given: Any, place: str, variables: Mapping[str, Variable]) -> Message:
    if not isinstance(given, Mapping):
        raise Fault("must be an object with role and content", place=place)
    for name in given:
        if name not in _MESSAGE:
            raise Fault(f"{str(name)[:60]!r} is no member of a message{hint(str(name), _MESSAGE)}", place=place)
    if "insert" in given:
        return _insertion(given, place, variables)
    role, name = given.get("role"), given.get("name")
    if role not in ROLES or role == "tool":
        raise Fault(f"role {str(role)[:60]!r}: must be system, developer, user or assistant", place=place)
    if name is not None and (not isinstance(name, str) or not PARTIAL.fullmatch(name)):
        raise Fault("name must be letters, digits, - and _", place=place)
    content = given.get("content")
    if not isinstance(content, str | list) or not content:
        raise Fault("content must be a text, or a list of parts", place=place)
    if isinstance(content, list) and not all(
        isinstance(part, Mapping) and isinstance(part.get("type"), str) for part in content
    ):
        raise Fault("each part of a content is an object with a type", place=place)
    return Message(role=role, name=name, content=_parsed(content, f"{place}.content"))


def _insertion(given: Mapping[str, Any], place: str, variables: Mapping[str, Variable]) -> Message:
    name = given["insert"]
    variable = variables.get(name) if isinstance(name, str) else None
    if variable is None or len(given) > 1:
        known = [each.name for each in variables.values() if each.kind == "messages"]
        raise Fault(
            f"insert names one variable of type messages, and stands alone{hint(str(name), known)}", place=place
        )
    if variable.kind != "messages":
        raise Fault(f"is of type {variable.kind}: insert needs messages", place=place, variable=variable.name)
    return Message(role="", insert=variable.name)


def _parsed(value: Any, place: str, depth: int = 0) -> Any:
    """Every text in it a template; those that say what a part is, are not."""
    if depth > 10:
        raise Fault("is nested too deeply", place=place)
    if isinstance(value, str):
        return template(value, place)
    if isinstance(value, list):
        return [_parsed(each, f"{place}[{at}]", depth + 1) for at, each in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            name: each if name == "type" else _parsed(each, f"{place}.{name}", depth + 1)
            for name, each in value.items()
        }
    return value


def _rendered(value: Any, run: Run, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Template):
        return run.render(value, values)
    if isinstance(value, list):
        return [_rendered(each, run, values) for each in value]
    if isinstance(value, dict):
        return {name: _rendered(each, run, values) for name, each in value.items()}
    return value


def _templates(contents: Iterable[Any]) -> Iterable[Template]:
    for each in contents:
        if isinstance(each, Template):
            yield each
        elif isinstance(each, list):
            yield from _templates(each)
        elif isinstance(each, dict):
            yield from _templates(each.values())


def _written(message: Message) -> dict[str, Any]:
    if message.insert is not None:
        return {"insert": message.insert}
    named = {} if message.name is None else {"name": message.name}
    return {"role": message.role, **named, "content": _text(message.content)}


def _text(value: Any) -> Any:
    if isinstance(value, Template):
        return value.text
    if isinstance(value, list):
        return [_text(each) for each in value]
    if isinstance(value, dict):
        return {name: _text(each) for name, each in value.items()}
    return value
