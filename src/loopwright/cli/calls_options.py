"""The options that select calls, and the query they make."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from loopwright.cli.keys import find
from loopwright.cli.quantities import moment_of
from loopwright.client import Client
from loopwright.core.errors import BadRequest

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
Tag = Annotated[list[str] | None, typer.Option(help="Carries this tag; repeatable, all hold.", metavar="NAME:VALUE")]
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
Trace = Annotated[str | None, typer.Option(help="Of this trace: 32 hexadecimal digits.", metavar="ID")]
_OUTCOMES = ("ok", "error", "refused", "cancelled", "interrupted", "failed")
_PLAIN = (
    "model", "outcome", "error_code", "task", "session", "tag", "min_cost_usd", "min_latency_ms", "sent_to", "sent_outside",
    "text", "target", "provider", "variant", "prompt_version", "client", "operation", "trace", "without",
)  # fmt: skip


def where_of(client: Client, told: dict[str, Any]) -> dict[str, Any]:
    """The query of the options that select calls, from a command's own variables."""
    if told["outcome"] is not None and told["outcome"] not in _OUTCOMES:
        raise BadRequest(f"--outcome: {told['outcome']!r} is none\nAllowed: {', '.join(_OUTCOMES)}", param="outcome")
    for tag in told["tag"] or ():
        if ":" not in tag:
            raise BadRequest(f"--tag: {tag!r} is not of the form NAME:VALUE", param="tag")
    where: dict[str, Any] = {name: told.get(name) for name in _PLAIN}
    where["key"] = None if told["key"] is None else key_id(client, told["key"])
    where["since"] = moment_of(told["since"], "--since")
    where["until"] = moment_of(told["until"], "--until")
    return where


def key_id(client: Client, which: str) -> int:
    """The id of a key, named by its id, prefix or name."""
    return int(which) if which.isdigit() else int(find(client, which)["id"])
