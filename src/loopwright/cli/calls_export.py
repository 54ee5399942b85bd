"""`loopwright calls export`: calls as a file, written as it comes, so that memory holds a piece whatever is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from loopwright.cli.calls_options import (
    Cost,
    ErrorCode,
    Key,
    Latency,
    Model,
    Operation,
    Program,
    PromptVersion,
    Provider,
    Result,
    SentOutside,
    SentTo,
    Session,
    Since,
    Tag,
    Target,
    Task,
    Text,
    Trace,
    Until,
    Variant,
    Without,
    where_of,
)
from loopwright.cli.reach import ApiKey, Url, reach
from loopwright.cli.screen import console, say
from loopwright.client import Client
from loopwright.core.errors import BadRequest, Unavailable

FileFormat = Literal["jsonl", "parquet", "otlp"]
_COUNTED = frozenset({"model", "since", "until"})
"""Filters that the totals of an overview know."""
_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which calls, from where, as what."""

    client: Client
    form: FileFormat
    where: Mapping[str, Any]
    texts: bool
    limit: int | None

    def pieces(self) -> Iterator[bytes]:
        """The file.

        Raises:
            Unavailable: it broke off.
        """
        return self.client.export_calls(self.form, texts=self.texts, limit=self.limit, **self.where)

    def total(self) -> int | None:
        """About how many calls there will be; None when the filters are finer than the totals."""
        if any(value is not None for name, value in self.where.items() if name not in _COUNTED):
            return self.limit
        span = {name: self.where[name] for name in _COUNTED if self.where[name] is not None}
        summary = self.client.overview(**{"since": "1970-01-01T00:00:00Z", **span}).get("summary") or {}
        requests = (summary.get("counts") or summary).get("requests")
        if not isinstance(requests, int):
            return self.limit
        return requests if self.limit is None else min(requests, self.limit)


@dataclass(slots=True)
class Written:
    """What has been written."""

    size: int = 0
    lines: int = 0


def export(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, whole or not at all; - is stdout.", metavar="FILE")
    ] = Path("-"),
    form: Annotated[
        FileFormat, typer.Option("--format", "-f", help="JSON lines, Parquet, or OTLP's JSON lines.")
    ] = "jsonl",
    texts: Annotated[
        bool, typer.Option(help="With request and answer of each call, explanations, corrections.")
    ] = True,
    model: Model = None,
    key: Key = None,
    outcome: Result = None,
    error_code: ErrorCode = None,
    task: Task = None,
    variant: Variant = None,
    prompt_version: PromptVersion = None,
    target: Target = None,
    provider: Provider = None,
    operation: Operation = None,
    client: Program = None,
    without: Without = None,
    session: Session = None,
    trace: Trace = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    min_cost_usd: Cost = None,
    min_latency_ms: Latency = None,
    sent_to: SentTo = None,
    sent_outside: SentOutside = None,
    text: Text = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write calls with what was said of them to a file, newest first. A file of that name is always a whole one."""
    told = dict(locals())
    if form == "parquet" and str(output) == "-" and sys.stdout.isatty():
        raise BadRequest("Parquet is nothing for a terminal\nName a file: --output calls.parquet", param="output")
    with reach(url, api_key) as house:
        source = Source(client=house, form=form, where=where_of(house, told), texts=texts, limit=limit)
        if str(output) == "-":
            _write(source, sys.stdout.buffer, watched=sys.stdout.isatty())
            return
        written = _write_file(source, output)
    say(f"Wrote {_amount(form, written)} to {output}.", style="green")


def _amount(form: FileFormat, written: Written) -> str:
    return f"{written.lines:,} calls" if form == "jsonl" else f"{written.size:,} bytes"


def _write(source: Source, out: BinaryIO, *, watched: bool) -> Written:
    """Write every piece to `out`, with a progress bar where a person watches."""
    screen = console(stderr=True)
    shown = screen.is_terminal and not watched
    counted = source.form == "jsonl"
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("calls"), BarColumn()]
    columns += [MofNCompleteColumn()] if counted else [DownloadColumn(), TransferSpeedColumn()]
    written, last = Written(), b""
    with Progress(*columns, TimeElapsedColumn(), console=screen, disable=not shown, transient=True) as progress:
        bar = progress.add_task("calls", total=source.total() if shown and counted else None)
        for piece in source.pieces():
            out.write(piece)
            written.size += len(piece)
            written.lines += piece.count(b"\n")
            last = (last + piece)[-4:]
            progress.update(bar, completed=written.lines if counted else written.size)
    # A proxy in between may end an answer well that was cut off behind it: what a whole file ends with says so.
    if written.size and not last.endswith(_MAGIC if source.form == "parquet" else b"\n"):
        raise Unavailable("the export broke off\nWhat came is not the whole file: try again")
    out.flush()
    return written


def _write_file(source: Source, path: Path) -> Written:
    """Write to `path` by way of `<path>.part`, so that a file of that name is always whole.

    The file is for its owner only: it holds what people wrote.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb", opener=_private) as out:
            written = _write(source, out, watched=False)
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return written


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
