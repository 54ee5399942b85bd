"""`loopwright keys`: who may call."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from loopwright.cli.quantities import local_text, moment_ahead, seconds_of
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, say, show_done, show_json, show_rows
from loopwright.client import Client
from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.nearest import hint

_SCOPES: Final = (("models", "model"), ("tasks", "task"), ("operations", "route"), ("labels", "label"))

app = typer.Typer(help="Keys: create, list, rotate, revoke.", no_args_is_help=True, add_completion=False)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, e.g. `billing-service`.")],
    *,
    project: Annotated[str, typer.Option(help="The tenant whose calls it makes.")] = "default",
    admin: Annotated[bool, typer.Option("--admin", help="May manage keys and see every project's calls.")] = False,
    model: Annotated[list[str] | None, typer.Option(help="May call only this model; repeat for more.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="May call only this task; repeat for more.")] = None,
    operation: Annotated[
        list[str] | None,
        typer.Option(
            help="May use only this route of /v1: chat, completion, embeddings, responses, messages, files, batches, "
            "moderations or rerank; or telemetry (/otlp), metrics (/metrics); repeat for more."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Of documents with labels, finds only those with this one; repeat for more."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="Ends by itself: after 12h, 30d or 8w, or at 2027-01-31 or 2027-01-31T18:00Z.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is printed alone on stdout, this once: only a hash of it is kept."""
    ends = moment_ahead(expires, "--expires")
    with reach(url, api_key) as client:
        made = client.create_key(
            name,
            project=project,
            admin=admin,
            models=model or None,
            tasks=task or None,
            operations=operation or None,
            labels=label or None,
            expires_at=ends,
        )
    if as_json:
        show_json(made)
        return
    key = {"admin": admin, "models": model, "tasks": task, "operations": operation, "labels": label}
    until = "" if ends is None else f" until {local_text(ends)}"
    say(f"Key {made['key']['id']} ({name}, project {project}) {_may(key)}{until}. Its secret, shown only now:")
    sys.stdout.write(f"{made['secret']}\n")


@app.command("list")
def list_keys(
    *,
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    revoked: Annotated[bool, typer.Option("--revoked", help="Revoked ones too.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the keys, oldest first."""
    with reach(url, api_key) as client:
        keys = client.keys(project, revoked=revoked)
    columns = (
        Column(title="id", right=True),
        Column(title="name", least=12),
        Column(title="prefix"),
        Column(title="project", weight=1),
        Column(title="rights", weight=2, least=12),
        Column(title="expires", weight=2),
        Column(title="created", weight=3),
        *([Column(title="revoked", weight=1)] if revoked else []),
    )
    show_rows(
        {"keys": keys},
        columns,
        (_row(key, revoked=revoked) for key in keys),
        as_json=as_json,
        empty="No keys. `loopwright keys create NAME` makes one.",
    )


@app.command("rotate")
def rotate(
    which: Annotated[str, typer.Argument(help="Id, prefix or name of the key.", metavar="KEY")],
    *,
    overlap: Annotated[str, typer.Option(help="How long the old secret still opens: 0s, 30m, 24h, 7d.")] = "24h",
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Give a key a new secret, printed alone on stdout. The old one opens until the overlap is over."""
    seconds = seconds_of(overlap, "--overlap")
    with reach(url, api_key) as client:
        made = client.rotate_key(find(client, which)["id"], overlap_s=seconds)
    if as_json:
        show_json(made)
        return
    say(f"Key {made['key']['id']} ({made['key']['name']}): the old secret opens for {overlap} more. The new one:")
    sys.stdout.write(f"{made['secret']}\n")


@app.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(help="Id, prefix or name of the key.", metavar="KEY")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a key useless, at once and for ever. Its calls stay."""
    with reach(url, api_key) as client:
        key = find(client, which)
        gone = client.revoke_key(key["id"])
    show_done({"key": gone or key}, f"Revoked key {key['id']} ({key['name']}, {key['prefix']}…).", as_json=as_json)


def find(client: Client, which: str) -> dict[str, Any]:
    """The one key that an id, a prefix or a name means.

    Raises:
        NotFound: there is none; the message names the nearest.
        Conflict: a name that several keys have.
        BadRequest: a whole secret, which should stand on no command line.
    """
    if which.startswith("lw-") and len(which) > 20:
        raise BadRequest(
            "that is a key's secret: a command line is no place for it\nName the key by id, prefix or name"
        )
    keys = client.keys(revoked=False)
    found = [key for key in keys if which in {str(key["id"]), key["prefix"]}]
    found = found or [key for key in keys if key["name"] == which]
    if not found:
        near = hint(which, [key["name"] for key in keys])
        raise NotFound(f"no living key has the id, prefix or name {which!r}{near}\n`loopwright keys list` shows them")
    if len(found) > 1:
        ids = ", ".join(str(key["id"]) for key in found)
        raise Conflict(f"{len(found)} keys are named {which!r}\nSay which by its id: {ids}")
    return found[0]


def _may(key: dict[str, Any]) -> str:
    """What a new key may do, for people."""
    rights = ["may administer"] if key["admin"] else []
    if key["models"] or not key["admin"]:
        rights.append("may call " + (", ".join(key["models"]) if key["models"] else "every model"))
    if key["tasks"]:
        rights.append(f"of tasks only {', '.join(key['tasks'])}")
    if key["operations"]:
        rights.append(f"by {', '.join(key['operations'])} only")
    if key["labels"]:
        rights.append(f"finds documents labelled {', '.join(key['labels'])} or not at all")
    return ", ".join(rights)


def _row(key: dict[str, Any], *, revoked: bool) -> list[object]:
    kept = [f"{one}: {', '.join(key[many]) or 'none'}" for many, one in _SCOPES if key.get(many) is not None]
    rights = "; ".join([*(["admin"] if key["admin"] else []), *kept]) or "every model"
    row: list[object] = [
        key["id"],
        key["name"],
        key["prefix"],
        key["project"],
        rights,
        local_text(key.get("expires_at")),
        local_text(key["created_at"]),
    ]
    return [*row, local_text(key["revoked_at"])] if revoked else row
