"""What can be said of tasks: units of LLM work with inputs and an output, and the variants that do them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from loopwright.kit.settings_marks import Between
from loopwright.kit.settings_monitor import MonitorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """One step of a chain: one call that does one job."""

    name: str = ""
    """What later steps call its answer: a variable of their templates."""
    prompt: str | None = None
    """A stored prompt, `NAME` or `NAME@LABEL`, or with a number; instead of `messages`."""
    messages: tuple[object, ...] = ()
    """Templates of messages, each with `role` and `content`; instead of `prompt`."""
    model: str | None = None
    """Who is asked; without it, the variant's model."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """As the variant's, which hold where these say nothing."""
    adapter: object = None
    """As the variant's, which holds where this says nothing."""
    output: Mapping[str, object] | None = None
    """JSON schema of the answer, which later steps then get as an object; the last step's is the task's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySettings:
    """How many requests a variant makes for one answer, and what of."""

    kind: Literal["single", "chain", "self_consistency", "best_of_n"] = "single"
    """One request, steps that feed each other, the majority of samples, or the sample an evaluator likes best."""
    samples: Annotated[int, Between(low=2, high=32)] = 5
    """Of `self_consistency` and `best_of_n`: answers that are asked for."""
    answer: Literal["whole", "number", "last_line"] = "whole"
    """Of `self_consistency`: what of a text is voted on. Objects are compared as JSON."""
    marker: str | None = None
    """Of `self_consistency`: only what follows its last occurrence is voted on, e.g. `Answer:`."""
    evaluator: object = None
    """Of `best_of_n`: the kind of an evaluator, or `{kind, args}`; the sample with the best score is the answer."""
    steps: tuple[StepSettings, ...] = ()
    """Of `chain`: in their order; the last one's answer is the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSettings:
    """What is looked up for a variant before it answers. See docs/grounding.md."""

    collections: tuple[str, ...] = ()
    """Those that are searched, of the project that asks."""
    query: str | None = None
    """What is searched for: an input, or a template of inputs; not set is the text input, or all inputs that are texts."""
    step: str | None = None
    """Of a chain: the step that is shown the passages; not set is the last."""
    tokens: Annotated[int, Between(low=50, high=1_000_000)] = 1_200
    """Of passages that are shown, at most; a passage is shown whole or not at all."""
    k: Annotated[int, Between(low=1, high=100)] = 6
    """Passages that are shown, at most."""
    candidates: Annotated[int, Between(low=1, high=1_000)] | None = None
    """Passages that are ranked before the best are chosen; this and the next five: not set is as the collection says."""
    mode: Literal["hybrid", "dense", "lexical"] | None = None
    """By meaning and words, by meaning, or by words."""
    filter: Mapping[str, object] = field(default_factory=dict)
    """What the metadata of a document must be; see docs/search.md."""
    rerank: object = None
    """Who ranks the best again; see docs/search.md."""
    diversity: Annotated[float, Between(low=0, high=1)] | None = None
    """How much passages that say the same make way for others."""
    rewrite: object = None
    """Whether a model rewrites the question before it is searched for; see docs/search.md."""
    threshold: object = "auto"
    """Evidence below which the documents are taken to say nothing: `auto` is calibrated for the collection, or a number."""
    weak: Literal["refuse", "ask"] = "refuse"
    """Where evidence is weak: answer `refusal` without asking the model, or ask it all the same."""
    refusal: str = "The documents do not say."
    """The answer where they do not."""
    cite: bool = True
    """Have the answer name its passages as [1], and take out citations of passages that it was not shown."""
    suspicious: Literal["drop", "mark", "keep"] = "drop"
    """What becomes of passages that read like orders to a model: left out, shown with a warning, or shown as others."""
    suspicion: Annotated[float, Between(low=0, high=1)] = 0.5
    """From which score on a passage reads like that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """What people corrected, shown to a variant as examples. See docs/memory.md."""

    tokens: Annotated[int, Between(low=50, high=1_000_000)] = 1_000
    """Of examples that are shown, at most."""
    k: Annotated[int, Between(low=1, high=64)] = 4
    """Examples that are shown, at most."""
    threshold: Annotated[float, Between(low=0, high=1)] = 0.5
    """Cosine of two inputs from which on one is an example for the other."""
    diversity: Annotated[float, Between(low=0, high=1)] = 0.2
    """0 shows the nearest, however alike they are; 1 looks only for what is unlike those shown."""
    exact: Literal["show", "answer"] = "show"
    """What a correction of the very same inputs does: it is shown as others are, or is the answer, and no model is asked."""
    near: Literal["show", "narrow"] = "show"
    """Of tasks that answer with one of some values: the corrections that are shown leave all values open, or narrow them
    to those they name."""
    holdout: Annotated[float, Between(low=0, high=1)] = 0.05
    """Share of the calls that memory has something for and that are answered without it, so that its effect can be told."""
    days: Annotated[int, Between(low=1, high=36_500)] | None = None
    """Corrections that are older are not shown; not set is without end."""
    embedder: str = "minilm"
    """The model that tells which inputs are alike; one for all variants of a task."""
    timeout: Annotated[float, Between(low=0.01, high=30)] = 0.5
    """Seconds a call waits for its vector; then it goes on without memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSettings:
    """One way to do a task."""

    weight: Annotated[float, Between(low=0, high=1_000_000)] = 1.0
    """Its share of the calls that name no variant; 0 answers only when it is named."""
    prompt: str | None = None
    """A stored prompt, `NAME` or `NAME@LABEL`, or with a number; instead of `messages`."""
    messages: tuple[object, ...] = ()
    """Templates of messages, each with `role` and `content`; instead of `prompt`."""
    model: str | None = None
    """Who is asked; without it, the task's model."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Members of the request such as `temperature`; they win over what a client sends."""
    examples: tuple[object, ...] = ()
    """Shown before the question, each with `input` (text or variables) and `output`."""
    strategy: StrategySettings = field(default_factory=StrategySettings)
    """How many requests make one answer."""
    retrieval: RetrievalSettings | None = None
    """Collections that are searched for it, and how the answer stands on what was found; not set is none."""
    memory: MemorySettings | None = None
    """Corrections of its task that are shown to it; not set is none."""
    adapter: object = None
    """An adapter (LoRA) of its model, by name, or `{name, scale}`; of a chain, of every step that names none itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationGuardSettings:
    """Our own moderation, which asks nobody; docs/moderation.md says what it can tell."""

    input: bool = True
    """Refuse a request whose inputs are flagged (403)."""
    output: bool = False
    """Refuse an answer that is flagged (403); then no answer begins before it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGuardrailSettings:
    """What inputs and answers of a task must pass. Policies of privacy stand under `privacy.models.task/NAME`."""

    moderation: ModerationGuardSettings | None = None
    """Our own moderation; not set is off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """A named unit of work that is called as `task/NAME` or `task/NAME@VARIANT`."""

    description: str = ""
    """For people."""
    input: Mapping[str, object] = field(default_factory=dict)
    """JSON schema of the input variables, an object; not set is one text named `input`."""
    output: Mapping[str, object] | None = None
    """JSON schema that every answer keeps to; `{enum: […]}` of texts for one of some values; not set is free text."""
    metrics: tuple[object, ...] = ()
    """What its evaluations measure: kinds of evaluators, or `{kind, name, args}`."""
    monitor: MonitorSettings | None = None
    """Which evaluators score which share of its calls as they go by; not set is none. See docs/online-evaluation.md."""
    bar: Annotated[float, Between(low=0, high=1)] = 0.6
    """Agreement with people (Cohen's κ) below which a judge may inform but never gate."""
    model: str | None = None
    """Who is asked by variants that name no model."""
    guardrails: TaskGuardrailSettings = field(default_factory=TaskGuardrailSettings)
    """What inputs and answers must pass."""
    variants: Mapping[str, VariantSettings] = field(default_factory=dict)
    """Ways to do it, by name."""
