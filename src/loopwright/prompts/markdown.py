"""A definition as Markdown: what it declares in front, then each message under a comment that names its role.

    ---
    variables: {question: string}
    ---
    <!-- system -->
    Answer briefly.

    <!-- user -->
    {{ question }}

Also `<!-- insert history -->` and `<!-- partial tone -->`. A text without any such comment is one user message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from loopwright.prompts.fault import Fault
from loopwright.prompts.yaml_text import Places, read_yaml, write_yaml

_MARK: Final = re.compile(
    r"<!-- *(system|developer|user|assistant|insert|partial)(?: +([A-Za-z0-9][A-Za-z0-9._-]*))? *-->"
)
_FENCE: Final = "---"


def read_markdown(text: str) -> tuple[Any, Places]:
    """What a Markdown text says, and where.

    Raises:
        Fault: it cannot be read; `line` is that of the file.
    """
    lines = text.split("\n")
    front: Any = {}
    places = Places()
    start = 0
    if lines[0].rstrip() == _FENCE:
        end = next((at for at, line in enumerate(lines) if at and line.rstrip() == _FENCE), None)
        if end is None:
            raise Fault("what begins with --- must end with --- before the messages", line=1)
        front, places = read_yaml("\n".join(lines[1:end]), 2)
        front = {} if front is None else front
        start = end + 1
    if not isinstance(front, dict) or {"messages", "partials"} & front.keys():
        raise Fault("between the two --- stand description, variables and metadata; messages come under them", line=1)
    messages: list[dict[str, Any]] = []
    partials: dict[str, str] = {}
    for word, name, at, body in _sections(lines, start):
        if word == "insert":
            if name is None or body:
                raise Fault("<!-- insert NAME --> names a variable, and nothing stands under it", line=at)
            messages.append({"insert": name})
        elif word == "partial":
            if name is None or name in partials:
                raise Fault("<!-- partial NAME --> names a partial, each once", line=at)
            partials[name] = body
            places[f"partials.{name}"] = at + 1
        else:
            places[f"messages[{len(messages)}]"] = at
            places[f"messages[{len(messages)}].content"] = at + 1
            messages.append({"role": word, **({} if name is None else {"name": name}), "content": body})
    return {**front, "messages": messages, **({"partials": partials} if partials else {})}, places


def _sections(lines: list[str], start: int) -> list[tuple[str, str | None, int, str]]:
    """Word, name, line (from 1) and text of each section."""
    marks = [(at, found) for at in range(start, len(lines)) if (found := _MARK.fullmatch(lines[at].strip()))]
    first = marks[0][0] if marks else len(lines)
    before, skipped = _trimmed(lines[start:first])
    sections: list[tuple[str, str | None, int, str]] = [("user", None, start + skipped, before)] if before else []
    for number, (at, mark) in enumerate(marks):
        end = marks[number + 1][0] if number + 1 < len(marks) else len(lines)
        body, skipped = _trimmed(lines[at + 1 : end])
        sections.append((mark[1], mark[2], at + 1 + skipped, body))
    return sections


def _trimmed(lines: list[str]) -> tuple[str, int]:
    """A text without the empty lines around it, and how many stood before."""
    skipped = next((at for at, line in enumerate(lines) if line), len(lines))
    return "\n".join(lines).strip("\n"), skipped


def write_markdown(document: Mapping[str, Any]) -> str | None:
    """A definition as Markdown; None when it has what Markdown cannot hold, as a message of several parts."""
    front = {name: value for name, value in document.items() if name not in {"messages", "partials"}}
    sections: list[tuple[str, str]] = []
    for message in document["messages"]:
        if "insert" in message:
            sections.append((f"insert {message['insert']}", ""))
            continue
        named = f"{message['role']} {message['name']}" if "name" in message else message["role"]
        sections.append((named, message["content"]))
    sections += [(f"partial {name}", text) for name, text in (document.get("partials") or {}).items()]
    if not all(_expressible(body) for _, body in sections):
        return None
    parts = [f"<!-- {heading} -->\n{body}\n" if body else f"<!-- {heading} -->\n" for heading, body in sections]
    body = "\n".join(parts)
    text = f"{_FENCE}\n{write_yaml(front)}{_FENCE}\n{body}" if front else body
    try:
        return text if read_markdown(text)[0] == dict(document) else None
    except Fault:
        return None


def _expressible(body: Any) -> bool:
    return (
        isinstance(body, str)
        and body == body.strip("\n")
        and not any(_MARK.fullmatch(line.strip()) for line in body.split("\n"))
    )
