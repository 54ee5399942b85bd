"""`loopwright judges`: models that judge answers, how far they agree with people, and whether they may gate."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from loopwright.cli.judges_text import LIST_COLUMNS, PAIRS_COLUMNS, pairs_row, row_of, show_card
from loopwright.cli.judging import Plan, judged
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import say, show_done, show_json, show_rows, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest
from loopwright.evals.judge_card import KAPPA
from loopwright.evals.judge_definition import Definition, definition_of
from loopwright.evals.labelled import Labelled, labelled
from loopwright.evals.observation import Observation
from loopwright.evals.pair_procedure import by_words, outcome

app = typer.Typer(
    help="Models that judge, and how far to trust them: list, show, add, calibrate, card, pairs.",
    no_args_is_help=True,
    add_completion=False,
)
Judge = Annotated[str, typer.Argument(help="Name of a judge.", metavar="NAME")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Model that judges; else the judge's own.")]
Bar = Annotated[float, typer.Option(min=-1, max=1, help="Kappa with people that a judge must surely have to gate.")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Only the first so many things.")]
Concurrency = Annotated[int, typer.Option("--concurrency", "-c", min=1, max=256, help="Questions at a time.")]
Repeats = Annotated[int, typer.Option(min=0, max=20, help="Ask again so often, to see whether it says the same.")]
Repeated = Annotated[int, typer.Option("--repeat-on", min=0, help="So many of the things are asked again.")]
Verdicts = Annotated[
    Path | None,
    typer.Option(help="Keep each verdict here at once; what is in it already is not asked again.", metavar="FILE"),
]


@app.command("list")
def list_judges(
    *, bar: Bar = KAPPA, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """List the judges, with what is known of each by model."""
    with reach(url, api_key) as client:
        judges = client.judges(bar=bar, project=project)
    rows = (row_of(judge, card) for judge in judges for card in judge["cards"] or [None])
    show_rows({"judges": judges}, LIST_COLUMNS, rows, as_json=as_json, empty="No judges.")


@app.command("show")
def show(
    name: Judge,
    *,
    model: Model = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Show the definition of a judge as JSON."""
    with reach(url, api_key) as client:
        show_json(client.judge(name, model, project=project))


@app.command("add")
def add(
    name: Judge,
    file: Annotated[Path, typer.Argument(help="Its definition as JSON; see docs/judges.md.", metavar="FILE")],
    *,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Add a judge, or the next version of one: its cards are stale then."""
    if "/" in name:
        raise BadRequest(f"NAME: {name!r} holds a `/`, and names of judges have none", param="NAME")
    try:
        definition = json.loads(file.read_bytes())
    except ValueError as error:
        raise BadRequest(f"{file}: no JSON: {error}", param="FILE") from error
    if not isinstance(definition, dict):
        raise BadRequest(f"{file}: an object is needed", param="FILE")
    with reach(url, api_key) as client:
        made = client.put_judge(name, definition, project=project)
    show_done(made, f"Judge {made['name']} is at version {made['number']}.", as_json=as_json)


@app.command("calibrate")
def calibrate(
    name: Judge,
    *,
    labels: Annotated[Path, typer.Option(help="JSON lines of answers that people labelled.", metavar="FILE")],
    model: Model = None,
    limit: Limit = None,
    repeats: Repeats = 1,
    repeated: Repeated = 30,
    concurrency: Concurrency = 4,
    verdicts: Verdicts = None,
    bar: Bar = KAPPA,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Ask a judge about answers that people labelled, and make its card."""
    things = _things(labels, limit)
    with reach(url, api_key, timeout=600.0) as client:
        definition = _definition(client, name, model, project)
        plan = Plan(
            judge=name, definition=definition, things=things, concurrency=concurrency, repeats=repeats,
            repeated=repeated, kept=verdicts,
        )  # fmt: skip
        made, _ = _calibrated(client, plan, bar, project, quiet=as_json)
    if as_json:
        show_json(made)
    else:
        show_card(made)


@app.command("card")
def card(
    name: Judge,
    *,
    model: Model = None,
    bar: Bar = KAPPA,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show the newest card of a judge."""
    with reach(url, api_key) as client:
        cards = client.judge_cards(name, limit=1000, bar=bar, project=project)["cards"]
    found = next((each for each in cards if model is None or each["model"] == model), None)
    if found is None:
        raise BadRequest(
            f"judge {name!r} has no card{f' with {model}' if model else ''}\n"
            f"Make one: loopwright judges calibrate {name} --labels FILE",
            param="NAME",
        )
    if as_json:
        show_json(found)
    else:
        show_card(found)


@app.command("pairs")
def pairs(
    file: Annotated[Path, typer.Argument(help="JSON lines of pairs of which one is right.", metavar="FILE")],
    *,
    model: Annotated[list[str], typer.Option("--model", "-m", help="Model that judges; repeat for more.")],
    judge: Annotated[str, typer.Option(help="A pairwise judge.")] = "factuality",
    limit: Limit = None,
    repeats: Repeats = 1,
    repeated: Repeated = 30,
    concurrency: Concurrency = 4,
    verdicts: Verdicts = None,
    bar: Bar = KAPPA,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Ask models which of two answers is right, in both orders: accuracy, order bias, cost, and whether to trust them."""
    things = _things(file, limit)
    if not all(thing.pair for thing in things):
        raise BadRequest(f"{file}: not all of its lines are pairs\nUse: loopwright judges calibrate", param="FILE")
    found: list[dict[str, Any]] = []
    with reach(url, api_key, timeout=600.0) as client:
        for each in model:
            plan = Plan(
                judge=judge, definition=_definition(client, judge, each, project), things=things,
                concurrency=concurrency, repeats=repeats, repeated=repeated, kept=verdicts,
            )  # fmt: skip
            made, observed = _calibrated(client, plan, bar, project, quiet=as_json)
            found.append({**made, "outcome": outcome(observed).shown()})
    words = by_words(things)
    if as_json:
        show_json({"judge": judge, "pairs": len(things), "by_words": words.shown, "models": found})
        return
    show_table(PAIRS_COLUMNS, [pairs_row(each) for each in found], empty="No models.")
    say(
        f"By chance {0.25:.0%} are right in both orders and half of the single questions; a rule of words (ROUGE-L "
        f"precision) is right on {words.estimate:.1%} ({words.low:.1%} to {words.high:.1%}) of the pairs.",
        style="dim",
    )
    for made in found:
        for reason in made["reasons"]:
            say(f"{made['model']} is not trusted: {reason}", style="yellow")


def _things(file: Path, limit: int | None) -> list[Labelled]:
    with file.open("rb") as lines:
        found = list(islice(labelled(lines), limit))
    if not found:
        raise BadRequest(f"{file}: it holds nothing to judge", param="FILE")
    return found


def _definition(client: Client, name: str, model: str | None, project: str | None) -> Definition:
    told = client.judge(name, model, project=project)
    if not told["model"]:
        raise BadRequest(f"judge {name!r} has no model of its own\nName one: --model MODEL", param="--model")
    return definition_of({**told["definition"], "model": told["model"]}, known={})


def _calibrated(
    client: Client, plan: Plan, bar: float, project: str | None, *, quiet: bool
) -> tuple[dict[str, Any], list[Observation]]:
    """Ask, and keep the card."""
    wrong = next((thing for thing in plan.things if thing.pair != (plan.definition.form == "pairwise")), None)
    if wrong is not None:
        kind = "a pair" if wrong.pair else "one answer"
        raise BadRequest(
            f"{wrong.id[:80]} is {kind}; judge {plan.judge!r} is of form {plan.definition.form}", param="FILE"
        )
    observed = judged(plan, url=client.url, api_key=client.api_key, quiet=quiet)
    body = {
        "model": plan.definition.model,
        "sha": plan.definition.sha,
        "observations": [asdict(each) for each in observed],
    }
    return client.add_judge_card(plan.judge, body, bar=bar, project=project), observed
