"""What an evaluation is given of the rooms around it: evaluators made, judges weighed, runs put on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from loopwright.core.chat import Chat
from loopwright.core.errors import NotFound
from loopwright.core.who import Principal
from loopwright.evals.cards import Cards
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.evaluators import make
from loopwright.evals.judge_card import KAPPA
from loopwright.evals.judge_card import Trust as Card
from loopwright.evals.measure import Measure, compares
from loopwright.evals.road import Road
from loopwright.evals.spec import Spec
from loopwright.evals.trust import Trust
from loopwright.kit.settings_evals import EvaluationSettings
from loopwright.runs.run import Run
from loopwright.runs.store import Runs
from loopwright.tasks.held import Held
from loopwright.tasks.task import PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Fits evaluations with what the rooms have."""

    settings: EvaluationSettings
    cards: Cards
    runs: Runs
    tasks: Held

    def _may(self, function: object) -> bool:
        """Whether evaluators may name a function of Python: the configuration does."""
        told = [each.get("args") for task in self.tasks.configured.values() for each in task.metrics]
        return function in self.settings.functions or any(
            isinstance(args, Mapping) and args.get("function") == function for args in told
        )

    def _bar(self, project_id: int, spec: Spec) -> float:
        """Kappa a judge must surely have to gate: the highest that a task of the targets asks for."""
        bars = []
        for target in spec.targets:
            if target.model.startswith(PREFIX):
                with suppress(NotFound):
                    bars.append(self.tasks.find(project_id, target.model.removeprefix(PREFIX).partition("@")[0]).bar)
        return max(bars, default=KAPPA)

    async def resolved(self, project_id: int, specs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Specs of evaluators told in full: judges that are named by what they are now.

        Raises:
            NotFound: there is no such judge.
        """
        found = []
        for spec in specs:
            args = spec.get("args")
            named = isinstance(args, Mapping) and isinstance(args.get("judge"), str)
            full = await self.cards.resolved(project_id, args) if named and isinstance(args, Mapping) else args
            found.append({**spec, **({} if full is None else {"args": full})})
        return tuple(found)

    def measures(self, spec: Spec, road: Road, who: Principal, chat: Chat) -> list[Measure]:
        """The evaluators of a spec, ready to find; judges ask `chat`.

        Raises:
            BadRequest: one cannot be made.
        """
        tools = road.tools(who, chat)
        found = []
        for each in spec.evaluators:
            args = each.get("args")
            named = args.get("function") if isinstance(args, Mapping) else None
            evaluator = make(each, replace(tools, functions=named is not None and self._may(named)))
            pair = spec.baseline is not None and compares(evaluator)
            found.append(Measure(evaluator, self.settings.evaluator_timeout, pair))
        return found

    async def trusted(
        self, evaluation: Evaluation, measures: Sequence[Measure], *, behind: Callable[[str], str | None]
    ) -> dict[str, Trust]:
        """Of each judge, whether it may gate: its card must be of this very judge, and good enough for the tasks.

        `behind` says what the name of a model leads to now, None when it is not known.
        """
        bar, found = self._bar(evaluation.project_id, evaluation.spec), {}
        for measure in measures:
            if measure.method != "judge":
                continue
            try:
                args = getattr(measure.evaluator, "judging", None) or measure.spec.get("args") or {}
                weighed = await self.cards.trust(
                    evaluation.project_id, args, bar=bar, behind=behind(str(args.get("model", "")))
                )
            except NotFound as error:
                found[measure.name] = Trust(may_gate=False, why=error.message)
                continue
            found[measure.name] = _trust(weighed)
        return found

    async def record(self, evaluation: Evaluation) -> list[Run]:
        """A run of its experiment for every target. Again does nothing more.

        Raises:
            LoopwrightError: the runs cannot be kept.
        """
        spec, findings = evaluation.spec, evaluation.findings or {}
        experiment = spec.experiment or evaluation.dataset.partition("@")[0]
        data = [{"dataset": evaluation.dataset.partition("@")[0], "number": _number(evaluation.dataset),
                 "sha": evaluation.dataset_sha, "split": spec.split}]  # fmt: skip
        made = []
        for at, target in enumerate(spec.targets):
            run = await self.runs.start(
                evaluation.project_id,
                experiment,
                name=target.name[:200],
                kind="evaluation",
                params={
                    "model": target.model,
                    **({"prompt": target.prompt} if target.prompt else {}),
                    **target.parameters,
                },
                prompts=() if target.prompt is None else (target.prompt,),
                data=data,
                evaluation_id=evaluation.id,
                target=target.name[:200],
                started_at=evaluation.started_at,
            )
            if run.status == "running":
                figures = _metrics(findings.get("targets", []), at)
                await self.runs.log(run.id, project_id=evaluation.project_id, metrics=figures)
                ended = {"completed": "finished", "failed": "failed"}.get(evaluation.status, "killed")
                await self.runs.finish(
                    run.id,
                    project_id=evaluation.project_id,
                    status="finished" if ended == "finished" else "failed" if ended == "failed" else "killed",
                    error=evaluation.problem,
                )
            made.append(run)
        return made


def _trust(weighed: Card) -> Trust:
    card = weighed.card
    told = None
    if card is not None:
        kappa = card.figures.get("kappa")
        told = {
            "judge": card.judge,
            "model": card.model,
            "kappa": None if kappa is None else kappa.shown,
            "bar": weighed.bar,
        }
    return Trust(
        may_gate=weighed.trusted,
        why="; ".join(weighed.reasons),
        card=told,
        corrected=None if card is None else card.corrected,
    )


def _metrics(targets: Sequence[Mapping[str, Any]], at: int) -> dict[str, float | None]:
    if at >= len(targets):
        return {}
    told = targets[at]
    found: dict[str, float | None] = {}
    for name, figure in told["scores"].items():
        found |= {name: figure["mean"], f"{name}.low": figure["low"], f"{name}.high": figure["high"]}
        found |= {f"{name}.n": float(figure["n"]), f"{name}.missing": float(figure["missing"])}
        for other, value in (figure.get("figures") or {}).items():
            if isinstance(value, Mapping):
                found[f"{name}.{other}"] = value["value"]
    found |= {name: told[name] for name in ("latency_p50_s", "latency_p95_s", "unanswered")}
    found["cost_each_usd"] = None if told["cost_each_usd"] is None else float(told["cost_each_usd"])
    return {name: value for name, value in found.items() if value is not None}


def _number(ref: str) -> int:
    return int(ref.partition("@")[2])
