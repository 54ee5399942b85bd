"""How memory reads in a terminal: rows, one entry, bars with intervals; and where entries of an import come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loopwright.cli.quantities import local_text
from loopwright.cli.screen import Column, clip, console, say, show_facts, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest, NotFound

COLUMNS: Final = (
    Column(title="id"),
    Column(title="task", least=8, weight=1),
    Column(title="input", least=20),
    Column(title="output", least=12),
    Column(title="state"),
    Column(title="by", weight=2),
    Column(title="when", weight=3),
)
CONFLICTS: Final = (
    Column(title="id", right=True),
    Column(title="task", least=8),
    Column(title="alike", right=True, weight=2),
    Column(title="input", least=16, weight=1),
    Column(title="older says", least=12),
    Column(title="by"),
    Column(title="newer says", least=12),
    Column(title="by"),
    Column(title="state"),
)
EFFECT: Final = (
    Column(title="task", least=8),
    Column(title="with memory", right=True),
    Column(title="held out", right=True),
    Column(title="fewer by", right=True),
    Column(title="95 %", right=True),
    Column(title="says"),
    Column(title="nothing to show", right=True, weight=2),
    Column(title="late", right=True, weight=1),
)
_AT_ONCE: Final = 200
_WIDTH: Final = 50


def row(entry: Mapping[str, Any]) -> list[object]:
    """Of COLUMNS."""
    return [
        entry["id"], entry["task"], clip(plain(entry["input"]), 60), clip(plain(entry["output"]), 40), entry["state"],
        entry["author"], local_text(entry["created_at"]),
    ]  # fmt: skip


def conflict_row(found: Mapping[str, Any]) -> list[object]:
    """Of CONFLICTS."""
    older, newer = found["older"], found["newer"]
    return [
        found["id"], found["task"], f"{found['similarity']:.3f}", clip(plain(newer["input"]), 50),
        clip(plain(older["output"]), 30), older["author"], clip(plain(newer["output"]), 30), newer["author"],
        found["state"],
    ]  # fmt: skip


def effect_row(found: Mapping[str, Any]) -> list[object]:
    """Of EFFECT."""
    difference = found["difference"]
    return [
        found["task"],
        _arm(found["memory"]),
        _arm(found["held_out"]),
        "-" if difference is None else f"{100 * difference:+.1f} pp",
        "-" if difference is None else f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}",
        f"too few (under {found['enough']})" if found["verdict"] == "too few" else found["verdict"],
        f"{found['others']['none']:,}",
        f"{found['others']['late']:,}",
    ]


def show_bars(effects: Sequence[Mapping[str, Any]]) -> None:
    """Shares of answers found wanting, each with its interval as a line."""
    out = console()
    for found in effects:
        if found["memory"]["rate"] is None and found["held_out"]["rate"] is None:
            continue
        out.print(f"\n{found['task']}: answers corrected or scored bad, 95 % interval")
        for name, arm in (("with memory", found["memory"]), ("held out", found["held_out"])):
            out.print(f"{name:>12} {_bar(arm)}")
        out.print(f"{'':>12} 0{'100 %':>{_WIDTH - 1}}")


def show_entry(found: Mapping[str, Any]) -> None:
    """One entry with what contradicts it."""
    entry = found["entry"]
    show_facts([
        ("id", entry["id"]), ("task", entry["task"]), ("state", entry["state"]), ("author", entry["author"]),
        ("from", f"call {entry['call_id']}" if entry["call_id"] else entry["source"]),
        ("created", local_text(entry["created_at"])), ("expires", local_text(entry["expires_at"])),
        ("scope", ", ".join(f"{name}:{value}" for name, value in entry["scope"].items())),
        ("embedder", entry["embedder"]), ("shown", f"{found['shown']:,} times"),
        ("answered", f"{found['answered']:,} times"), ("note", entry["note"]), ("sealed", entry["sealed"]),
        ("input", plain(entry["input"])), ("output", plain(entry["output"])),
    ])  # fmt: skip
    if found["conflicts"]:
        show_table(CONFLICTS, [conflict_row(each) for each in found["conflicts"]], empty="", title="contradicted by")


def lines_of(
    client: Client, source: str, *, split: str | None, limit: int | None, project: str | None
) -> Iterator[dict[str, Any]]:
    """Entries from a file of JSON lines, or from a dataset."""
    path = Path(source)
    found = _of_file(path) if path.is_file() else _of_dataset(client, source, split, project)
    return islice(found, limit)


def sent(
    client: Client,
    task: str,
    entries: Iterator[dict[str, Any]],
    *,
    author: str | None,
    project: str | None,
    quiet: bool,
) -> dict[str, int]:
    """Import them by and by; what became of all."""
    total = {"imported": 0, "embedded": 0, "conflicts": 0}
    screen = console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as bar:
        shown = bar.add_task("importing", total=None)
        while batch := list(islice(entries, _AT_ONCE)):
            try:
                done = client.import_memory(task, batch, project=project, author=author)
            except BadRequest:
                if total["imported"]:
                    say(f"{total['imported']:,} were remembered before this error.", style="yellow")
                raise
            total = {name: total[name] + done[name] for name in total}
            bar.update(shown, completed=total["imported"])
    return total


def plain(value: Any) -> str:
    """A text as it is, one variable as its text, anything else as JSON."""
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _of_file(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                said = json.loads(line)
            except ValueError as error:
                raise BadRequest(f"{path}, line {number}: this is no JSON: {error}", param="FILE") from None
            yield _entry(said, f"{path}, line {number}")


def _of_dataset(client: Client, source: str, split: str | None, project: str | None) -> Iterator[dict[str, Any]]:
    name, _, version = source.partition("@")
    try:
        client.dataset(name, project=project)
    except NotFound:
        raise NotFound(f"{source!r} is neither a file nor a dataset", param="FILE|DATASET[@N]") from None
    after = 0
    while True:
        where = {"version": version or "latest", "split": split, "after": after, "limit": 1000, "project": project}
        page = client.examples(name, **where)
        for example in page["examples"]:
            yield _entry(example, f"{source}, example {example.get('id')}")
        if page["next"] is None:
            return
        after = page["next"]


def _entry(said: Any, where: str) -> dict[str, Any]:
    """What a line says, in the words of memory or of datasets."""
    if not isinstance(said, dict):
        raise BadRequest(f"{where}: an object with input and output", param="FILE")
    given = said.get("input", said.get("inputs"))
    output = said.get("output", said.get("expected"))
    if given is None or output is None:
        raise BadRequest(f"{where}: `input` (or `inputs`) and `output` (or `expected`)", param="FILE")
    entry = {"input": given, "output": output}
    return entry | {name: said[name] for name in ("note", "scope") if said.get(name)}


def _arm(arm: Mapping[str, Any]) -> str:
    share = "-" if arm["rate"] is None else f"{100 * arm['rate']:.1f} %"
    return f"{share} of {arm['calls']:,}"


def _bar(arm: Mapping[str, Any]) -> str:
    if arm["rate"] is None:
        return "no calls yet"
    low, at, high = (round(arm[name] * (_WIDTH - 1)) for name in ("low", "rate", "high"))
    drawn = ["·" if low <= place <= high else " " for place in range(_WIDTH)]
    drawn[at] = "●"
    return "".join(drawn) + f" {100 * arm['rate']:.1f} % ({100 * arm['low']:.1f} to {100 * arm['high']:.1f})"
