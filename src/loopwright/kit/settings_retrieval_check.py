"""What is checked of a variant's `retrieval:` beyond the types of its settings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import jinja2
from jinja2 import meta

from loopwright.kit.nearest import hint
from loopwright.kit.settings_read import KeyPath
from loopwright.kit.settings_tasks import RetrievalSettings, VariantSettings

CONTEXT: Final = "context"
"""The variable by which a template shows passages."""
COLLECTION: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_SYNTAX: Final = jinja2.Environment(autoescape=False)  # noqa: S701 - only parses
_MOST: Final = 20
_LONGEST: Final = 2_000


def retrieval_problems(
    retrieval: RetrievalSettings, variant: VariantSettings, given: frozenset[str] | None
) -> Iterator[tuple[KeyPath, str]]:
    """Everything that is wrong, each with its place under `retrieval`.

    Args:
        retrieval: what is looked up for a variant.
        variant: whose it is.
        given: the inputs of its task; None when any may be.
    """
    yield from _collections(retrieval.collections)
    if given is not None and CONTEXT in given:
        yield (), f"the task has an input {CONTEXT!r}, by which passages are shown; allowed: another name for the input"
    yield from _query(retrieval.query, given)
    yield from _step(retrieval.step, variant)
    if retrieval.threshold != "auto" and not _number(retrieval.threshold):
        yield ("threshold",), "allowed: auto, or a number"
    if not 1 <= len(retrieval.refusal.strip()) <= _LONGEST:
        yield ("refusal",), f"allowed: a text of up to {_LONGEST:,} characters"
    for name, value in (("rerank", retrieval.rerank), ("rewrite", retrieval.rewrite)):
        if value is not None and value is not False and not isinstance(value, str | Mapping):
            yield (name,), "allowed: false, the name of a model, or a mapping with model and by"
    if retrieval.candidates is not None and retrieval.candidates < retrieval.k:
        yield ("candidates",), f"are fewer than k, {retrieval.k}; allowed: k or more"


def _collections(names: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
    if not names:
        yield ("collections",), "is empty; allowed: the names of collections"
    elif len(names) > _MOST:
        yield ("collections",), f"holds {len(names)}; allowed: up to {_MOST}"
    for at, name in enumerate(names):
        if not COLLECTION.fullmatch(name):
            yield ("collections", f"[{at}]"), "not the name of a collection"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _query(query: str | None, given: frozenset[str] | None) -> Iterator[tuple[KeyPath, str]]:
    if query is None:
        return
    if "{" not in query:
        if given is not None and query not in given:
            yield ("query",), f"there is no input {query!r}{hint(query, given)}; allowed: an input, or a template"
        return
    try:
        used = meta.find_undeclared_variables(_SYNTAX.parse(query))
    except jinja2.TemplateSyntaxError as error:
        yield ("query",), f"line {error.lineno} of the template: {error.message}"
        return
    except (RecursionError, ValueError, OverflowError):
        yield ("query",), "an expression is nested too deeply, or a number has too many digits"
        return
    if not used:
        yield ("query",), "the template uses no input: it would always search for the same"
    for name in sorted(used - given) if given is not None else ():
        yield ("query",), f"there is no input {name!r}{hint(name, given or ())}"


def _step(step: str | None, variant: VariantSettings) -> Iterator[tuple[KeyPath, str]]:
    if step is None:
        return
    names = [each.name for each in variant.strategy.steps]
    if variant.strategy.kind != "chain":
        yield ("step",), f"stands beside kind {variant.strategy.kind}; allowed: with chain"
    elif step not in names:
        yield ("step",), f"there is no step {step!r}{hint(step, names)}"
