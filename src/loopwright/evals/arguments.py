"""Arguments of evaluators: declared as a dataclass, read from JSON, wrong ones refused with what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint

_WORDS: Final[Mapping[object, str]] = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false", Any: "anything",
}  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a kind, for people."""

    name: str
    type: str
    """`text`, `a whole number`, `one of: strict, loose`."""
    doc: str
    required: bool
    default: Any = None
    """JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Of kinds that take no arguments."""


def described(shape: type) -> tuple[Argument, ...]:
    """The arguments a dataclass declares: `name: Annotated[type, "What it is for"] = default`."""
    hints = get_type_hints(shape, include_extras=True)
    return tuple(
        Argument(
            name=each.name,
            type=_said(get_args(hints[each.name])[0]),
            doc=get_args(hints[each.name])[1],
            required=_required(each),
            default=None if _required(each) else _default(each),
        )
        for each in fields(shape)
    )


def read(kind: str, given: Mapping[str, Any], shape: type[T]) -> T:
    """The arguments of an evaluator of `kind`.

    Raises:
        BadRequest: one is unknown, absent, of another type or not allowed; the message says what is.
    """
    known = {each.name: each for each in described(shape)}
    for name in given:
        if name not in known:
            there = hint(str(name), known) if known else "; it takes none"
            raise BadRequest(f"{kind}: there is no argument {str(name)[:80]!r}{there}", param=f"args.{str(name)[:80]}")
    for name, each in known.items():
        if each.required and given.get(name) is None:
            raise BadRequest(
                f"{kind}: args.{name} is missing: {_uncapped(each.doc)} ({each.type})", param=f"args.{name}"
            )
    present = {name: value for name, value in given.items() if value is not None}
    try:
        return msgspec.convert(present, shape)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        name = place.lstrip(".").rstrip("`").partition(".")[0].partition("[")[0]
        if name in known:
            allowed = f"; it takes {known[name].type}: {_uncapped(known[name].doc)}"
            raise BadRequest(f"{kind}: args.{name}: {said}{allowed}", param=f"args.{name}") from None
        raise BadRequest(f"{kind}: {said}", param="args") from None


def _required(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _default(each: Field[Any]) -> Any:
    value = each.default if each.default_factory is MISSING else each.default_factory()
    return list(value) if isinstance(value, tuple) else value


def _uncapped(doc: str) -> str:
    return (doc[:1].lower() + doc[1:]).rstrip(".")


def _said(hint_of: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(hint_of), get_args(hint_of)
    if origin is Literal:
        return "one of: " + ", ".join(str(each) for each in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_said(each) for each in inner if each is not NoneType))
    if origin in (tuple, list):
        return f"a list of {_plural(_said(inner[0]))}"
    if origin in (dict, Mapping) or hint_of is dict:
        return "an object"
    return _WORDS.get(hint_of, str(hint_of))


def _plural(words: str) -> str:
    return {"text": "texts", "a number": "numbers", "a whole number": "whole numbers"}.get(words, words)
