"""Targets and evaluators in the words people write them in, on a command line or in a form. Knows no server."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from loopwright.core.errors import BadRequest

TASK: Final = "task/"
_NEXT: Final = re.compile(r",(?=[A-Za-z_]\w*=)")
"""The comma before a name and its sign, none within a value."""


def target_of(
    text: str,
    *,
    prompt: str | None = None,
    messages: list[dict[str, Any]] | None = None,
    parameters: dict[str, Any] | None = None,
    where: str = "TARGET",
) -> dict[str, Any]:
    """A target from `[NAME=]MODEL[#PROMPT[@REF]]`; what is said for all models goes to those that are no tasks.

    Raises:
        BadRequest: there is no model in it.
    """
    name, sign, model = text.partition("=")
    if not sign:
        name, model = text, text
    model, _, own = model.partition("#")
    if not model or not name:
        raise BadRequest(f"{where}: {text!r} names no model\nWrite it as [NAME=]MODEL[#PROMPT[@REF]]", param=where)
    told: dict[str, Any] = {"name": name, "model": model}
    if not model.startswith(TASK):
        if own or prompt:
            told["prompt"] = own or prompt
        elif messages is not None:
            told["messages"] = messages
    elif own:
        raise BadRequest(f"{where}: {text!r} is a task, which has prompts of its own", param=where)
    if parameters:
        told["parameters"] = parameters
    return told


def evaluator_of(text: str, where: str = "--evaluator") -> dict[str, Any]:
    """An evaluator from `KIND`, `KIND:NAME=VALUE,…` or a JSON object; values are JSON where they can be.

    Raises:
        BadRequest: it is none of these.
    """
    if text.lstrip().startswith("{"):
        try:
            told = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"{where}: this is no JSON: {error}", param=where) from None
        return dict(told)
    kind, sign, rest = text.partition(":")
    return {"kind": kind, **({"args": parameters_of(_NEXT.split(rest), where)} if sign else {})}


def parameters_of(given: Sequence[str], where: str) -> dict[str, Any]:
    """Values by name from `NAME=VALUE`; a value is JSON where it can be, else a text.

    Raises:
        BadRequest: one has no name.
    """
    found: dict[str, Any] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign or not name.strip():
            raise BadRequest(f"{where}: {each!r}: write it as NAME=VALUE", param=where)
        try:
            found[name.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            found[name.strip()] = value
    return found
