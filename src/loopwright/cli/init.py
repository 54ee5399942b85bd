"""`loopwright init`: a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.screen import say
from loopwright.core.errors import Conflict
from loopwright.kit.settings_file import DEFAULT_FILE, example

app = typer.Typer(add_completion=False)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.", metavar="FILE")] = Path(DEFAULT_FILE),
) -> None:
    """Write a commented loopwright.yaml with every setting and its default. Never overwrites a file."""
    text = example()
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise Conflict(
            f"{file} is already there and stays as it is\nEdit it, or name another: loopwright init FILE"
        ) from None
    say(f"Wrote {file}. `loopwright check` checks it, `loopwright up` starts with it.", style="green")
