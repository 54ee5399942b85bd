"""`loopwright cost`: what calls cost, what was saved, energy and CO2, and where the month is going."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from loopwright.cli.quantities import moment_of
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, clean, clip, show_facts, show_json, show_table

app = typer.Typer(add_completion=False)
_COLUMNS: Final = (
    Column(title="requests", right=True),
    Column(title="input", right=True, weight=2),
    Column(title="output", right=True, weight=2),
    Column(title="cost", right=True),
    Column(title="unpriced", right=True, weight=1),
    Column(title="saved", right=True, weight=1),
    Column(title="energy", right=True),
    Column(title="CO2e", right=True, weight=1),
)


@app.command()
def cost(
    *,
    by: Annotated[
        str,
        typer.Option(
            help="model, task, variant, key, target, provider, client, session … or tag:NAME.", metavar="DIMENSION"
        ),
    ] = "model",
    since: Annotated[str, typer.Option(help="From when: 24h, 30d, or a moment.", metavar="TIME")] = "24h",
    until: Annotated[str | None, typer.Option(help="To when; else now.", metavar="TIME")] = None,
    model: Annotated[str | None, typer.Option(help="Only calls of this name.")] = None,
    task: Annotated[str | None, typer.Option(help="Only calls of this task.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only calls with this tag; repeatable, all hold.", metavar="NAME:VALUE")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show what calls cost, the dearest first. Energy is metered for engines here, estimated for models elsewhere."""
    where = {
        "since": moment_of(since, "--since"), "until": moment_of(until, "--until"),
        "model": model, "task": task, "tag": tag,
    }  # fmt: skip
    with reach(url, api_key) as client:
        found = client.cost(by, **where)
    if as_json:
        show_json(found)
        return
    columns = (Column(title=by.removeprefix("tag:"), least=12), *_COLUMNS)
    show_table(columns, [_row(by, each) for each in found["groups"]], empty="No calls in this time.")
    month = found["month"]
    expected = month["expected_usd"]
    show_facts(
        [
            ("cost", _dollars(found["cost_usd"])),
            ("unpriced", f"{found['unpriced']:,} calls, in no sum" if found["unpriced"] else ""),
            ("saved", _saved(found["saved"])),
            ("wasted", _dollars(found["wasted_usd"]) if float(found["wasted_usd"]) else ""),
            ("energy", _energy(found["energy"], told=True)),
            *((f"  {each['name']}", f"{each['calls']:,} calls: {each['about']}") for each in found["methods"]),
            ("this month", f"{_dollars(month['cost_usd'])} so far"),
            ("expected", "" if expected is None else f"{_dollars(expected)} at its end, at the pace of seven days"),
        ]
    )


def _row(by: str, each: Mapping[str, Any]) -> list[object]:
    name = each.get("key") or each["name"]
    saved = float(each["saved"]["cache_usd"]) + float(each["saved"]["cascade_usd"])
    return [
        clip(clean(name), 60) if name not in (None, "") else f"no {by.removeprefix('tag:')}",
        f"{each['requests']:,}",
        f"{each['input_tokens']:,}",
        f"{each['output_tokens']:,}",
        _dollars(each["cost_usd"]),
        f"{each['unpriced']:,}" if each["unpriced"] else "",
        f"${saved:,.4f}" if saved else "",
        _energy(each["energy"]),
        _grams(each["energy"]),
    ]


def _dollars(amount: str | None) -> str:
    if amount is None:
        return "unpriced"
    value = float(amount)
    return f"${value:,.2f}" if value >= 1 or not value else f"${value:.3g}"


def _saved(saved: Mapping[str, Any]) -> str:
    told = [
        f"{_dollars(saved['cache_usd'])} by {saved['cache_hits']:,} cache hits" if saved["cache_hits"] else "",
        f"{_dollars(saved['cascade_usd'])} by cascades" if float(saved["cascade_usd"]) else "",
    ]
    return ", ".join(filter(None, told))


def _energy(energy: Mapping[str, Any] | None, *, told: bool = False) -> str:
    if energy is None:
        return "not known" if told else ""
    wh = energy["wh"]
    text = f"{wh['low']:.3g} to {wh['high']:.3g} Wh" if wh["low"] != wh["high"] else f"{wh['low']:.3g} Wh"
    if not told:
        return text
    share = energy["of_calls"]
    return f"{text}, {_grams(energy)} CO2e" + (f", of {100 * share:.0f} % of calls" if share is not None else "")


def _grams(energy: Mapping[str, Any] | None) -> str:
    if energy is None:
        return ""
    low, high = energy["co2e_g"]["low"], energy["co2e_g"]["high"]
    return f"{low:.3g} to {high:.3g} g" if low != high else f"{low:.3g} g"
