"""`loopwright tasks`: units of work that are called as `task/NAME`, and the variants that do them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loopwright.cli.quantities import local_text, seconds_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, clip, say, show_done, show_facts, show_json, show_rows, show_table
from loopwright.cli.tasks_improve import improve
from loopwright.core.errors import BadRequest
from loopwright.tasks.definition import from_text, to_text

app = typer.Typer(help="Tasks: list, show, check, put, delete, improve.", no_args_is_help=True, add_completion=False)

app.command("improve")(improve)

Name = Annotated[str, typer.Argument(help="Name of the task.", metavar="NAME")]
_MICRO: Final = 1_000_000


@app.command("list")
def list_tasks(*, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the tasks that can be called: those of the configuration and those stored."""
    with reach(url, api_key) as client:
        tasks = client.tasks(project)
    columns = (
        Column(title="task"),
        Column(title="inputs"),
        Column(title="variants", least=16),
        Column(title="models", least=12, weight=1),
        Column(title="told by", weight=2),
        Column(title="description", least=12, weight=3),
    )
    show_rows(
        {"tasks": tasks},
        columns,
        (_row(task) for task in tasks),
        as_json=as_json,
        empty="No tasks. Tell one under `tasks` in loopwright.yaml, or in the console.",
    )


@app.command("show")
def show(
    name: Name,
    *,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print its definition, as loopwright.yaml has it.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show one task: its variants, what their calls took in the last 30 days, what is wrong with it."""
    with reach(url, api_key) as client:
        task = client.task(name, project)
        figures = client.task_figures(name, project)
    if as_json:
        show_json({**task, "figures": figures})
        return
    if yaml:
        typer.echo(to_text(task["definition"]), nl=False)
        return
    told = f"{task['author']}, {local_text(task['changed_at'])} (no. {task['number']})"
    show_facts(
        [
            ("task", f"task/{task['name']}"),
            ("description", task["description"]),
            ("told by", "loopwright.yaml" if task["source"] == "file" else told),
            ("inputs", ", ".join(task["inputs"])),
            ("output", "free text" if task["output_schema"] is None else clip(json.dumps(task["output_schema"]), 100)),
            ("metrics", ", ".join(str(metric["kind"]) for metric in task["metrics"])),
            ("guardrails", ", ".join(task["guardrails"])),
        ]
    )
    columns = (
        Column(title="variant"),
        Column(title="share", right=True),
        Column(title="strategy", weight=2),
        Column(title="models", least=12, weight=1),
        Column(title="prompts", least=12, weight=2),
        Column(title="calls", right=True),
        Column(title="errors", right=True, weight=1),
        Column(title="cost", right=True, weight=1),
        Column(title="p95", right=True, weight=2),
    )
    took = {group["name"]: group for group in figures["variants"]}
    rows = [_variant(each, took.get(each["name"])) for each in task["variants"]]
    show_table(columns, rows, empty="No variants.")
    _tell(task)


@app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Names of tasks; else all.", metavar="[NAME]…")] = None,
    *,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Check that tasks can be done: their prompts, variables, models and evaluators are there. Exits 1 if not."""
    with reach(url, api_key) as client:
        wanted = names or [task["name"] for task in client.tasks(project)]
        tasks = [client.task(name, project) for name in wanted]
    problems = {task["name"]: task["problems"] for task in tasks}
    if as_json:
        show_json({"ok": not any(problems.values()), "tasks": problems})
    else:
        for task in tasks:
            _tell(task)
        wrong = sum(map(bool, problems.values()))
        if not wrong:
            say(f"{len(tasks)} {'task' if len(tasks) == 1 else 'tasks'} can be done.", style="green")
    if any(problems.values()):
        raise typer.Exit(1)


@app.command("put")
def put(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Its definition, as YAML or JSON.", metavar="FILE")],
    *,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Tell what a stored task is, from a file that holds what stands under its name in loopwright.yaml."""
    definition = from_text(file.read_text(encoding="utf-8"))
    if not isinstance(definition, dict):
        raise BadRequest(f"{file}: holds no definition of a task\nIt has input, output and variants", param="FILE")
    with reach(url, api_key) as client:
        task = client.put_task(name, definition, project)
    if as_json:
        show_json(task)
        return
    say(f"Task {name} is number {task['number']}.", style="green")
    _tell(task)


@app.command("delete")
def delete(
    name: Name, *, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Forget a stored task and its history; its calls stay on record."""
    with reach(url, api_key) as client:
        gone = client.delete_task(name, project)
    show_done(gone, f"Deleted task {name}.", as_json=as_json)


def _row(task: dict[str, Any]) -> list[object]:
    variants = ", ".join(each["name"] for each in task["variants"])
    models = dict.fromkeys(model for each in task["variants"] for model in each["models"])
    told = "loopwright.yaml" if task["source"] == "file" else task["author"]
    return [task["name"], ", ".join(task["inputs"]), variants, ", ".join(models), told, clip(task["description"])]


def _variant(variant: dict[str, Any], took: dict[str, Any] | None) -> list[object]:
    strategy = variant["strategy"] if variant["samples"] == 1 else f"{variant['strategy']} of {variant['samples']}"
    row = [
        variant["name"],
        f"{variant['share']:.0%}",
        strategy,
        ", ".join([*variant["models"], *(f"+{each['name']}" for each in variant["adapters"])]),
        ", ".join(variant["prompts"]) or "inline",
    ]
    if took is None:
        return [*row, 0, "", "", ""]
    counts, p95 = took["counts"], took["latency"]["p95"]
    cost = f"${counts['cost_nano'] / 1e9:.6f}".rstrip("0").rstrip(".")
    unpriced = f" (+{counts['unpriced']} unpriced)" if counts["unpriced"] else ""
    slow = "" if p95 is None else seconds_text(p95 / _MICRO)
    return [*row, counts["requests"], counts["errors"] or "", cost + unpriced, slow]


def _tell(task: dict[str, Any]) -> None:
    for each in task["problems"]:
        where = " ".join(word for word in (each["variant"], each["where"]) if word)
        say(f"{task['name']}: {where}: {each['problem']}", style="yellow")
