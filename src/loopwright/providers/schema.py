"""JSON schemas as constrained decoders take them: closed objects, few keywords; the rest becomes words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest

_DEEPEST: Final = 100
_KEPT: Final = frozenset({"type", "title", "description", "enum", "const", "$ref", "default"})
_MAPS: Final = ("properties", "$defs", "definitions")
_LISTS: Final = ("anyOf", "allOf")
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)


def closed(schema: Mapping[str, Any], *, depth: int = 0) -> dict[str, Any]:
    """`schema` in the part of JSON Schema that Anthropic's decoder enforces.

    Objects are closed (`additionalProperties: false`); keywords it does not know (`minimum`, `pattern`, …) move into
    the description, where the model can still read them. What fits the result fits the structure of `schema`.

    Raises:
        BadRequest: nested too deep.
    """
    if depth > _DEEPEST:
        raise BadRequest(f"response_format: the schema is nested deeper than {_DEEPEST}", param="response_format")
    out: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for word, value in schema.items():
        if word in _MAPS and isinstance(value, Mapping):
            out[word] = {name: _inner(each, depth) for name, each in value.items()}
        elif (word in _LISTS or word == "oneOf") and isinstance(value, list):
            out["anyOf" if word == "oneOf" else word] = [_inner(each, depth) for each in value]
        elif word == "items" and isinstance(value, Mapping):
            out[word] = closed(value, depth=depth + 1)
        elif _taken(word, value):
            out[word] = value
        elif word not in ("additionalProperties", "$schema", "$id", "$comment"):
            told[word] = value
    if out.get("type") == "object" or "properties" in out:
        out["additionalProperties"] = False
        out.setdefault("properties", {})
    if told and "$ref" not in out:
        said = ", ".join(f"{word}: {msgspec.json.encode(value).decode()}" for word, value in told.items())
        out["description"] = "\n\n".join(filter(None, (str(out.get("description") or ""), f"{{{said}}}")))
    return out


def _taken(word: str, value: Any) -> bool:
    if word == "required":
        return isinstance(value, list)
    if word == "format":
        return value in _FORMATS
    if word == "minItems":
        return value in (0, 1)
    return word in _KEPT


def _inner(value: Any, depth: int) -> Any:
    return closed(value, depth=depth + 1) if isinstance(value, Mapping) else value
