"""JSON as models write it: found in prose, mended, and made to fit a schema where nothing is lost by it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

import json_repair
import msgspec

from loopwright.kit.schema import Schema, types_of

_FENCE: Final = re.compile(r"```[a-zA-Z0-9]*\s*\n(.*?)```", re.DOTALL)
_THOUGHT: Final = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MENDABLE: Final = 200_000
"""Characters: mending longer texts would hold the process up."""


class NotJson(ValueError):
    """The text holds no JSON."""


def read(text: str) -> Any:
    """The JSON value a text is, or holds in a fence or between words; slightly damaged JSON is mended.

    Raises:
        NotJson: there is none.
    """
    plain = _THOUGHT.sub("", text).strip()
    fence = _FENCE.search(plain)
    for candidate in (plain, fence[1].strip() if fence else ""):
        try:
            return msgspec.json.decode(candidate)
        except (msgspec.DecodeError, RecursionError):
            continue
    inner = fence[1] if fence else plain
    starts = [at for at in (inner.find("{"), inner.find("[")) if at >= 0]
    if not starts or len(inner) > _MENDABLE:
        raise NotJson("it is not JSON")
    try:
        mended = json_repair.loads(inner[min(starts) :])
        return msgspec.json.decode(msgspec.json.encode(mended))
    except (ValueError, RecursionError, msgspec.MsgspecError, TypeError):
        raise NotJson("it is not JSON, and cannot be mended") from None


def fitted(value: Any, schema: Schema) -> Any:
    """`value`, its leaves given the types the schema wants where that loses nothing; otherwise as it was.

    `"3"` becomes 3 for an integer, `3` becomes "3" for a string, `"true"` true, `"[1]"` [1]; a null that is not
    allowed stands for an absent member that is not required. `"3.5"` for an integer, `"03"`, `"yes"` stay and fail.
    """
    return value if schema.validator.is_valid(value) else _fit(value, schema.document)


def _fit(value: Any, document: Any) -> Any:
    if not isinstance(document, Mapping):
        return value
    for word in ("anyOf", "oneOf"):
        branches = document.get(word)
        if isinstance(branches, list):
            value = _of_branches(value, branches)
    for branch in document.get("allOf") or ():
        value = _fit(value, branch)
    value = _leaf(value, document)
    if isinstance(value, dict):
        return _members(value, document)
    if isinstance(value, list):
        first = document.get("prefixItems") or []
        rest = document.get("items")
        return [_fit(item, first[i] if i < len(first) else rest) for i, item in enumerate(value)]
    return value


def _of_branches(value: Any, branches: Sequence[Any]) -> Any:
    """By the first branch that takes it as it is, else by the first that changes it."""
    taken = [branch for branch in branches if _takes(value, branch)]
    for branch in taken or branches:
        tried = _fit(value, branch)
        if taken or tried != value or type(tried) is not type(value):
            return tried
    return value


def _takes(value: Any, branch: Any) -> bool:
    """Whether a branch is meant: by type, by value, and for objects by the members that tell them apart."""
    if not isinstance(branch, Mapping):
        return branch is True
    types = types_of(branch)
    named = not types or any(_IS[name](value) for name in types if name in _IS)
    enum = branch.get("enum")
    if not named or (enum is not None and value not in enum) or ("const" in branch and branch["const"] != value):
        return False
    if not isinstance(value, dict):
        return True
    properties = branch.get("properties") or {}
    consts = {name: each["const"] for name, each in properties.items() if isinstance(each, dict) and "const" in each}
    told = all(name not in value or value[name] == const for name, const in consts.items())
    return told and all(name in value for name in branch.get("required") or ())


def _members(value: dict[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    properties = document.get("properties") or {}
    rest = document.get("additionalProperties")
    required = document.get("required") or ()
    out: dict[str, Any] = {}
    for name, member in value.items():
        inner = properties.get(name, rest)
        if member is None and name in properties and name not in required and not _nullable(inner):
            continue
        out[name] = _fit(member, inner)
    return out


def _nullable(document: Any) -> bool:
    if not isinstance(document, Mapping):
        return document is not False
    if any(_nullable(branch) for word in ("anyOf", "oneOf") for branch in document.get(word) or ()):
        return True
    types = types_of(document)
    if "enum" in document:
        return None in document["enum"]
    return "null" in types if types else not ({"anyOf", "oneOf", "allOf", "const"} & document.keys())


def _leaf(value: Any, document: Mapping[str, Any]) -> Any:
    types = types_of(document)
    if not types or any(_IS[name](value) for name in types if name in _IS):
        return int(value) if types == ("integer",) and isinstance(value, float) and value.is_integer() else value
    if isinstance(value, str):
        return _from_text(value, types)
    if "string" in types and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _from_text(text: str, types: Sequence[str]) -> Any:
    bare = text.strip()
    if {"integer", "number"} & set(types) and _INTEGER.fullmatch(bare) and bare != "-0":
        return int(bare)
    if "number" in types and _NUMBER.fullmatch(bare) and math.isfinite(float(bare)):
        return float(bare)
    if "boolean" in types and bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    for kind, opening in (("object", "{"), ("array", "[")):
        if kind in types and bare.startswith(opening):
            try:
                return msgspec.json.decode(bare)
            except (msgspec.DecodeError, RecursionError):
                return text
    return text


_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: not isinstance(value, bool) and isinstance(value, int | float),
}


def one_of(text: str, values: Sequence[str]) -> str:
    """The one of `values` that a text means: itself, named alone in it, else the nearest. Always one of them.

    Raises:
        ValueError: `values` is empty.
    """
    said = _THOUGHT.sub("", text).strip().strip("\"'`*.").strip()
    if said in values:
        return said
    folded = said.casefold()
    for value in values:
        if value.casefold() == folded:
            return value
    named = [value for value in values if re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", folded)]
    if len(named) == 1:
        return named[0]
    if named:  # the one that comes last is the conclusion; of two that end there, the longer
        return max(named, key=lambda value: (folded.rfind(value.casefold()) + len(value), len(value)))
    return max(values, key=lambda value: SequenceMatcher(None, value.casefold(), folded[:1000]).ratio())


def tightened(document: Any, *, text: int = 120, items: int = 8) -> Any:
    """A schema within `document` whose values are short, for a model that finds no end."""
    if not isinstance(document, Mapping):
        return document
    out = dict(document)
    for word in ("properties",):
        if isinstance(out.get(word), dict):
            out[word] = {name: tightened(each, text=text, items=items) for name, each in out[word].items()}
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(out.get(word), list):
            out[word] = [tightened(each, text=text, items=items) for each in out[word]]
    if isinstance(out.get("items"), dict):
        out["items"] = tightened(out["items"], text=text, items=items)
    types = types_of(out)
    if "string" in types and not ({"enum", "const", "pattern", "format", "maxLength"} & out.keys()):
        out["maxLength"] = max(text, out.get("minLength", 0))
    if "array" in types and not ({"maxItems", "contains", "prefixItems"} & out.keys()):
        out["maxItems"] = max(items, out.get("minItems", 0))
    return out
