"""`loopwright prompts`: versions, labels, differences; files to the registry and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from loopwright.cli.prompts_text import (
    columns_of_prompts,
    columns_of_versions,
    difference_text,
    history_text,
    rendered_text,
    row_of_prompt,
    row_of_version,
    values_of,
)
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, say, show_done, show_facts, show_json, show_rows, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.prompts.difference import difference
from loopwright.prompts.files import SUFFIXES, PromptFile, gather, load, save, written
from loopwright.prompts.patterns import NAMES, pattern
from loopwright.prompts.version import PRODUCTION, check_name, read, split

app = typer.Typer(
    help="Prompts: new, push, pull, list, show, diff, label, rollback, delete.",
    no_args_is_help=True,
    add_completion=False,
)

Named = Annotated[str, typer.Argument(help="A prompt; @ names a version: label, number, hash.", metavar="NAME[@REF]")]
Folder = Annotated[Path, typer.Option("--to", help="Folder of the files.", metavar="FOLDER")]
Format = Annotated[Literal["yaml", "md"], typer.Option("--format", help="Of files that are new.")]
_FOLDER: Final = Path("prompts")


@app.command("list")
def list_prompts(*, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List prompts with their labels."""
    with reach(url, api_key) as client:
        found = client.prompts(project)
    show_rows(
        {"prompts": found},
        columns_of_prompts(),
        (row_of_prompt(each) for each in found),
        as_json=as_json,
        empty="No prompts. `loopwright prompts new NAME` writes one, `loopwright prompts push` brings it here.",
    )


@app.command("show")
def show(
    named: Named,
    *,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", help="Render with it; := for JSON.", metavar="NAME=TEXT|NAME:=JSON"),
    ] = None,
    render: Annotated[bool, typer.Option("--render", help="Show the messages instead, of its examples.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show a version: its text, its tokens and what it costs, where it is used; or what it renders to."""
    name, ref = split(named)
    values = values_of(variables or [])
    with reach(url, api_key) as client:
        if render or values is not None:
            rendered = client.render_prompt(name, values, ref=ref, project=project)
            show_json(rendered) if as_json else rendered_text(rendered)
            return
        version, about = client.prompt_version(name, ref, project), client.prompt(name, project)
        weights = _weights(client, name, version["number"], project)
    if as_json:
        show_json({"version": version, "weights": weights, **about})
        return
    uses = [f"task/{use['task']}@{use['variant']}" for use in about["tasks"] if use["number"] == version["number"]]
    facts = [
        ("prompt", version["version"]),
        ("labels", ", ".join(version["labels"])),
        ("hash", version["sha"][:12]),
        ("note", version["note"]),
        ("pushed", f"{local_text(version['created_at'])} by {version['author']}"),
        ("used by", ", ".join(uses)),
        *((f"for {each['model']}", _weight_text(each)) for each in weights),
    ]
    show_facts(facts)
    sys.stdout.write("\n" + written(version["definition"], ".yaml") + "\n")
    show_table(columns_of_versions(), [row_of_version(each) for each in about["versions"]], empty="No versions.")


@app.command("push")
def push(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files, or folders of them; else ./prompts.", metavar="PATH")
    ] = None,
    *,
    labels: Annotated[list[str] | None, typer.Option("--label", "-l", help="Point this label at them.")] = None,
    note: Annotated[str, typer.Option("--note", "-m", help="Why they changed.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check them, push nothing.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Push files to the registry. What is there already stays as it is, so pushing again changes nothing."""
    files = _loaded(gather(paths or [_FOLDER]))
    if not files:
        raise NotFound("there is no prompt to push\nWrite one: loopwright prompts new NAME")
    pushed = []
    if dry_run:
        pushed = [{"file": str(each.path), "name": each.name, "sha": each.prompt.sha} for each in files]
    else:
        with reach(url, api_key) as client:
            for each in files:
                made = client.push_prompt(
                    each.name, each.prompt.document, note=note, labels=labels or [], project=project
                )
                version = {name: value for name, value in made["version"].items() if name != "definition"}
                pushed.append({"file": str(each.path), "created": made["created"], **version})
    columns = (Column(title="file"), Column(title="version"), Column(title=""), Column(title="labels", weight=1))
    rows = (
        [each["file"], each.get("version", ""), _pushed_text(each), ", ".join(each.get("labels", []))]
        for each in pushed
    )
    show_rows({"prompts": pushed}, columns, rows, as_json=as_json, empty="")


@app.command("pull")
def pull(
    named: Annotated[
        list[str] | None, typer.Argument(help="Prompts; else all of the project.", metavar="NAME[@REF]")
    ] = None,
    *,
    folder: Folder = _FOLDER,
    kind: Format = "yaml",
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Write prompts of the registry to files, their latest versions. Files that say the same are left as they are."""
    done = []
    with reach(url, api_key) as client:
        for each in named or [prompt["name"] for prompt in client.prompts(project)]:
            name, ref = split(each)
            version = client.prompt_version(check_name(name), ref or "latest", project)
            prompt = read(version["definition"], f"prompt {version['version']}")
            path, wrote = save(name, prompt, folder, f".{kind}")
            done.append({"file": str(path), "version": version["version"], "written": wrote})
    columns = (Column(title="file"), Column(title="version"), Column(title=""))
    rows = ([each["file"], each["version"], "written" if each["written"] else "unchanged"] for each in done)
    show_rows({"files": done}, columns, rows, as_json=as_json, empty="No prompts in the registry.")


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="A version, or a file.", metavar="NAME[@REF]|FILE")],
    after: Annotated[
        str | None, typer.Argument(help="Another; else the latest version, or for a file the registry's.", metavar="…")
    ] = None,
    *,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show what changed from one to the other, line by line: two versions, two files, or the registry and a file."""
    with reach(url, api_key) as client:
        if _is_file(before) and after is None:
            one, two = _side(client, f"{Path(before).stem}@latest", project), _side(client, before, project)
        else:
            name = Path(before).stem if _is_file(before) else split(before)[0]
            # A version before the latest is meant when none is named: `diff NAME` shows what was pushed last.
            first = (
                f"{name}@{_previous(client, name, project)}" if after is None and split(before)[1] is None else before
            )
            one = _side(client, first, project)
            two = _side(
                client, after if after is not None and _whole(after) else f"{name}@{after or 'latest'}", project
            )
    found = difference(one[1], two[1], one[0], two[0])
    if as_json:
        show_json(found.shown())
    else:
        difference_text(found)


@app.command("delete")
def delete(
    name: Annotated[str, typer.Argument(help="A prompt.", metavar="NAME")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Forget a prompt with all its versions for ever; refused while a task names it."""
    if not yes:
        typer.confirm(f"Delete prompt {name} with all its versions for ever?", abort=True, err=True)
    with reach(url, api_key) as client:
        gone = client.delete_prompt(name, project)
    show_done(gone, f"Deleted prompt {name}, {gone['versions']} versions.", as_json=as_json)


@app.command("label")
def label(
    named: Named,
    label: Annotated[str, typer.Argument(help="e.g. production, staging.", metavar="LABEL")],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Point a label at a version (the latest, unless @ names one); calls follow within moments."""
    name, ref = split(named)
    with reach(url, api_key) as client:
        if remove:
            gone = client.unlabel_prompt(name, label, project)
            show_json(gone) if as_json else say(f"{name} has no label {label} any more.", style="green")
            return
        version = client.label_prompt(name, label, ref or "latest", project)
    show_json(version) if as_json else say(f"{label} is {version['version']} now.", style="green")


@app.command("rollback")
def rollback(
    name: Annotated[str, typer.Argument(help="A prompt.", metavar="NAME")],
    label: Annotated[str, typer.Argument(help="The label to move back.", metavar="LABEL")] = PRODUCTION,
    *,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Point a label at where it pointed before its last move; once more, at where before that."""
    with reach(url, api_key) as client:
        version = client.roll_back_prompt(name, label, project)
    show_json(version) if as_json else say(f"{label} is {version['version']} again.", style="green")


@app.command("history")
def history(
    name: Annotated[str, typer.Argument(help="A prompt.", metavar="NAME")],
    *,
    label: Annotated[str | None, typer.Option(help="Only of this label.")] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show who moved which label when, newest first."""
    with reach(url, api_key) as client:
        moves = client.prompt_history(name, label, project)
    show_json({"moves": moves}) if as_json else history_text(moves)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="What it shall be called.", metavar="NAME")],
    *,
    shape: Annotated[str, typer.Option("--pattern", "-p", help=f"To start from: {', '.join(NAMES)}.")] = NAMES[0],
    folder: Folder = _FOLDER,
    as_json: Json = False,
) -> None:
    """Write a commented file to start from. Asks no server."""
    found = pattern(shape)
    check_name(name)
    there = next((path for end in SUFFIXES if (path := folder / f"{name}{end}").exists()), None)
    if there is not None:
        raise Conflict(f"{there} is there already\nChoose another name, or change that file")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(found.text, encoding="utf-8", newline="\n")
    show_done(
        {"file": str(path), "pattern": found.name},
        f"Wrote {path}. Change it, then: loopwright prompts push {path}",
        as_json=as_json,
    )


def _loaded(paths: list[Path]) -> list[PromptFile]:
    """Every file, or everything that is wrong with them."""
    files, problems = [], []
    for path in paths:
        try:
            files.append(load(path))
        except BadRequest as error:
            problems.append(error.message)
    if len(problems) == 1:
        raise BadRequest(problems[0], param="PATH")
    if problems:
        raise BadRequest("\n".join([f"{len(problems)} files cannot be pushed", *problems]), param="PATH")
    return files


def _side(client: Client, named: str, project: str | None) -> tuple[str, dict[str, Any]]:
    """What one side of a difference is called, and its definition."""
    if _is_file(named):
        return named, dict(load(Path(named)).prompt.document)
    name, ref = split(named)
    version = client.prompt_version(name, ref, project)
    return version["version"], version["definition"]


def _is_file(named: str) -> bool:
    return Path(named).suffix in SUFFIXES and (Path(named).is_file() or "/" in named)


def _whole(named: str) -> bool:
    """It names a prompt or a file, not only a version."""
    return _is_file(named) or "@" in named


def _previous(client: Client, name: str, project: str | None) -> str:
    versions = client.prompt(name, project)["versions"]
    return str(versions[1 if len(versions) > 1 else 0]["number"])


def _weights(client: Client, name: str, number: int, project: str | None) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = client.render_prompt(name, ref=str(number), project=project)["weights"]
    except BadRequest:
        return []  # it cannot be rendered without values of its own
    return found


def _weight_text(weight: dict[str, Any]) -> str:
    tokens = f"{'about ' if weight['estimated'] else ''}{weight['tokens']:,} tokens"
    cost = weight["input_cost_usd"]
    return f"{tokens}, {'unpriced' if cost is None else f'${cost} to send'}"


def _pushed_text(pushed: dict[str, Any]) -> str:
    if "created" not in pushed:
        return f"can be pushed ({pushed['sha'][:12]})"
    return "new" if pushed["created"] else "unchanged"
