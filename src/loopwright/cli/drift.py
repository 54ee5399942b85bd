"""`loopwright drift`: what is watched for drift, what moved, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from loopwright.cli.quantities import local_text, moment_of
from loopwright.cli.reach import ApiKey, Json, Project, Url, numbered, reach
from loopwright.cli.screen import Column, clip, say, show_done, show_facts, show_json, show_rows, show_table

app = typer.Typer(
    help="Calls that are not like those before: watch, list, show, run, accept, dismiss.",
    no_args_is_help=True,
    add_completion=False,
)
Which = Annotated[str, typer.Argument(help="Number of a watch, or what it is of, as `list` shows it.", metavar="WATCH")]


@app.command("watch")
def watch(
    subject: Annotated[str, typer.Argument(help="task/NAME, or the name of a model.")],
    *,
    embedder: Annotated[str | None, typer.Option(help="Model that makes the vectors.")] = None,
    trailing: Annotated[bool, typer.Option("--trailing", help="Quiet windows become the reference.")] = False,
    reference: Annotated[int | None, typer.Option(min=50, max=5_000, help="Calls that say what is normal.")] = None,
    window: Annotated[int | None, typer.Option(min=50, max=5_000, help="Calls held against them.")] = None,
    per_day: Annotated[int | None, typer.Option(min=10, help="Calls that are embedded on one day.")] = None,
    alpha: Annotated[float | None, typer.Option(min=0.00001, max=0.2, help="False alarms of a window.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Learn from calls since then: 7d, or a date; else the newest.", metavar="TIME")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Learn from calls to come, not from those on record.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Watch a task or a model."""
    told: dict[str, Any] = {
        "embedder": embedder, "trailing": trailing, "reference": reference, "window": window, "per_day": per_day,
        "alpha": alpha, "history": not anew, "since": moment_of(since, "--since"),
    }  # fmt: skip
    with reach(url, api_key) as client:
        made = client.watch(subject, project=project, **told)
    show_done(made, f"{made['subject']} is watched (number {made['id']}).", as_json=as_json)


@app.command("list")
def list_watches(*, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List what is watched."""
    with reach(url, api_key) as client:
        found = client.watches(project=project)
    columns = (
        Column(title="number", right=True),
        Column(title="of", least=12),
        Column(title="state"),
        Column(title="reference", right=True, weight=1),
        Column(title="window", right=True, weight=1),
        Column(title="moved", least=10),
        Column(title="problem", least=10, weight=2),
    )
    rows = (
        [
            each["id"],
            each["subject"],
            each["state"],
            f"{each['reference']['calls']:,} of {each['reference']['size']:,}",
            f"{each['window']['calls']:,} of {each['window']['size']:,}",
            ", ".join(moved["says"] for moved in each["finding"]["features"]) if each["finding"] else "",
            each["problem"] or "",
        ]
        for each in found
    )
    show_rows(
        {"watches": found},
        columns,
        rows,
        as_json=as_json,
        empty="Nothing is watched. `loopwright drift watch task/NAME` begins.",
    )


@app.command("show")
def show(watch: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show one watch: what was tested, what moved, and example calls of now and of then."""
    with reach(url, api_key) as client:
        found = client.drift(numbered(client.watches, watch, "subject"))
    if as_json:
        show_json(found)
        return
    told = found["watch"]
    show_facts(
        [
            ("state", told["state"]),
            ("reference", f"{told['reference']['calls']:,} of {told['reference']['size']:,} calls"),
            ("window", f"{told['window']['calls']:,} of {told['window']['size']:,} calls"),
            ("embedder", told["embedder"]),
            ("today", f"{told['taken_today']:,} of {told['per_day']:,} calls embedded"),
            *([("problem", told["problem"])] if told["problem"] else []),
        ],
        title=told["subject"],
    )
    columns = (
        Column(title="tested", least=12),
        Column(title="p (Holm)", right=True),
        Column(title="effect", right=True),
        Column(title="which is", weight=1),
    )
    rows = [
        [
            f"{each['says']}{'  ←' if each['holm'] <= told['alpha'] else ''}",
            f"{each['holm']:.2g}",
            f"{each['effect']:+.3f}",
            each["effect_of"],
        ]
        for each in found["now"]
    ]
    show_table(columns, rows, empty="Nothing is tested yet.", title="Latest look")
    for title, calls in (("Calls of now", "fresh"), ("Calls of then", "former")):
        _examples(title, (found["examples"] or {}).get(calls, []))
    if told["finding"]:
        say(f"`loopwright drift accept {watch}` makes it the new normal, `dismiss` begins the next window.")


def _examples(title: str, calls: Sequence[Mapping[str, Any]]) -> None:
    columns = (Column(title="call"), Column(title="input", least=20), Column(title="output", least=10, weight=1))
    rows = [[each["id"], clip(each["input"], 80), clip(each["output"], 60)] for each in calls]
    if rows:
        show_table(columns, rows, empty="", title=title)


@app.command("findings")
def findings(
    *,
    state: Annotated[str | None, typer.Option(help="open, accepted, dismissed or passed.")] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List what moved, newest first."""
    with reach(url, api_key) as client:
        found = client.findings(project=project, state=state)
    columns = (
        Column(title="of", least=12),
        Column(title="state"),
        Column(title="moved", least=12),
        Column(title="since", weight=1),
        Column(title="calls", right=True, weight=2),
    )
    rows = (
        [
            each["subject"],
            each["state"],
            ", ".join(moved["says"] for moved in each["features"]),
            local_text(each["since"]),
            f"{each['calls']:,}",
        ]
        for each in found
    )
    show_rows({"findings": found}, columns, rows, as_json=as_json, empty="Nothing moved.")


@app.command("run")
def run(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Look at all that is watched, now."""
    with reach(url, api_key, timeout=600.0) as client:
        ran = client.look_for_drift()
        found = client.watches()
    if as_json:
        show_json({"ran": ran, "watches": found})
        return
    moved = sum(each["finding"] is not None for each in found)
    say(f"{'Looked' if ran else 'Another process is looking'}: {moved} of {len(found)} moved.")


@app.command("accept")
def accept(watch: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Make what moved the new normal."""
    _act(watch, "accept", "what moved is normal from now on", url, api_key, as_json=as_json)


@app.command("dismiss")
def dismiss(watch: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Leave what is normal as it is, and begin the next window."""
    _act(watch, "dismiss", "the next window begins", url, api_key, as_json=as_json)


@app.command("pause")
def pause(watch: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Look no more until it is resumed."""
    _act(watch, "pause", "paused", url, api_key, as_json=as_json)


@app.command("resume")
def resume(watch: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Look again."""
    _act(watch, "resume", "watched again", url, api_key, as_json=as_json)


@app.command("remove")
def remove(watch: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Watch no more; what was found goes with it."""
    with reach(url, api_key) as client:
        gone = client.unwatch(numbered(client.watches, watch, "subject"))
    show_done(gone, f"{watch} is watched no more.", as_json=as_json, style="")


def _act(watch: str, act: str, says: str, url: str | None, api_key: str | None, *, as_json: bool) -> None:
    with reach(url, api_key) as client:
        told = client.act_on_watch(numbered(client.watches, watch, "subject"), act)
    show_done(told, f"{told['subject']}: {says}.", as_json=as_json)
