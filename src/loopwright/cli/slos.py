"""`loopwright slos`: what share of calls is to be good, how that stands, and how fast what is left is used up."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, clean, clip, console, show_json, show_table

app = typer.Typer(help="Objectives of service: how they stand.", no_args_is_help=True, add_completion=False)
_COLUMNS: Final = (
    Column(title="objective"),
    Column(title="of", least=16),
    Column(title="project", weight=3),
    Column(title="state"),
    Column(title="good", right=True),
    Column(title="goal", right=True),
    Column(title="budget left", right=True),
    Column(title="1 h", right=True, weight=1),
    Column(title="6 h", right=True, weight=1),
    Column(title="3 d", right=True, weight=1),
    Column(title="calls", right=True, weight=2),
)


@app.callback()
def slos() -> None:
    """Objectives of service."""


@app.command("list")
def list_objectives(
    name: Annotated[str | None, typer.Argument(help="Only this objective.", metavar="[OBJECTIVE]")] = None,
    *,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List how objectives stand, those with the least left first; of windows, how many times too fast."""
    with reach(url, api_key) as client:
        found = client.objectives(name, project=project)
    if as_json:
        show_json(found)
        return
    for each in found["objectives"]:
        console().print(f"{clean(each['name'])}: {clean(each['text'])}")
    show_table(_COLUMNS, [_row(each) for each in found["standings"]], empty="No calls that an objective speaks of yet.")


def _row(each: dict[str, Any]) -> list[object]:
    left = each["budget_left"]
    return [
        each["objective"],
        clip(each["scope"], 50),
        each["project"],
        each["state"],
        "-" if each["attained"] is None else f"{100 * each['attained']:.3f} %",
        f"{100 * each['goal']:g} %",
        "-" if left is None else f"{100 * left:.1f} %",
        *(f"{one['rate']:.1f}" + ("!" if one["fires"] else "") for one in each["burn"]),
        f"{each['calls']:,}",
    ]
