"""What `tasks improve` works on, gathered from a running Loopwright; and what came of it, kept there as a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.cli.answered import Answered
from loopwright.client import Client
from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Example
from loopwright.evals.candidate import Candidate
from loopwright.evals.optimised import Optimised, Parts, Tried, sampled
from loopwright.evals.trials import Purse
from loopwright.kit.nearest import hint
from loopwright.prompts.version import read
from loopwright.runs.logger import ActiveRun
from loopwright.tasks.task import Shot

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A variant of a task, and how it is asked."""

    task: str
    variant: str
    candidate: Candidate
    body: Mapping[str, Any]
    """The request beside its messages: model, parameters, the form of the answer."""
    spoken: str
    """The version of its prompt, `name@number`, or of its own messages."""
    prompt: str
    """The name a better version is pushed under."""
    metrics: Sequence[Mapping[str, Any]]
    """What the task says it is measured by."""


def subject_of(client: Client, named: str, first: Mapping[str, Any], project: str | None) -> Subject:
    """The variant that `TASK[@VARIANT]` names; `first` are inputs to look with at what it would ask.

    Raises:
        NotFound: there is no such task.
        BadRequest: there is no such variant, or it makes more than one request of a call.
    """
    name, _, wanted = named.removeprefix("task/").partition("@")
    task = client.task(name, project)
    variants = {each["name"]: each for each in task["variants"]}
    chosen = wanted or max(variants, key=lambda each: variants[each]["weight"])
    if chosen not in variants:
        raise BadRequest(f"task {name!r} has no variant {chosen!r}{hint(chosen, variants)}", param="TASK")
    variant = variants[chosen]
    if variant["strategy"] != "single":
        raise BadRequest(
            f"{name}@{chosen} is a {variant['strategy']}: a variant that asks once can be improved\n"
            "Improve a variant of its own with the same prompt, then use the version in both",
            param="TASK",
        )
    if variant["adapters"]:
        raise BadRequest(
            f"{name}@{chosen} answers with an adapter, and what is tried out would be asked without it\n"
            "Improve a variant of its own without the adapter, then use the version in both",
            param="TASK",
        )
    [step] = variant["steps"]
    preview = client.preview_task(name, dict(first), variant=chosen, project=project)
    if step["prompt"] is not None:
        prompt, _, ref = step["prompt"].partition("@")
        version = client.prompt_version(prompt, ref or None, project)
        document, spoken = version["definition"], f"{prompt}@{version['number']}"
    else:
        prompt, spoken = f"{name}.{chosen}", preview["prompt_version"]
        document = {
            "variables": {each: {"type": "any", "required": False} for each in task["inputs"]},
            "messages": step["messages"],
        }
    candidate = Candidate(
        prompt=read(document, f"prompt {spoken}"),
        shots=tuple(Shot(input=each["input"], output=each["output"]) for each in variant["examples"]),
        text_input=task["text_input"],
    )
    body = {key: value for key, value in preview["request"].items() if key != "messages"}
    return Subject(
        task=name,
        variant=chosen,
        candidate=candidate,
        body=body,
        spoken=spoken,
        prompt=prompt,
        metrics=task["metrics"],
    )


def parts_of(
    client: Client, dataset: str, project: str | None, most: Mapping[str, int | None], seed: int
) -> tuple[Parts, dict[str, Any]]:
    """The examples of a dataset by split, at most so many of each; and the version, as runs name it.

    Raises:
        NotFound: there is no such dataset or version.
        BadRequest: a split has too few examples.
    """
    name, _, ref = dataset.partition("@")
    version = client.dataset_version(name, ref or "latest", project=project)["version"]
    number = str(version["number"])
    found = {
        split: sampled([*_examples(client, name, number, split, project)], most.get(split), seed)
        for split in ("train", "validation", "test")
    }
    parts = Parts(train=found["train"], validation=found["validation"], test=found["test"])
    parts.check()
    return parts, {"dataset": name, "number": version["number"], "sha": version["sha"]}


def _examples(client: Client, name: str, version: str, split: str, project: str | None) -> Iterator[Example]:
    after: float | None = 0
    while after is not None:
        page = client.examples(name, version=version, split=split, project=project, after=after, limit=_PAGE)
        for each in page["examples"]:
            yield Example(
                id=each["id"],
                inputs=each["inputs"],
                expected=each.get("expected"),
                split=each.get("split"),
                slices=each.get("slices") or {},
            )
        after = page["next"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The run of an improvement, and what it has done already."""

    run: ActiveRun
    answered: Answered
    told: frozenset[int]
    """Steps at which candidates are on record."""


def begin(client: Client, subject: Subject, told: Mapping[str, Any], resume: str | None) -> Begun:
    """A new run, or one that was interrupted, to go on where it stopped.

    Args:
        client: of the house.
        subject: what is improved.
        told: `name`, `params`, `data` and `prompts` of the run.
        resume: the id of a run, or `last` for the newest of this task.

    Raises:
        NotFound: there is no such run.
        BadRequest: it came to its end, or it was of something else.
    """
    experiment = f"improve {subject.task}"
    if resume is None:
        run = client.run(experiment, kind="optimisation", code=None, **told)
        return Begun(run=run, answered=Answered(), told=frozenset())
    if resume == "last":
        newest = client.runs(experiment=experiment, kind="optimisation", limit=1)["runs"]
        if not newest:
            raise BadRequest(f"--resume: no improvement of {subject.task!r} was begun", param="resume")
        resume = str(newest[0]["id"])
    known = client.get_run(resume)
    if known["status"] == "finished":
        raise BadRequest(f"--resume: run {resume} came to its end; leave --resume to begin anew", param="resume")
    differs = [name for name, value in told["params"].items() if known["params"].get(name) != value]
    differs += ["data"] if known["data"] != [*told["data"]] else []
    if differs or known["experiment"] != experiment:
        raise BadRequest(
            f"--resume: run {resume} was of another {differs[0] if differs else 'task'}"
            "\nSay the same as when it was begun, or leave --resume",
            param="resume",
        )
    steps = frozenset(int(point["step"]) for point in client.curves(resume, points=100_000).get("validation", []))
    answered = Answered.of(client, resume)
    return Begun(
        run=ActiveRun(client, client.change_run(resume, status="running", error="")), answered=answered, told=steps
    )


def tell(begun: Begun, tried: Tried, best: float) -> None:
    """Log a candidate as it was validated, once."""
    if tried.calls in begun.told:
        return
    begun.run.log_metrics({"validation": tried.score, "validation.best": best}, step=tried.calls)


def keep(run: ActiveRun, found: Optimised, purse: Purse) -> None:
    """Log the evidence: every candidate, the verdict, and the held-out examples of both."""
    metrics: dict[str, float | None] = {
        "validation.incumbent": found.incumbent.score,
        "validation.best": found.best.score,
        "calls": purse.used,
        "cost_usd": purse.spent / 1e9,
    }
    decision = found.decision
    if decision is not None:
        metrics |= {"test.effect": decision.effect, "test.low": decision.low, "test.high": decision.high}
        metrics |= {
            f"test.{name}": _mean(trials) for name, trials in (("before", found.before), ("after", found.after))
        }
        run.log_text(json.dumps(decision.shown, indent=2) + "\n", "verdict.json")
        run.log_examples(trial.shown() for trial in found.after)
        rows = "".join(json.dumps(trial.shown(), ensure_ascii=False) + "\n" for trial in found.before)
        run.log_text(rows, "incumbent.jsonl")
    run.log_metrics(metrics, step=purse.used)
    lines = "".join(json.dumps(each.shown(), ensure_ascii=False) + "\n" for each in found.tried)
    run.log_text(lines, "candidates.jsonl")
    best = json.dumps(dict(found.best.candidate.prompt.document), indent=2, ensure_ascii=False)
    run.log_text(best + "\n", "prompt.json")
    verdict = "none better" if decision is None else decision.verdict
    run.set_tags({"verdict": verdict})
    run.note(found.reason + (f" The search ended early: {found.stopped}." if found.stopped else ""))


def _mean(trials: Sequence[Any]) -> float | None:
    known = [trial.value for trial in trials if trial.value is not None]
    return sum(known) / len(known) if known else None
