"""What `loopwright eval` prints: a bar while it runs, figures with their intervals, comparisons, the gate, a plot."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import plotext
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from loopwright.cli.datasets_text import line_of
from loopwright.cli.quantities import local_text, seconds_text
from loopwright.cli.screen import Column, clip, console, say, show_facts, show_table
from loopwright.client import Client

_LOOK: Final = 0.5
_SIGNS: Final[Mapping[str, str]] = {"pass": "✓", "fail": "✗", "not enough evidence": "?"}


def watched(client: Client, evaluation: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The evaluation at its end; until then a bar shows how far it is, what it cost and when it will be done."""
    screen = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[more]}"),
    )
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:
        bar = progress.add_task(evaluation["status"], total=evaluation["total"], more="")
        while evaluation["open"]:
            time.sleep(_LOOK)
            evaluation = client.evaluation(evaluation["id"])
            progress.update(bar, description=evaluation["status"], completed=evaluation["done"], more=_more(evaluation))
    return evaluation


def show_plan(plan: Mapping[str, Any]) -> None:
    """What is going to be asked, and what so many examples can show."""
    say(
        f"{plan['examples']:,} examples of {plan['dataset']}, {plan['questions']:,} questions,"
        f" measured by {', '.join(plan['evaluators'])}.",
        style="dim",
    )
    can = plan["detectable"]
    if can is not None:
        compared = "one comparison" if can["comparisons"] == 1 else f"{can['comparisons']} comparisons"
        so_many = "So many can detect" if can["compared"] else "Against a baseline on the same they could detect"
        say(f"A share of right answers will be known to ± {can['half_width']:.3f} or better.", style="dim")
        say(
            f"{so_many} ({can['power']:.0%} of the time, {compared} at {can['alpha']:g} in all)"
            f" a true difference of {can['share']:.3f} between shares of right answers, or {can['share_alike']:.3f} between"
            f" variants that differ on one example in ten; of scores from 0 to 1, {can['score']:.3f}.",
            style="dim",
        )


def show_evaluation(told: Mapping[str, Any]) -> None:
    """All that a person wants to know of one."""
    show_facts(_facts(told))
    findings = told["findings"]
    if not findings:
        return
    names = [each["name"] for each in findings["evaluators"]]
    columns = [Column(title="target")]
    columns += [Column(title=name, right=True) for name in names]
    columns += [Column(title=title, right=True, weight=weight) for title, weight in _BESIDE]
    rows = [
        [
            each["name"],
            *(figure(each["scores"][name]) for name in names),
            _dollars(each["cost_each_usd"]),
            seconds_text(each["latency_p50_s"]),
            seconds_text(each["latency_p95_s"]),
            each["unanswered"] or "",
        ]
        for each in findings["targets"]
    ]
    show_table(columns, rows, empty="Nothing was found yet.")
    _show_aggregates(findings)
    show_comparisons(findings["comparisons"])
    _show_slices(findings)
    _show_pareto(findings)
    _show_gate(findings)


_BESIDE: Final = (("cost each", 1), ("p50", 2), ("p95", 3), ("no answer", 4))


def show_comparisons(comparisons: list[dict[str, Any]]) -> None:
    """Each candidate against the baseline."""
    if not comparisons:
        return
    columns = (
        Column(title="against the baseline", least=12),
        Column(title="evaluator"),
        Column(title="effect", right=True),
        Column(title="95 % interval", right=True),
        Column(title="p (Holm)", right=True),
        Column(title="won/lost/same", right=True, weight=1),
        Column(title="worst slice", least=10, weight=2),
    )
    show_table(columns, [_comparison(each) for each in comparisons], empty="")


def show_results(rows: list[dict[str, Any]]) -> None:
    """Examples, and below each what every target answered and how it scored."""
    out = console()
    for row in rows:
        asked, wanted = clip(line_of(row["inputs"]), 200), clip(line_of(row["expected"]), 100)
        out.print(Text(f"{clip(row['example_id'])}: {asked} → {wanted}"))
        for answer in row["answers"]:
            scores = ", ".join(
                f"{name} {'missing' if each['value'] is None else format(each['value'], 'g')}"
                for name, each in answer["scores"].items()
            )
            told = clip(answer["error"] or answer["text"], 200)
            out.print(Text(f"  {answer['target']}: {told} ({scores})"), style="dim")


def figure(told: Mapping[str, Any]) -> str:
    """`0.812 (0.790 … 0.833) 12 missing`."""
    if told["mean"] is None:
        return "-" if not told["missing"] else f"- {told['missing']:,} missing"
    missing = f" {told['missing']:,} missing" if told["missing"] else ""
    return f"{told['mean']:.3f} ({told['low']:.3f} … {told['high']:.3f}){missing}"


def _facts(told: Mapping[str, Any]) -> list[tuple[str, object]]:
    done = f"{told['done']:,} of {told['total']:,} examples of {told['dataset']}"
    paid = f"{told['cached']:,} paid for before (${told['saved_usd']})" if told["cached"] else ""
    lost = f"{told['unanswered']:,}" if told["unanswered"] else ""
    raised = f", {told['raised']:,} because the evaluator raised" if told["raised"] else ""
    unpriced = f", {told['unpriced']:,} unpriced" if told["unpriced"] else ""
    eta = f", about {seconds_text(told['eta_s'])} to go" if told["eta_s"] else ""
    return [
        ("id", told["id"]),
        ("name", told["name"]),
        ("status", told["status"]),
        ("why", told["problem"]),
        ("done", done),
        ("answers", ", ".join(each for each in (f"{told['answers']:,} asked", paid) if each)),
        ("without an answer", lost),
        ("scores missing", f"{told['missing']:,}{raised}" if told["missing"] else ""),
        ("cost", f"${told['cost_usd']} (judging ${told['judging_usd']}){unpriced}"),
        ("took", f"{seconds_text(told['seconds'])}{eta}"),
        ("created", local_text(told["created_at"])),
    ]


def _comparison(each: Mapping[str, Any]) -> list[object]:
    counts = f"{each['wins']:,}/{each['losses']:,}/{each['ties']:,}"
    if each["effect"] is None:
        return [each["target"], each["evaluator"], "-", "-", "-", counts, ""]
    worst = each["worst_slice"]
    slice_ = "" if worst is None else f"{clip(worst['slice'], 40)} {worst['effect']:+.3f} (n={worst['n']:,})"
    interval = f"{each['low']:+.4f} … {each['high']:+.4f}"
    return [
        each["target"],
        each["evaluator"],
        f"{each['effect']:+.4f}",
        interval,
        f"{each['p_holm']:.4f}",
        counts,
        slice_,
    ]


def _show_aggregates(findings: Mapping[str, Any]) -> None:
    rows = [
        [target["name"], name, each, f"{value['value']:.3f}", f"{value['low']:.3f} … {value['high']:.3f}"]
        for target in findings["targets"]
        for name, told in target["scores"].items()
        for each, value in (told.get("figures") or {}).items()
        if isinstance(value, dict) and None not in value.values()
    ]
    columns = [Column(title=title, right=title in {"value", "95 % interval"}) for title in _AGGREGATE]
    if rows:
        show_table(columns, rows, empty="")


_AGGREGATE: Final = ("target", "evaluator", "figure", "value", "95 % interval")


def _show_slices(findings: Mapping[str, Any]) -> None:
    rows = []
    for target in findings["targets"]:
        for name, told in target["scores"].items():
            if (worst := told.get("worst_slice")) is not None:
                rows.append([target["name"], name, worst["slice"], figure(worst), worst["n"], f"{worst['gap']:+.3f}"])
    if rows:
        columns = [
            Column(title=title, right=title in {"there", "n", "against all"})
            for title in ("target", "evaluator", "worst slice", "there", "n", "against all")
        ]
        show_table(columns, rows, empty="")


def _show_pareto(findings: Mapping[str, Any]) -> None:
    """Cost against quality, where there is a choice."""
    found = findings["pareto"]
    if found is None or len(found["points"]) < 2:
        return
    out = console()
    points = found["points"]
    if out.is_terminal and max(point["cost_usd"] for point in points) > 0:
        picture = plotext.figure
        picture.clear()
        picture.theme("colorless")
        picture.plot_size(min(out.width, 100), 16)
        picture.title(f"{found['evaluator']} by US dollars a thousand examples")
        across, up = [point["cost_usd"] * 1_000 for point in points], [point["quality"] for point in points]
        picture.draw(picture.signal(across, up, marker="hd"))
        for line in plotext.uncolorize(str(picture.build())).splitlines():
            out.print(Text(line.rstrip()))
    best = [point["target"] for point in points if point["on_front"]]
    beaten = [point["target"] for point in points if not point["on_front"]]
    rest = f"; beaten in both: {', '.join(beaten)}" if beaten else ""
    say(f"Nobody is both better ({found['evaluator']}) and cheaper than: {', '.join(best)}{rest}.", style="dim")


def _show_gate(findings: Mapping[str, Any]) -> None:
    gate = findings["gate"]
    if gate is None:
        return
    out = console()
    for each in gate["criteria"]:
        what = f"{each['target']} by {each['evaluator']}"
        against = f"against {each['against']}" if each["kind"] == "comparison" else f"to reach {each['against']:g}"
        out.print(Text(clip(f"{_SIGNS[each['verdict']]} {what} {against}: {each['verdict']}, {each['reason']}", 400)))
    for each in gate["informing"]:
        out.print(Text(clip(f"· {each['evaluator']} informs and does not gate: {each['why']}", 400)))
    out.print(Text(f"gate: {gate['verdict']}: {clip(gate['reason'], 300)}"), style="bold")
    if gate["examples_needed"]:
        out.print(Text(f"About {gate['examples_needed']:,} examples in all would decide it."))


def _more(told: Mapping[str, Any]) -> str:
    eta = f", {seconds_text(told['eta_s'])} to go" if told["eta_s"] else ""
    missing = f", {told['missing']:,} missing" if told["missing"] else ""
    return f"${told['cost_usd']}{missing}{eta}"


def _dollars(text: str | None) -> str:
    return "unpriced" if text is None else f"${text}"
