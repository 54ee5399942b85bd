"""`loopwright encryption`: which keys texts are sealed with, sealing them anew, a fresh key."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, console, say, show_json, show_table
from loopwright.client import Client
from loopwright.core.errors import Conflict
from loopwright.kit.keyring import new_key

app = typer.Typer(help="Sealed texts: status, rotate, new key.", no_args_is_help=True, add_completion=False)

_WATCH: Final = 0.5
"""Seconds between two looks at what the recorder does."""
_PATIENCE: Final = 120.0
"""Seconds without any progress of the recorder after which the rest is left to it."""


@app.command("status")
def status(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show how many fields are sealed with which key. A key that seals none is needed no more."""
    with reach(url, api_key) as client:
        told = client.encryption()
    if as_json:
        show_json(told)
        return
    rows = [
        [field["what"], field["key"] or "not sealed", "" if field["here"] else "missing", f"{field['count']:,}"]
        for field in told["fields"]
    ]
    columns = (Column(title="what"), Column(title="key"), Column(title=""), Column(title="fields", right=True))
    show_table(columns, rows, empty="Nothing is on record yet.")
    if not told["on"]:
        say("Encryption is off: docs/encryption.md says how to switch it on.", style="dim")
    elif told["left"]:
        say(
            f"{told['left']:,} not sealed with {told['key']}: `loopwright encryption rotate` seals them.",
            style="yellow",
        )
    else:
        say(f"All is sealed with {told['key']}. {_spare(told)}", style="green")


@app.command("rotate")
def rotate(
    *,
    hurry: Annotated[bool, typer.Option("--hurry", help="Do not rest between two steps.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Seal anew, with the first key, what is sealed with others or not at all.

    Everything goes on meanwhile. What breaks off, by Ctrl-C or a crash, loses nothing; run it again and it goes on.
    """
    with reach(url, api_key) as client:
        told = client.encryption()
        if not told["on"]:
            raise Conflict(
                "encryption is off: there is no key to seal with\nSet LOOPWRIGHT_ENCRYPTION_KEYS and restart"
            )
        done = 0
        with _bar(int(told["left"]), quiet=as_json) as advance:
            while told["left"]:
                before = told["left"]
                done += _pass(client, advance, hurry=hurry)
                told = _words(client, advance)
                if told["left"] >= before:
                    break
    if as_json:
        show_json({"done": done, "left": told["left"], "key": told["key"]})
    elif told["left"]:
        say(f"{told['left']:,} fields are left; `loopwright encryption status` shows which.", style="yellow")
    else:
        say(f"All is sealed with {told['key']} ({done:,} anew). {_spare(told)}", style="green")
    if told["left"]:
        raise typer.Exit(1)


@app.command("new-key")
def print_new_key(
    key_id: Annotated[
        str | None, typer.Argument(help="What sealed texts call it; else the date.", metavar="ID", show_default=False)
    ] = None,
) -> None:
    """Print a fresh key. It is kept nowhere: without it, what it sealed is lost for ever."""
    sys.stdout.write(new_key(key_id or f"{datetime.now(UTC):%Y-%m-%d}") + "\n")
    say("Put it first in LOOPWRIGHT_ENCRYPTION_KEYS (or the keys file), keep a copy elsewhere, restart.", style="dim")


def _pass(client: Client, advance: Callable[[int], None], *, hurry: bool) -> int:
    """Once through everything; how many fields were sealed."""
    done = 0
    after: str | None = None
    while True:
        began = time.monotonic()
        step = client.rotate_encryption(after)
        sealed = int(step["done"])
        done += sealed
        advance(sealed)
        after = step["after"]
        if after is None:
            return done
        if not hurry:
            time.sleep(time.monotonic() - began)  # half of the time is everybody else's


def _words(client: Client, advance: Callable[[int], None]) -> dict[str, Any]:
    """Watch the recorder hash the word index anew; how all is then."""
    told = client.encryption()
    left, moved = _words_left(told), time.monotonic()
    while left and time.monotonic() - moved < _PATIENCE:
        time.sleep(_WATCH)
        told = client.encryption()
        now = _words_left(told)
        if now < left:
            advance(left - now)
            left, moved = now, time.monotonic()
    return told


def _words_left(told: dict[str, Any]) -> int:
    return sum(field["count"] for field in told["fields"] if field["kind"] == "words" and field["key"] != told["key"])


def _spare(told: dict[str, Any]) -> str:
    used = {field["key"] for field in told["fields"]}
    spare = [key for key in told["keys"] if key != told["key"] and key not in used]
    return f"Not needed any more: {', '.join(spare)}." if spare else ""


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    screen = console(stderr=True)
    columns = (
        TextColumn("sealing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:
        task = progress.add_task("sealing", total=total)

        def advance(count: int) -> None:
            progress.advance(task, count)

        yield advance
