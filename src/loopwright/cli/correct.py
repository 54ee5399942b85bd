"""`loopwright correct`: what an answer should have been."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from loopwright.cli.calls import named
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import say, show_json
from loopwright.core.errors import BadRequest

app = typer.Typer(add_completion=False)


@app.command()
def correct(
    call_id: Annotated[
        str,
        typer.Argument(help="Id of a call (`x-loopwright-call-id` of its answer), or `last`.", metavar="CALL_ID|last"),
    ],
    *,
    output: Annotated[str | None, typer.Option("--output", "-o", help="The right answer.", metavar="TEXT")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A file that holds it; - is standard input.", metavar="FILE")
    ] = None,
    parse: Annotated[bool, typer.Option("--parse", help="It is JSON, not a text.")] = False,
    note: Annotated[str, typer.Option(help="Why, for people.")] = "",
    author: Annotated[str | None, typer.Option(help="In whose name; else the key's.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Say what the answer to a call should have been. The latest correction counts; those before stay on record."""
    right = _right(output, file, parse=parse)
    with reach(url, api_key) as client:
        made = client.correct(named(client, call_id), right, note=note, author=author)
    if as_json:
        show_json(made)
    else:
        say(f"Noted what call {made['call_id']} should have answered.", style="green")
        _tell(made.get("memory") or {})


def _tell(memory: Mapping[str, Any]) -> None:
    """What becomes of it."""
    if memory.get("problem"):
        say(f"It is not shown to other requests: {memory['problem']}", style="yellow")
    elif memory.get("entry"):
        soon = "from now on" if memory["embedded"] else "as soon as it is embedded"
        say(f"Task {memory['task']} is shown it {soon}: loopwright memory show {memory['entry']}", style="dim")
    if memory.get("conflicts"):
        say("Somebody said something else of nearly the same: loopwright memory conflicts", style="yellow")


def _right(output: str | None, file: Path | None, *, parse: bool) -> Any:
    if (output is None) is (file is None):
        raise BadRequest("say the right answer by one of --output TEXT and --file FILE", param="--output")
    if output is None:
        try:
            output = sys.stdin.read() if str(file) == "-" else (file or Path()).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise BadRequest(f"{file} is not UTF-8", param="--file") from None
    if not parse:
        return output
    try:
        return json.loads(output)
    except ValueError as error:
        raise BadRequest(f"--parse: this is no JSON: {error}", param="--parse") from None
