"""`loopwright canaries`: datasets that are asked again and again, to see whether what answers is still the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, numbered, reach
from loopwright.cli.screen import Column, clip, show_done, show_facts, show_json, show_rows, show_table
from loopwright.core.errors import BadRequest

app = typer.Typer(
    help="Pinned questions asked again and again: create, list, show, run, accept.",
    no_args_is_help=True,
    add_completion=False,
)
Which = Annotated[str, typer.Argument(help="Number or name of a canary, as `list` shows it.", metavar="CANARY")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its own in the project.")],
    *,
    dataset: Annotated[str, typer.Option(help="What is asked; a version stays what it is.", metavar="NAME[@NUMBER]")],
    model: Annotated[str, typer.Option(help="Who is asked: a model, or task/NAME@VARIANT.")],
    examples: Annotated[int | None, typer.Option(min=1, help="The first so many; else 50.")] = None,
    repeats: Annotated[int | None, typer.Option(min=2, max=20, help="Answers to each for the baseline.")] = None,
    every: Annotated[float | None, typer.Option(min=60, help="Seconds between two replays; else a day.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="US dollars of one day.")] = None,
    alpha: Annotated[float | None, typer.Option(min=0.00001, max=0.2, help="False alarms of a replay.")] = None,
    parameters: Annotated[str | None, typer.Option(help="Further members of each request, as JSON.")] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Ask a dataset version again and again, with temperature 0; the first time makes the baseline."""
    told: dict[str, Any] = {
        "examples": examples, "repeats": repeats, "every": every, "budget": budget, "alpha": alpha,
        "parameters": None if parameters is None else _parsed(parameters),
    }  # fmt: skip
    with reach(url, api_key) as client:
        made = client.create_canary(name, dataset=dataset, model=model, project=project, **told)
    show_done(
        made, f"{made['name']} asks {made['model']} {made['examples']} examples of {made['dataset']}.", as_json=as_json
    )


@app.command("list")
def list_canaries(*, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List canaries by name."""
    with reach(url, api_key) as client:
        found = client.canaries(project=project)
    columns = (
        Column(title="number", right=True),
        Column(title="name", least=10),
        Column(title="asks", least=10),
        Column(title="state"),
        Column(title="examples", right=True, weight=1),
        Column(title="next", weight=1),
        Column(title="problem", least=10, weight=2),
    )
    rows = (
        [
            each["id"], each["name"], each["model"], each["state"], each["examples"], local_text(each["next_at"]),
            each["problem"] or "",
        ]
        for each in found
    )  # fmt: skip
    show_rows(
        {"canaries": found},
        columns,
        rows,
        as_json=as_json,
        empty="No canaries. `loopwright canaries create NAME --dataset … --model …` makes one.",
    )


@app.command("show")
def show(
    canary: Which,
    *,
    run: Annotated[int | None, typer.Option(help="A run; else the newest.", metavar="RUN")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show a canary, its runs, and what changed in one of them."""
    with reach(url, api_key) as client:
        canary_id = numbered(client.canaries, canary, "name")
        found = client.canary(canary_id)
        chosen = run or next((each["id"] for each in found["runs"] if each["state"] != "running"), None)
        told = None if chosen is None else client.canary_run(canary_id, chosen)
    if as_json:
        show_json({**found, "run": told})
        return
    about = found["canary"]
    show_facts(
        [
            ("asks", f"{about['model']}, {about['examples']} examples of {about['dataset']}"),
            ("state", about["state"]),
            ("next", local_text(about["next_at"])),
            *([("problem", about["problem"])] if about["problem"] else []),
        ],
        title=about["name"],
    )
    columns = (
        Column(title="run", right=True),
        Column(title="kind"),
        Column(title="state"),
        Column(title="began"),
        Column(title="changed", right=True),
        Column(title="cost", right=True, weight=1),
    )
    rows = [
        [
            each["id"], each["kind"], each["state"], local_text(each["began_at"]),
            (each["figures"] or {}).get("changed", ""), f"${each['cost_usd']}",
        ]
        for each in found["runs"]
    ]  # fmt: skip
    show_table(columns, rows, empty="It was not asked yet.")
    changed = [each for each in (told or {"examples": []})["examples"] if each["changed"]]
    _changes(chosen, changed)


def _changes(run: int | None, changed: Sequence[Mapping[str, Any]]) -> None:
    columns = (Column(title="input", least=15), Column(title="then", least=15), Column(title="now", least=15))
    rows = [
        [clip(each["input"], 40), clip(" | ".join(each["then"]), 60), clip(each["now"][0]["text"], 60)]
        for each in changed
    ]
    if rows:
        show_table(columns, rows, empty="", title=f"Changed in run {run}")


@app.command("run")
def run_now(canary: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Let it be due now."""
    _act(canary, "run", "is asked within the next round", url, api_key, as_json=as_json)


@app.command("accept")
def accept(canary: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Take what is answered now as the new baseline."""
    _act(canary, "accept", "has a new baseline made", url, api_key, as_json=as_json)


@app.command("pause")
def pause(canary: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Ask no more until it is resumed."""
    _act(canary, "pause", "is paused", url, api_key, as_json=as_json)


@app.command("resume")
def resume(canary: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Ask again."""
    _act(canary, "resume", "is asked again", url, api_key, as_json=as_json)


@app.command("delete")
def delete(canary: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Remove it with all its answers."""
    with reach(url, api_key) as client:
        gone = client.delete_canary(numbered(client.canaries, canary, "name"))
    show_done(gone, f"Canary {canary} is gone.", as_json=as_json, style="")


def _act(canary: str, act: str, says: str, url: str | None, api_key: str | None, *, as_json: bool) -> None:
    with reach(url, api_key) as client:
        told = client.act_on_canary(numbered(client.canaries, canary, "name"), act)
    show_done(told, f"{told['name']} {says}.", as_json=as_json)


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"--parameters: this is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest("--parameters: an object, such as '{\"max_tokens\": 50}'")
    return found
