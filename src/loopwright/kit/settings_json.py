"""Reads JSON that came by REST into the dataclasses of settings, and writes them as JSON. Knows no setting's meaning.

Nothing is expanded here: `${NAME}` in a text that a client sends is that text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

from loopwright.core.errors import BadRequest
from loopwright.kit.nearest import hint
from loopwright.kit.settings_read import KeyPath, show_path
from loopwright.kit.settings_words import Wanted, describe, told, wanted

_T = TypeVar("_T")
_DEEPEST: Final = 30
_MOST_NODES: Final = 20_000
_FAR: Final = 2**63
_TEXT: Final = 256
"""Characters of a plain text; templates and schemas are free values, which are not bounded here."""


def settings_of(document: object, schema: type[_T], path: KeyPath = ()) -> _T:
    """The dataclass `schema` that `document` describes.

    Raises:
        BadRequest: a member is unknown or is not what it should be; `param` is its place.
    """
    check_json(document, "the definition")
    made: _T = _section(document, schema, path)
    return made


def refused(path: KeyPath, text: str) -> BadRequest:
    """A problem at a place."""
    where = show_path(path)
    return BadRequest(f"{where or 'the definition'}: {text}", param=where or None)


def json_of(settings: Any) -> dict[str, Any]:
    """What `settings_of` would read these from; what is as it is by default is left out."""
    out: dict[str, Any] = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value != _default(each):
            out[each.name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return json_of(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def check_json(document: object, what: str) -> None:
    """A document of JSON's types, neither too deep nor too large, whose numbers and texts can be held.

    Raises:
        BadRequest: it is not; `what` is said first.
    """
    held: list[tuple[object, int]] = [(document, 0)]
    nodes = 0
    while held:
        value, depth = held.pop()
        nodes += 1
        if depth > _DEEPEST or nodes > _MOST_NODES:
            raise BadRequest(f"{what} is nested deeper than {_DEEPEST} or holds more than {_MOST_NODES} values")
        if isinstance(value, Mapping):
            if not all(isinstance(name, str) for name in value):
                raise BadRequest(f"{what} holds a name that is no text: put it in quotes")
            held.extend((each, depth + 1) for pair in value.items() for each in pair)
        elif isinstance(value, list | tuple):
            held.extend((each, depth + 1) for each in value)
        elif problem := _unfit(value):
            raise BadRequest(f"{what} holds {problem}")


def _unfit(value: object) -> str:
    """Why a value cannot be held; empty when it can."""
    if isinstance(value, str):
        bad = "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value)
        return "a character that no text can" if bad else ""
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is none"
    if isinstance(value, int) and not -_FAR <= value < _FAR:
        return "a number that is too large"
    known = value is None or isinstance(value, bool | int | float)
    return "" if known else f"a {type(value).__name__}; allowed: what JSON has"


def _section(document: object, schema: Any, path: KeyPath) -> Any:
    known = told(schema)
    if not isinstance(document, Mapping):
        raise refused(path, f"allowed: an object with {', '.join(known)}")
    for name in document:
        if name not in known:
            raise refused((*path, str(name)), f"unknown{hint(str(name), known)}")
    return schema(**{name: _value(each, known[name][1], (*path, name)) for name, each in document.items()})


def _value(value: object, want: Wanted, path: KeyPath) -> object:
    if want.base is object or (value is None and want.optional):
        return value
    if value is None:
        raise refused(path, f"found null; allowed: {describe(want)}")
    return _section(value, want.base, path) if want.section else _held(value, want, path)


def _held(value: object, want: Wanted, path: KeyPath) -> object:
    base, origin = want.base, get_origin(want.base)
    if origin is Mapping and isinstance(value, Mapping):
        inner = wanted(get_args(base)[1])
        return {str(name): _value(each, inner, (*path, str(name))) for name, each in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        inner = wanted(get_args(base)[0])
        return tuple(_value(each, inner, (*path, f"[{at}]")) for at, each in enumerate(value))
    if not _fits(value, want):
        raise refused(path, f"found {_shown(value)}; allowed: {describe(want)}")
    return float(value) if base is float and isinstance(value, int) else value


def _fits(value: object, want: Wanted) -> bool:
    """Whether a plain value is what is wanted."""
    base = want.base
    if isinstance(value, str):
        plain = base is str and value.isprintable() and len(value) <= _TEXT
        return plain or (get_origin(base) is Literal and value in get_args(base))
    if isinstance(value, bool):
        return base is bool
    if not isinstance(value, int | float) or (base is not float and not (base is int and isinstance(value, int))):
        return False
    low, high = want.between.low, want.between.high
    return (low is None or value >= low) and (high is None or value <= high)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else repr(value)[:60]
