"""What is watched of a task: its evaluators, made once to see that they can be, and the shares they are drawn with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.core.chat import Delta, Embedder, Request
from loopwright.core.errors import BadRequest, LoopwrightError, UnknownModel
from loopwright.evals.evaluator import Method, Tools
from loopwright.evals.evaluators import make
from loopwright.kit.settings_monitor import MonitorSettings
from loopwright.tasks.task import Task

_ASKS: Final[frozenset[Method]] = frozenset({"judge", "model-assisted"})
_PYTHON: Final = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One evaluator of a watched task."""

    name: str
    """Of its scores."""
    spec: Mapping[str, Any]
    share: float
    asks: bool = False
    """It asks models (or runs a program of yours), so it waits for its turn and has a budget."""
    judges: bool = False
    """A model judges: it may cost money, and its card says how far to trust it."""
    higher_is_better: bool = True
    broken: str | None = None
    """Why it cannot be made."""

    def chance(self, floor: float) -> float:
        """With which a call of a stratum is drawn."""
        return max(self.share, floor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a task is watched."""

    task: str
    monitor: MonitorSettings
    watches: tuple[Watch, ...]
    formed: bool
    """Whether its answers are JSON."""
    bar: float
    by_name: Mapping[str, Watch] = field(default_factory=dict)

    @property
    def computed(self) -> tuple[Watch, ...]:
        """What is found out here."""
        return tuple(each for each in self.watches if not each.asks and each.broken is None)

    @property
    def asked(self) -> tuple[Watch, ...]:
        """What others are asked for."""
        return tuple(each for each in self.watches if each.asks and each.broken is None)


def plan_of(task: Task, *, may: Callable[[object], bool]) -> Plan | None:
    """How a task is watched; None when it is not.

    Args:
        task: with its settings.
        may: whether evaluators of a task that is not the configuration's may name a function of Python.
    """
    monitor = task.monitor
    if monitor is None:
        return None
    watches = tuple(
        _watch(spec, told.get("share", monitor.share) if isinstance(told, Mapping) else monitor.share, task, may)
        for spec, told in zip(task.scored_by, monitor.evaluators, strict=True)
    )
    return Plan(
        task=task.name,
        monitor=monitor,
        watches=watches,
        formed=task.output_schema is not None,
        bar=task.bar,
        by_name={each.name: each for each in watches},
    )


def allowed(spec: Mapping[str, Any], task: Task, may: Callable[[object], bool]) -> bool:
    """Whether an evaluator may name the function of Python that it names."""
    args = spec.get("args")
    named = args.get("function") if isinstance(args, Mapping) else None
    return named is not None and (task.source == "file" or may(named))


def _watch(spec: Mapping[str, Any], share: Any, task: Task, may: Callable[[object], bool]) -> Watch:
    name = str(spec.get("name") or spec.get("kind"))
    tools = Tools(chat=_nobody, embedder=_none, functions=allowed(spec, task, may))
    try:
        made = make(spec, tools)
    except LoopwrightError as error:
        return Watch(name=name, spec=spec, share=float(share), broken=error.message)
    method = getattr(made, "method", "deterministic")
    return Watch(
        name=name,
        spec=spec,
        share=float(share),
        asks=method in _ASKS or spec.get("kind") == _PYTHON,
        judges=method == "judge",
        higher_is_better=bool(getattr(made, "higher_is_better", True)),
    )


def _nobody(request: Request) -> AsyncGenerator[Delta, None]:
    raise UnknownModel(f"nothing is asked now, and {request.model!r} was")


class _Nothing:
    """Embeds nothing."""

    name = ""
    dimensions = 0

    async def __call__(self, _texts: list[str], /, **_privacy: Any) -> list[list[float]]:
        """Raises BadRequest."""
        raise BadRequest("nothing is embedded now")


def _none(_model: str | None) -> Embedder:
    return _Nothing()
