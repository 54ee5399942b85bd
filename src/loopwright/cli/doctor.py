"""`loopwright doctor`: examines what Loopwright stands on, and says of each thing what to do."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Final

import typer
from rich.text import Text

from loopwright.cli import doctor_machine
from loopwright.cli.doctor_database import examine_database
from loopwright.cli.doctor_encryption import examine_keys
from loopwright.cli.doctor_engines import examine_engines
from loopwright.cli.doctor_exports import examine_exports
from loopwright.cli.doctor_server import examine_port, examine_server
from loopwright.cli.finding import Finding, State, fail, ok
from loopwright.cli.reach import ApiKey, Config, Json, Url
from loopwright.cli.screen import clean, console, show_done
from loopwright.core.errors import LoopwrightError
from loopwright.kit.settings_file import Examined, examine

app = typer.Typer(add_completion=False)

_MARKS: Final[dict[State, tuple[str, str]]] = {
    "ok": ("ok  ", "green"),
    "warn": ("warn", "bold yellow"),
    "fail": ("FAIL", "bold red"),
}


@app.command()
def doctor(*, config: Config = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Examine configuration, machine, data folder, database, engines, clocks and the running server.

    Starts nothing and mends nothing. Exit code 1 when something fails; warnings do not count.
    """
    examined = examine(config, env=os.environ)
    findings: list[Finding] = []
    for finding in _findings(examined, url, api_key):
        findings.append(finding)
        if not as_json:
            _show(finding)
    states = Counter(finding.state for finding in findings)
    show_done(
        {"ok": not states["fail"], "findings": [asdict(finding) for finding in findings]},
        f"{states['ok']} ok, {states['warn']} to look at, {states['fail']} failed.",
        as_json=as_json,
        style="",
    )
    if states["fail"]:
        raise typer.Exit(1)


def _findings(examined: Examined, url: str | None, api_key: str | None) -> Iterator[Finding]:
    settings = replace(examined.settings, home=examined.settings.home.absolute())
    yield from _configuration(examined)
    yield from _examined("cores", doctor_machine.cores)
    yield from _examined("memory", doctor_machine.memory)
    yield from _examined("open files", doctor_machine.open_files)
    yield from _examined("data folder", lambda: doctor_machine.folder(settings))
    yield from _examined("spool", lambda: doctor_machine.spool(settings))
    yield from _examined("encryption", lambda: examine_keys(settings))
    where, server = examine_server(settings, url, api_key)
    running = where is not None
    yield from _examined("port", lambda: examine_port(settings, where=where))
    yield from _examined("database", lambda: asyncio.run(examine_database(settings, running=running)))
    yield from _examined("engines", lambda: examine_engines(settings, running=running))
    yield from server
    yield from _examined("exports", lambda: examine_exports(settings, url, api_key, running=running))


def _examined(name: str, examination: Callable[[], Finding | Iterable[Finding]]) -> Iterator[Finding]:
    """What an examination finds; one that cannot be made is a finding too, and the others go on."""
    try:
        found = examination()
        yield from [found] if isinstance(found, Finding) else found
    except (LoopwrightError, OSError, ValueError) as error:
        yield fail(name, f"cannot be examined: {error}", "Correct what the message says and run this again")


def _configuration(examined: Examined) -> Iterator[Finding]:
    settings = examined.settings
    if not examined.problems:
        yield ok("configuration", f"{settings.file or 'no loopwright.yaml: the defaults'}, no errors")
    for problem in examined.problems:
        yield fail("configuration", str(problem), "Correct it; `loopwright check` lists every error")


def _show(finding: Finding) -> None:
    mark, style = _MARKS[finding.state]
    out = console()
    out.print(Text.assemble((mark, style), f"  {finding.name:<14} ", clean(finding.text)), overflow="fold")
    if finding.todo:
        out.print(Text(f"      {'':<14} → {clean(finding.todo)}"), overflow="fold")
