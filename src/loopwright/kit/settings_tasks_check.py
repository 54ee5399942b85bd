"""What is checked of a task beyond the types of its settings: the same for a file and for what comes by REST."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import jinja2
import msgspec
from jinja2 import meta

from loopwright.core.errors import BadRequest
from loopwright.core.who import HOUSE
from loopwright.kit import wire
from loopwright.kit.nearest import hint
from loopwright.kit.schema import Schema, schema
from loopwright.kit.settings import Settings
from loopwright.kit.settings_adapters import adapter_problems
from loopwright.kit.settings_adapters_check import check_wanted
from loopwright.kit.settings_monitor import monitor_problems
from loopwright.kit.settings_read import KeyPath, Reader
from loopwright.kit.settings_retrieval_check import CONTEXT, retrieval_problems
from loopwright.kit.settings_tasks import MemorySettings, StepSettings, StrategySettings, TaskSettings, VariantSettings

Found = Iterator[tuple[KeyPath, str]]
"""Problems, each with its place in the task and what is wrong."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VARIABLE: Final = re.compile(
    r"(?!(?:range|namespace|loop|true|false|none|True|False|None|self|caller)$)[A-Za-z][A-Za-z0-9_]{0,63}"
)
PROMPT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:@[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
DEFAULT_INPUT: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
MOST_VARIANTS: Final = 50
_MOST_STEPS: Final = 20
_MOST_EXAMPLES: Final = 200
_ROLES: Final = ("system", "developer", "user", "assistant")
_OURS: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "n", "response_format", "tools", "tool_choice", "loopwright"}
)
_STEPS: Final = re.compile(r"\[\d+\]|[^.\[\]]+")
_SYNTAX: Final = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - only parses
_NO_VARIABLES: Final = frozenset({"range", "namespace"})


def check_tasks(settings: Settings, reader: Reader) -> None:
    """Report what cannot be meant."""
    words = [word for name, model in settings.models.items() for word in (name, *model.aliases)]
    for name, task in settings.tasks.items():
        for path, text in problems(name, task):
            reader.report(("tasks", name, *path), text)
        for path, text in check_wanted(task, settings.models):
            reader.report(("tasks", name, *path), text)
        for path, model in models_of(task):
            if settings.models and model not in words:
                here = ("tasks", name, *path)
                reader.report(here, f"found {reader.found(here, model)}, no model here{hint(model, words)}")


def models_of(task: TaskSettings) -> Iterator[tuple[KeyPath, str]]:
    """Every model that is named, and where."""
    if task.model is not None:
        yield ("model",), task.model
    for name, variant in task.variants.items():
        if variant.model is not None:
            yield ("variants", name, "model"), variant.model
        if variant.memory is not None and variant.memory.embedder != MemorySettings().embedder:
            yield ("variants", name, "memory", "embedder"), variant.memory.embedder
        for at, step in enumerate(variant.strategy.steps):
            if step.model is not None:
                yield ("variants", name, "strategy", "steps", f"[{at}]", "model"), step.model


def problems(name: str, task: TaskSettings) -> Found:
    """Everything that is wrong with a task."""
    if not NAME.fullmatch(name):
        yield (), "not the name of a task; allowed: letters, digits, dots, hyphens and underscores, up to 64"
    inputs: list[Schema] = []
    yield from _input(task.input or DEFAULT_INPUT, inputs)
    outputs: list[Schema] = []
    if task.output is not None:
        yield from _schema(task.output, ("output",), outputs)
    yield from _measured(task)
    if not 1 <= len(task.variants) <= MOST_VARIANTS:
        yield ("variants",), f"holds {len(task.variants)}; allowed: 1 to {MOST_VARIANTS}"
    elif not any(variant.weight for variant in task.variants.values()):
        yield ("variants",), "every weight is 0; allowed: at least one above 0"
    for word, variant in task.variants.items():
        path = ("variants", word)
        if not NAME.fullmatch(word):
            yield path, "not the name of a variant; allowed: letters, digits, dots, hyphens and underscores, up to 64"
        given = _names(inputs)
        for where, text in _variant(task, variant, given):
            yield (*path, *where), text
        for where, text in _examples(variant.examples, inputs, outputs):
            yield (*path, *where), text


def _measured(task: TaskSettings) -> Found:
    for at, metric in enumerate(task.metrics):
        yield from _named_kind(metric, ("metrics", f"[{at}]"))
    if task.monitor is not None:
        for where, text in monitor_problems(task.monitor):
            yield ("monitor", *where), text


def _variant(task: TaskSettings, variant: VariantSettings, given: frozenset[str] | None) -> Found:
    for where, text in adapter_problems(variant.adapter):
        yield ("adapter", *where), text
    if variant.retrieval is not None:
        for where, text in retrieval_problems(variant.retrieval, variant, given):
            yield ("retrieval", *where), text
        given = None if given is None else given | {CONTEXT}
    yield from _memory(task, variant)
    yield from _parameters(variant.parameters, ("parameters",))
    strategy = variant.strategy
    yield from _strategy(strategy, variant)
    if strategy.kind == "chain":
        if variant.prompt is not None or variant.messages:
            yield ("strategy",), "a chain has its prompts in its steps; allowed: no prompt or messages beside them"
        if variant.examples:
            yield ("examples",), "a chain takes none; allowed: messages in its steps"
        yield from _chain(task, variant, given)
        return
    yield from _asked(variant, given, ())
    if variant.model is None and task.model is None:
        yield (), "names no model, and neither does the task; allowed: a model in either"


def _memory(task: TaskSettings, variant: VariantSettings) -> Found:
    said = variant.memory
    if said is None:
        return
    if variant.strategy.kind == "chain":
        yield ("memory",), "stands beside a chain, whose steps have no corrections; allowed: with other strategies"
    others = {each.memory.embedder for each in task.variants.values() if each.memory is not None}
    if len(others) > 1:
        yield ("memory", "embedder"), f"variants name {', '.join(sorted(others))}; allowed: one for all of a task"
    if said.near != "show" and not (task.output or {}).get("enum"):
        yield ("memory", "near"), f"is {said.near} where the output is no enum; allowed: show"


def _strategy(strategy: StrategySettings, variant: VariantSettings) -> Found:
    kind = strategy.kind
    if strategy.steps and kind != "chain":
        yield ("strategy", "steps"), f"stand beside kind {kind}; allowed: with chain"
    if strategy.evaluator is not None and kind != "best_of_n":
        yield ("strategy", "evaluator"), f"stands beside kind {kind}; allowed: with best_of_n"
    if (strategy.marker is not None or strategy.answer != "whole") and kind != "self_consistency":
        yield ("strategy",), f"has answer or marker beside kind {kind}; allowed: with self_consistency"
    if kind == "best_of_n":
        if strategy.evaluator is None:
            yield ("strategy",), "best_of_n needs an evaluator"
        else:
            yield from _named_kind(strategy.evaluator, ("strategy", "evaluator"))
    if kind in ("self_consistency", "best_of_n") and variant.parameters.get("temperature") == 0:
        yield ("parameters", "temperature"), f"is 0, so all samples of {kind} would be one; allowed: above 0"


def _chain(task: TaskSettings, variant: VariantSettings, given: frozenset[str] | None) -> Found:
    steps = variant.strategy.steps
    if not 1 <= len(steps) <= _MOST_STEPS:
        yield ("strategy", "steps"), f"holds {len(steps)}; allowed: 1 to {_MOST_STEPS}"
    known = given
    for at, step in enumerate(steps):
        path = ("strategy", "steps", f"[{at}]")
        if not VARIABLE.fullmatch(step.name):
            yield (*path, "name"), "not the name of a variable; allowed: letters, digits and underscores"
        elif known is not None and step.name in known:
            yield (*path, "name"), f"{step.name!r} is an input or a step before; allowed: a name of its own"
        for where, text in adapter_problems(step.adapter):
            yield (*path, "adapter", *where), text
        yield from _parameters(step.parameters, (*path, "parameters"))
        yield from _asked(step, known, path)
        if step.model is None and variant.model is None and task.model is None:
            yield path, "names no model, and neither do variant and task; allowed: a model in one of them"
        if step.output is not None:
            yield from _schema(step.output, (*path, "output"), [])
            if at == len(steps) - 1:
                yield (*path, "output"), "the last step's answer is the task's; allowed: output of the task"
        if known is not None:
            known |= {step.name}


def _asked(asked: VariantSettings | StepSettings, given: frozenset[str] | None, path: KeyPath) -> Found:
    """What is wrong with a prompt or messages."""
    if (asked.prompt is None) == (not asked.messages):
        which = "neither" if asked.prompt is None else "both"
        yield path, f"has {which} of prompt and messages; allowed: exactly one"
    if asked.prompt is not None and not PROMPT.fullmatch(asked.prompt):
        yield (*path, "prompt"), "not the name of a prompt; allowed: NAME, NAME@LABEL, NAME@NUMBER"
    for at, message in enumerate(asked.messages):
        here = (*path, "messages", f"[{at}]")
        if not isinstance(message, Mapping):
            yield here, "allowed: a mapping with role and content"
            continue
        for word in message.keys() - {"role", "content", "name"}:
            yield (*here, str(word)), f"unknown{hint(str(word), ('role', 'content', 'name'))}"
        if message.get("role") not in _ROLES:
            yield (*here, "role"), f"allowed: one of {', '.join(_ROLES)}"
        yield from _content(message.get("content"), given, (*here, "content"))


def _content(content: object, given: frozenset[str] | None, path: KeyPath) -> Found:
    texts = [(path, content)]
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [part if isinstance(part, Mapping) else {} for part in content]
        texts = [
            ((*path, f"[{at}]"), part.get("text"))
            for at, part in enumerate(parts)
            if part.get("type", "text") == "text"
        ]
    for here, text in texts:
        if not isinstance(text, str):
            yield here, "allowed: text, or a list of parts with text"
            continue
        try:
            used = meta.find_undeclared_variables(_SYNTAX.parse(text)) - _NO_VARIABLES
        except jinja2.TemplateSyntaxError as error:
            yield here, f"line {error.lineno} of the template: {error.message}"
            continue
        except (RecursionError, ValueError, OverflowError):
            yield here, "an expression is nested too deeply, or a number has too many digits"
            continue
        for name in sorted(used - given) if given is not None else ():
            yield here, f"there is no input {name!r}{hint(name, given or ())}"


def _input(document: Mapping[str, object], found: list[Schema]) -> Found:
    yield from _schema(document, ("input",), found)
    for checked in found:
        if checked.document.get("type", "object") != "object":
            yield ("input", "type"), f"inputs are variables: {checked.document['type']!r}; allowed: object"
        properties = checked.document.get("properties")
        for name in properties if isinstance(properties, Mapping) else ():
            if not VARIABLE.fullmatch(name):
                yield ("input", "properties", name), "not the name of a variable; allowed: letters, digits, underscores"


def _names(inputs: Sequence[Schema]) -> frozenset[str] | None:
    """The variables there are; None when any may be."""
    for checked in inputs:
        properties = checked.document.get("properties")
        if isinstance(properties, Mapping) and not checked.document.get("additionalProperties"):
            return frozenset(properties)
    return None


def _schema(document: object, path: KeyPath, found: list[Schema]) -> Found:
    where = path[-1]
    try:
        found.append(schema(document, where))
    except BadRequest as error:
        steps = tuple(_STEPS.findall(error.param or ""))[1:]
        yield (*path, *steps), error.message.removeprefix(f"{error.param}: ")


def _examples(examples: Sequence[object], inputs: Sequence[Schema], outputs: Sequence[Schema]) -> Found:
    if len(examples) > _MOST_EXAMPLES:
        yield ("examples",), f"holds {len(examples)}; allowed: up to {_MOST_EXAMPLES}"
    for at, example in enumerate(examples):
        path = ("examples", f"[{at}]")
        if not isinstance(example, Mapping) or example.keys() != {"input", "output"}:
            yield path, "allowed: a mapping with input and output"
            continue
        given: object = example["input"]
        for checked in inputs:
            text = text_input(checked)
            if isinstance(given, str):
                if text is None:
                    yield (*path, "input"), "is a text, and the task has no single text input; allowed: a mapping"
                    continue
                given = {text: given}
            for problem in checked.problems(given, most=1):
                yield (*path, "input"), problem
        for checked in outputs:
            for problem in checked.problems(example["output"], most=1):
                yield (*path, "output"), problem


def text_input(inputs: Schema) -> str | None:
    """The one input that a plain text can stand for: the only one that must be given, and a text."""
    properties = inputs.document.get("properties")
    if not isinstance(properties, Mapping):
        return None
    needed = inputs.document.get("required")
    names = [name for name in needed if name in properties] if isinstance(needed, list) and needed else [*properties]
    if len(names) != 1:
        return None
    kind = properties[names[0]]
    return names[0] if isinstance(kind, Mapping) and kind.get("type") == "string" else None


def _parameters(given: Mapping[str, object], path: KeyPath) -> Found:
    for name in sorted(given.keys() & _OURS):
        more = ": `output` of the task says it" if name == "response_format" else ""
        yield (*path, name), f"is not for a variant to say{more}; allowed: temperature, max_tokens and the like"
    body = {name: value for name, value in given.items() if name not in _OURS}
    body |= {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    try:
        wire.parse(msgspec.json.encode(body), "chat", call_id="", who=HOUSE, started_ns=0)
    except BadRequest as error:
        param = error.param or ""
        yield (*path, *_STEPS.findall(param)), error.message.removeprefix(f"{param}: ")


def _named_kind(given: object, path: KeyPath) -> Found:
    kind = given.get("kind") if isinstance(given, Mapping) else given
    if not isinstance(kind, str) or not kind:
        yield path, "allowed: the kind of an evaluator, or a mapping with kind, name and args"
    elif isinstance(given, Mapping):
        for word in given.keys() - {"kind", "name", "args"}:
            yield (*path, str(word)), f"unknown{hint(str(word), ('kind', 'name', 'args'))}"
        if not isinstance(given.get("args", {}), Mapping):
            yield (*path, "args"), "allowed: a mapping"
