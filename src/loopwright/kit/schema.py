"""JSON schemas from outside: checked, bounded, made plain, and what a value breaks in them.

A schema is refused before a model sees it when nobody could keep it. What remains is plain: local references are
written out (so a part can stand anywhere), type names of other tongues (`dict`, `float`, `nullable`) are JSON's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import msgspec

from loopwright.core.errors import BadRequest

DEEPEST: Final = 32
"""Schemas within schemas."""
LARGEST: Final = 262_144
"""Bytes of a schema as JSON."""
MOST: Final = 5_000
"""Schemas in one, once its references are written out."""
_CLIP: Final = 300
_FOREIGN_TYPES: Final[Mapping[str, str]] = {
    "dict": "object", "float": "number", "double": "number", "tuple": "array", "list": "array", "set": "array",
    "str": "string", "int": "integer", "long": "integer", "bool": "boolean", "NoneType": "null", "None": "null",
}  # fmt: skip
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_LISTS: Final = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_ONES: Final = frozenset(
    {"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
     "unevaluatedItems", "unevaluatedProperties"}
)  # fmt: skip
_DROPPED: Final = frozenset(
    {"$schema", "$id", "$defs", "definitions", "$anchor", "$comment", "$vocabulary", "nullable", "components"}
)
_WORDS_ABOUT: Final = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"})
_BOUNDS: Final = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"),
                  ("minProperties", "maxProperties"))  # fmt: skip
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema that can be kept."""

    document: dict[str, Any]
    """Plain: without references. Not to be changed."""
    validator: jsonschema_rs.Draft202012Validator
    foreign: bool = False
    """As it came it was no JSON schema: it has words of another tongue, which others would not understand."""

    def problems(self, value: Any, *, most: int = 5) -> list[str]:
        """What `value` breaks, each with its place (`$.items[0].name: …`); empty when it is valid."""
        found = islice(self.validator.iter_errors(value), most)
        return [f"{path_of(error.instance_path)}: {error.message[:_CLIP]}" for error in found]


def schema(document: object, where: str) -> Schema:
    """The schema at `where` in a request, ready to be kept.

    Raises:
        BadRequest: malformed, recursive, too deep, too large or contradictory; `param` is the place of the fault.
    """
    if not isinstance(document, Mapping):
        raise BadRequest(f"{where}: a JSON schema is an object, not {type(document).__name__}", param=where)
    try:
        raw = msgspec.json.encode(document)
    except RecursionError:
        raise _fault(where, f"is nested deeper than {DEEPEST} schemas") from None
    if len(raw) > LARGEST:
        raise BadRequest(f"{where}: the schema has {len(raw)} bytes; the limit is {LARGEST}", param=where)
    return _schema(raw, where)


@lru_cache(maxsize=512)  # clients send the same few schemas again and again; compiling one costs some 100 µs
def _schema(raw: bytes, where: str) -> Schema:
    given = msgspec.json.decode(raw)
    document = _Plain(given, where).written()
    try:
        validator = jsonschema_rs.Draft202012Validator(
            document, validate_formats=False, pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
        )
    except jsonschema_rs.ValidationError as error:
        place = where + path_of(error.instance_path)[1:]
        raise BadRequest(f"{place}: {error.message[:_CLIP]}", param=place) from None
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise BadRequest(f"{where}: {str(error)[:_CLIP]}", param=where) from None
    return Schema(document, validator, foreign=not jsonschema_rs.meta.is_valid(given))


def path_of(steps: Sequence[str | int]) -> str:
    """`$.items[0].name` of the steps to a place."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def types_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The types a schema names itself; empty when it leaves them open."""
    named = document.get("type")
    return (named,) if isinstance(named, str) else tuple(named) if isinstance(named, list) else ()


class _Plain:
    """Writes one document out."""

    __slots__ = ("_left", "_root", "_where")

    def __init__(self, root: dict[str, Any], where: str) -> None:
        self._root = root
        self._where = where
        self._left = MOST

    def written(self) -> dict[str, Any]:
        done = self._one(self._root, self._where, 0, ("#",))
        if not isinstance(done, dict):
            raise _fault(self._where, "allows nothing")
        return done

    def _one(self, given: Any, where: str, depth: int, through: tuple[str, ...]) -> Any:
        if not isinstance(given, dict):
            return given  # true and false are schemas; the meta-schema tells the rest
        self._left -= 1
        if self._left < 0:
            raise _fault(self._where, f"holds more than {MOST} schemas once its references are written out")
        if depth > DEEPEST:
            raise _fault(where, f"is nested deeper than {DEEPEST} schemas")
        if "$ref" in given:
            return self._referred(given, where, depth, through)
        for word in ("$dynamicRef", "$recursiveRef"):
            if word in given:
                raise _fault(f"{where}.{word}", "is not supported: write the schema out")
        out = {word: self._word(word, value, where, depth, through) for word, value in given.items()
               if word not in _DROPPED}  # fmt: skip
        _translate(out, nullable=given.get("nullable") is True)
        _check(out, where)
        return out

    def _word(self, word: str, value: Any, where: str, depth: int, through: tuple[str, ...]) -> Any:
        place = f"{where}.{word}"
        if word in _MAPS and isinstance(value, dict):
            return {name: self._one(each, f"{place}.{name}", depth + 1, through) for name, each in value.items()}
        if (word in _LISTS or word == "items") and isinstance(value, list):
            return [self._one(each, f"{place}[{i}]", depth + 1, through) for i, each in enumerate(value)]
        if word in _ONES:
            return self._one(value, place, depth + 1, through)
        return value

    def _referred(self, given: dict[str, Any], where: str, depth: int, through: tuple[str, ...]) -> Any:
        target, place = given["$ref"], f"{where}.$ref"
        if not isinstance(target, str) or not target.startswith("#"):
            raise _fault(place, f"points to {target!r}: only places in the same schema (`#/$defs/…`) can be followed")
        if target in through:
            raise _fault(place, f"leads back to {target!r}: a recursive schema has no bound, write out as many levels"
                                " as you need")  # fmt: skip
        found = self._one(self._at(target, place), where, depth, (*through, target))
        beside = {word: value for word, value in given.items() if word != "$ref"}
        if not beside or not isinstance(found, dict):
            return found
        if beside.keys() <= _WORDS_ABOUT | _DROPPED:
            return {**found, **{word: value for word, value in beside.items() if word not in _DROPPED}}
        return {"allOf": [found, self._one(beside, where, depth, through)]}

    def _at(self, target: str, place: str) -> Any:
        found: Any = self._root
        for step in target.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise _fault(place, f"points to {target!r}, which is not there")
        if target.removeprefix("#") and not target.startswith("#/"):
            raise _fault(place, f"points to {target!r}: anchors are not supported, use `#/$defs/…`")
        return found


def _translate(out: dict[str, Any], *, nullable: bool) -> None:
    """Words of Python, of OpenAPI 3.0 and of older drafts into today's."""
    _translate_type(out)
    if nullable and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
        if isinstance(out.get("enum"), list) and None not in out["enum"]:
            out["enum"] = [*out["enum"], None]
    if isinstance(out.get("items"), list):  # before 2020-12
        out["prefixItems"] = out.pop("items")
        if "additionalItems" in out:
            out["items"] = out.pop("additionalItems")
    for bound, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(out.get(strict), bool):  # draft 4
            is_strict = out.pop(strict)
            if is_strict and bound in out:
                out[strict] = out.pop(bound)


def _translate_type(out: dict[str, Any]) -> None:
    named = out.get("type")
    if isinstance(named, str):
        out["type"] = _FOREIGN_TYPES.get(named, named)
    elif isinstance(named, list):
        out["type"] = [_FOREIGN_TYPES.get(each, each) if isinstance(each, str) else each for each in named]
    if named in ("any", "Any"):
        del out["type"]


def _check(out: dict[str, Any], where: str) -> None:
    """Refuse what no value can fulfil."""
    for low, high in _BOUNDS:
        least, highest = out.get(low), out.get(high)
        if isinstance(least, int | float) and isinstance(highest, int | float) and least > highest:
            raise _fault(where, f"contradicts itself: {low} {least} is over {high} {highest}")
    kinds = tuple(kind for name in types_of(out) for kind in _KINDS.get(str(name), (object,)))
    for word in ("enum", "const"):
        allowed = out.get(word) if word == "enum" else [out["const"]] if word in out else None
        if not isinstance(allowed, list):
            continue
        if not allowed:
            raise _fault(f"{where}.{word}", "allows nothing: it is empty")
        if kinds and not any(_is(value, kinds) for value in allowed):
            raise _fault(f"{where}.{word}", f"contradicts type {out['type']!r}: no value of it fits")
    required, properties = out.get("required"), out.get("properties", {})
    if not isinstance(required, list) or not isinstance(properties, dict):
        return
    for name in (each for each in required if isinstance(each, str)):
        closed = out.get("additionalProperties") is False and "patternProperties" not in out
        if properties.get(name) is False or (closed and name not in properties):
            raise _fault(f"{where}.required", f"contradicts the rest: {name!r} is required but not allowed")


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    return isinstance(value, kinds) or (isinstance(value, float) and value.is_integer() and int in kinds)


def _fault(where: str, what: str) -> BadRequest:
    return BadRequest(f"{where}: the schema {what}", param=where)
