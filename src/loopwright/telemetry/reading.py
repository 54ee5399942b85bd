"""What the attributes of a span tell, whatever their dialect: sorted by the table of aliases. Pure; never raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from loopwright.core.money import Usage
from loopwright.kit.db import plain
from loopwright.telemetry.aliases import KINDS, MARKS, PREFIXES, PROVIDERS, STARTS, TABLE, Word
from loopwright.telemetry.span import Kind

_MOST_TAGS: Final = 32
_TAG_NAME: Final = 64
_TAG_VALUE: Final = 512
_MOST_TOKENS: Final = 2**31 - 1
_decode: Final = msgspec.json.Decoder().decode
_TAGGED: Final = ("environment", "release", "user")
_HELD_APART: Final = ("session_id", "thread_id", "conversation_id", "user_id", "sessionId", "userId", "prompt_version")


@dataclass(slots=True)
class Heard:
    """What was found."""

    fields: dict[str, Any] = field(default_factory=dict)
    """By what they mean: see `aliases.py`."""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Numbered attributes, by what they are parts of and the rest of their names."""
    rest: dict[str, Any] = field(default_factory=dict)
    """All that the table does not know."""
    tags: dict[str, str] = field(default_factory=dict)
    kind: Kind = "other"
    word: str = ""
    """The word that told the kind."""
    dialect: str = ""

    def text(self, name: str) -> str | None:
        """A field as text; None when it is not there."""
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            if value[:1] != '"':
                return value or None
            value = parsed(value)  # MLflow writes all values as JSON
            if value is None or isinstance(value, str):
                return value or None
        return str(value) if isinstance(value, int | float) else None


def heard(attributes: Mapping[str, Any]) -> Heard:
    """Sort the attributes of one span."""
    found = Heard()
    known = _sort(found, attributes)
    fields = found.fields
    if "kind" in fields:
        found.word = fields["kind"]
        found.kind = KINDS[found.word]
    elif "model" in fields and ("input_tokens" in fields or "output_tokens" in fields):
        found.kind = "llm"
    if found.kind in CALLS:
        # What a call on record tells itself is not told again.
        known = {name: value for name, value in known.items() if TABLE[name].field in _OF_SPANS}
    found.rest |= known
    _tag(found)
    return found


def _sort(found: Heard, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Put each where it belongs; those of the table that a span may want to show as they came."""
    ranks: dict[str, int] = {}
    known: dict[str, Any] = {}
    fields, rest, dialect = found.fields, found.rest, len(MARKS)
    for name, value in attributes.items():
        word = _WORDS.get(name)
        if word is None:
            mark = _MARKS.get(name.partition(".")[0])
            if mark is not None and mark < dialect:
                dialect = mark
            if name.startswith(STARTS):
                _part(found, name, value)
            else:
                rest[name] = value
            continue
        meaning, rank, shown, mark = word
        if mark < dialect:  # noqa: PLR1730  (a call for each attribute)
            dialect = mark
        if shown:
            known[name] = value
        told = _kind_word(value) if meaning == "kind" else value
        if told is None or told == "" or (meaning in ranks and rank >= ranks[meaning]):
            continue
        if meaning != "kind" or told in KINDS:
            ranks[meaning] = rank
            fields[meaning] = told
    found.dialect = MARKS[dialect][1] if dialect < len(MARKS) else ""
    return known


CALLS: Final[frozenset[Kind]] = frozenset(("llm", "embedding", "rerank"))
"""Steps that are calls of models."""
_TOLD_ELSEWHERE: Final = frozenset(
    (
        "kind",
        "input",
        "output",
        "instructions",
        "answer_calls",
        "session",
        "user",
        "input_type",
        "output_type",
        "labels",
    )
)
"""Of every span these have places of their own."""
_OF_SPANS: Final = frozenset(("host", "port", "response_id", "first_at", "level", "cost"))
_MARKS: Final[Mapping[str, int]] = {first: number for number, (first, _) in reversed([*enumerate(MARKS)])}
"""By the first word of an attribute's name; the dialect with the lowest counts."""


def _looked_up(name: str, word: Word) -> tuple[str, int, bool, int]:
    return word.field, word.rank, word.field not in _TOLD_ELSEWHERE, _MARKS.get(name.partition(".")[0], len(MARKS))


_WORDS: Final = {name: _looked_up(name, word) for name, word in TABLE.items()}
"""All that is asked of a name that the table knows: (field, rank, whether a span may show it, dialect)."""


def provider_of(found: Heard) -> str:
    """Who was asked, by our name for them."""
    name = (found.text("provider") or "").strip()
    return PROVIDERS.get(name.lower(), name.lower())[:100]


def usage_of(found: Heard) -> Usage | None:
    """The tokens; None when nothing was said of them.

    What a dialect counts beside the input though it is part of it (cached, reasoning) is never added to it.
    """
    fields = found.fields
    counts = {name: _count(fields[key]) if key in fields else None for name, key in _COUNTS}
    bundle = parsed(fields["usage"]) if "usage" in fields else None
    if isinstance(bundle, dict):
        for name, key in _bundled(bundle):
            if counts[name] is None:
                counts[name] = _count(bundle[key])
    given, answered, total = counts["input"], counts["output"], counts["total"]
    if given is None and answered is None and total is None:
        return None
    if given is None:
        given = max((total or 0) - (answered or 0), 0)
    if answered is None:
        answered = max((total or 0) - given, 0)
    cached, written, reasoning = counts["cached"] or 0, counts["written"] or 0, counts["reasoning"] or 0
    if total is not None and total == given + answered + cached + written + reasoning:
        # They are told apart here: the total says so.
        given, answered = given + cached + written, answered + reasoning
    # Some leave cached tokens out of the input: then there would be more of them than of all.
    given, answered = max(given, min(cached + written, _MOST_TOKENS)), max(answered, reasoning)
    return Usage(input=given, output=answered, cached=cached, cache_written=written, reasoning=reasoning)


def parsed(value: Any) -> Any:
    """A value that may be JSON in a text; as it is when it is none."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            return _decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return value
    return value


def tree(part: Mapping[str, Any]) -> list[Any]:
    """Numbered attributes (`0.message.role`) as the list they were made of."""
    root: dict[str, Any] = {}
    for path, value in part.items():
        steps = path.split(".", _DEEPEST)
        here = root
        for step in steps[:-1]:
            below = here.get(step)
            if not isinstance(below, dict):
                below = here[step] = {}
            here = below
        here.setdefault(steps[-1], value)
    listed = _listed(root)
    return listed if isinstance(listed, list) else []


_DEEPEST: Final = 12


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isascii() and key.isdigit() and len(key) < 10 for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(each) for key, each in value.items()}


def _part(found: Heard, name: str, value: Any) -> None:
    for start, meaning in PREFIXES.items():
        if name.startswith(start):
            found.parts.setdefault(meaning, {})[name[len(start) :]] = value
            return


def _kind_word(value: Any) -> str:
    return value.strip('"').lower() if isinstance(value, str) else ""


def _tag(found: Heard) -> None:
    tags, fields = found.tags, found.fields
    for name in _TAGGED:
        if name in fields and (said := found.text(name)):
            tags[name] = plain(said, _TAG_VALUE)
    if "tags" in found.parts:
        for name, value in found.parts.pop("tags").items():
            if name and name not in _HELD_APART and isinstance(value, str | int | float) and len(tags) < _MOST_TAGS:
                tags.setdefault(plain(name, _TAG_NAME), plain(str(value), _TAG_VALUE))
    if "labels" in fields:
        labels = parsed(fields["labels"])
        for label in labels if isinstance(labels, list) else ():
            if isinstance(label, str) and label and len(tags) < _MOST_TAGS:
                name, _, value = label.partition(":")
                tags.setdefault(plain(name, _TAG_NAME) or "tag", plain(value or "true", _TAG_VALUE))


_COUNTS: Final = [(name, f"{name}_tokens") for name in ("input", "output", "total", "cached", "written", "reasoning")]


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(number, _MOST_TOKENS) if number >= 0 else None


_BUNDLED: Final = {
    "input": ("input", "input_tokens", "prompt_tokens", "promptTokens"),
    "output": ("output", "output_tokens", "completion_tokens", "completionTokens"),
    "total": ("total", "total_tokens", "totalTokens"),
    "cached": ("cache_read_input_tokens", "input_cached_tokens", "input_cache_read", "cached_tokens"),
    "written": ("cache_creation_input_tokens", "input_cache_creation", "cache_write_input_tokens"),
    "reasoning": ("output_reasoning_tokens", "reasoning_tokens", "output_reasoning"),
}


def _bundled(bundle: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(count, key) of a map of counts, the first key of each."""
    return [
        (name, next(key for key in keys if key in bundle))
        for name, keys in _BUNDLED.items()
        if any(key in bundle for key in keys)
    ]
