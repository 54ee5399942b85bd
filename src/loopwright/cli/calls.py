"""`loopwright calls`: what was asked and answered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from loopwright.cli import calls_export
from loopwright.cli.calls_retrieval import show_retrieval
from loopwright.cli.calls_text import columns, facts, row, show_memory, show_sent, show_texts
from loopwright.cli.keys import find
from loopwright.cli.quantities import moment_of
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import say, show_facts, show_json, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest, NotFound

app = typer.Typer(
    help="What was asked and answered: list, show, export, delete.", no_args_is_help=True, add_completion=False
)

Model = Annotated[str | None, typer.Option(help="Asked for this model.")]
Key = Annotated[str | None, typer.Option(help="Made with this key: id, prefix or name.")]
Result = Annotated[
    str | None, typer.Option(help="ok, error, refused, cancelled, interrupted; failed: error or interrupted.")
]
ErrorCode = Annotated[str | None, typer.Option(help="Failed with this code, e.g. rate_limit_exceeded.")]
Task = Annotated[str | None, typer.Option(help="Made for this task.")]
Variant = Annotated[str | None, typer.Option(help="Done by this variant of its task.")]
PromptVersion = Annotated[str | None, typer.Option(help="Made with this version of a prompt.")]
Target = Annotated[str | None, typer.Option(help="Answered by this model, as its provider names it.")]
Provider = Annotated[str | None, typer.Option(help="Answered by this provider.")]
Operation = Annotated[str | None, typer.Option(help="chat, embeddings, completions …")]
Program = Annotated[str | None, typer.Option(help="Asked by this program, as it names itself.")]
Without = Annotated[
    str | None, typer.Option(help="Without these, by commas: task, variant, session, tag:NAME …", metavar="NAMES")
]
Session = Annotated[str | None, typer.Option(help="Belongs to this session.")]
Tag = Annotated[str | None, typer.Option(help="Carries this tag.", metavar="NAME:VALUE")]
Since = Annotated[str | None, typer.Option(help="Not older than: 2h, 7d, or a date.", metavar="TIME")]
Until = Annotated[str | None, typer.Option(help="Not newer than: 2h, 7d, or a date.", metavar="TIME")]
Cost = Annotated[float | None, typer.Option(help="Cost at least so many US dollars.", metavar="USD")]
Latency = Annotated[float | None, typer.Option(help="Took at least so many milliseconds.", metavar="MS")]
SentTo = Annotated[str | None, typer.Option(help="Bytes left for this region or provider.", metavar="PLACE")]
SentOutside = Annotated[
    str | None,
    typer.Option(
        help="Not shown to have stayed within these regions, by commas; `own` is ours.", metavar="REGION[,REGION…]"
    ),
]
Text = Annotated[str | None, typer.Option(help="These words all occur in prompt or answer.", metavar="WORDS")]
_OUTCOMES = ("ok", "error", "refused", "cancelled", "interrupted", "failed")


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
        where = _where(house, told)
        page = house.calls(**where, before=before, limit=limit)
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
    if as_json:
        show_json(detail)
        return
    show_facts(facts(detail["call"]))
    show_sent(detail)
    show_memory(detail)
    show_retrieval(detail)
    show_texts(detail)


@app.command("export")
def export(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, whole or not at all; - is stdout.", metavar="FILE")
    ] = Path("-"),
    texts: Annotated[bool, typer.Option(help="With request and response of each call.")] = True,
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
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write calls as JSON lines, newest first: one call a line, with its texts unless --no-texts."""
    told = locals()
    with reach(url, api_key) as house:
        where = _where(house, told)
        source = calls_export.Source(client=house, where=where, texts=texts, limit=limit)
        if str(output) == "-":
            calls_export.write(source, sys.stdout)
            return
        count = calls_export.write_file(source, output)
    say(f"Wrote {count:,} calls to {output}.", style="green")


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
            key_id = None if key is None else _key_id(client, key)
            deleted = client.delete_calls(session=session, tag=tag, key=key_id)
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


def _where(client: Client, told: dict[str, Any]) -> dict[str, Any]:
    """The query of the options that select calls, from a command's own variables."""
    if told["outcome"] is not None and told["outcome"] not in _OUTCOMES:
        raise BadRequest(f"--outcome: {told['outcome']!r} is none\nAllowed: {', '.join(_OUTCOMES)}", param="outcome")
    if told["tag"] is not None and ":" not in told["tag"]:
        raise BadRequest(f"--tag: {told['tag']!r} is not of the form NAME:VALUE", param="tag")
    plain = (
        "model", "outcome", "error_code", "task", "variant", "prompt_version", "target", "provider", "operation", "client",
        "without", "session", "tag", "min_cost_usd", "min_latency_ms", "sent_to",
        "sent_outside", "text",
    )  # fmt: skip
    where: dict[str, Any] = {name: told[name] for name in plain}
    where["key"] = None if told["key"] is None else _key_id(client, told["key"])
    where["since"] = moment_of(told["since"], "--since")
    where["until"] = moment_of(told["until"], "--until")
    return where


def _key_id(client: Client, which: str) -> int:
    return int(which) if which.isdigit() else int(find(client, which)["id"])


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
