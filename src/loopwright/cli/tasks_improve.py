"""`loopwright tasks improve`: a better version of a variant's prompt, searched for within a budget and proved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loopwright.cli.answered import TAG
from loopwright.cli.improvement import Begun, Subject, begin, keep, parts_of, subject_of, tell
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.remote import Remote
from loopwright.cli.screen import console, say, show_facts, show_json
from loopwright.client import Client
from loopwright.core.errors import BadRequest, StartError
from loopwright.core.money import NANO, usd
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.evaluators import make
from loopwright.evals.measure import Measure
from loopwright.evals.optimised import Method, Optimised, Parts, Tried, optimise
from loopwright.evals.trials import Purse, Trials
from loopwright.kit.plugins import Registry

OPTIMISERS: Final = {
    "few-shot": "loopwright.evals.few_shot:FewShot",
    "instructions": "loopwright.evals.instructing:Instructions",
}
_PATIENCE: Final = 120.0
"""Seconds an evaluator may take for one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What the options said."""

    method: str
    evaluators: tuple[Mapping[str, Any], ...]
    calls: int
    nano: int | None
    reflection: str | None
    shots: int
    seed: int
    at_once: int


def improve(
    task: Annotated[
        str, typer.Argument(help="The variant; without one the one most calls get.", metavar="TASK[@VARIANT]")
    ],
    *,
    dataset: Annotated[str, typer.Option(help="With splits train, validation and test.", metavar="NAME[@NUMBER]")],
    evaluator: Annotated[
        list[str] | None,
        typer.Option(help="A kind, or JSON; the first decides. Else the task's metrics.", metavar="KIND|JSON"),
    ] = None,
    method: Annotated[Literal["few-shot", "instructions"], typer.Option(help="What to change.")] = "few-shot",
    budget: Annotated[int, typer.Option(min=16, max=1_000_000, help="Calls at most, the proof included.")] = 500,
    max_usd: Annotated[float | None, typer.Option(min=0.0, help="US dollars at most, of what has a price.")] = None,
    reflection_model: Annotated[
        str | None, typer.Option(help="The model that words instructions; else the variant's.", metavar="MODEL")
    ] = None,
    shots: Annotated[int, typer.Option(min=1, max=32, help="Examples shown at most, for few-shot.")] = 4,
    validation: Annotated[int, typer.Option(min=4, help="Examples to choose by, at most.")] = 50,
    test: Annotated[int | None, typer.Option(min=4, help="Examples to prove on, at most; else all.")] = None,
    seed: Annotated[int, typer.Option(help="Of every choice by chance.")] = 0,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Questions at a time.")] = 8,
    push: Annotated[
        bool | None, typer.Option("--push/--no-push", help="Push the version; else only when it is proved better.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(help="Go on with an interrupted run; what it asked is not paid again.", metavar="RUN|last"),
    ] = None,
    project: Annotated[str | None, typer.Option(help="Of this project; else the key's own.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Improve the prompt of a variant on a dataset. The version is pushed with its evidence; no label moves."""
    most = {"validation": validation, "test": test}
    with reach(url, api_key, timeout=120.0) as client:
        parts, data = parts_of(client, dataset, project, most, seed)
        subject = subject_of(client, task, parts.train[0].inputs, project)
        how = How(
            method=method,
            evaluators=_specs(evaluator, subject),
            calls=budget,
            nano=None if max_usd is None else round(max_usd * NANO),
            reflection=reflection_model,
            shots=shots,
            seed=seed,
            at_once=at_once,
        )
        parts.check_budget(how.calls)
        for spec in how.evaluators:
            make(spec, Tools())  # what is wrong with it is told before anything is begun
        begun = begin(client, subject, _told(subject, parts, data, how), resume)
        _announce(subject, parts, how, begun, quiet=as_json)
        told = _improved(client, subject, parts, begun, how, push=push, project=project, quiet=as_json)
    _show(told, as_json=as_json)


def _improved(
    client: Client,
    subject: Subject,
    parts: Parts,
    begun: Begun,
    how: How,
    *,
    push: bool | None,
    project: str | None,
    quiet: bool,
) -> dict[str, Any]:
    purse = Purse(calls=how.calls, nano=how.nano)
    with begun.run as run, _Bar(how.calls, quiet=quiet) as moved:
        best = [0.0]

        def heard(tried: Tried) -> None:
            best[0] = tried.score if tried.number == 0 else max(best[0], tried.score)
            moved(purse, best[0])
            tell(begun, tried, best[0])

        async def work() -> Optimised:
            async with Remote(client.url, client.api_key, tags={TAG: run.id}, answered=begun.answered) as remote:
                trials = _trials(remote, subject, how, purse, lambda purse: moved(purse, best[0]))
                search = _method(how, remote, str(subject.body.get("model")))
                return await optimise(subject.candidate, parts, trials, search, told=heard)

        found = asyncio.run(work())
        keep(run, found, purse)
        pushed = _pushed(client, subject, found, run.id, push=push, project=project)
        if pushed is not None:
            run.used(prompts=[f"{subject.prompt}@{pushed['number']}"])
    return {
        "run": run.id,
        "better": found.better,
        "verdict": None if found.decision is None else found.decision.shown,
        "reason": found.reason,
        "stopped": found.stopped,
        "validation": {"incumbent": found.incumbent.score, "best": found.best.score},
        "made": found.best.candidate.made,
        "candidates": len(found.tried) - 1,
        "spent": purse.shown(),
        "again": begun.answered.count,
        "version": None if pushed is None else f"{subject.prompt}@{pushed['number']}",
    }


def _told(subject: Subject, parts: Parts, data: Mapping[str, Any], how: How) -> dict[str, Any]:
    """What the run says of itself: all that the search depends on."""
    params = {
        "task": subject.task,
        "variant": subject.variant,
        "incumbent": subject.candidate.sha,
        "method": how.method,
        "model": subject.body.get("model"),
        "request": {key: value for key, value in subject.body.items() if key != "model"},
        "reflection_model": how.reflection or subject.body.get("model"),
        "evaluators": [dict(each) for each in how.evaluators],
        "budget_calls": how.calls,
        "budget_usd": None if how.nano is None else usd(how.nano),
        "shots": how.shots,
        "seed": how.seed,
        "examples": {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
    }
    return {
        "name": f"{how.method} of {subject.task}@{subject.variant}",
        "params": params,
        "data": [{**data, "split": split} for split in ("train", "validation", "test")],
        "prompts": [subject.spoken] if "@" in subject.spoken else [],
    }


def _trials(remote: Remote, subject: Subject, how: How, purse: Purse, moved: Callable[[Purse], None]) -> Trials:
    tools = Tools(chat=remote)
    measures = [Measure(make(spec, tools), _PATIENCE) for spec in how.evaluators]

    async def ask(messages: Any) -> Output:
        return await remote.ask({**subject.body, "messages": [*messages]})

    return Trials(ask=ask, measures=measures, purse=purse, at_once=how.at_once, told=moved)


def _method(how: How, remote: Remote, model: str) -> Method:
    registry: Registry[Method] = Registry("optimisers", builtin=OPTIMISERS)
    if how.method == "few-shot":
        return registry.make("few-shot", shots=how.shots, seed=how.seed)

    async def reflect(text: str) -> Output:
        asked = {"model": how.reflection or model, "messages": [{"role": "user", "content": text}]}
        return await remote.ask(asked)

    try:
        return registry.make(how.method, reflect=reflect, seed=how.seed)
    except StartError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise BadRequest(
                f"{how.method}: needs a library that is not installed ({error.__cause__.name})\n"
                "Install it: pip install 'loopwright[optimize]'",
                param="method",
            ) from error
        raise


def _pushed(
    client: Client, subject: Subject, found: Optimised, run_id: str, *, push: bool | None, project: str | None
) -> dict[str, Any] | None:
    if found.best.number == 0 or not (found.better if push is None else push):
        return None
    verdict = "" if found.decision is None else f"{found.decision.verdict}: {found.decision.reason}"
    note = f"{found.best.candidate.made}, from {subject.spoken}; {verdict} (run {run_id})"
    made = client.push_prompt(subject.prompt, found.best.candidate.prompt.document, note=note[:2_000], project=project)
    return dict(made["version"])


def _specs(given: list[str] | None, subject: Subject) -> tuple[Mapping[str, Any], ...]:
    specs: list[Mapping[str, Any]] = []
    for each in given or []:
        try:
            read = json.loads(each) if each.lstrip().startswith("{") else {"kind": each}
        except ValueError:
            raise BadRequest(f"--evaluator: {each[:80]!r} is no JSON", param="evaluator") from None
        specs.append(read)
    found = specs or [*subject.metrics]
    if not found:
        raise BadRequest(
            f"task {subject.task!r} says nothing of how it is measured\nName an evaluator: --evaluator exact_match",
            param="evaluator",
        )
    return tuple(found)


def _announce(subject: Subject, parts: Parts, how: How, begun: Begun, *, quiet: bool) -> None:
    if quiet:
        return
    say(
        f"{subject.task}@{subject.variant} ({subject.spoken}): {len(parts.train):,} examples to learn from,"
        f" {len(parts.validation):,} to choose by, {len(parts.test):,} to prove on; {how.calls:,} calls at most.",
        style="dim",
    )
    run, known = begun.run.id, begun.answered.count
    say(
        f"Run {run}"
        + (f" goes on with {known:,} answers it has." if known else f"; interrupted, go on with --resume {run}"),
        style="dim",
    )
    say(f"With these an improvement of {parts.detectable():.2f} would be seen, or more.", style="dim")


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
    else:
        spent = told["spent"]
        validation = told["validation"]
        show_facts(
            [
                ("run", told["run"]),
                ("candidates", told["candidates"]),
                ("validation", f"{validation['incumbent']:.4g} before, {validation['best']:.4g} with {told['made']}"),
                ("verdict", "none better" if told["verdict"] is None else told["verdict"]["verdict"]),
                ("why", told["reason"]),
                ("ended early", told["stopped"]),
                ("answered before", f"{told['again']:,} of them" if told["again"] else None),
                ("spent", f"{spent['calls']:,} calls, ${spent['usd']}" + _unpriced(spent["unpriced"])),
                ("version", told["version"] or "none was pushed"),
            ]
        )
        if told["version"] is not None:
            say(f"Try it, then: loopwright prompts label {told['version']} production", style="green")
    if not told["better"]:
        raise typer.Exit(1)


def _unpriced(count: int) -> str:
    return f", {count:,} unpriced" if count else ""


class _Bar:
    """A bar over the calls of the budget, with the best score so far."""

    def __init__(self, calls: int, *, quiet: bool) -> None:
        screen = console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal)
        self._task = self._progress.add_task("incumbent", total=calls)

    def __enter__(self) -> Callable[[Purse, float], None]:
        self._progress.start()
        return self._moved

    def __exit__(self, *_ended: object) -> None:
        self._progress.stop()

    def _moved(self, purse: Purse, best: float) -> None:
        self._progress.update(self._task, completed=purse.used, description=f"best {best:.3g}, ${usd(purse.spent)}")
