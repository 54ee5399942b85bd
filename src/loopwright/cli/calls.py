"""`loopwright calls`: what was asked and answered."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from loopwright.cli import calls_export
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
    Until,
    Variant,
    Without,
    key_id,
    where_of,
)
from loopwright.cli.calls_retrieval import show_retrieval
from loopwright.cli.calls_text import columns, facts, row, scored, show_memory, show_sent, show_texts
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import say, show_facts, show_json, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest, NotFound

app = typer.Typer(
    help="What was asked and answered: list, show, export, delete.", no_args_is_help=True, add_completion=False
)


@app.command("list")
def list_calls(
    *,
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
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    min_cost_usd: Cost = None,
    min_latency_ms: Latency = None,
    sent_to: SentTo = None,
    sent_outside: SentOutside = None,
    text: Text = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    before: Annotated[
        str | None, typer.Option(help="The page after this call: `next` of --json.", metavar="ID")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List calls, newest first."""
    told = locals()
    with reach(url, api_key) as house:
        where = where_of(house, told)
        page = house.calls(**where, before=before, limit=limit, scores="true")
    if as_json:
        show_json(page)
        return
    show_table(columns(), [row(call) for call in page["calls"]], empty="No calls match.")
    if page.get("next"):
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("show")
def show(
    call_id: Annotated[str, typer.Argument(help="Id of a call, or `last` for the newest.", metavar="ID|last")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show one call with its conversation."""
    with reach(url, api_key) as client:
        detail = client.call(named(client, call_id))
        said = [] if as_json else client.scores(detail["call"]["id"])
    if as_json:
        show_json(detail)
        return
    show_facts(facts(detail["call"]))
    show_facts(scored(said))
    show_sent(detail)
    show_memory(detail)
    show_retrieval(detail)
    show_texts(detail)


app.command("export")(calls_export.export)


@app.command("delete")
def delete(
    call_ids: Annotated[list[str] | None, typer.Argument(help="Ids of calls.", metavar="[ID]...")] = None,
    *,
    session: Annotated[str | None, typer.Option(help="Every call of this session.")] = None,
    tag: Annotated[str | None, typer.Option(help="Every call with this tag.", metavar="NAME:VALUE")] = None,
    key: Annotated[str | None, typer.Option(help="Every call of this key: id, prefix or name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Delete calls for ever: rows, texts, search index and spool. Totals in roll-ups stay."""
    named = [name for name in (call_ids, session, tag, key) if name]
    if len(named) != 1:
        raise BadRequest("say what to delete: ids of calls, or exactly one of --session, --tag, --key")
    what = (
        f"{len(call_ids)} calls"
        if call_ids
        else f"every call of {'session' if session else 'tag' if tag else 'key'} {named[0]}"
    )
    _confirm(what, yes=yes)
    with reach(url, api_key) as client:
        if call_ids:
            deleted = sum(client.delete_call(call_id) for call_id in call_ids)
        else:
            made_with = None if key is None else key_id(client, key)
            deleted = client.delete_calls(session=session, tag=tag, key=made_with)
    if as_json:
        show_json({"deleted": deleted})
    else:
        say(f"Deleted {deleted:,} calls.", style="green" if deleted else "yellow")


def _confirm(what: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest(f"deleting {what} is for ever, and nobody is here to ask\nAdd --yes")
    typer.confirm(f"Delete {what} for ever?", abort=True, err=True)


def named(client: Client, which: str) -> str:
    """The id of a call that was named, or of the newest for `last`.

    Raises:
        NotFound: no call is on record yet.
    """
    if which != "last":
        return which
    newest = client.calls(limit=1)["calls"]
    if not newest:
        raise NotFound("no call is on record yet\nMake one: loopwright chat -m hello")
    return str(newest[0]["id"])
