"""`loopwright benchmarks`: public benchmarks, from files you have, as datasets with the evaluators that fit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from loopwright.cli.datasets_text import progress, tell
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, say, show_rows
from loopwright.evals.benchmarks import BENCHMARKS, Benchmark, as_lines, examples, named

app = typer.Typer(
    help="Public benchmarks from files you have: list, import.", no_args_is_help=True, add_completion=False
)
_LONG = 6 * 3600.0


@app.command("list")
def list_benchmarks(*, as_json: Json = False) -> None:
    """List the benchmarks whose files can be read."""
    columns = (
        Column(title="name", least=13),
        Column(title="evaluators", least=12, weight=2),
        Column(title="what it measures", weight=4),
    )
    rows = ([each.name, ", ".join(map(_called, each.evaluators)), each.doc] for each in BENCHMARKS.values())
    show_rows({"benchmarks": [_shown(each) for each in BENCHMARKS.values()]}, columns, rows, as_json=as_json, empty="")


@app.command("import")
def import_benchmark(
    benchmark: Annotated[str, typer.Argument(help="Which one; see `benchmarks list`.", metavar="BENCHMARK")],
    file: Annotated[
        Path, typer.Argument(help="JSON lines or CSV, as published.", metavar="FILE", exists=True, dir_okay=False)
    ],
    *,
    name: Annotated[str | None, typer.Option("--name", "-n", help="The dataset; else as the benchmark.")] = None,
    split: Annotated[str, typer.Option(help="The side of every example.")] = "test",
    project: Annotated[
        str | None, typer.Option(help="Of this project; only administrators may name another's.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a benchmark's file the next version of a dataset, and say how to evaluate on it."""
    read = named(benchmark)
    dataset = name or read.name
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / f"{dataset}.jsonl"
        with (
            file.open(encoding="utf-8-sig", errors="replace", newline="") as lines,
            written.open("w", encoding="utf-8") as out,
        ):
            out.writelines(as_lines(examples(read, lines, where=f"{file.name}: ")))
        with reach(url, api_key, timeout=_LONG) as client, progress(quiet=as_json) as told:
            made = client.import_dataset(dataset, written, project=project, told=told, split=split)
    tell({**made, "evaluators": list(read.evaluators)} if as_json else made, as_json=as_json)
    if not as_json:
        measured = " ".join(f"-e {_written(each)}" for each in read.evaluators)
        say(f"loopwright eval run MODEL -d {dataset} {measured}", style="dim")


def _shown(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "name": benchmark.name,
        "doc": benchmark.doc,
        "columns": list(benchmark.columns),
        "evaluators": list(benchmark.evaluators),
        "parameters": dict(benchmark.parameters),
    }


def _called(spec: Mapping[str, Any]) -> str:
    return str(spec.get("name", spec["kind"]))


def _written(spec: Mapping[str, Any]) -> str:
    """As `eval run -e` takes it."""
    return str(spec["kind"]) if set(spec) == {"kind"} else f"'{json.dumps(spec)}'"
