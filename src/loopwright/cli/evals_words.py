"""The words of `loopwright eval`, read: targets, evaluators, slices, bars. Knows no server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

from loopwright.core.errors import BadRequest

TASK: Final = "task/"
_NEXT: Final = re.compile(r",(?=[A-Za-z_]\w*=)")
"""The comma before a name and its sign, none within a value."""


def target_of(
    text: str, *, prompt: str | None = None, template: str | None = None, parameters: dict[str, Any] | None = None
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
        raise BadRequest(f"TARGET: {text!r} names no model\nWrite it as [NAME=]MODEL[#PROMPT[@REF]]", param="TARGET")
    told: dict[str, Any] = {"name": name, "model": model}
    if not model.startswith(TASK):
        if own or prompt:
            told["prompt"] = own or prompt
        elif template is not None:
            told["messages"] = _messages(template)
    elif own:
        raise BadRequest(f"TARGET: {text!r} is a task, which has prompts of its own", param="TARGET")
    if parameters:
        told["parameters"] = parameters
    return told


def evaluator_of(text: str) -> dict[str, Any]:
    """An evaluator from `KIND`, `KIND:NAME=VALUE,…` or a JSON object; values are JSON where they can be.

    Raises:
        BadRequest: it is none of these.
    """
    if text.lstrip().startswith("{"):
        try:
            told = json.loads(text)
        except ValueError as error:
            raise BadRequest(f"--evaluator: this is no JSON: {error}", param="--evaluator") from None
        return dict(told)
    kind, sign, rest = text.partition(":")
    return {"kind": kind, **({"args": parameters_of(_NEXT.split(rest), "--evaluator")} if sign else {})}


def parameters_of(given: list[str], option: str) -> dict[str, Any]:
    """Values by name from `NAME=VALUE`; a value is JSON where it can be, else a text.

    Raises:
        BadRequest: one has no name.
    """
    found: dict[str, Any] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign or not name.strip():
            raise BadRequest(f"{option}: {each!r}: write it as NAME=VALUE", param=option)
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def numbers_of(given: list[str], option: str) -> dict[str, float]:
    """Numbers by name from `NAME=NUMBER`.

    Raises:
        BadRequest: one is none.
    """
    found: dict[str, float] = {}
    for name, value in parameters_of(given, option).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequest(f"{option}: {name}={value}: write it as NAME=NUMBER", param=option)
        found[name] = float(value)
    return found


def slices_of(given: list[str]) -> dict[str, str]:
    """Slices from `NAME:VALUE`.

    Raises:
        BadRequest: one has no name.
    """
    found = {}
    for each in given:
        name, sign, value = each.partition(":")
        if not sign or not name:
            raise BadRequest(f"--slice: {each!r}: write it as NAME:VALUE", param="--slice")
        found[name] = value
    return found


def _messages(template: str) -> list[dict[str, Any]]:
    """Messages from a template: a text is what the user says; `@FILE` holds a text, or messages in YAML or JSON."""
    if not template.startswith("@"):
        return [{"role": "user", "content": template}]
    path = Path(template[1:])
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".yaml", ".yml", ".json"}:
        try:
            read = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadRequest(f"--template: {path} cannot be read: {error}", param="--template") from None
        found = read.get("messages") if isinstance(read, dict) else read
        if isinstance(found, list) and all(isinstance(each, dict) for each in found):
            return found
        raise BadRequest(f"--template: {path} holds no list of messages", param="--template")
    return [{"role": "user", "content": text}]
