"""`loopwright memory`: corrections that are shown to the next request like theirs, who contradicts whom, and the effect."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from loopwright.cli.memory_text import (
    COLUMNS,
    CONFLICTS,
    EFFECT,
    conflict_row,
    effect_row,
    lines_of,
    row,
    sent,
    show_bars,
    show_entry,
)
from loopwright.cli.quantities import moment_ahead
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import say, show_done, show_json, show_table
from loopwright.core.errors import BadRequest

app = typer.Typer(
    help="Corrections that are shown again: list, conflicts, effect, import.",
    no_args_is_help=True,
    add_completion=False,
)
Which = Annotated[str, typer.Argument(help="Id of an entry.", metavar="ID")]
Task = Annotated[str | None, typer.Option(help="Only of this task.")]
_STATES: Final = ("active", "waiting", "disabled", "expired", "superseded")


@app.command("list")
def list_entries(
    *,
    task: Task = None,
    author: Annotated[str | None, typer.Option(help="Only what they said.")] = None,
    state: Annotated[str | None, typer.Option(help=f"{', '.join(_STATES)}.")] = None,
    words: Annotated[
        str | None, typer.Option("--text", help="In which all these words occur.", metavar="WORDS")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    before: Annotated[
        str | None, typer.Option(help="The page after this entry: `next` of --json.", metavar="ID")
    ] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List corrections in memory, newest first."""
    where = {"task": task, "author": author, "state": state, "words": words, "before": before, "limit": limit}
    with reach(url, api_key) as client:
        page = client.memory(**where, project=project)
    if as_json:
        show_json(page)
        return
    empty = "Memory has nothing like that. `loopwright correct CALL_ID` puts something into it."
    show_table(COLUMNS, [row(entry) for entry in page["entries"]], empty=empty)
    if page.get("next"):
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("show")
def show(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show one entry: what it says, how often it was shown, what contradicts it."""
    with reach(url, api_key) as client:
        found = client.memory_entry(which)
    if as_json:
        show_json(found)
    else:
        show_entry(found)


@app.command("disable")
def disable(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show an entry to nobody, from now on."""
    _change(which, url, api_key, "is shown to nobody any more", as_json=as_json, disabled=True)


@app.command("enable")
def enable(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show a disabled entry again."""
    _change(which, url, api_key, "is shown again", as_json=as_json, disabled=False)


@app.command("expire")
def expire(
    which: Which,
    *,
    when: Annotated[
        str | None, typer.Option("--in", help="How long from now (30d, 12h), or a date.", metavar="TIME")
    ] = None,
    never: Annotated[bool, typer.Option("--never", help="Take its end away.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Let an entry end at a moment, or never."""
    if (when is None) is not never:
        raise BadRequest("say when by one of --in TIME and --never", param="--in")
    moment = moment_ahead(when, "--in")
    _change(which, url, api_key, f"ends {moment or 'never'}", as_json=as_json, expires_at=moment)


@app.command("delete")
def delete(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Forget an entry for ever; the correction it came from stays on its call."""
    with reach(url, api_key) as client:
        gone = client.delete_memory(which)
    show_done(gone, f"Forgot entry {which}.", as_json=as_json)


@app.command("conflicts")
def conflicts(
    *,
    state: Annotated[str, typer.Option(help="open, one, both, scoped or all.")] = "open",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List where people said different things of nearly the same."""
    with reach(url, api_key) as client:
        found = client.memory_conflicts(state=state, limit=limit, project=project)
    if as_json:
        show_json(found)
        return
    show_table(CONFLICTS, [conflict_row(each) for each in found], empty="Nobody contradicts anybody.")
    if any(each["state"] == "open" for each in found):
        say("Decide with: loopwright memory resolve ID --keep newer|older|both|scope", style="dim")


@app.command("resolve")
def resolve(
    conflict_id: Annotated[int, typer.Argument(help="Number of a conflict.", metavar="ID")],
    *,
    keep: Annotated[str, typer.Option(help="newer, older, both, or scope.")],
    newer: Annotated[
        list[str] | None, typer.Option("--newer", help="With scope: a tag of its calls.", metavar="NAME:VALUE")
    ] = None,
    older: Annotated[
        list[str] | None, typer.Option("--older", help="With scope: a tag of its calls.", metavar="NAME:VALUE")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Decide: keep one (the other is disabled), both, or each for calls with some tags."""
    with reach(url, api_key) as client:
        scopes = None
        if newer or older:
            found = [each for each in client.memory_conflicts(state="open", limit=1000) if each["id"] == conflict_id]
            if not found:
                raise BadRequest(f"conflict {conflict_id} is not open", param="ID")
            tags = {"newer": _tags(newer), "older": _tags(older)}
            scopes = {found[0][side]["id"]: said for side, said in tags.items() if said}
        decided = client.resolve_conflict(conflict_id, keep, scopes=scopes)
    show_done(decided, f"Conflict {conflict_id} is decided: {decided['state']}.", as_json=as_json)


@app.command("effect")
def effect(
    *,
    task: Task = None,
    variant: Annotated[str | None, typer.Option(help="Only of this variant.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Of the last so many.")] = 30,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show how often answers were found wanting with memory, and without it by chance."""
    with reach(url, api_key) as client:
        found = client.memory_effect(task=task, variant=variant, days=days, project=project)
    if as_json:
        show_json(found)
        return
    show_table(EFFECT, [effect_row(each) for each in found], empty="No call had a memory in this time.")
    show_bars(found)


@app.command("import")
def import_entries(
    source: Annotated[
        str,
        typer.Argument(help="JSON lines with input and output, or the name of a dataset.", metavar="FILE|DATASET[@N]"),
    ],
    *,
    task: Annotated[str, typer.Option(help="Whose memory it becomes.")],
    split: Annotated[str | None, typer.Option(help="Only this side of the dataset.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")] = None,
    author: Annotated[str | None, typer.Option(help="In whose name; else the key's.")] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Remember examples as if each had been a correction, 200 at a time; what came before an error stays."""
    with reach(url, api_key, timeout=600.0) as client:
        entries = lines_of(client, source, split=split, limit=limit, project=project)
        done = sent(client, task, entries, author=author, project=project, quiet=as_json)
    if as_json:
        show_json(done)
        return
    waiting = done["imported"] - done["embedded"]
    say(f"Remembered {done['imported']:,} for task {task}.", style="green")
    if waiting:
        say(f"{waiting:,} wait for their vectors: the embedder is away.", style="yellow")
    if done["conflicts"]:
        say(f"{done['conflicts']:,} contradict others: loopwright memory conflicts", style="yellow")


def _change(which: str, url: str | None, api_key: str | None, told: str, *, as_json: bool, **said: Any) -> None:
    with reach(url, api_key) as client:
        entry = client.change_memory(which, **said)
    show_done(entry, f"Entry {entry['id']} {told}.", as_json=as_json)


def _tags(given: list[str] | None) -> dict[str, str]:
    tags = {}
    for each in given or ():
        name, sign, value = each.partition(":")
        if not sign or not name:
            raise BadRequest(f"{each[:80]!r} is not of the form NAME:VALUE", param="--newer")
        tags[name] = value
    return tags
