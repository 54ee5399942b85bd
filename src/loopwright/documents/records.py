"""Files of records: rows of a table, objects of JSON; which of their fields is the text, which the title."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from loopwright.documents.decoding import cleaned, decoded
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.sniffing import CSV, JSON, JSONL, TSV, media_type
from loopwright.documents.tables import rows_of
from loopwright.documents.unreadable import Unreadable

TEXTS: Final = (
    "text",
    "content",
    "body",
    "passage",
    "document",
    "answer",
    "abstract",
    "description",
    "summary",
    "message",
)
"""Fields that are taken for the text when nothing says which one is: the first of these that is there."""
TITLES: Final = ("title", "name", "subject", "headline", "question")
IDS: Final = ("id", "_id", "doc_id", "document_id", "uuid", "key", "url", "path")
_VALUE: Final = 2_000
"""Characters of a field that is kept as metadata."""
_FIELDS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Which field of a record is what; the first known name where nothing is said."""

    text: str | None = None
    """Without any: every field, a line each."""
    title: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A document that is one of many in a file."""

    id: str
    """Its own; the number of its row or line, from 1, where it has none."""
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The other fields that are texts, numbers or lists of those."""


def records(data: bytes, name: str, *, fields: Fields, limits: Limits) -> Sequence[Record]:
    """The records of a file of JSON, JSON lines, CSV or TSV. Those without text are left out.

    Raises:
        Unreadable: it is something else, has none, or is over a limit.
    """
    if len(data) > limits.size:
        raise Unreadable(f"has {len(data):,} bytes, the limit is {limits.size:,}")
    kind = media_type(data, name)
    text, _ = decoded(data)
    text, _ = cleaned(text)
    if kind in (CSV, TSV):
        rows: Iterator[tuple[int, Any]] = enumerate(rows_of(text, limits=limits), 1)
    elif kind in (JSON, JSONL):
        told: list[str] = []
        rows = iter(_objects(text, kind, told) or [])
    else:
        raise Unreadable(f"is {kind}, and has no records: those are in CSV, JSON and JSONL")
    found, total = [], 0
    for number, row in rows:
        record = _record(row, number, fields)
        total += len(record.text)
        if total > limits.characters:
            raise Unreadable(f"has more than {limits.characters:,} characters of text, which is the limit: split it")
        if record.text.strip():
            found.append(record)
    if not found:
        raise Unreadable("has no records with text in them")
    return found


def read(data: bytes, kind: str, limits: Limits) -> Parsed:  # noqa: ARG001 - as every reader
    """JSON as one text: records under a heading each, anything else as it stands, indented."""
    text, told = decoded(data)
    text, more = cleaned(text)
    told += more
    found = _objects(text, kind, told)
    if found is None:
        return Parsed(text=text, media_type=kind, warnings=told)
    if not found:
        return Parsed(text=_indented(text), media_type=kind, warnings=told)
    shown = (_shown(_record(row, number, Fields())) for number, row in found)
    return Parsed(text="\n".join(shown), media_type=kind, metadata={"records": len(found)}, warnings=told)


def _objects(text: str, kind: str, told: list[str]) -> list[tuple[int, Any]] | None:
    """The records with where they stand; none where it is JSON of another shape; None where it is no JSON."""
    if kind == JSONL:
        return _lines(text, told)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        lines = _lines(text, [])
        if lines:
            told.append("is no JSON but JSON lines")
            return lines
        told.append(f"is no valid JSON ({str(error)[:120]}): read as plain text")
        return None
    if isinstance(found, dict):
        inside = [
            value
            for value in found.values()
            if isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
        ]
        found = inside[0] if len(inside) == 1 else found
    if isinstance(found, list) and found and all(isinstance(each, dict) for each in found):
        return list(enumerate(found, 1))
    return []


def _lines(text: str, told: list[str]) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    wrong: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            wrong.append(number)
            continue
        found.append((number, value if isinstance(value, dict) else {"text": value}))
    if wrong:
        first = ", ".join(f"{number:,}" for number in wrong[:5])
        told.append(f"{len(wrong):,} lines are no JSON and were left out: {first}{', …' if len(wrong) > 5 else ''}")
    return found


def _record(row: Mapping[str, Any], number: int, fields: Fields) -> Record:
    text = fields.text or _known(row, TEXTS)
    title = fields.title or _known(row, TITLES, but=text)
    key = fields.id or _known(row, IDS)
    if text is None:
        said = "\n".join(
            f"- {name}: {_flat(value)}" for name, value in row.items() if name != title and value not in (None, "")
        )
    else:
        said = _flat(row.get(text))
    others = [name for name in row if name not in (text, title, key)][:_FIELDS] if text else []
    return Record(
        id=(_flat(row[key]) if key and row.get(key) not in (None, "") else str(number))[:500],
        title=" ".join(_flat(row.get(title)).split())[:500] if title else "",
        text=_clean(said),
        metadata={_clean(name)[:100]: value for name in others if (value := _kept(row[name])) is not None},
    )


def _known(row: Mapping[str, Any], names: Sequence[str], *, but: str | None = None) -> str | None:
    """The first of these names that the row has, however it is written, with a text or a number."""
    lower = {name.lower(): name for name in reversed(list(row)) if isinstance(row[name], str | int | float)}
    return next((lower[name] for name in names if name in lower and lower[name] != but), None)


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _kept(value: Any) -> Any:
    """What becomes metadata of a value; None for nothing."""
    if isinstance(value, str):
        return _clean(value)[:_VALUE] or None
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return [_clean(each)[:200] if isinstance(each, str) else each for each in value[:100]]
    return None


def _clean(text: str) -> str:
    return cleaned(text)[0]


def _shown(record: Record) -> str:
    """A record among others, in Markdown."""
    title = " ".join(record.title.split()) or record.id
    beside = "".join(f"- {name}: {_flat(value)}\n" for name, value in record.metadata.items())
    return f"## {title}\n\n{record.text.strip()}\n" + (f"\n{beside}" if beside else "")


def _indented(text: str) -> str:
    return msgspec.json.format(text, indent=2)
