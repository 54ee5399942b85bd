"""Judges and their cards as the terminal shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loopwright.cli.quantities import local_text
from loopwright.cli.screen import Column, clip, say, show_facts, show_table
from loopwright.core.money import usd

LIST_COLUMNS: Final = (
    Column(title="judge"),
    Column(title="form", weight=2),
    Column(title="model", least=12),
    Column(title="labels", right=True, weight=1),
    Column(title="kappa (95 %)"),
    Column(title="trust"),
    Column(title="question", least=20, weight=3),
)
PAIRS_COLUMNS: Final = (
    Column(title="model", least=12),
    Column(title="pairs", right=True),
    Column(title="right in both (95 %)"),
    Column(title="order decides"),
    Column(title="first/second", right=True, weight=1),
    Column(title="single questions", weight=1),
    Column(title="missing", right=True),
    Column(title="cost", right=True),
    Column(title="trust"),
)
_FIGURES: Final = (
    ("kappa", "Cohen's kappa with people", "number"),
    ("kappa_weighted", "weighted kappa (quadratic)", "number"),
    ("alpha", "Krippendorff's alpha with people", "number"),
    ("alpha_people", "alpha of people alone", "number"),
    ("alpha_all", "alpha of people and judge", "number"),
    ("accuracy", "right", "share"),
    ("constant_accuracy", "a constant judge", "share"),
    ("gain", "more than the constant judge", "shift"),
    ("sensitivity", "sensitivity", "share"),
    ("specificity", "specificity", "share"),
    ("missing", "verdicts missing", "share"),
    ("consistency", "says the same again", "share"),
    ("flips", "order decides", "share"),
    ("first_shown", "drawn to the first shown", "shift"),
    ("verbosity", "drawn to length", "shift"),
    ("self_preference", "drawn to its own model", "shift"),
)


def row_of(judge: Mapping[str, Any], card: Mapping[str, Any] | None) -> list[object]:
    """A line of the list: a judge with one model, or one without a card."""
    definition = judge["definition"]
    if card is None:
        return [
            judge["name"], definition.get("form", "rubric"), definition.get("model", ""), "", "", "no card",
            clip(definition.get("question", "")),
        ]  # fmt: skip
    kappa = "" if card["kappa"] is None else number(card["kappa"])
    return [
        judge["name"], definition.get("form", "rubric"), card["model"], card["labelled"], kappa, trust(card),
        clip(definition.get("question", "")),
    ]  # fmt: skip


def pairs_row(found: Mapping[str, Any]) -> list[object]:
    """A line of the factuality procedure."""
    told = found["outcome"]
    return [
        found["model"],
        told["pairs"],
        share(told["accuracy"]),
        "" if told["order_bias"] is None else share(told["order_bias"]),
        f"{told['first']}/{told['second']}",
        "" if told["each"] is None else share(told["each"]),
        told["missing"],
        cost(found["card"]),
        trust(found),
    ]


def show_card(found: Mapping[str, Any]) -> None:
    """A card, whole."""
    card = found["card"]
    rates = ", ".join(f"{label} {rate:.0%}" for label, rate in card["base_rates"].items())
    show_facts(
        [
            ("judge", card["judge"]),
            ("model", f"{card['model']} ({', '.join(card['answered_by'])})" if card["answered_by"] else card["model"]),
            ("version", found["sha"][:12]),
            ("made", local_text(found["created_at"])),
            ("labelled", f"{card['labelled']:,}, {card['judged']:,} with a verdict"),
            ("unsettled", f"{card['unsettled']:,} on which people did not agree" if card["unsettled"] else ""),
            ("base rates", rates),
            ("constant judge", f"always {card['constant']}" if card["constant"] else ""),
            ("asked", f"{card['calls']:,} calls, {card['input_tokens']:,} tokens in, {card['output_tokens']:,} out"),
            ("cost", cost(card)),
        ]
    )
    rows = []
    for name, title, kind in _FIGURES:
        figure = card["figures"].get(name)
        if figure is None:
            rows.append([title, "", "", card["absent"].get(name, "")])
            continue
        value, interval = _parts(figure, kind)
        p = figure["p"]
        rows.append([title, value, interval, "" if p is None else f"p = {p:.3g}"])
    columns = (
        Column(title="measured"),
        Column(title="value", right=True),
        Column(title="95 % interval"),
        Column(title="", least=12, weight=1),
    )
    show_table(columns, rows, empty="")
    if found["trusted"]:
        say(f"Trusted at a bar of {found['bar']:g}: it may gate.", style="green")
        return
    say(f"Not trusted at a bar of {found['bar']:g}: it may inform, never gate.", style="yellow")
    for reason in found["reasons"]:
        say(f"  {reason}", style="yellow")


def trust(card: Mapping[str, Any]) -> str:
    """In one or two words."""
    if card["stale"]:
        return "stale"
    return "trusted" if card["trusted"] else "not trusted"


def cost(card: Mapping[str, Any]) -> str:
    """What all verdicts took."""
    return "unpriced" if card["cost_nano"] is None else f"${usd(card['cost_nano'])}"


def share(figure: Mapping[str, Any]) -> str:
    """A share with its interval."""
    value, interval = _parts(figure, "share")
    return f"{value} ({interval})"


def number(figure: Mapping[str, Any]) -> str:
    """A number with its interval."""
    value, interval = _parts(figure, "number")
    return f"{value} ({interval})"


def _parts(figure: Mapping[str, Any], kind: str) -> tuple[str, str]:
    form = {"share": "{:.1%}", "shift": "{:+.1%}", "number": "{:.3f}"}[kind]
    return form.format(figure["estimate"]), f"{form.format(figure['low'])} to {form.format(figure['high'])}"
