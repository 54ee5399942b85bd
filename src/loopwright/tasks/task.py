"""A task: a named unit of work with inputs and an output, and the variants that do it. Frozen; made from its settings."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from loopwright.core.errors import UnknownModel
from loopwright.kit.nearest import hint
from loopwright.kit.schema import Schema, schema
from loopwright.kit.settings_adapters import Wanted, wanted_adapter
from loopwright.kit.settings_json import json_of
from loopwright.kit.settings_monitor import MonitorSettings
from loopwright.kit.settings_tasks import (
    MemorySettings,
    RetrievalSettings,
    StepSettings,
    StrategySettings,
    TaskSettings,
    VariantSettings,
)
from loopwright.kit.settings_tasks_check import DEFAULT_INPUT, text_input

PREFIX: Final = "task/"
"""What the name of a task begins with where a model could stand."""
StrategyKind = Literal["single", "chain", "self_consistency", "best_of_n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """An example that a variant shows before the question."""

    input: Mapping[str, Any]
    """Variables."""
    output: Any
    """A text, or what its JSON is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is asked in one request."""

    name: str
    """In a chain, the variable that later steps get its answer by; else the variant's name."""
    prompt: str | None
    """A stored prompt, `NAME[@REF]`; None where `messages` are."""
    messages: tuple[Mapping[str, Any], ...]
    """Templates, each with `role` and `content`."""
    model: str
    parameters: Mapping[str, Any]
    output: Mapping[str, Any] | None
    """JSON schema of the answer; None is free text."""
    adapter: Wanted | None = None
    """Of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How many requests make one answer, and what of."""

    kind: StrategyKind = "single"
    samples: int = 1
    answer: Literal["whole", "number", "last_line"] = "whole"
    marker: str | None = None
    evaluator: str | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to do a task."""

    name: str
    weight: float
    prompt: str | None
    messages: tuple[Mapping[str, Any], ...]
    model: str
    """Of a chain, the one of its last step."""
    parameters: Mapping[str, Any]
    examples: tuple[Shot, ...]
    strategy: Strategy
    steps: tuple[Step, ...]
    """What is asked, in order; one unless it is a chain."""
    retrieval: RetrievalSettings | None = None
    """What is looked up for it."""
    memory: MemorySettings | None = None
    """What it is shown of corrections."""

    @property
    def models(self) -> tuple[str, ...]:
        """Every model it asks, each once."""
        return tuple(dict.fromkeys(step.model for step in self.steps))

    @property
    def adapters(self) -> tuple[Wanted, ...]:
        """Every adapter it wants, each once."""
        return tuple(dict.fromkeys(step.adapter for step in self.steps if step.adapter is not None))

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every stored prompt it uses, as `NAME[@REF]`, each once."""
        return tuple(dict.fromkeys(step.prompt for step in self.steps if step.prompt is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A named unit of work."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    metrics: tuple[Mapping[str, Any], ...]
    """What its evaluations measure: `{"kind": …, "name"?: …, "args"?: …}`."""
    bar: float
    """Agreement (Cohen's κ) a judge must have with people to gate."""
    model: str | None
    guardrails: Mapping[str, Any]
    """`{"moderation": {"input": bool, "output": bool}}`; empty is none."""
    variants: Mapping[str, Variant]
    """By name, in the order they were told."""
    inputs: Schema
    """`input_schema`, ready to check values."""
    text_input: str | None
    """The input that a plain text stands for; None when a text cannot stand for the inputs."""
    settings: TaskSettings
    source: Literal["file", "stored"] = "file"
    """Told by `loopwright.yaml`, for every project; or stored in the database, for one."""
    project_id: int | None = None
    number: int = 0
    """Of a stored one: how often it was told."""
    author: str = ""
    changed_at: datetime | None = field(default=None, compare=False)

    @property
    def monitor(self) -> MonitorSettings | None:
        """How its calls are scored as they go by; None is not at all."""
        return self.settings.monitor

    @property
    def scored_by(self) -> tuple[Mapping[str, Any], ...]:
        """What is found out of its calls as they go by, as `metrics` are told."""
        told = () if self.monitor is None else self.monitor.evaluators
        return tuple({name: said for name, said in _metric(each).items() if name != "share"} for each in told)

    @property
    def definition(self) -> dict[str, Any]:
        """JSON it can be made from again."""
        return json_of(self.settings)

    @property
    def values(self) -> tuple[str, ...]:
        """The texts that an answer is one of; empty when it may be another thing."""
        allowed = None if self.output_schema is None else self.output_schema.get("enum")
        texts = isinstance(allowed, list) and bool(allowed) and all(isinstance(each, str) for each in allowed)
        return tuple(allowed) if texts and isinstance(allowed, list) else ()

    def variant(self, name: str) -> Variant:
        """One variant.

        Raises:
            UnknownModel: names the nearest.
        """
        found = self.variants.get(name)
        if found is None:
            raise UnknownModel(
                f"task {self.name!r} has no variant {name[:80]!r}{hint(name, self.variants)}", param="model"
            )
        return found

    def chosen(self, session: str | None) -> Variant:
        """The variant of a session, the same again and again; without a session one by chance, by weight.

        Rendezvous hashing: when a weight changes, only the sessions move that must.
        """
        listed = [each for each in self.variants.values() if each.weight]
        if len(listed) == 1:
            return listed[0]
        drawn = session if session is not None else os.urandom(16).hex()

        def score(each: Variant) -> float:
            digest = hashlib.blake2b(f"{self.name}\0{drawn}\0{each.name}".encode(), digest_size=8).digest()
            part = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
            return -each.weight / math.log(part)

        return max(listed, key=score)

    def share(self, variant: Variant) -> float:
        """Of the calls that name no variant, those that this one gets."""
        return variant.weight / sum(each.weight for each in self.variants.values())


def defaults_of(inputs: Schema) -> dict[str, Any]:
    """The values that inputs have when they are not given."""
    properties = inputs.document.get("properties")
    listed = properties.items() if isinstance(properties, Mapping) else ()
    return {name: about["default"] for name, about in listed if isinstance(about, Mapping) and "default" in about}


def task_of(name: str, settings: TaskSettings, **about: Any) -> Task:
    """The task that checked settings describe; `about` is where it comes from, as the fields of Task say."""
    given = dict(settings.input) or dict(DEFAULT_INPUT)
    inputs = schema(given, "input")
    output = None if settings.output is None else schema(settings.output, "output").document
    guard = settings.guardrails.moderation
    text = text_input(inputs)
    return Task(
        name=name,
        description=settings.description,
        input_schema=given,
        output_schema=output,
        metrics=tuple(_metric(each) for each in settings.metrics),
        bar=settings.bar,
        model=settings.model,
        guardrails={} if guard is None else {"moderation": {"input": guard.input, "output": guard.output}},
        variants={
            each: _variant(each, said, settings, output, _shots(said, text, defaults_of(inputs)))
            for each, said in settings.variants.items()
        },
        inputs=inputs,
        text_input=text,
        settings=settings,
        **about,
    )


def _variant(
    name: str, said: VariantSettings, task: TaskSettings, output: Mapping[str, Any] | None, shots: tuple[Shot, ...]
) -> Variant:
    steps = _steps(name, said, task, output)
    return Variant(
        name=name,
        weight=said.weight,
        prompt=said.prompt,
        messages=_mappings(said.messages),
        model=steps[-1].model,
        parameters=said.parameters,
        examples=shots,
        strategy=_strategy(said.strategy),
        steps=steps,
        retrieval=said.retrieval,
        memory=said.memory,
    )


def _steps(name: str, said: VariantSettings, task: TaskSettings, output: Mapping[str, Any] | None) -> tuple[Step, ...]:
    told: Sequence[StepSettings | VariantSettings] = said.strategy.steps if said.strategy.kind == "chain" else [said]
    made = []
    for at, each in enumerate(told):
        own = each.output if isinstance(each, StepSettings) else None
        kept = output if at == len(told) - 1 else None if own is None else schema(own, "output").document
        made.append(
            Step(
                name=each.name if isinstance(each, StepSettings) else name,
                prompt=each.prompt,
                messages=_mappings(each.messages),
                model=each.model or said.model or task.model or "",
                parameters={**said.parameters, **each.parameters},
                output=kept,
                adapter=wanted_adapter(said.adapter if each.adapter is None else each.adapter),
            )
        )
    return tuple(made)


def _strategy(said: StrategySettings) -> Strategy:
    many = said.kind in ("self_consistency", "best_of_n")
    evaluator = said.evaluator
    return Strategy(
        kind=said.kind,
        samples=said.samples if many else 1,
        answer=said.answer,
        marker=said.marker,
        evaluator=evaluator if isinstance(evaluator, str | Mapping) else None,
    )


def _shots(said: VariantSettings, text: str | None, defaults: Mapping[str, Any]) -> tuple[Shot, ...]:
    found = []
    for each in _mappings(said.examples):
        given = each["input"]
        values = {text or "input": given} if isinstance(given, str) else given
        found.append(Shot(input={**defaults, **values}, output=each["output"]))
    return tuple(found)


def _metric(said: object) -> Mapping[str, Any]:
    return dict(said) if isinstance(said, Mapping) else {"kind": said}


def _mappings(values: Sequence[object]) -> tuple[Mapping[str, Any], ...]:
    return tuple(each for each in values if isinstance(each, Mapping))
