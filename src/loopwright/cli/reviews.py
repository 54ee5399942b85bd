"""`loopwright reviews`: queues where people rate answers, blind, and how far they agree."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loopwright.cli.quantities import local_text, moment_of
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, say, show_facts, show_json, show_table
from loopwright.core.errors import BadRequest

app = typer.Typer(
    help="People rate answers, blind: create, list, show, agreement, export.",
    no_args_is_help=True,
    add_completion=False,
)
Which = Annotated[str, typer.Argument(help="Id or name of a review.", metavar="REVIEW")]
_MEMBERS: Final = ("question", "answer", "other", "reference", "example_id", "answers")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its own in the project.")],
    *,
    criterion: Annotated[
        list[str] | None,
        typer.Option(
            "--criterion",
            "-c",
            help="helpful:1-5, grounded:yes,no or tone:bad<fine<good; after = what is asked.",
            metavar="NAME:SCALE[=TEXT]",
        ),
    ] = None,
    pairwise: Annotated[bool, typer.Option("--pairwise", help="Two answers side by side, which is better?")] = False,
    instructions: Annotated[str, typer.Option(help="For raters.")] = "",
    raters: Annotated[int, typer.Option(min=1, max=9, help="People who rate each item.")] = 2,
    model: Annotated[str | None, typer.Option(help="Calls that asked for this model.")] = None,
    task: Annotated[str | None, typer.Option(help="Calls made for this task.")] = None,
    session: Annotated[str | None, typer.Option(help="Calls of this session.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Calls that carry this tag; repeatable, all hold.", metavar="NAME:VALUE")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Calls not older than: 2h, 7d, or a date.", metavar="TIME")] = None,
    until: Annotated[str | None, typer.Option(help="Calls not newer than: 2h, 7d, or a date.", metavar="TIME")] = None,
    text: Annotated[str | None, typer.Option(help="Calls in which these words occur.", metavar="WORDS")] = None,
    dataset: Annotated[str | None, typer.Option(help="Examples instead of calls.", metavar="NAME[@NUMBER]")] = None,
    split: Annotated[str | None, typer.Option(help="Only this side of the dataset.")] = None,
    answers: Annotated[
        str | None, typer.Option(help="In pairs: the two answers of each example.", metavar="MEMBER,MEMBER")
    ] = None,
    evaluation: Annotated[str | None, typer.Option(help="What its targets answered.", metavar="ID")] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Of the evaluation; in pairs name two.", metavar="NAME")
    ] = None,
    sort: Annotated[str, typer.Option(help="Of the evaluation: position, disagreement, worst, …")] = "position",
    items: Annotated[
        Path | None, typer.Option(help="JSON lines instead: question, answer, other, reference.", metavar="FILE")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=5000, help="At most so many items.")] = 100,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a queue of the newest calls that pass, a dataset, an evaluation or a file. Raters sign in to the console."""
    said: dict[str, Any] = {
        "mode": "pairwise" if pairwise else "rubric", "criteria": criterion or [], "instructions": instructions,
        "raters": raters, "limit": limit,
    }  # fmt: skip
    which = {
        "model": model, "task": task, "session": session, "tag": tag, "text": text,
        "since": moment_of(since, "--since"), "until": moment_of(until, "--until"),
    }  # fmt: skip
    if items is not None:
        said["items"] = _items(items)
    elif dataset is not None:
        said |= {"dataset": dataset, "split": split, "answers": answers}
    elif evaluation is not None:
        said |= {"evaluation": evaluation, "targets": target or [], "sort": sort}
    else:
        said["calls"] = {name: value for name, value in which.items() if value is not None}
    with reach(url, api_key, timeout=600.0) as client:
        made = client.create_review(name, **said)
    if as_json:
        show_json(made)
        return
    _show(made["review"])
    if made["left_out"]:
        say(f"{made['left_out']:,} had no answer to read.", style="yellow")


@app.command("list")
def list_reviews(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many.")] = 20,
    before: Annotated[
        str | None, typer.Option(help="The page after this review: `next` of --json.", metavar="ID")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List reviews, newest first."""
    with reach(url, api_key) as client:
        page = client.reviews(before=before, limit=limit)
    if as_json:
        show_json(page)
        return
    columns = (
        Column(title="name", least=12),
        Column(title="mode"),
        Column(title="done", right=True),
        Column(title="yours", right=True),
        Column(title="raters", right=True, weight=1),
        Column(title="created", weight=2),
    )
    rows = [
        [
            each["name"], each["mode"], f"{each['progress']['done']:,}/{each['progress']['items']:,}",
            each["progress"]["mine"], each["raters"], local_text(each["created_at"]),
        ]
        for each in page["reviews"]
    ]  # fmt: skip
    show_table(columns, rows, empty="No reviews. `loopwright reviews create` makes one.")
    if page.get("next"):
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("show")
def show(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show one review: what is asked, and how far it is."""
    with reach(url, api_key) as client:
        review = client.review(which)
    if as_json:
        show_json(review)
    else:
        _show(review)


@app.command("agreement")
def agreement(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show how far raters agree: Krippendorff's alpha of each criterion, with its 95 % interval."""
    with reach(url, api_key) as client:
        found = client.agreement(which)
    if as_json:
        show_json(found)
        return
    columns = (
        Column(title="criterion", least=12),
        Column(title="alpha", right=True),
        Column(title="95 %", right=True),
        Column(title="says"),
        Column(title="same", right=True, weight=1),
        Column(title="items", right=True, weight=1),
        Column(title="ratings", right=True, weight=2),
    )
    show_table(columns, [_row(each) for each in found], empty="Nothing is asked.")


@app.command("export")
def export(
    which: Which,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - is stdout.", metavar="FILE")] = Path(
        "-"
    ),
    criterion: Annotated[
        str | None, typer.Option("--criterion", "-c", help="Only this one, one line an item, to calibrate a judge.")
    ] = None,
    texts: Annotated[bool, typer.Option("--texts", help="Also what was asked and answered.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write what raters said as JSON lines; with --criterion as the file a judge is calibrated against."""
    with reach(url, api_key) as client:
        pieces = client.export_review(which, criterion=criterion, texts=texts)
        if str(output) == "-":
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        part = output.with_name(output.name + ".part")
        with part.open("wb") as out:
            for piece in pieces:
                out.write(piece)
        part.replace(output)
    say(f"Wrote {output}.", style="green")


def _items(file: Path) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except ValueError as error:
            raise BadRequest(f"{file} line {number}: no JSON: {error}", param="--items") from None
        if not isinstance(said, dict) or not {"question", "answer"} <= said.keys():
            raise BadRequest(f"{file} line {number}: needs question and answer", param="--items")
        found.append({name: said[name] for name in _MEMBERS if said.get(name) is not None})
    return found


def _show(review: dict[str, Any]) -> None:
    progress = review["progress"]
    show_facts(
        [
            ("id", review["id"]),
            ("name", review["name"]),
            ("mode", review["mode"]),
            *(
                (
                    f"criterion {each['name']}",
                    f"{' | '.join(each['answers'])} ({each['level']}) {each['about']}".strip(),
                )
                for each in review["criteria"]
            ),
            ("items", f"{progress['items']:,}, {progress['done']:,} rated by {review['raters']}"),
            ("yours", f"{progress['mine']:,} rated, {progress['skipped']:,} skipped"),
            ("created", f"{local_text(review['created_at'])} by {review['author']}"),
            ("rate at", f"/reviews/{review['id']}/rate of the console"),
        ]
    )


def _row(each: dict[str, Any]) -> list[object]:
    known = each["alpha"] is not None
    return [
        each["criterion"],
        f"{each['alpha']:.3f}" if known else "-",
        f"{each['low']:.3f} to {each['high']:.3f}" if known else "",
        each["verdict"],
        "-" if each["same"] is None else f"{each['same']:.0%}",
        each["items"],
        each["ratings"],
    ]
