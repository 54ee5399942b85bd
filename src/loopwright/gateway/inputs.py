"""The input variables of a task's call: from `loopwright.variables`, or the last user message for a single text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loopwright.core.chat import Request
from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint
from loopwright.kit.wire_read import dicts, text
from loopwright.tasks.task import Task, defaults_of

MEMBER: Final = "loopwright.variables"


def inputs_of(task: Task, request: Request) -> dict[str, Any]:
    """The values of a task's inputs, with defaults where they are not given; they keep to its schema.

    Raises:
        BadRequest: they do not; `param` names the one to blame.
    """
    values = dict(request.variables or {})
    single = task.text_input
    spoken = single is not None and single not in values
    if spoken and single is not None:
        said = _said(task, request)
        if said is None:
            raise BadRequest(
                f"task {task.name!r} needs its input {single!r}: as the last user message, or in {MEMBER}",
                param="messages",
            )
        values[single] = said
    properties = task.inputs.document.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    values = defaults_of(task.inputs) | values
    _check_names(task, values, known)
    for problem in task.inputs.problems(values, most=1):
        path, _, what = problem.partition(": ")
        place = MEMBER + path.removeprefix("$")
        blamed = "messages" if spoken and path == f"$.{single}" else place
        raise BadRequest(f"{blamed}: {what} (task {task.name!r})", param=blamed)
    return values


def _check_names(task: Task, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    needed = task.inputs.document.get("required")
    for name in needed if isinstance(needed, list) else ():
        if name not in values:
            where = f"{MEMBER}.{name}"
            takes = ", ".join(known) or "any"
            raise BadRequest(f"{where}: is required by task {task.name!r}, whose inputs are: {takes}", param=where)
    if "additionalProperties" in task.inputs.document or "patternProperties" in task.inputs.document:
        return
    for name in values:
        if name not in known:
            where = f"{MEMBER}.{name[:80]}"
            raise BadRequest(f"{where}: task {task.name!r} has no such input{hint(name, known)}", param=where)


def _said(task: Task, request: Request) -> str | None:
    """The text of the last user message; None when there is none, or it says nothing."""
    messages = dicts(request.body.get("messages"))
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].get("role") != "user":
            continue
        content = messages[at].get("content")
        for number, part in enumerate(dicts(content)):
            if part.get("type") != "text":
                where = f"messages[{at}].content[{number}]"
                raise BadRequest(f"{where}: task {task.name!r} takes text, not {part.get('type')!r}", param=where)
        said = text(content)
        return said if said.strip() else None
    return None
