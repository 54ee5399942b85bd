"""Every kind of evaluator, by name: ours and those of installed packages. Made from a spec, which can be kept.

A spec is `{"kind": "contains", "name": "polite", "args": {"texts": ["please"]}}`, or just the kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from loopwright.core.errors import BadRequest, NotFound, SettingsError, StartError
from loopwright.evals.arguments import Argument, described
from loopwright.evals.evaluator import Evaluator, Method, Tools
from loopwright.kit.nearest import hint
from loopwright.kit.plugins import Registry

BUILTIN: Final[Mapping[str, str]] = {
    "answer_relevance": "loopwright.evals.triad:AnswerRelevance",
    "bbq_bias": "loopwright.evals.bbq:BbqBias",
    "bleu": "loopwright.evals.overlap:Bleu",
    "choice_match": "loopwright.evals.matching:ChoiceMatch",
    "chrf": "loopwright.evals.overlap:Chrf",
    "classification": "loopwright.evals.classification:Classification",
    "contains": "loopwright.evals.rules:Contains",
    "context_relevance": "loopwright.evals.triad:ContextRelevance",
    "contrast": "loopwright.evals.overlap:Contrast",
    "exact_match": "loopwright.evals.matching:ExactMatch",
    "grounded": "loopwright.evals.similar:Grounded",
    "groundedness": "loopwright.evals.triad:Groundedness",
    "ifeval": "loopwright.evals.ifeval:Ifeval",
    "judge": "loopwright.evals.judge:Judge",
    "language": "loopwright.evals.tone:Language",
    "json_schema": "loopwright.evals.rules:JsonSchema",
    "length": "loopwright.evals.rules:Length",
    "numeric_match": "loopwright.evals.matching:NumericMatch",
    "pii": "loopwright.evals.safety:Pii",
    "python": "loopwright.evals.functions:PythonFunction",
    "refusal": "loopwright.evals.safety:Refusal",
    "regex": "loopwright.evals.rules:Regex",
    "rouge": "loopwright.evals.overlap:Rouge",
    "sentiment": "loopwright.evals.tone:Sentiment",
    "similarity": "loopwright.evals.similar:Similarity",
    "sql_match": "loopwright.evals.sql_match:SqlMatch",
    "token_f1": "loopwright.evals.matching:TokenF1",
    "toxicity": "loopwright.evals.safety:Toxicity",
    "tool_calls": "loopwright.evals.tool_calls:ToolCalls",
}
"""A factory is a callable `(*, kind, name, args, tools) -> Evaluator`; with a dataclass `Args`, its arguments are known."""
_LARGEST: Final = 400_000
"""Bytes of a spec as JSON."""
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of evaluator, for people."""

    name: str
    doc: str
    method: Method | None
    """None is not known: of one that says so only once made."""
    args: tuple[Argument, ...]


def make(spec: Mapping[str, Any] | str, tools: Tools | None = None) -> Evaluator:
    """The evaluator of a spec.

    Raises:
        BadRequest: the spec is malformed, names a kind that is not there, or its arguments are wrong.
    """
    kind, name, args = _parts(spec)
    try:
        factory = _registry().find(kind)
    except NotFound:
        raise BadRequest(f"there is no evaluator {kind[:80]!r}{hint(kind[:80], names())}", param="kind") from None
    except StartError as error:
        raise BadRequest(error.message, param="kind") from error
    if "args" not in _takes(factory):
        raise BadRequest(f"{kind!r} looks at answers of a cascade, it evaluates no examples", param="kind")
    try:
        made = factory(kind=kind, name=name, args=args, tools=tools or Tools())
    except SettingsError as error:
        raise BadRequest(f"{kind}: {error.message}", param="args") from error
    return made


def kinds() -> list[Kind]:
    """All kinds, by name. One that cannot be loaded, or is for cascades, is left out."""
    found = []
    for name in names():
        factory = _registry().find(name)
        doc = (inspect.getdoc(factory) or "").partition("\n\n")[0].replace("\n", " ")
        shape = getattr(factory, "Args", None)
        args = described(shape) if shape is not None else ()
        method = getattr(factory, "method", None)
        # Of some the arguments decide: whether a model judges.
        found.append(
            Kind(name=name, doc=doc, method=cast("Method", method) if isinstance(method, str) else None, args=args)
        )
    return found


def names() -> list[str]:
    """The names of `kinds`."""
    found = []
    for name in _registry().names():
        try:
            if name in BUILTIN or "args" in _takes(_registry().find(name)):
                found.append(name)
        except StartError:
            continue  # `make` tells whose it is and what is wrong
    return found


@lru_cache(maxsize=1)
def _registry() -> Registry[Evaluator]:
    return Registry("evaluators", builtin=BUILTIN)


def _takes(factory: Any) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return set()


def _parts(spec: Mapping[str, Any] | str) -> tuple[str, str, Mapping[str, Any]]:
    if isinstance(spec, str):
        spec = {"kind": spec}
    if not isinstance(spec, Mapping):
        raise BadRequest(f"an evaluator is a kind or an object with `kind`, not {type(spec).__name__}", param="kind")
    unknown = [str(key) for key in spec if key not in ("kind", "name", "args")]
    if unknown:
        raise BadRequest(
            f"an evaluator has `kind`, `name` and `args`, no {unknown[0][:80]!r}; what tunes it goes into `args`",
            param=unknown[0][:80],
        )
    kind = spec.get("kind")
    if not isinstance(kind, str) or not kind:
        raise BadRequest(f"`kind` names the evaluator: one of {', '.join(names())}", param="kind")
    name = spec.get("name") or kind
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadRequest(f"`name` is a text of 1 to {_LONGEST_NAME} printable characters", param="name")
    args = spec.get("args")
    if args is None:
        args = {}
    if not isinstance(args, Mapping) or not all(isinstance(key, str) for key in args):
        raise BadRequest(f"{kind[:80]}: `args` is an object of arguments, not {type(args).__name__}", param="args")
    try:
        size = len(msgspec.json.encode(args))
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        raise BadRequest(f"{kind[:80]}: `args` is no JSON", param="args") from None
    if size > _LARGEST:
        raise BadRequest(f"{kind[:80]}: `args` has {size:,} bytes; the limit is {_LARGEST:,}", param="args")
    return kind, name, args
