"""`loopwright datasets`: examples in versions, from files, from calls, from corrections, from a model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loopwright.cli.datasets_text import progress, show_dataset, show_examples, show_version, tell
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, say, show_json, show_table
from loopwright.core.errors import BadRequest

app = typer.Typer(
    help="Examples in versions: import, list, show, export, from-calls, from-corrections, synthesize, split.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(help="The dataset.", metavar="NAME")]
Ref = Annotated[str, typer.Argument(help="The dataset, and perhaps its version.", metavar="NAME[@NUMBER]")]
Note = Annotated[str | None, typer.Option(help="Why; kept with the version.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag of every example.")]
OfTag = Annotated[str | None, typer.Option("--tag", help="Only examples with this tag.")]
OfSlice = Annotated[str | None, typer.Option("--slice", help="Only examples of this slice.", metavar="NAME:VALUE")]
OfSplit = Annotated[str | None, typer.Option("--split", help="Only this side: train, validation or test.")]
_LONG: Final = 6 * 3600.0


@app.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="JSON lines, CSV or Parquet.", metavar="FILE", exists=True, dir_okay=False)
    ],
    *,
    name: Annotated[str | None, typer.Option("--name", "-n", help="The dataset; else as the file.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; else by the ending.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="A column that goes in.", metavar="[NAME=]COLUMN")
    ] = None,
    expected: Annotated[str | None, typer.Option(help="The column with the reference.", metavar="COLUMN")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="The column with ids.", metavar="COLUMN")] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="A column of a slice.", metavar="[NAME=]COLUMN")
    ] = None,
    tag_column: Annotated[
        list[str] | None, typer.Option("--tag-column", help="A column with tags.", metavar="COLUMN")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="The column that names sides.", metavar="COLUMN")
    ] = None,
    tags: Tags = None,
    split: Annotated[
        str | None, typer.Option(help="The side of every example; else by the hash of its content.")
    ] = None,
    shares: Annotated[
        str | None, typer.Option(help="Of a new dataset, in percent: train/validation/test.", metavar="80/10/10")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Check against the schemas of this task.")] = None,
    input_schema: Annotated[Path | None, typer.Option(help="JSON schema that inputs keep.", metavar="FILE")] = None,
    output_schema: Annotated[
        Path | None, typer.Option(help="JSON schema that references keep.", metavar="FILE")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="The new version has these examples alone.")] = False,
    mixed: Annotated[bool, typer.Option("--mixed", help="A column may hold texts here and numbers there.")] = False,
    note: Note = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a file the next version of a dataset: all of it, or nothing and every row that is wrong."""
    columns = {
        "inputs": _pairs(inputs), "expected": expected, "id": id_column, "slices": _pairs(slices), "tags": tag_column,
        "split": split_column,
    }  # fmt: skip
    named = {key: value for key, value in columns.items() if value}
    dataset = name or file.stem
    with reach(url, api_key, timeout=_LONG) as client:
        if shares is not None:
            client.create_dataset(dataset, project=project, shares=_shares(shares))
        with progress(quiet=as_json) as told:
            made = client.import_dataset(
                dataset,
                file,
                project=project,
                told=told,
                format=form,
                columns=json.dumps(named) if named else None,
                mode="replace" if replace else None,
                split=split,
                tags=",".join(tags or []) or None,
                mixed="true" if mixed else None,
                task=task,
                input_schema=None if input_schema is None else input_schema.read_text(encoding="utf-8"),
                output_schema=None if output_schema is None else output_schema.read_text(encoding="utf-8"),
                note=note,
            )
    tell(made, as_json=as_json)


@app.command("list")
def list_datasets(*, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List datasets by name."""
    with reach(url, api_key) as client:
        found = client.datasets(project=project)
    if as_json:
        show_json({"datasets": found})
        return
    columns = (
        Column(title="name", least=12),
        Column(title="version", right=True),
        Column(title="examples", right=True),
        Column(title="train/val/test", right=True, weight=1),
        Column(title="changed", weight=2),
        Column(title="description", least=10, weight=3),
    )
    show_table(
        columns, [_row(each) for each in found], empty="No datasets. `loopwright datasets import FILE` makes one."
    )


@app.command("show")
def show(
    ref: Ref,
    *,
    examples: Annotated[
        int, typer.Option("--examples", "-n", min=0, max=1000, help="Show so many of its examples.")
    ] = 5,
    split: OfSplit = None,
    tag: OfTag = None,
    slice_: OfSlice = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show a dataset, its versions, and some examples."""
    name, _, version = ref.partition("@")
    where = {"split": split, "tag": tag, "slice": slice_, "project": project}
    with reach(url, api_key) as client:
        found = client.dataset(name, project=project)
        if not found["versions"]:
            page: dict[str, Any] = {"version": None, "examples": [], "next": None}
        else:
            page = client.examples(name, version=version or "latest", limit=max(examples, 1), **where)
    page["examples"] = page["examples"][:examples]
    if as_json:
        show_json({**found, **page})
        return
    show_dataset(found["dataset"], found["versions"])
    show_examples(page["examples"])


@app.command("export")
def export(
    ref: Ref,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - is stdout.", metavar="FILE")] = Path(
        "-"
    ),
    form: Annotated[
        str | None, typer.Option("--format", help="jsonl, csv, parquet, openai-chat, openai-evals; else by the ending.")
    ] = None,
    split: OfSplit = None,
    tag: OfTag = None,
    slice_: OfSlice = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write a version, or a part of it, as a file."""
    name, _, version = ref.partition("@")
    chosen = form or {".csv": "csv", ".parquet": "parquet"}.get(output.suffix.lower(), "jsonl")
    where = {
        "format": chosen,
        "version": version or "latest",
        "split": split,
        "tag": tag,
        "slice": slice_,
        "project": project,
    }
    with reach(url, api_key, timeout=600.0) as client:
        pieces = client.export_dataset(name, **where)
        if str(output) == "-":
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        part = output.with_name(output.name + ".part")
        size = 0
        with progress(quiet=False) as told, part.open("wb") as out:
            for piece in pieces:
                out.write(piece)
                size += len(piece)
                told("receiving", size, None)
        part.replace(output)
    say(f"Wrote {output} ({size:,} bytes).", style="green")


@app.command("from-calls")
def from_calls(
    name: Name,
    *,
    model: Annotated[str | None, typer.Option(help="Of this model.")] = None,
    task: Annotated[str | None, typer.Option(help="Of this task.")] = None,
    session: Annotated[str | None, typer.Option(help="Of this session.")] = None,
    call_tag: Annotated[
        list[str] | None,
        typer.Option("--call-tag", help="Of this tag of calls; repeatable, all hold.", metavar="NAME:VALUE"),
    ] = None,
    since: Annotated[str | None, typer.Option(help="From this moment on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this moment.")] = None,
    text: Annotated[str | None, typer.Option(help="With these words in prompt or answer.")] = None,
    answers: Annotated[bool, typer.Option(help="Take the answers as references.")] = True,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many calls.")] = 1_000,
    tags: Tags = None,
    note: Note = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make examples of calls on record."""
    where = {
        "model": model,
        "task": task,
        "session": session,
        "tag": call_tag,
        "since": since,
        "until": until,
        "text": text,
    }
    body = {"limit": limit, "answers": answers, "tags": tags or [], "note": note or ""}
    with reach(url, api_key, timeout=_LONG) as client, progress(quiet=as_json) as told:
        made = client.fill_dataset(name, "from-calls", body, told=told, project=project, **where)
    tell(made, as_json=as_json)


@app.command("from-corrections")
def from_corrections(
    name: Name,
    *,
    task: Annotated[str | None, typer.Option(help="Of calls of this task.")] = None,
    since: Annotated[str | None, typer.Option(help="From this moment on, ISO 8601.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many.")] = 10_000,
    tags: Tags = None,
    note: Note = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make examples of what people corrected."""
    body = {"task": task, "since": since, "limit": limit, "tags": tags or [], "note": note or ""}
    with reach(url, api_key, timeout=_LONG) as client, progress(quiet=as_json) as told:
        made = client.fill_dataset(name, "from-corrections", body, told=told, project=project)
    tell(made, as_json=as_json)


@app.command("synthesize")
def synthesize(
    name: Name,
    *,
    model: Annotated[str, typer.Option(help="The model that writes.")],
    each: Annotated[int, typer.Option(min=1, max=100, help="Variations of each seed.")] = 3,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Variations in all.")] = 1_000,
    budget: Annotated[str | None, typer.Option(help="US dollars that may be spent.", metavar="USD")] = None,
    embedder: Annotated[str | None, typer.Option(help="The embedding model that tells them apart.")] = None,
    alike: Annotated[float, typer.Option(min=0.01, max=1.0, help="Cosine from which one says nothing new.")] = 0.95,
    drop_answers: Annotated[
        bool, typer.Option("--drop-answers", help="Let details differ, and leave references out.")
    ] = False,
    split: Annotated[str, typer.Option(help="Seeds are of this side; all is of every one.")] = "train",
    tag: OfTag = None,
    slice_: OfSlice = None,
    seeds: Annotated[int, typer.Option(min=1, max=5_000, help="The first so many examples are seeds.")] = 500,
    note: Note = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Have a model write variations of examples; each is marked synthetic and stays on the side of its seed."""
    body = {
        "model": model, "each": each, "limit": limit, "budget_usd": budget, "embedder": embedder, "alike": alike,
        "answers": "drop" if drop_answers else "keep", "split": None if split == "all" else split, "tag": tag,
        "slice": slice_, "seeds": seeds, "note": note or "",
    }  # fmt: skip
    with reach(url, api_key, timeout=_LONG) as client, progress(quiet=as_json) as told:
        made = client.fill_dataset(name, "synthesize", body, told=told, project=project)
    tell(made, as_json=as_json)


@app.command("split")
def split_dataset(
    ref: Ref,
    *,
    shares: Annotated[
        str | None, typer.Option(help="Copy it with other shares: train/validation/test.", metavar="80/10/10")
    ] = None,
    copy: Annotated[str | None, typer.Option("--as", help="The name of the copy.", metavar="NAME")] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show the sides of a version. They never change; with --shares and --as a copy is split otherwise."""
    name, _, version = ref.partition("@")
    if (shares is None) != (copy is None):
        raise BadRequest("--shares needs --as: no example of a dataset ever changes its side, so a copy is split anew")
    with reach(url, api_key, timeout=_LONG) as client:
        if copy is not None and shares is not None:
            body = {"name": copy, "shares": _shares(shares), "version": version or "latest"}
            with progress(quiet=as_json) as told:
                client.fill_dataset(name, "copy", body, told=told, project=project)
            name, version = copy, "latest"
        found = client.dataset_version(name, version or "latest", project=project)
    if as_json:
        show_json(found)
        return
    show_version(found["version"], groups=found["groups"], largest=found["largest_group"])


@app.command("delete")
def delete(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Remove a dataset with all its versions, for ever."""
    if not yes and not typer.confirm(f"Remove dataset {name} with all its versions, for ever?", err=True):
        raise typer.Exit(1)
    with reach(url, api_key) as client:
        gone = client.delete_dataset(name, project=project)
    if as_json:
        show_json(gone)
    else:
        say(f"Removed dataset {name}.", style="green")


def _pairs(given: list[str] | None) -> dict[str, str]:
    """`NAME=COLUMN`, or a column that is called as it is."""
    pairs = [each.partition("=") for each in given or []]
    return {name: column or name for name, _, column in pairs}


def _shares(text: str) -> dict[str, int]:
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise BadRequest(f"--shares: {text!r} is not of the form 80/10/10", param="--shares")
    return dict(zip(("train", "validation", "test"), map(int, parts), strict=True))


def _row(dataset: dict[str, Any]) -> list[object]:
    latest = dataset["latest"]
    if latest is None:
        return [dataset["name"], "", 0, "", local_text(dataset["created_at"]), dataset["description"]]
    sides = "/".join(f"{latest['splits'].get(side, 0):,}" for side in ("train", "validation", "test"))
    changed = local_text(latest["created_at"])
    return [dataset["name"], latest["number"], f"{latest['count']:,}", sides, changed, dataset["description"]]
