"""`loopwright guardrails`: what would be found in a text, what a model elsewhere would see of it, how it is judged."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from loopwright.cli.reach import Json
from loopwright.cli.screen import Column, clean, clip, console, show_json, show_table
from loopwright.core.errors import BadRequest
from loopwright.guardrails.moderation import Judgement, load
from loopwright.guardrails.pii import find
from loopwright.guardrails.placeholders import Placeholders
from loopwright.guardrails.span import KINDS
from loopwright.kit.nearest import hint

app = typer.Typer(help="Personal data and moderation, tried on a text.", no_args_is_help=True, add_completion=False)


@app.callback()
def guardrails() -> None:
    """Personal data and moderation, tried on a text."""


@app.command("test")
def try_text(
    text: Annotated[str, typer.Argument(help="The text; - reads standard input.")],
    *,
    kind: Annotated[list[str] | None, typer.Option(help="Seek only this kind; may be given several times.")] = None,
    as_json: Json = False,
) -> None:
    """Show what is found in TEXT, the text with placeholders, and its moderation. Nothing leaves this machine."""
    kinds = frozenset(kind or KINDS)
    for each in kinds - set(KINDS):
        raise BadRequest(f"--kind {each!r} is not known{hint(each, KINDS)}; there are: {', '.join(KINDS)}")
    if text == "-":
        text = sys.stdin.read()
    finds = [
        {"kind": span.kind, "start": span.start, "end": span.end, "text": text[span.start : span.end]}
        for span in find(text, kinds)
    ]
    redacted = Placeholders(kinds).text(text)
    judgement = load().judge(text)
    if as_json:
        show_json({"found": finds, "redacted": redacted, "moderation": judgement.shown()})
        return
    _show(finds, redacted, judgement)


def _show(finds: list[dict[str, Any]], redacted: str, judgement: Judgement) -> None:
    columns = (Column(title="kind"), Column(title="at", right=True), Column(title="text", least=12))
    show_table(
        columns, [[each["kind"], each["start"], clip(each["text"])] for each in finds], empty="Nothing personal."
    )
    if finds:
        console().print(Text(f"\n{clean(redacted)}\n"))
    scores = sorted(judgement.scores.items(), key=lambda each: -each[1])
    rows = [[name, f"{score:.3f}", "yes" if judgement.categories[name] else ""] for name, score in scores]
    show_table((Column(title="category"), Column(title="score", right=True), Column(title="flagged")), rows, empty="")
