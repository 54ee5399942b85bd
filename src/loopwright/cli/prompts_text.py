"""How the command line shows prompts: tables, messages, differences in colour; and reads values for variables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from loopwright.cli.quantities import local_text
from loopwright.cli.screen import Column, clean, clip, console, say, show_table
from loopwright.core.errors import BadRequest
from loopwright.prompts.difference import Difference

_LOOKS: Final = {"+": "green", "-": "red", "@": "cyan", " ": ""}


def columns_of_prompts() -> tuple[Column, ...]:
    """Of `prompts list`."""
    return (
        Column(title="prompt"),
        Column(title="latest", right=True),
        Column(title="labels", least=16),
        Column(title="pushed", weight=2),
        Column(title="description", least=16, weight=3),
    )


def row_of_prompt(prompt: dict[str, Any]) -> list[object]:
    """One line of it."""
    labels = ", ".join(f"{label}@{number}" for label, number in prompt["labels"].items())
    pushed = local_text(prompt["pushed_at"])
    return [prompt["name"], prompt["latest"], labels, pushed, clip(prompt["description"], 80)]


def columns_of_versions() -> tuple[Column, ...]:
    """Of the versions of a prompt."""
    return (
        Column(title="version", right=True),
        Column(title="labels", least=12),
        Column(title="calls (30 days)", right=True, weight=1),
        Column(title="cost a call", right=True, weight=2),
        Column(title="pushed", weight=3),
        Column(title="by", weight=4),
        Column(title="note", least=12, weight=5),
    )


def row_of_version(version: dict[str, Any]) -> list[object]:
    """One line of it."""
    calls = version["calls"] or {}
    cost = calls.get("cost_a_call_usd")
    return [
        version["number"],
        ", ".join(version["labels"]),
        f"{calls['requests']:,}" if calls else "",
        "" if not calls else "unpriced" if cost is None else f"${cost}",
        local_text(version["created_at"]),
        version["author"],
        clip(version["note"], 60),
    ]


def rendered_text(rendered: dict[str, Any]) -> None:
    """Print the messages of a version, and what they weigh."""
    out = console()
    for message in rendered["messages"]:
        content = message.get("content")
        out.print(Text(f"── {message['role']} ──", style="bold cyan"))
        out.print(
            Text(clean(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)))
        )
    if rendered["invented"]:
        say(f"Made up for want of an example: {', '.join(rendered['invented'])}", style="yellow")
    for weight in rendered["weights"]:
        cost = "unpriced" if weight["input_cost_usd"] is None else f"${weight['input_cost_usd']}"
        about = "about " if weight["estimated"] else ""
        say(f"{weight['model']}: {about}{weight['tokens']:,} tokens, {cost} to send", style="dim")


def difference_text(found: Difference) -> None:
    """Print a difference."""
    if found.same:
        say(f"{found.before} and {found.after} say the same.", style="dim")
        return
    out = console()
    for line in found.unified.rstrip("\n").split("\n"):
        heading = line.startswith(("--- ", "+++ "))
        out.print(Text(clean(line), style="bold" if heading else _LOOKS.get(line[:1], "")))


def history_text(moves: Sequence[dict[str, Any]]) -> None:
    """Print moves of labels."""
    columns = (
        Column(title="when"),
        Column(title="label"),
        Column(title="from", right=True),
        Column(title="to", right=True),
        Column(title=""),
        Column(title="by", weight=1),
    )
    rows = [
        [
            local_text(move["at"]),
            move["label"],
            "" if move["from"] is None else move["from"],
            "" if move["to"] is None else move["to"],
            "rollback" if move["rollback"] else "taken away" if move["to"] is None else "",
            move["author"],
        ]
        for move in moves
    ]
    show_table(columns, rows, empty="No label has been moved.")


def values_of(given: Sequence[str]) -> dict[str, Any] | None:
    """The variables of `--var NAME=TEXT` and `--var NAME:=JSON`; None when there is none.

    Raises:
        BadRequest: one is written otherwise.
    """
    values: dict[str, Any] = {}
    for each in given:
        name, sign, text = each.partition("=")
        if not sign or not name:
            raise BadRequest(f"--var: {each[:60]!r}: write it as NAME=TEXT or NAME:=JSON", param="--var")
        if not name.endswith(":"):
            values[name] = text
            continue
        try:
            values[name[:-1]] = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRequest(f"--var: {text[:60]!r} is no JSON", param="--var") from None
    return values or None
