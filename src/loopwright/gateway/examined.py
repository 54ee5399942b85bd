"""Whether a task can be done in this house: whether the models, prompts, variables and evaluators it names are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.core.errors import LoopwrightError, NotFound
from loopwright.gateway.routed import Target
from loopwright.gateway.worded import CONTEXT, Worder
from loopwright.kit.nearest import hint
from loopwright.kit.settings_adapters_check import lacking
from loopwright.tasks.task import Step, Task, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    variant: str
    """Empty for the whole task."""
    where: str
    """`prompt`, `model`, `adapter`, `evaluator`, `retrieval`, `variables`, or a step."""
    problem: str

    def shown(self) -> dict[str, str]:
        """As JSON."""
        return {"variant": self.variant, "where": self.where, "problem": self.problem}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Looks at tasks."""

    worder: Worder
    models: Mapping[str, Target]
    """Every name that can be called."""
    evaluator: Callable[[str | Mapping[str, Any]], str | None]
    """Why an evaluator cannot be made; None when it can."""
    collection: Callable[[int, str], Awaitable[str | None]]
    """Why a collection of a project cannot be searched; None when it can."""

    async def examine(self, task: Task, project_id: int) -> list[Finding]:
        """All that is wrong with a task as it stands now, for the prompts of a project."""
        found = []
        for where, specs in (("metrics", task.metrics), ("monitor", task.scored_by)):
            for spec in specs:
                problem = self.evaluator(spec)
                if problem is not None:
                    found.append(Finding(variant="", where=where, problem=problem))
        for variant in task.variants.values():
            try:
                await self.worder.fetch(variant, project_id)
            except LoopwrightError as error:
                found.append(Finding(variant=variant.name, where="prompt", problem=error.message))
            found.extend(self._variant(task, variant, project_id))
            found.extend([each async for each in self._looked_up(variant, project_id)])
        return found

    async def _looked_up(self, variant: Variant, project_id: int) -> AsyncIterator[Finding]:
        """Collections that are not there, each told once."""
        if variant.retrieval is None:
            return
        for name in variant.retrieval.collections:
            problem = await self.collection(project_id, name)
            if problem is not None:
                yield Finding(variant=variant.name, where="retrieval", problem=problem)

    def _variant(self, task: Task, variant: Variant, project_id: int) -> Iterator[Finding]:
        for model in variant.models:
            if model not in self.models:
                problem = f"there is no model {model!r}{hint(model, self.models)}"
                yield Finding(variant=variant.name, where="model", problem=problem)
        for step in variant.steps:
            if step.adapter is None or step.model not in self.models:
                continue
            lacks = lacking(step.adapter.name, step.model, self.models[step.model].adapters)
            if lacks is not None:
                yield Finding(variant=variant.name, where="adapter", problem=lacks)
        evaluator = variant.strategy.evaluator
        if evaluator is not None and (problem_of := self.evaluator(evaluator)) is not None:
            yield Finding(variant=variant.name, where="evaluator", problem=problem_of)
        known = {*_inputs(task), *(() if variant.retrieval is None else (CONTEXT,))}
        for step in variant.steps:
            for problem in self._step(task, step, known, project_id):
                where = step.name if len(variant.steps) > 1 else "prompt"
                yield Finding(variant=variant.name, where=where, problem=problem)
            known.add(step.name)

    def _step(self, task: Task, step: Step, known: Collection[str], project_id: int) -> Iterator[str]:
        """What a stored prompt wants that the task does not have, or what no template can be made of."""
        try:
            wanted = self.worder.variables(task, step, project_id)
        except NotFound:
            return  # told already
        except LoopwrightError as error:
            yield error.message
            return
        if not _closed(task):
            return
        for name in wanted:
            if name not in known:
                yield f"{step.prompt} wants the variable {name!r}, which is no input{hint(name, known)}"


def _inputs(task: Task) -> Mapping[str, Any]:
    found = task.inputs.document.get("properties")
    return found if isinstance(found, Mapping) else {}


def _closed(task: Task) -> bool:
    """Whether its inputs are those of its schema only."""
    return not task.inputs.document.get("additionalProperties")
