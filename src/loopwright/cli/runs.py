"""`loopwright runs`: what was tried, with what, and what came of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loopwright.cli.quantities import bytes_text, local_text, seconds_text
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.run_examples import with_examples
from loopwright.cli.screen import Column, clip, say, show_done, show_facts, show_json, show_rows, show_table
from loopwright.client import Client
from loopwright.client.carrying import keep, take
from loopwright.core.errors import BadRequest, NotFound, StartError
from loopwright.kit.plugins import Registry
from loopwright.runs.bundle import Tracker
from loopwright.runs.run import STATUSES

app = typer.Typer(
    help="Experiments: list, show, compare, note, export, import.", no_args_is_help=True, add_completion=False
)

RunId = Annotated[str, typer.Argument(help="Id of a run, or `last` for the newest.", metavar="RUN|last")]
Experiment = Annotated[str | None, typer.Option("--experiment", "-e", help="Only of this experiment.", metavar="NAME")]
Where = Annotated[str | None, typer.Option(help="Where the other tracker is: a URL or a folder.", metavar="URL|FOLDER")]
TRACKERS: Final = {
    "mlflow": "loopwright.runs.mlflow:Mlflow",
    "folder": "loopwright.runs.folder:Folder",
    "wandb": "loopwright.runs.wandb_offline:Wandb",
    "comet": "loopwright.runs.comet:Comet",
    "trulens": "loopwright.runs.trulens:Trulens",
}
_NAMES: Final = ", ".join(TRACKERS)


@app.command("list")
def list_runs(
    *,
    experiment: Experiment = None,
    status: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATUSES)}.")] = None,
    kind: Annotated[str | None, typer.Option(help="`run`, `evaluation`, `optimisation`, `training`, …")] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Show this metric.", metavar="NAME")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    before: Annotated[str | None, typer.Option(help="The page after this run.", metavar="RUN")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    if status is not None and status not in STATUSES:
        raise BadRequest(f"--status: {status!r} is none\nAllowed: {', '.join(STATUSES)}", param="status")
    with reach(url, api_key) as client:
        page = client.runs(experiment=experiment, status=status, kind=kind, limit=limit, before=before)
    if as_json:
        show_json(page)
        return
    shown = metric or _common(page["runs"])
    columns = (
        Column(title="id"),
        Column(title="experiment", least=12, weight=2),
        Column(title="name", least=12, weight=1),
        Column(title="kind", weight=4),
        Column(title="status"),
        *(Column(title=name, right=True, weight=3) for name in shown),
        Column(title="took", right=True, weight=4),
        Column(title="started", weight=5),
    )
    rows = [
        [run["id"], run["experiment"], run["name"], run["kind"], run["status"]]
        + [_number(run["metrics"].get(name, {}).get("last")) for name in shown]
        + [seconds_text(run["seconds"]), local_text(run["started_at"])]
        for run in page["runs"]
    ]
    show_table(columns, rows, empty="No runs. docs/experiments.md says how a program tells of one.")
    if page["next"]:
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("experiments")
def list_experiments(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List experiments, those in which something happened last first."""
    with reach(url, api_key) as client:
        found = client.experiments()
    columns = (
        Column(title="name"),
        Column(title="runs", right=True),
        Column(title="running", right=True, weight=1),
        Column(title="latest", weight=2),
        Column(title="description", least=20, weight=3),
    )
    rows = (
        [each["name"], each["runs"], each["running"] or "", local_text(each["latest"]), clip(each["description"], 80)]
        for each in found
    )
    show_rows(found, columns, rows, as_json=as_json, empty="No experiments.")


@app.command("show")
def show(run_id: RunId, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show one run: parameters, metrics, data and code version, artifacts, notes."""
    with reach(url, api_key) as client:
        run = client.get_run(_named(client, run_id))
    if as_json:
        show_json(run)
        return
    code = run["code"]
    commit = f"{str(code['commit'])[:12]}{', with changes' if code.get('dirty') else ''}" if "commit" in code else ""
    facts: list[tuple[str, object]] = [
        ("id", run["id"]),
        ("experiment", run["experiment"]),
        ("name", run["name"]),
        ("status", run["status"]),
        ("error", run["error"]),
        ("by", run["author"]),
        ("started", local_text(run["started_at"])),
        ("took", seconds_text(run["seconds"])),
        ("evaluation", run["evaluation_id"]),
        ("prompts", ", ".join(run["prompts"])),
        ("data", ", ".join(f"{each.get('dataset')}@{each.get('number')}" for each in run["data"])),
        ("code", commit),
        *((f"tag {name}", value) for name, value in run["tags"].items()),
        *(
            (name, clip(value if isinstance(value, str) else json.dumps(value), 200))
            for name, value in run["params"].items()
        ),
    ]
    show_facts(facts)
    if run["metrics"]:
        columns = [
            Column(title=title, right=title != "metric") for title in ("metric", "last", "step", "least", "greatest")
        ]
        rows = [
            [name, _number(told["last"]), told["step"], _number(told["least"]), _number(told["greatest"])]
            for name, told in sorted(run["metrics"].items())
        ]
        show_table(columns, rows, empty="")
    for each in run["artifacts"]:
        say(f"artifact {each['path']} ({bytes_text(each['bytes'])})")
    for note in run["notes"]:
        say(f"{local_text(note['at'])} {note['author']}: {note['text']}", style="dim")


@app.command("compare")
def compare(
    a: RunId,
    b: Annotated[str, typer.Argument(help="The run to set beside it.", metavar="RUN")],
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only examples that became better or worse.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=10_000, help="Examples, worst first.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Set two runs side by side: parameters, metrics, and each example, those that became worse first."""
    with reach(url, api_key) as client:
        found = client.compare_runs(_named(client, a), _named(client, b), changed=changed, limit=limit)
    if as_json:
        show_json(found)
        return
    sides = (Column(title="a", least=10, weight=1), Column(title="b", least=10, weight=1))
    show_facts([(side, f"{found[side]['name']} ({found[side]['id']})") for side in ("a", "b")])
    others = [[row["name"], _cell(row["a"]), _cell(row["b"])] for row in found["settings"] if not row["same"]]
    show_table((Column(title="set otherwise"), *sides), others, empty="Nothing was set otherwise.")
    rows = [[row["name"], _number(row["a"]), _number(row["b"]), _signed(row["change"])] for row in found["metrics"]]
    columns = [Column(title=title, right=title != "metric") for title in ("metric", "a", "b", "change")]
    show_table(columns, rows, empty="Neither has a metric.")
    examples = found["examples"]
    if not examples["both"]:
        say("The runs share no examples.", style="dim")
        return
    say(f"{examples['both']:,} examples: {examples['better']:,} better, {examples['worse']:,} worse", style="yellow")
    pairs = [
        [
            pair["example_id"],
            _signed(pair["change"]),
            *(clip((pair[side] or {}).get("output") or "", 60) for side in "ab"),
        ]
        for pair in examples["pairs"]
    ]
    show_table(
        (Column(title="example"), Column(title="change", right=True), *sides), pairs, empty="No example changed."
    )


@app.command("note")
def note(run_id: RunId, text: str, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Note something of a run."""
    with reach(url, api_key) as client:
        made = client.note_run(_named(client, run_id), text)
    show_done(made, "Noted.", as_json=as_json)


@app.command("fetch")
def fetch(
    run_id: RunId,
    path: Annotated[str, typer.Argument(help="Path of the artifact.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - is stdout.", metavar="FILE")] = Path(
        "-"
    ),
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write an artifact of a run to a file."""
    with reach(url, api_key) as client:
        pieces = client.artifact(_named(client, run_id), path)
        if str(output) == "-":
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        part = output.with_name(output.name + ".part")
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        part.replace(output)
    say(f"Wrote {output}.", style="green")


@app.command("export")
def export(
    run_ids: Annotated[list[str] | None, typer.Argument(help="Runs; or --experiment.", metavar="[RUN]...")] = None,
    *,
    to: Annotated[str, typer.Option(help=f"One of {_NAMES}.")] = "folder",
    where: Where = None,
    experiment: Experiment = None,
    artifacts: Annotated[bool, typer.Option(help="Take the files along.")] = True,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Carry runs to another tracker. What is there already stays as it is."""
    if bool(run_ids) == bool(experiment):
        raise BadRequest("name runs, or an experiment with --experiment", param="RUN")
    tracker = _tracker(to, where)
    with reach(url, api_key) as client:
        chosen = run_ids or [run["id"] for run in client.each_run(experiment=experiment)]
        placed = []
        for each in chosen:
            named = _named(client, each)
            bundle = with_examples(client, take(client, named), client.get_run(named))
            bundle = bundle if artifacts else replace(bundle, artifacts=())
            placed.append({"run": bundle.origin, "where": tracker.put(bundle)})
            if not as_json:
                say(f"{bundle.origin} is at {placed[-1]['where']}", style="green")
    tracker.close()
    if as_json:
        show_json(placed)


@app.command("import")
def import_runs(
    *,
    source: Annotated[str, typer.Option("--from", help=f"One of {_NAMES}.")] = "folder",
    where: Where = None,
    experiment: Experiment = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Bring runs from another tracker. What was brought before stays as it is."""
    tracker = _tracker(source, where)
    brought: list[dict[str, Any]] = []
    with reach(url, api_key) as client:
        for bundle in tracker.bundles(experiment):
            made = keep(client, bundle, tracker=source)
            brought.append({"origin": bundle.origin, "run": made, "left": [*bundle.left]})
            if not as_json:
                say(f"{bundle.origin}: {'was here already' if made is None else made}", style="green")
                for what in bundle.left:
                    say(f"  left behind: {what}", style="yellow")
    tracker.close()
    if as_json:
        show_json(brought)
    elif not brought:
        say("There is nothing to bring.", style="dim")


def _tracker(kind: str, where: str | None) -> Tracker:
    registry: Registry[Tracker] = Registry("trackers", builtin=TRACKERS)
    try:
        return registry.find(kind)(where)
    except StartError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and kind in TRACKERS:
            raise BadRequest(
                f"{kind}: needs a library that is not installed ({missing.name})\n"
                f"Install it: pip install 'loopwright[{kind}]'",
                param="tracker",
            ) from error
        raise


def _named(client: Client, which: str) -> str:
    if which != "last":
        return which
    newest = client.runs(limit=1)["runs"]
    if not newest:
        raise NotFound("there is no run yet\ndocs/experiments.md says how a program tells of one")
    return str(newest[0]["id"])


def _common(runs: list[dict[str, Any]]) -> list[str]:
    """The three metrics that most of the runs have."""
    counted: dict[str, int] = {}
    for run in runs:
        for name in run["metrics"]:
            counted[name] = counted.get(name, 0) + 1
    return sorted(counted, key=lambda name: (-counted[name], name))[:3]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e6 else f"{value:,}"


def _signed(value: Any) -> str:
    return "" if value is None else f"{value:+.4g}"


def _cell(value: Any) -> str:
    return "" if value is None else clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 80)
