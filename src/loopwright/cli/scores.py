"""`loopwright scores`: how good answers are over many calls, the calls behind a figure, and how scoring them stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from loopwright.cli.quantities import moment_of, seconds_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, clip, say, show_done, show_facts, show_json, show_rows, show_table
from loopwright.core.errors import BadRequest

app = typer.Typer(
    help="Scores over many calls: list, calls, monitor, send.",
    no_args_is_help=True,
    add_completion=False,
)
Since = Annotated[str, typer.Option(help="Of calls since then: how long ago (1h, 7d) or a date.", metavar="TIME")]
Task = Annotated[str | None, typer.Option(help="Only of this task.")]
_FIGURES: Final = (
    Column(title="Score", least=8),
    Column(title="Of"),
    Column(title="By", weight=3),
    Column(title="Scores", right=True, weight=1),
    Column(title="Calls", right=True, weight=2),
    Column(title="Mean", right=True),
    Column(title="95 %", weight=4),
    Column(title="Passed", right=True),
    Column(title="Says", weight=5),
)
_CALLS: Final = (
    Column(title="Call"),
    Column(title="Score", weight=1),
    Column(title="Value", right=True),
    Column(title="Says"),
    Column(title="By", weight=2),
)
_EVALUATORS: Final = (
    Column(title="Score", least=8),
    Column(title="Share", right=True),
    Column(title="Scored", right=True),
    Column(title="Waiting", right=True, weight=1),
    Column(title="Passed over", least=10),
    Column(title="Cost", right=True, weight=2),
    Column(title="Engine", right=True, weight=3),
    Column(title="CPU a call", right=True, weight=4),
    Column(title="Standing", weight=1),
)


@app.command("list")
def list_figures(
    *,
    by: Annotated[
        str | None,
        typer.Option(help="Split by task, variant, model, target, provider, prompt_version, key, session, tag."),
    ] = None,
    tag_name: Annotated[str | None, typer.Option(help="With --by tag: the name of the tag.")] = None,
    name: Annotated[str | None, typer.Option(help="Only this score.")] = None,
    source: Annotated[str | None, typer.Option(help="Only by code, judge or person.")] = None,
    task: Task = None,
    since: Since = "1d",
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List scores: the mean over all calls, how sure it is, the share that passed, what words they say."""
    where = {"name": name, "source": source, "task": task, "since": moment_of(since, "--since"), "project": project}
    with reach(url, api_key) as client:
        found = client.score_figures(by, tag_name=tag_name, **where)
    show_rows(
        found,
        _FIGURES,
        (_row(each) for each in found),
        as_json=as_json,
        empty="Nothing was scored in this time. What is scored says `monitor:` of a task: docs/online-evaluation.md.",
    )


@app.command("calls")
def list_calls(
    name: Annotated[str, typer.Argument(help="Name of the score.", metavar="NAME")],
    *,
    below: Annotated[float | None, typer.Option(help="Only values below it.")] = None,
    label: Annotated[str | None, typer.Option(help="Only those that say this word.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that did not pass.")] = False,
    task: Task = None,
    since: Since = "1d",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the calls behind a score, the worst first."""
    with reach(url, api_key) as client:
        found = client.scored_calls(**_which(name, below, label, task, since, limit, project, failed=failed))
    rows = ((each["call_id"], each["name"], _number(each["value"]), _says(each), each["source"]) for each in found)
    show_rows(found, _CALLS, rows, as_json=as_json, empty="No call is scored like that in this time.")


@app.command("send")
def send(
    name: Annotated[str, typer.Argument(help="Name of the score.", metavar="NAME")],
    to: Annotated[str, typer.Argument(help="review/NAME or dataset/NAME.", metavar="review/NAME|dataset/NAME")],
    *,
    below: Annotated[float | None, typer.Option(help="Only values below it.")] = None,
    label: Annotated[str | None, typer.Option(help="Only those that say this word.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that did not pass.")] = False,
    task: Task = None,
    since: Since = "1d",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many.")] = 50,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Send the worst calls of a score to people who rate them, or into a dataset."""
    kind, slash, called = to.partition("/")
    if kind not in ("review", "dataset") or not slash or not called:
        raise BadRequest(f"{to[:80]!r}: write it as review/NAME or dataset/NAME", param="TO")
    with reach(url, api_key) as client:
        found = client.scored_calls(**_which(name, below, label, task, since, limit, project, failed=failed))
        ids = list(dict.fromkeys(each["call_id"] for each in found))
        if not ids:
            raise BadRequest("no call is scored like that in this time", param="NAME")
        made = client.hand_on(kind, called, ids, project)
    show_done(made, f"Sent {len(ids)} call{'' if len(ids) == 1 else 's'} to {kind} {called}.", as_json=as_json)


@app.command("monitor")
def monitor(
    task: Annotated[str, typer.Argument(help="Name of a task that is watched.", metavar="TASK")],
    *,
    hours: Annotated[int, typer.Option(min=1, max=9600, help="Counts are of the last so many.")] = 24,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show how scoring of a task stands: scored, passed over and why, what it took, how far behind it is."""
    with reach(url, api_key) as client:
        told = client.monitor(task, hours=hours, project=project)
    if as_json:
        show_json(told)
        return
    behind, budget = told["behind"], told["budget"]
    show_facts(
        [
            (
                "calls seen",
                f"{told['calls']['seen']:,} in {hours} h{_reasons(told['calls']['skipped'], ', of which ')}",
            ),
            ("drawn", f"{told['share']:.3g} of them, at least {told['at_least']:,} of each variant an hour"),
            ("behind", _behind(behind)),
            ("money today", _of(f"${budget['spent_usd']}", None if budget["usd"] is None else f"${budget['usd']:g}")),
            (
                "engine today",
                _of(
                    seconds_text(budget["engine_seconds_used"]),
                    None if budget["engine_seconds"] is None else seconds_text(budget["engine_seconds"]),
                ),
            ),
        ],
        title=f"task/{task}",
    )
    show_table(_EVALUATORS, [_evaluator(each) for each in told["evaluators"]], empty="No evaluator is named.")
    for each in told["evaluators"]:
        for fault in each["faults"]:
            say(f"{each['name']} {fault['what']}: {clip(fault['said'], 300)} (call {fault['call_id']})", style="yellow")


def _which(
    name: str, below: float | None, label: str | None, task: str | None, since: str, limit: int, project: str | None, *,
    failed: bool,
) -> dict[str, str | float | None]:  # fmt: skip
    return {
        "name": name,
        "below": below,
        "label": label,
        "passed": "false" if failed else None,
        "task": task,
        "since": moment_of(since, "--since"),
        "limit": limit,
        "project": project,
    }


def _row(each: Mapping[str, Any]) -> tuple[object, ...]:
    bounds = "" if each["low"] is None else f"{_number(each['low'])} to {_number(each['high'])}"
    words = ", ".join(f"{word} {share:.0%}" for word, share in [*each["labels"].items()][:4])
    passed = "" if each["passed"] is None else f"{each['passed']:.1%}"
    return (
        each["name"],
        "" if each["value"] is None else each["value"],
        each["source"],
        f"{each['scores']:,}",
        f"{each['calls']:,.0f}",
        _number(each["mean"]),
        bounds,
        passed,
        clip(words, 60),
    )


def _evaluator(each: Mapping[str, Any]) -> tuple[object, ...]:
    trust = each["trust"]
    standing = each["broken"] or ""
    if trust is not None:
        standing = "may gate" if trust["may_gate"] else f"informs only: {trust['why']}"
    return (
        each["name"],
        f"{each['share']:.3g}",
        f"{each['scored']:,}",
        f"{each['waiting']:,}",
        _reasons(each["skipped"], ""),
        f"${each['cost_usd']}" if float(each["cost_usd"]) else "",
        seconds_text(each["engine_seconds"]) if each["engine_seconds"] else "",
        "" if each["cpu_ms_a_call"] is None else f"{each['cpu_ms_a_call']:g} ms",
        clip(standing, 80),
    )


def _reasons(skipped: list[dict[str, Any]], before: str) -> str:
    told = ", ".join(f"{each['calls']:,} {each['what'].replace('_', ' ')}" for each in skipped)
    return f"{before}{told}" if told else ""


def _behind(behind: Mapping[str, Any]) -> str:
    waiting = behind["arrived"] + behind["computed"] + behind["asked"]
    if not waiting:
        return "nothing waits"
    return f"{seconds_text(behind['seconds'])}: {behind['arrived']:,} to be drawn, {behind['computed']:,} to be computed, {behind['asked']:,} to be asked"


def _of(some: str, most: str | None) -> str:
    return f"{some} of {most}" if most is not None else f"{some}, without a bound"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _says(each: Mapping[str, Any]) -> str:
    verdict = {True: "passed", False: "failed"}.get(each["passed"], "")
    return " ".join(filter(None, (verdict, clip(each["label"] or "", 40))))
