"""What `doctor` examines of the models hosted here: the weights are there, and what they need fits. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from loopwright.catalog.models import Catalog
from loopwright.cli.finding import Finding, fail, ok
from loopwright.cli.quantities import bytes_text
from loopwright.core.errors import LoopwrightError
from loopwright.engines import machine
from loopwright.engines.kinds import engine_of
from loopwright.kit.settings import Settings


def examine_engines(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """One finding a model, each planned with what the ones before it leave free, as `up` does.

    While the server runs its engines hold their memory already, so what is free now says nothing about them.
    """
    try:
        catalog = Catalog(settings)
        hosted = {name: model.engine for name, model in catalog.configured().items() if model.engine is not None}
    except LoopwrightError as error:
        yield fail("engines", error.message, "Correct the models in loopwright.yaml")
        return
    free = machine.look()
    if running:
        free = replace(free, available_bytes=free.memory_bytes)
    for name, engine in hosted.items():
        try:
            fit = engine_of(engine.kind).plan(name, catalog.at_hand(engine), free).fit
        except LoopwrightError as error:
            what, _, todo = error.message.partition("\n")
            todo = todo or "Correct it in loopwright.yaml, or start without local models: loopwright up --no-engine"
            yield fail("engine", f"{name}: {what}", todo)
            continue
        free = replace(free, available_bytes=max(free.available_bytes - fit.total_bytes, 0))
        needs = f"needs {bytes_text(fit.total_bytes)} of {bytes_text(fit.available_bytes)} free"
        yield ok(
            "engine",
            f"{name} fits: {needs}, {fit.context:,} tokens of context, {fit.slots} slots, {fit.threads} threads",
        )
    if not hosted:
        yield ok("engines", "no model is hosted here")
