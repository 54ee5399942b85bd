"""`loopwright exports`: where calls are mirrored to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from loopwright.cli.quantities import moment_of
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, show_done, show_rows

app = typer.Typer(help="Mirrors of calls elsewhere: list, run.", no_args_is_help=True, add_completion=False)
_COLUMNS = ("name", "kind", "state", "waiting", "sent", "scores", "forgotten", "refused", "problem")


@app.command("list")
def list_exports(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List mirrors: how far each is, and what is wrong."""
    with reach(url, api_key) as client:
        found = client.exports()
    show_rows(
        {"exports": found},
        [Column(title=name) for name in _COLUMNS],
        ([_cell(each.get(name)) for name in _COLUMNS] for each in found),
        as_json=as_json,
        empty="No mirror is configured: docs/exports.md says how, under `exports:` in loopwright.yaml.",
    )


@app.command("run")
def run_export(
    name: Annotated[str, typer.Argument(help="The mirror, as in the configuration.", metavar="NAME")],
    *,
    since: Annotated[str | None, typer.Option(help="Calls not older than: 2h, 7d, or a date.", metavar="TIME")] = None,
    until: Annotated[str | None, typer.Option(help="Calls not newer than: 2h, 7d, or a date.", metavar="TIME")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Mirror calls that are on record already; what is there is known again by its ids."""
    with reach(url, api_key) as client:
        found = client.run_export(name, since=moment_of(since, "--since"), until=moment_of(until, "--until"))
    show_done(found, f"Queued {found['queued']:,} calls for {name}: loopwright exports list", as_json=as_json)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "")
