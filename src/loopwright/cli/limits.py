"""`loopwright limits`: how much a key, a project or a tag may use, and what it has used."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from loopwright.cli.keys import find
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, show_done, show_rows
from loopwright.core.errors import BadRequest

app = typer.Typer(help="Limits and budgets: list, set, remove.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_limits(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the limits with what is used of each now, oldest first."""
    with reach(url, api_key) as client:
        limits = client.limits()
    columns = (
        Column(title="id", right=True),
        Column(title="of", least=16),
        Column(title="limit"),
        Column(title="amount", right=True),
        Column(title="used", right=True),
        Column(title="begins anew", weight=1),
    )
    show_rows(
        {"limits": limits},
        columns,
        (_row(limit) for limit in limits),
        as_json=as_json,
        empty="No limits. `loopwright limits set` makes one.",
    )


@app.command("set")
def set_limit(
    kind: Annotated[
        str,
        typer.Argument(
            help="requests_per_minute, tokens_per_minute, concurrent_requests, usd_per_day or usd_per_month."
        ),
    ],
    amount: Annotated[str, typer.Argument(help="Requests, tokens, or US dollars.")],
    *,
    key: Annotated[str | None, typer.Option(help="Of this key, by id, prefix or name.")] = None,
    project: Annotated[str | None, typer.Option(help="Of this project.")] = None,
    tag: Annotated[str | None, typer.Option(help="Of this tag within the project, as name:value.")] = None,
    alert_at: Annotated[int | None, typer.Option(help="Percent of a budget at which to warn, e.g. 80.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Set a limit of a key, a project, or a tag within a project, in place of the one before."""
    if key is not None and (project or tag):
        raise BadRequest("--key stands alone: a limit has one scope", param="--key")
    with reach(url, api_key) as client:
        key_id = None if key is None else find(client, key)["id"]
        home = None if key is not None else project or "default"
        limit = client.put_limit(kind, amount, key=key_id, project=home, tag=tag, alert_at=alert_at)
    show_done(limit, f"Limit {limit['id']}: {_scope(limit)} may have {limit['amount']} {kind}.", as_json=as_json)


@app.command("remove")
def remove(
    limit_id: Annotated[int, typer.Argument(help="Id of the limit.", metavar="LIMIT")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Lift a limit."""
    with reach(url, api_key) as client:
        gone = client.remove_limit(limit_id)
    show_done(gone, f"Lifted limit {limit_id}.", as_json=as_json)


def _scope(limit: dict[str, Any]) -> str:
    if limit["key"] is not None:
        return f"key {limit['key']}"
    return f"project {limit['project']}" if limit["tag"] is None else f"{limit['project']} {limit['tag']}"


def _row(limit: dict[str, Any]) -> list[object]:
    ends = "" if limit["ends"] is None else local_text(limit["ends"])
    return [limit["id"], _scope(limit), limit["kind"], limit["amount"], limit["used"], ends]
