"""What `loopwright datasets` prints: progress, versions, examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loopwright.cli.quantities import local_text
from loopwright.cli.screen import Column, clip, console, say, show_facts, show_json, show_table

_SAID = {
    "sending": "sending",
    "receiving": "receiving",
    "reading": "reading rows",
    "comparing": "looking for near-duplicates",
    "calls": "reading calls",
    "corrections": "reading corrections",
    "writing": "writing variations",
}


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr that says what is being done; nothing where nobody watches."""
    screen = console(stderr=True)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as bar:
        task = bar.add_task("", total=None, count="")

        def told(doing: str, done: int, of: int | None) -> None:
            count = f"{done:,}" if of is None else f"{done:,}/{of:,}"
            bar.update(task, description=_SAID.get(doing, doing), completed=done, total=of, count=count if done else "")

        yield told


def tell(made: dict[str, Any], *, as_json: bool) -> None:
    """What an act made."""
    if as_json:
        show_json(made)
        return
    version = made["version"]
    changes = version["changes"]
    names = ("added", "replaced", "removed", "unchanged")
    said = ", ".join(f"{changes[name]:,} {name}" for name in names if changes[name]) or "nothing new"
    say(f"{version['ref']}: {version['count']:,} examples ({said})", style="green")
    if changes["repeated"]:
        say(f"{changes['repeated']:,} said the same as an earlier one and were left out.", style="dim")
    if changes["held_back"]:
        say(f"{changes['held_back']:,} are on no side: near-duplicates of them are on another.", style="yellow")
    if (synthesis := made.get("synthesis")) is not None:
        cost = f"${synthesis['cost_nano'] / 1e9:.6f}"
        cost += f" and {synthesis['unpriced']:,} calls without a price" if synthesis["unpriced"] else ""
        say(
            f"{synthesis['written']:,} written of {synthesis['asked']:,} asked, {synthesis['nothing_new']:,} said nothing"
            f" new, {synthesis['unreadable']:,} unreadable, {synthesis['failed']:,} failed; {cost}",
            style="dim",
        )
        if synthesis["ended"] != "done":
            say(f"It ended early: {synthesis['ended']}", style="yellow")


def show_dataset(dataset: dict[str, Any], versions: list[dict[str, Any]]) -> None:
    """A dataset and its versions."""
    shares = dataset["shares"]
    show_facts(
        [
            ("name", dataset["name"]),
            ("description", dataset["description"]),
            ("shares", f"train {shares['train']} %, validation {shares['validation']} %, test {shares['test']} %"),
            ("input schema", line_of(dataset["input_schema"])),
            ("output schema", line_of(dataset["output_schema"])),
        ]
    )
    columns = (
        Column(title="version", right=True),
        Column(title="examples", right=True),
        Column(title="train/val/test", right=True),
        Column(title="created"),
        Column(title="by", weight=2),
        Column(title="from", least=12, weight=1),
        Column(title="sha", weight=3),
        Column(title="note", least=10, weight=4),
    )
    rows = [
        [
            each["number"], f"{each['count']:,}", _sides(each), local_text(each["created_at"]), each["author"],
            each["source"], each["sha"][:12], each["note"],
        ]
        for each in versions
    ]  # fmt: skip
    show_table(columns, rows, empty="Nothing is in it yet.")


def show_version(version: dict[str, Any], *, groups: int, largest: int) -> None:
    """The sides of a version."""
    count = max(version["count"], 1)
    sides = [(side or "on no side", version["splits"].get(side, 0)) for side in ("train", "validation", "test", "")]
    show_facts(
        [
            ("version", version["ref"]),
            ("sha", version["sha"]),
            ("examples", f"{version['count']:,}"),
            *((name, f"{number:,} ({100 * number / count:.1f} %)") for name, number in sides if number),
            ("groups", f"{groups:,} of near-duplicates; the largest has {largest:,} examples"),
        ]
    )


def show_examples(examples: list[dict[str, Any]]) -> None:
    """Some examples, a line each."""
    columns = (
        Column(title="id", least=10),
        Column(title="side"),
        Column(title="inputs", least=20),
        Column(title="expected", least=12, weight=1),
        Column(title="tags", least=6, weight=2),
        Column(title="origin", weight=3),
    )
    rows = [
        [
            clip(each["id"], 24), each.get("split") or "", clip(line_of(each["inputs"]), 80),
            clip(line_of(each["expected"]), 40), ",".join(each.get("tags", [])), each.get("origin", "import"),
        ]
        for each in examples
    ]  # fmt: skip
    if rows:
        show_table(columns, rows, empty="")


def _sides(version: dict[str, Any]) -> str:
    return "/".join(f"{version['splits'].get(side, 0):,}" for side in ("train", "validation", "test"))


def line_of(value: Any) -> str:
    """Inputs or a reference in one line: the text where it is one, else JSON."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), str):
        return str(next(iter(value.values())))
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
