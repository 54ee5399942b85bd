"""`loopwright traces` and `loopwright sessions`: what several calls and steps were together."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from loopwright.cli.quantities import local_text, moment_of, seconds_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, clip, console, say, show_facts, show_json, show_table
from loopwright.cli.waterfall import draw
from loopwright.client import Client
from loopwright.core.errors import NotFound

app = typer.Typer(help="Traces: list them, show one as a waterfall.", no_args_is_help=True, add_completion=False)
sessions = typer.Typer(help="Sessions: list them, read one.", no_args_is_help=True, add_completion=False)

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")]
Since = Annotated[str | None, typer.Option(help="Not older than: 2h, 7d, or a date.", metavar="TIME")]
Before = Annotated[str | None, typer.Option(help="The page after this mark: `next` of --json.", metavar="MARK")]
_TEXT: Final = 2_000


@app.command("list")
def list_traces(
    *,
    name: Annotated[str | None, typer.Option(help="Words of the root's name.", metavar="WORDS")] = None,
    service: Annotated[str | None, typer.Option(help="Of this service.")] = None,
    session: Annotated[str | None, typer.Option(help="Of this session.")] = None,
    model: Annotated[str | None, typer.Option(help="Asked this model.")] = None,
    failed: Annotated[bool | None, typer.Option("--failed/--ok", help="Some step failed, or none.")] = None,
    min_duration_ms: Annotated[float | None, typer.Option(help="Took at least so long.", metavar="MS")] = None,
    min_cost_usd: Annotated[float | None, typer.Option(help="Cost at least so much.", metavar="USD")] = None,
    since: Since = None,
    until: Annotated[str | None, typer.Option(help="Not newer than: 2h, 7d, or a date.", metavar="TIME")] = None,
    limit: Limit = 20,
    before: Before = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List traces of several steps, newest first."""
    with reach(url, api_key) as client:
        page = client.traces(
            name=name,
            service=service,
            session=session,
            model=model,
            failed=None if failed is None else str(failed).lower(),
            min_duration_ms=min_duration_ms,
            min_cost_usd=min_cost_usd,
            since=moment_of(since, "--since"),
            until=moment_of(until, "--until"),
            limit=limit,
            before=before,
        )
    if as_json:
        show_json(page)
        return
    columns = (
        Column(title="trace"),
        Column(title="name", least=16, weight=1),
        Column(title="service", least=8, weight=5),
        Column(title="steps", right=True, weight=3),
        Column(title="calls", right=True, weight=4),
        Column(title="failed", right=True),
        Column(title="cost", right=True),
        Column(title="took", right=True),
        Column(title="session", least=8, weight=6),
        Column(title="started", weight=2),
    )
    rows = [
        [
            row["trace_id"],
            row["name"],
            row["service"],
            row["steps"],
            row["calls"],
            row["failed"] or "",
            _cost(row),
            seconds_text(row["duration_us"] / 1000000.0),
            row["session"] or "",
            local_text(row["started_at"]),
        ]
        for row in page["traces"]
    ]
    show_table(columns, rows, empty="No traces match. docs/tracing.md says how a program sends them.")
    if page.get("next"):
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("show")
def show(
    trace_id: Annotated[str, typer.Argument(help="Id of a trace, or `last` for the newest.", metavar="ID|last")],
    *,
    depth: Annotated[int | None, typer.Option(min=0, help="Only so many levels below the root.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, and what it stands under.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many lines.")] = 200,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show one trace as a waterfall; a thick bar is what it waited for."""
    with reach(url, api_key) as client:
        trace = client.trace(_named(client, trace_id))
    if as_json:
        show_json(trace)
        return
    show_facts(
        [
            ("trace", trace["trace_id"]),
            ("name", trace["name"]),
            ("session", trace["session"]),
            ("started", local_text(trace["started_at"])),
            ("took", seconds_text(trace["duration_us"] / 1e6)),
            ("steps", f"{trace['steps']:,}, of which {trace['calls']:,} are calls of models"),
            ("failed", trace["failed"] or None),
            ("tokens", f"{trace['input_tokens']:,} in, {trace['output_tokens']:,} out"),
            ("cost", _cost(trace)),
            ("models", ", ".join(f"{part['name']} {_cost(part)}" for part in trace["models"])),
            ("not received", trace["missing"] or None),
        ]
    )
    nodes = [
        node
        for node in trace["nodes"]
        if (depth is None or node["depth"] <= depth) and (not failed or node.get("failed") or node.get("failed_below"))
    ]
    console().print()
    draw(trace, nodes[:limit])
    if len(nodes) > limit:
        say(f"{len(nodes) - limit:,} more steps: --limit, --depth and --failed choose", style="dim")


@sessions.command("list")
def list_sessions(
    *,
    project: Project = None,
    since: Since = None,
    limit: Limit = 20,
    before: Before = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List sessions, the one that spoke last first."""
    with reach(url, api_key) as client:
        page = client.sessions(since=moment_of(since, "--since"), project=project, limit=limit, before=before)
    if as_json:
        show_json(page)
        return
    columns = (
        Column(title="session", least=16),
        Column(title="turns", right=True),
        Column(title="calls", right=True, weight=2),
        Column(title="failed", right=True),
        Column(title="cost", right=True),
        Column(title="busy", right=True, weight=3),
        Column(title="began", weight=4),
        Column(title="spoke last", weight=1),
    )
    rows = [
        [
            row["session"],
            row["turns"],
            row["calls"],
            row["failed"] or "",
            _cost(row),
            seconds_text(row["busy_us"] / 1000000.0),
            local_text(row["started_at"]),
            local_text(row["last_at"]),
        ]
        for row in page["sessions"]
    ]
    show_table(columns, rows, empty="No sessions. A request names its own: docs/tracing.md.")
    if page.get("next"):
        say(f"There are more: --before {page['next']}", style="dim")


@sessions.command("show")
def show_session(
    session: Annotated[
        str, typer.Argument(help="Its name, or `last` for the one that spoke last.", metavar="NAME|last")
    ],
    *,
    project: Project = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="The latest so many turns.")] = 20,
    before: Annotated[str | None, typer.Option(help="Turns before this mark: `earlier` of --json.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Read one session: each question, what came between, each answer."""
    with reach(url, api_key) as client:
        if session == "last":
            newest = client.sessions(limit=1, project=project)["sessions"]
            if not newest:
                raise NotFound("there are no sessions yet")
            session = newest[0]["session"]
        found = client.session(session, project=project, limit=limit, before=before)
    if as_json:
        show_json(found)
        return
    row = found["session"]
    show_facts(
        [
            ("session", row["session"]),
            ("turns", f"{row['turns']:,}, {row['calls']:,} calls, {row['failed']:,} failed"),
            ("cost", _cost(row)),
            ("from", local_text(row["started_at"])),
            ("to", local_text(row["last_at"])),
        ]
    )
    if found["earlier"]:
        say(f"Earlier turns: --before {found['earlier']}", style="dim")
    for turn in found["turns"]:
        _turn(turn)


def _turn(turn: dict[str, Any]) -> None:
    out = console()
    about = f"{local_text(turn['started_at'])}  {turn['name']}  {seconds_text(turn['latency_us'] / 1e6)}  {_cost(turn)}"
    out.print()
    out.print(clip(about, 200), style="dim")
    if turn["question"]:
        out.print(f"> {clip(turn['question'], _TEXT)}", style="bold")
    for used in turn["used"]:
        took = "" if used["duration_us"] is None else f" {seconds_text(used['duration_us'] / 1e6)}"
        out.print(
            f"  · {used['kind']} {clip(used['name'], 120)}{took}{' failed' if used['failed'] else ''}", style="dim"
        )
    if turn["error"]:
        out.print(f"  ✗ {clip(turn['error'], 500)}", style="red")
    if turn["answer"]:
        out.print(clip(turn["answer"], _TEXT))
    if turn["sealed"]:
        out.print(f"  (its texts are {clip(turn['sealed'], 200)})", style="dim")


def _named(client: Client, trace_id: str) -> str:
    if trace_id != "last":
        return trace_id
    newest = client.traces(limit=1)["traces"]
    if not newest:
        raise NotFound("there are no traces yet")
    found: str = newest[0]["trace_id"]
    return found


def _cost(row: dict[str, Any]) -> str:
    """What it cost, and how many calls of it have no price."""
    if row["cost_usd"] is None:
        return "unpriced"
    said = f"${float(row['cost_usd']):.6f}".rstrip("0").rstrip(".")
    return f"{said} + {row['unpriced']} unpriced" if row["unpriced"] else said
