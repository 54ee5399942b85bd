"""`loopwright`: the list of commands, and the one place where errors become exit codes. Knows no command's options.

Exit codes: 0 it worked, 1 the thing asked failed, 2 wrong usage or a wrong configuration, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from loopwright import __version__
from loopwright.cli.screen import complain
from loopwright.core.errors import BadRequest, LoopwrightError, SettingsError
from loopwright.kit.postponed import at_rest

RUN: Final = "Run"
USE: Final = "Use"
IMPROVE: Final = "Improve"
LOOK: Final = "Look after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A command by name: where it lives, and the line about it in `loopwright --help`."""

    name: str
    module: str
    help: str = ""
    panel: str = USE
    app: str = "app"
    """The module's `typer.Typer`."""


ENTRIES: Final = (
    Entry(name="up", module="loopwright.cli.up", help="Start everything and serve until told to stop.", panel=RUN),
    Entry(
        name="init", module="loopwright.cli.init", help="Write a commented loopwright.yaml to start from.", panel=RUN
    ),
    Entry(name="check", module="loopwright.cli.check", help="Check the configuration, every error at once.", panel=RUN),
    Entry(name="doctor", module="loopwright.cli.doctor", help="Examine this machine and say what to do.", panel=RUN),
    Entry(name="chat", module="loopwright.cli.chat", help="Talk to a model."),
    Entry(name="models", module="loopwright.cli.models", help="Models that can be called: list, show, add, pull."),
    Entry(name="prompts", module="loopwright.cli.prompts", help="Prompts: files, versions, labels, differences."),
    Entry(name="tasks", module="loopwright.cli.tasks", help="Tasks and their variants: list, show, check, put."),
    Entry(name="bench", module="loopwright.cli.bench", help="Measure any OpenAI-compatible endpoint under load."),
    Entry(name="batches", module="loopwright.cli.batches", help="Many requests in one file, within a day."),
    Entry(name="datasets", module="loopwright.cli.datasets", help="Examples in versions: import, split, export."),
    Entry(name="benchmarks", module="loopwright.cli.benchmarks", help="Public benchmarks, from files you have."),
    Entry(name="eval", module="loopwright.cli.evals", help="Variants measured on datasets, and gates for CI."),
    Entry(name="guardrails", module="loopwright.cli.guardrails", help="Try personal data and moderation on a text."),
    Entry(
        name="judges",
        module="loopwright.cli.judges",
        help="Models that judge, and how far to trust them.",
        panel=IMPROVE,
    ),
    Entry(name="score", module="loopwright.cli.score", help="Say how good an answer is.", panel=IMPROVE),
    Entry(
        name="scores", module="loopwright.cli.scores", help="Scores over many calls: list, calls, monitor.", panel=LOOK
    ),
    Entry(name="correct", module="loopwright.cli.correct", help="Say what an answer should have been.", panel=IMPROVE),
    Entry(
        name="memory",
        module="loopwright.cli.memory",
        help="Corrections shown again: list, conflicts, effect.",
        panel=IMPROVE,
    ),
    Entry(
        name="reviews", module="loopwright.cli.reviews", help="People rate answers: create, agreement.", panel=IMPROVE
    ),
    Entry(
        name="collections",
        module="loopwright.cli.collections",
        help="Documents that are searched: create, ingest, search, list, embed, delete.",
        panel=IMPROVE,
    ),
    Entry(name="runs", module="loopwright.cli.runs", help="Experiments: list, show, compare, export.", panel=IMPROVE),
    Entry(name="calls", module="loopwright.cli.calls", help="What was asked and answered.", panel=LOOK),
    Entry(name="traces", module="loopwright.cli.traces", help="Steps of a workflow: list, show.", panel=LOOK),
    Entry(
        name="sessions", module="loopwright.cli.traces", app="sessions", help="Conversations: list, read.", panel=LOOK
    ),
    Entry(name="alerts", module="loopwright.cli.alerts", help="What is wrong and why: list, silence.", panel=LOOK),
    Entry(name="slos", module="loopwright.cli.slos", help="Objectives of service: how they stand.", panel=LOOK),
    Entry(name="drift", module="loopwright.cli.drift", help="Calls unlike those before: watch, show.", panel=LOOK),
    Entry(
        name="canaries", module="loopwright.cli.canaries", help="Pinned questions asked again and again.", panel=LOOK
    ),
    Entry(name="exports", module="loopwright.cli.exports", help="Mirrors of calls elsewhere: list, run.", panel=LOOK),
    Entry(name="charts", module="loopwright.cli.charts", help="Calls over time: split, compared, kept.", panel=LOOK),
    Entry(name="cost", module="loopwright.cli.cost", help="Money, savings, energy and CO2 of calls.", panel=LOOK),
    Entry(name="keys", module="loopwright.cli.keys", help="Keys: create, list, rotate, revoke.", panel=LOOK),
    Entry(name="limits", module="loopwright.cli.limits", help="Limits and budgets: list, set, remove.", panel=LOOK),
    Entry(name="audit", module="loopwright.cli.audit", help="Who did what as administrator.", panel=LOOK),
    Entry(
        name="encryption", module="loopwright.cli.encryption", help="Sealed texts: status, rotate, new key.", panel=LOOK
    ),
)


@dataclass(slots=True, kw_only=True)
class Invocation:
    """What the options before the command said."""

    debug: bool = False


class Later(TyperCommand):
    """Stands for a command until it is chosen: only then is its module imported."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(name=entry.name, help=entry.help, rich_help_panel=entry.panel)
        self.entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Hand over to the real command, which its context then belongs to."""
        app: typer.Typer = getattr(_imported(self.entry.module), self.entry.app)
        command = get_command(app)
        command.name = self.entry.name
        return command.make_context(info_name, args, parent=parent, **extra)


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    with at_rest():
        return importlib.import_module(name)


class Commands(TyperGroup):
    """The entries above, each loaded when it is chosen."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for entry in ENTRIES:
            self.commands[entry.name] = Later(entry)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Docs: docs/cli.md. Every listing takes --json.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"loopwright {__version__}")
        raise typer.Exit


@app.callback()
def loopwright(
    context: typer.Context,
    *,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="LOOPWRIGHT_DEBUG", help="Show where an error comes from.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Run LLMs in production on your own machines, and make them better every day."""
    context.ensure_object(Invocation).debug = debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    invocation = Invocation(debug=bool(os.environ.get("LOOPWRIGHT_DEBUG")))
    try:
        get_command(app).main(
            args=None if arguments is None else list(arguments), prog_name="loopwright", obj=invocation
        )
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except LoopwrightError as error:
        if invocation.debug:
            traceback.print_exc()
        complain(error)
        return 2 if isinstance(error, SettingsError) or type(error) is BadRequest else 1
    except OSError as error:
        if invocation.debug:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        complain(LoopwrightError(f"{where}{error.strerror or error}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
