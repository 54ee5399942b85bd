"""`loopwright eval`: variants measured on a dataset, for people and for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loopwright.cli.evals_text import show_comparisons, show_evaluation, show_plan, show_results, watched
from loopwright.cli.evals_words import numbers_of, slices_of, target_of
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, clip, say, show_done, show_json, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound
from loopwright.evals.evaluation import STATUSES
from loopwright.evals.gate import UNCERTAIN
from loopwright.evals.words import evaluator_of, parameters_of

app = typer.Typer(
    help="Variants measured on datasets: run, list, show, compare, cancel.", no_args_is_help=True, add_completion=False
)

EvaluationId = Annotated[
    str, typer.Argument(help="Id of an evaluation, or `last` for the newest.", metavar="EVALUATION|last")
]
_LIST: Final = "May be repeated."


@app.command("run")
def run(
    targets: Annotated[
        list[str],
        typer.Argument(help="`task/NAME@VARIANT`, or a model: [NAME=]MODEL[#PROMPT[@REF]].", metavar="TARGET..."),
    ],
    *,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="What it is measured on.", metavar="NAME[@VERSION]")],
    evaluator: Annotated[
        list[str] | None,
        typer.Option(
            "--evaluator",
            "-e",
            help="KIND, KIND:ARG=VALUE,… or a JSON object; else the task's metrics. " + _LIST,
            metavar="SPEC",
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", "-b", help="The target others must beat.", metavar="TARGET")
    ] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Exit 1 unless every target passes.")] = False,
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Score that decides; else all that may. " + _LIST, metavar="NAME")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="How much better than the baseline; negative is how much worse is allowed.")
    ] = 0.0,
    bar: Annotated[
        list[str] | None,
        typer.Option("--bar", help="Mean that a score must surely reach. " + _LIST, metavar="NAME=NUMBER"),
    ] = None,
    alpha: Annotated[float, typer.Option(help="How often the gate may be wrong, all comparisons together.")] = 0.05,
    max_missing: Annotated[float, typer.Option(help="Share of missing findings beyond which nothing passes.")] = 0.1,
    allow_uncertain: Annotated[
        bool, typer.Option("--allow-uncertain", help="Not enough evidence is no failure.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report for CI.", metavar="FILE")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a Markdown report.", metavar="FILE")] = None,
    split: Annotated[str | None, typer.Option(help="Only train, validation or test.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only examples with this tag.")] = None,
    slice_: Annotated[
        list[str] | None, typer.Option("--slice", help="Only examples of this slice. " + _LIST, metavar="NAME:VALUE")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="A sample of so many examples, always the same.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which sample.", min=0)] = 0,
    budget: Annotated[
        str | None, typer.Option(help="US dollars it may spend; then it stops.", metavar="DOLLARS")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what was paid for before.")] = False,
    prompt: Annotated[str | None, typer.Option(help="Prompt that models are asked with.", metavar="NAME[@REF]")] = None,
    template: Annotated[
        str | None, typer.Option(help="What models are asked, with {{ inputs }}; @FILE reads it.", metavar="TEXT|@FILE")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="Member of the requests. " + _LIST, metavar="NAME=VALUE"),
    ] = None,
    name: Annotated[str, typer.Option(help="For people.")] = "",
    experiment: Annotated[str | None, typer.Option(help="Of which it is a run; else the dataset's name.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be asked and what it could show.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it ends.")] = True,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Measure targets on a dataset; with --gate as a check that passes, fails, or says that evidence lacks.

    Exit 0: done, or the gate passed. 1: it failed, stopped early, or there is not enough evidence (see
    --allow-uncertain). 2: wrong usage.
    """
    _check_folders(junit, markdown)
    parameters = parameters_of(parameter or [], "--parameter")
    every = [target_of(each, prompt=prompt, template=template, parameters=parameters) for each in targets]
    if baseline is not None:
        held = target_of(baseline, prompt=prompt, template=template, parameters=parameters)
        if all(held["name"] != each["name"] for each in every):
            every.append(held)
        baseline = held["name"]
    said: dict[str, Any] = {
        "targets": every,
        "dataset": dataset,
        "evaluators": [evaluator_of(each) for each in evaluator or []],
        "baseline": baseline,
        "split": split,
        "tag": tag,
        "slice": slices_of(slice_ or []),
        "limit": limit,
        "seed": seed,
        "budget_usd": budget,
        "fresh": fresh,
        "name": name,
        "experiment": experiment,
    }
    if gate or bar:
        bars = numbers_of(bar or [], "--bar")
        said["gate"] = {
            "evaluators": by or [], "margin": margin, "bars": bars, "alpha": alpha, "max_missing": max_missing,
        }  # fmt: skip
    with reach(url, api_key, timeout=600.0) as client:
        if plan:
            told = client.plan_evaluation(**said)
            show_json(told) if as_json else show_plan(told)
            return
        evaluation = client.create_evaluation(**said)
        show_plan(evaluation["plan"])
        if not wait:
            show_json(evaluation) if as_json else say(f"Evaluation {evaluation['id']} runs.", style="green")
            return
        evaluation = watched(client, evaluation, quiet=as_json)
        _write(client, evaluation["id"], junit=junit, markdown=markdown, allow_uncertain=allow_uncertain)
    show_json(evaluation) if as_json else show_evaluation(evaluation)
    _judge(evaluation, allow_uncertain=allow_uncertain)


@app.command("list")
def list_evaluations(
    *,
    status: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATUSES)}.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only on this dataset.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    before: Annotated[
        str | None, typer.Option(help="The page after this evaluation: `next` of --json.", metavar="ID")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List evaluations, newest first."""
    if status is not None and status not in STATUSES:
        raise BadRequest(f"--status: {status!r} is none\nAllowed: {', '.join(STATUSES)}", param="status")
    with reach(url, api_key) as client:
        page = client.evaluations(status=status, dataset=dataset, before=before, limit=limit)
    if as_json:
        show_json(page)
        return
    columns = (
        Column(title="id"),
        Column(title="name", least=16, weight=1),
        Column(title="status"),
        Column(title="gate", weight=2),
        Column(title="done", right=True),
        Column(title="missing", right=True, weight=3),
        Column(title="cost", right=True, weight=2),
        Column(title="created", weight=4),
    )
    rows = [
        [
            each["id"],
            clip(each["name"], 60),
            each["status"],
            each["verdict"],
            f"{each['done']:,}/{each['total']:,}",
            each["missing"] or "",
            f"${each['cost_usd']}",
            local_text(each["created_at"]),
        ]
        for each in page["evaluations"]
    ]
    show_table(columns, rows, empty="No evaluations. `loopwright eval run TARGET --dataset NAME` makes one.")
    if page["next"]:
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("show")
def show(
    evaluation_id: EvaluationId,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until it ends, with a progress bar.")] = False,
    worst: Annotated[
        str | None,
        typer.Option("--sort", help="Show examples, too: regression, disagreement, worst, missing, position."),
    ] = None,
    evaluator: Annotated[str | None, typer.Option("--evaluator", "-e", help="Score that decides the order.")] = None,
    target: Annotated[str | None, typer.Option(help="Target that the order is about.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Examples at most.")] = 10,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show one evaluation: figures, comparisons, worst slices, the gate; with --sort the examples behind them."""
    with reach(url, api_key) as client:
        evaluation = client.evaluation(_named(client, evaluation_id))
        if watch:
            evaluation = watched(client, evaluation, quiet=as_json)
        rows: list[dict[str, Any]] = []
        if worst is not None:
            page = client.evaluation_results(
                evaluation["id"], sort=worst, evaluator=evaluator, target=target, limit=limit
            )
            rows = page["results"]
    if as_json:
        show_json({**evaluation, **({"results": rows} if worst is not None else {})})
        return
    show_evaluation(evaluation)
    show_results(rows)


@app.command("compare")
def compare(
    a: Annotated[str, typer.Argument(help="The earlier one, or `last`.", metavar="A|last")],
    b: Annotated[str, typer.Argument(help="The later one, or `last`.", metavar="B|last")],
    *,
    target_a: Annotated[str | None, typer.Option(help="Target of A; else its first that is no baseline.")] = None,
    target_b: Annotated[str | None, typer.Option(help="Target of B.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Compare two evaluations on the examples both have."""
    with reach(url, api_key) as client:
        told = client.compare_evaluations(_named(client, a), _named(client, b), target_a=target_a, target_b=target_b)
    if as_json:
        show_json(told)
        return
    if not told["same_dataset"]:
        say("They are of different versions of a dataset: an id may stand for another content.", style="yellow")
    alone = told["only_a"] + told["only_b"]
    say(f"{told['paired']:,} examples in both{f', {alone:,} in one only' if alone else ''}.", style="dim")
    show_comparisons(told["comparisons"])
    for each in [each for each in told["examples"] if each["change"] < 0][:10]:
        moved = ", ".join(f"{name} {one['a']} → {one['b']}" for name, one in each["scores"].items())
        say(f"worse: {each['example_id']} ({moved})", style="dim")


@app.command("cancel")
def cancel(evaluation_id: EvaluationId, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """End an evaluation early; what was found by then stays."""
    with reach(url, api_key) as client:
        found = client.cancel_evaluation(_named(client, evaluation_id))
    show_done(found, f"Evaluation {found['id']} is {found['status']}.", as_json=as_json)


def _named(client: Client, which: str) -> str:
    if which != "last":
        return which
    newest = client.evaluations(limit=1)["evaluations"]
    if not newest:
        raise NotFound("there is no evaluation yet\nMake one: loopwright eval run TARGET --dataset NAME")
    return str(newest[0]["id"])


def _check_folders(*paths: Path | None) -> None:
    """Reports can be written where they should: found out before anything is paid."""
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise BadRequest(f"{path}: there is no folder {path.parent} to write it to", param="FILE")


def _write(
    client: Client, evaluation_id: str, *, junit: Path | None, markdown: Path | None, allow_uncertain: bool
) -> None:
    for path, kind in ((junit, "junit"), (markdown, "markdown")):
        if path is not None:
            path.write_bytes(client.evaluation_report(evaluation_id, kind, allow_uncertain=allow_uncertain))


def _judge(told: dict[str, Any], *, allow_uncertain: bool) -> None:
    """An evaluation that did not come to its end, or a gate that did not pass, is a command that failed."""
    gate = (told["findings"] or {}).get("gate")
    if told["status"] != "completed":
        raise LoopwrightError(f"the evaluation {told['status']}: {told['problem'] or 'it was cancelled'}")
    if gate is None or gate["verdict"] == "pass":
        return
    if gate["verdict"] == UNCERTAIN:
        if allow_uncertain:
            say(f"The gate lets it by: {UNCERTAIN} is allowed (--allow-uncertain).", style="yellow")
            return
        needed = gate["examples_needed"]
        todo = f"About {needed:,} examples would decide it" if needed else "More, or other, examples may decide it"
        raise LoopwrightError(f"the gate has {UNCERTAIN}: {gate['reason']}\n{todo}; --allow-uncertain lets it by")
    raise LoopwrightError(f"the gate says fail: {gate['reason']}")
