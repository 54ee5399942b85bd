"""`loopwright check`: every error of the configuration at once, each with its place."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.text import Text

from loopwright.cli.reach import Config, Json
from loopwright.cli.screen import clean, console, say, show_json
from loopwright.kit.settings_file import Examined, examine

app = typer.Typer(add_completion=False)


@app.command()
def check(
    *,
    config: Config = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing when all is well.")] = False,
) -> None:
    """Check the configuration: file and environment. Every error comes with file, line and what is allowed."""
    examined = examine(config, env=os.environ)
    if as_json:
        show_json(_as_json(examined))
    elif examined.problems:
        _show(examined)
    elif not quiet:
        settings = examined.settings
        source = settings.file or "no loopwright.yaml, so the defaults"
        say(f"No errors ({source}; {len(settings.models)} models, {len(settings.providers)} providers).", style="green")
    if examined.problems:
        raise typer.Exit(1)


def _show(examined: Examined) -> None:
    """One line each in the form that editors jump to: `file:line:column: key: what`."""
    out = console()
    for problem in examined.problems:
        out.print(Text(clean(problem)))
    count = len(examined.problems)
    say(f"{count} {'error' if count == 1 else 'errors'}. Every setting is explained in docs/configuration.md.")


def _as_json(examined: Examined) -> dict[str, object]:
    settings = examined.settings
    return {
        "ok": not examined.problems,
        "file": None if settings.file is None else str(settings.file),
        "problems": [
            {
                "source": problem.source,
                "line": problem.line,
                "column": problem.column,
                "key": problem.key,
                "message": problem.text,
            }
            for problem in examined.problems
        ],
    }
