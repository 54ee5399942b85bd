"""`loopwright batches`: many requests in one file, answered within a day."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loopwright.cli.download_bar import download_bar
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, console, say, show_done, show_facts, show_json, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound

app = typer.Typer(
    help="Many requests in one file: create, list, show, fetch, cancel.", no_args_is_help=True, add_completion=False
)

BatchId = Annotated[str, typer.Argument(help="Id of a batch, or `last` for the newest.", metavar="ID|last")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Stay until it ends, with a progress bar.")]
_STATUSES: Final = (
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled",
)  # fmt: skip
_LOOK: Final = 1.0
_FIRST_LINE: Final = 20_000_000


@app.command("create")
def create(
    file: Annotated[Path, typer.Argument(help="JSON lines: custom_id, method, url, body.", metavar="FILE")],
    *,
    endpoint: Annotated[
        str | None, typer.Option(help="Route that every line asks; else the one of the first line.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="A text of your own, kept with it.", metavar="NAME=VALUE")
    ] = None,
    watch: Watch = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Upload a file of requests and have them answered within a day, at low priority."""
    asked = endpoint or _endpoint(file)
    told = _metadata(metadata or [])
    with reach(url, api_key, timeout=600.0) as client:
        size = file.stat().st_size
        with download_bar(file.name, quiet=as_json) as sent:
            uploaded = client.upload(file, told=lambda done: sent(done, size))
        batch = client.batch(client.create_batch(uploaded["id"], asked, told)["id"])
        if watch:
            batch = _watched(client, batch, quiet=as_json)
    _show(batch, as_json=as_json)
    _judge(batch)


@app.command("list")
def list_batches(
    *,
    status: Annotated[str | None, typer.Option(help=f"One of {', '.join(_STATUSES)}.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    before: Annotated[
        str | None, typer.Option(help="The page after this batch: `next` of --json.", metavar="ID")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List batches, newest first."""
    if status is not None and status not in _STATUSES:
        raise BadRequest(f"--status: {status!r} is none\nAllowed: {', '.join(_STATUSES)}", param="status")
    with reach(url, api_key) as client:
        page = client.batches(status=status, before=before, limit=limit)
    if as_json:
        show_json(page)
        return
    columns = (
        Column(title="id"),
        Column(title="status"),
        Column(title="lines", right=True),
        Column(title="failed", right=True, weight=1),
        Column(title="cost", right=True, weight=2),
        Column(title="model", least=12, weight=3),
        Column(title="created", weight=4),
    )
    show_table(
        columns, [_row(batch) for batch in page["batches"]], empty="No batches. `loopwright batches create` makes one."
    )
    if page.get("next"):
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("show")
def show(
    batch_id: BatchId, *, watch: Watch = False, url: Url = None, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Show one batch: how far it is, what it cost, what is wrong with its file."""
    with reach(url, api_key) as client:
        batch = client.batch(_named(client, batch_id))
        if watch:
            batch = _watched(client, batch, quiet=as_json)
    _show(batch, as_json=as_json)


@app.command("fetch")
def fetch(
    batch_id: BatchId,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - is stdout.", metavar="FILE")] = Path(
        "-"
    ),
    errors: Annotated[bool, typer.Option("--errors", help="The lines that failed instead.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write the answers of a batch as JSON lines, in the order of its input."""
    with reach(url, api_key) as client:
        batch = client.batch(_named(client, batch_id))
        file_id = batch["error_file_id" if errors else "output_file_id"]
        if file_id is None:
            why = f"it is {batch['status']}" if batch["open"] else "no line of it did so"
            raise NotFound(f"batch {batch['id']} has no {'failures' if errors else 'answers'}: {why}")
        if str(output) == "-":
            for piece in client.content(file_id):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        part = output.with_name(output.name + ".part")
        with part.open("wb") as out:
            for piece in client.content(file_id):
                out.write(piece)
        part.replace(output)
    say(f"Wrote {output}.", style="green")


@app.command("cancel")
def cancel(batch_id: BatchId, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """End a batch early; what is answered by then can be fetched."""
    with reach(url, api_key) as client:
        batch = client.cancel_batch(_named(client, batch_id))
    show_done(batch, f"Batch {batch['id']} is {batch['status']}.", as_json=as_json)


def _named(client: Client, which: str) -> str:
    if which != "last":
        return which
    newest = client.batches(limit=1)["batches"]
    if not newest:
        raise NotFound("there is no batch yet\nMake one: loopwright batches create FILE")
    return str(newest[0]["id"])


def _endpoint(file: Path) -> str:
    """The route that the first line asks."""
    with file.open("rb") as opened:
        line = opened.readline(_FIRST_LINE).removeprefix(b"\xef\xbb\xbf")
    try:
        asked = json.loads(line)["url"]
    except (ValueError, KeyError, TypeError) as error:
        message = (
            f'{file}: the first line names no `url`\nEach line is {{"custom_id", "method": "POST", "url", "body"}}'
        )
        raise BadRequest(message, param="FILE") from error
    return str(asked)


def _metadata(given: list[str]) -> dict[str, str] | None:
    pairs = [each.partition("=") for each in given]
    if any(not sign or not name for name, sign, _ in pairs):
        raise BadRequest("--metadata: write it as NAME=VALUE", param="--metadata")
    return {name: value for name, _, value in pairs} or None


def _watched(client: Client, batch: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The batch at its end; until then a bar shows how far it is."""
    screen = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:
        task = progress.add_task(batch["status"], total=None)
        while batch["open"]:
            time.sleep(_LOOK)
            batch = client.batch(batch["id"])
            counts = batch["request_counts"]
            done = counts["completed"] + counts["failed"]
            progress.update(task, description=batch["status"], completed=done, total=counts["total"] or None)
    return batch


def _show(batch: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(batch)
        return
    counts = batch["request_counts"]
    facts = [
        ("id", batch["id"]),
        ("status", batch["status"]),
        ("endpoint", batch["endpoint"]),
        ("model", batch["model"]),
        ("lines", f"{counts['total']:,}, {counts['completed']:,} answered, {counts['failed']:,} failed"),
        ("tokens", f"{batch['usage']['input_tokens']:,} in, {batch['usage']['output_tokens']:,} out"),
        ("cost", _cost(batch)),
        ("created", local_text(batch["created_at"])),
        ("must end by", local_text(batch["expires_at"]) if batch["open"] else ""),
        ("input", batch["input_file_id"]),
        ("answers", batch["output_file_id"]),
        ("failures", batch["error_file_id"]),
        *((f"metadata {name}", value) for name, value in (batch["metadata"] or {}).items()),
    ]
    show_facts(facts)
    for problem in (batch["errors"] or {}).get("data", []):
        where = f"line {problem['line']}: " if problem["line"] else ""
        say(f"{where}{problem['message']} ({problem['code']})", style="yellow")


def _judge(batch: dict[str, Any]) -> None:
    """A batch that failed is a command that failed."""
    if batch["status"] == "failed":
        raise LoopwrightError(f"batch {batch['id']} failed: nothing was asked\nCorrect the file and create it again")


def _cost(batch: dict[str, Any]) -> str:
    return "unpriced" if batch["cost_usd"] is None else f"${batch['cost_usd']}"


def _row(batch: dict[str, Any]) -> list[object]:
    counts = batch["request_counts"]
    lines = f"{counts['completed'] + counts['failed']:,}/{counts['total']:,}"
    created = local_text(batch["created_at"])
    return [batch["id"], batch["status"], lines, counts["failed"] or "", _cost(batch), batch["model"], created]
