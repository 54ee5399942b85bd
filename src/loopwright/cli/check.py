"""`loopwright check`: every error of the configuration at once, each with its place."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.text import Text

from loopwright.cli.reach import Config, Json, reach
from loopwright.cli.screen import clean, console, say, show_json
from loopwright.core.errors import LoopwrightError
from loopwright.kit.keyring import keys_of
from loopwright.kit.nearest import hint
from loopwright.kit.settings import Settings
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
    warnings = [] if examined.problems else _strangers(examined.settings)
    if as_json:
        show_json(_as_json(examined, warnings))
    elif examined.problems:
        _show(examined)
    elif not quiet:
        settings = examined.settings
        source = settings.file or "no loopwright.yaml, so the defaults"
        what = f"models: {len(settings.models)}, providers: {len(settings.providers)}, {_encryption(examined)}"
        say(f"No errors ({source}; {what}).", style="green")
    if not as_json:
        for warning in warnings:
            say(f"warning: {warning}", style="yellow")
    if examined.problems:
        raise typer.Exit(1)


def _show(examined: Examined) -> None:
    """One line each in the form that editors jump to: `file:line:column: key: what`."""
    out = console()
    for problem in examined.problems:
        out.print(Text(clean(problem)))
    count = len(examined.problems)
    say(f"{count} {'error' if count == 1 else 'errors'}. Every setting is explained in docs/configuration.md.")


def _strangers(settings: Settings) -> list[str]:
    """What is odd about policies of privacy for projects: only the running server knows which projects there are."""
    named = settings.privacy.projects
    if not named:
        return []
    try:
        with reach(
            os.environ.get("LOOPWRIGHT_URL"), os.environ.get("LOOPWRIGHT_API_KEY"), timeout=3.0, settings=settings
        ) as client:
            known = [project["name"] for project in client.projects()]
    except LoopwrightError:
        return ["whether the projects under privacy.projects exist is not known: no server answers here"]
    return [
        f"privacy.projects.{name}: there is no such project{hint(name, known)}" for name in named if name not in known
    ]


def _encryption(examined: Examined) -> str:
    keys = [] if examined.problems else [key.id for key in keys_of(examined.settings.encryption)]
    if not keys:
        return "encryption off"
    return f"encryption by key {keys[0]}" + (f", {', '.join(keys[1:])} opened" if keys[1:] else "")


def _as_json(examined: Examined, warnings: list[str]) -> dict[str, object]:
    settings = examined.settings
    return {
        "ok": not examined.problems,
        "encryption": [] if examined.problems else [key.id for key in keys_of(settings.encryption)],
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
        "warnings": warnings,
    }
