"""What is checked of adapters: those of engines, and that who is named by a task has the one it wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from loopwright.kit.nearest import hint
from loopwright.kit.settings import EngineSettings, ModelSettings
from loopwright.kit.settings_adapters import MOST, NAME, UNNAMED, adapter_problems, wanted_adapter
from loopwright.kit.settings_read import KeyPath, Reader
from loopwright.kit.settings_tasks import TaskSettings


def check_adapters(path: KeyPath, engine: EngineSettings, reader: Reader) -> None:
    """Report what cannot be meant of the adapters of an engine."""
    here = (*path, "engine", "adapters")
    if engine.adapters and engine.kind == "embedding":
        reader.report(here, "stand beside an engine that embeds; allowed: with llamacpp")
    if len(engine.adapters) > MOST:
        reader.report(here, f"holds {len(engine.adapters)}; allowed: up to {MOST}")
    for name, adapter in engine.adapters.items():
        if not NAME.fullmatch(name):
            reader.report((*here, name), UNNAMED)
        if not adapter.path:
            reader.report((*here, name), "has no path; allowed: the path of a GGUF file")


def adapters_of(name: str, models: Mapping[str, ModelSettings]) -> Mapping[str, float]:
    """The adapters that whatever answers for a model has, and their scales; none when one of its targets has none."""
    model = models.get(name)
    if model is None:
        return {}
    if model.engine is not None:
        return {each: adapter.scale for each, adapter in model.engine.adapters.items()}
    return shared([adapters_of(each.engine_model or "", _hosted(models)) for each in model.targets])


def shared(each: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The adapters that all of several places have, with the scales of the first."""
    if not each:
        return {}
    return {name: scale for name, scale in each[0].items() if all(name in other for other in each[1:])}


def check_wanted(task: TaskSettings, models: Mapping[str, ModelSettings]) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with the adapters that a task names, as the models are configured."""
    words = {word: name for name, model in models.items() for word in (name, *model.aliases)}
    for path, model, said in _named(task):
        found = wanted_adapter(said)
        if found is not None and (model in words or not models):  # another name is told of as no model
            problem = lacking(found.name, model, adapters_of(words.get(model, ""), models))
            if problem is not None:
                yield path, problem


def lacking(adapter: str, model: str, known: Mapping[str, float]) -> str | None:
    """Why a model cannot be asked with an adapter; None when it can."""
    if adapter in known:
        return None
    if known:
        return f"model {model!r} has no adapter {adapter!r}{hint(adapter, known)}"
    return (
        f"model {model!r} has no adapters, so not {adapter!r}; allowed: an engine here with `adapters`, "
        "or a route all of whose targets have it"
    )


def _named(task: TaskSettings) -> Iterator[tuple[KeyPath, str, object]]:
    """Each adapter that is told as it must be, where, and of which model."""
    for name, variant in task.variants.items():
        path: KeyPath = ("variants", name)
        if variant.strategy.kind != "chain":
            model = variant.model or task.model or ""
            if variant.adapter is not None and not [*adapter_problems(variant.adapter)]:
                yield (*path, "adapter"), model, variant.adapter
            continue
        for at, step in enumerate(variant.strategy.steps):
            model = step.model or variant.model or task.model or ""
            said = variant.adapter if step.adapter is None else step.adapter
            if said is None or [*adapter_problems(said)]:
                continue
            where = ("adapter",) if step.adapter is None else ("strategy", "steps", f"[{at}]", "adapter")
            yield (*path, *where), model, said


def _hosted(models: Mapping[str, ModelSettings]) -> Mapping[str, ModelSettings]:
    return {name: model for name, model in models.items() if model.engine is not None}
