"""`loopwright audit`: who did what as administrator, when and from where."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, show_rows

app = typer.Typer(help="Who did what as administrator.", no_args_is_help=True, add_completion=False)


@app.callback()
def audit() -> None:
    """Who did what as administrator."""


@app.command("list")
def list_acts(
    *,
    act: Annotated[str | None, typer.Option(help="Only these: key.revoke, or key for all of keys.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what was done to this, e.g. `key 7`.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List administrative acts, newest first. Nobody can change or remove one."""
    with reach(url, api_key) as client:
        acts = client.acts(act=act, subject=subject, limit=limit)
    columns = (
        Column(title="when"),
        Column(title="who", least=10),
        Column(title="from"),
        Column(title="act"),
        Column(title="to", least=8),
        Column(title="detail", weight=1, least=12),
    )
    rows = (
        [local_text(each["at"]), each["who"], each["origin"], each["act"], each["subject"], json.dumps(each["detail"])]
        for each in acts
    )
    show_rows({"acts": acts}, columns, rows, as_json=as_json, empty="Nothing was done.")
