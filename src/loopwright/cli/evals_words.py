"""The words of `loopwright eval`, read: targets, evaluators, slices, bars. Knows no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from loopwright.core.errors import BadRequest
from loopwright.evals import words
from loopwright.evals.words import parameters_of


def target_of(
    text: str, *, prompt: str | None = None, template: str | None = None, parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A target as `evals.words` reads it; `template` is what models without a prompt are asked, `@FILE` reads it.

    Raises:
        BadRequest: there is no model in it, or the file holds no messages.
    """
    messages = None if template is None else _messages(template)
    return words.target_of(text, prompt=prompt, messages=messages, parameters=parameters)


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
