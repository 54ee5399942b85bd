"""How a row of a file becomes an example: by named columns, or by the forms that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, get_args

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.datasets.dataset import side_of
from loopwright.datasets.draft import slices_of, tags_of, worded
from loopwright.datasets.example import Example, Origin, Split

REFERENCES: Final = (
    "expected", "ideal", "reference", "output", "completion", "answer", "response", "target", "label", "category",
)  # fmt: skip
"""Columns that are taken for the reference when nothing says which one is; of several, none is."""
PREFIX: Final = "inputs."
"""Before the name of an input whose column a table has."""
INPUTS_JSON, EXPECTED_JSON = "inputs_json", "expected_json"
"""Columns of tables with what is no text: an object of inputs, a reference."""
DEFUSED: Final = "defused"
"""Column of our CSV files that names the cells of a row before which an apostrophe was put: a spreadsheet would run them."""
_OURS: Final = frozenset(
    {"id", "inputs", "expected", "split", "slices", "tags", "metadata", "origin", "call_id", INPUTS_JSON, EXPECTED_JSON}
)
_ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    """Columns as JSON says them."""

    inputs: list[str] | dict[str, str] | None = None
    expected: str | None = None
    id: str | None = None
    split: str | None = None
    tags: str | list[str] | None = None
    slices: list[str] | dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column is what. Without any, a row says it itself: see `example_of`."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    """The name of an input, and the column it is in."""
    expected: str | None = None
    id: str | None = None
    split: str | None = None
    tags: Sequence[str] = ()
    """Columns that hold tags."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """The name of a slice, and the column it is in."""

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """From JSON: `{"inputs": ["question"], "expected": "answer", "slices": {"kind": "category"}}`.

        Raises:
            BadRequest: it is something else.
        """
        try:
            given = msgspec.json.decode(text, type=_Given)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BadRequest(f"columns: {str(error)[:200]}", param="columns") from None
        return cls(
            inputs=_named(given.inputs),
            expected=given.expected,
            id=given.id,
            split=given.split,
            tags=[given.tags] if isinstance(given.tags, str) else given.tags or [],
            slices=_named(given.slices),
        )

    @property
    def named(self) -> frozenset[str]:
        """Every column that is named."""
        ones = (self.expected, self.id, self.split, *self.tags)
        return frozenset([*self.inputs.values(), *self.slices.values(), *(one for one in ones if one is not None)])


def _named(given: list[str] | dict[str, str] | None) -> dict[str, str]:
    return {each: each for each in given} if isinstance(given, list) else given or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What is done with every row of one file."""

    columns: Columns = field(default_factory=Columns)
    split: Split | None = None
    """The side of rows that name none."""
    tags: tuple[str, ...] = ()
    """Tags of every row."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """Slices of every row."""

    def example(self, row: Mapping[str, Any]) -> Example:
        """The example a row is.

        Raises:
            BadRequest: says what is wrong with it.
        """
        row = restored(row)
        made = _by_columns(row, self.columns) if self.columns.named else example_of(row)
        return Example(
            id=made.id,
            inputs=made.inputs,
            expected=made.expected,
            split=made.split or self.split,
            slices={**self.slices, **made.slices},
            tags=tuple(dict.fromkeys([*self.tags, *made.tags])),
            metadata=made.metadata,
            origin=made.origin,
            call_id=made.call_id,
        )


def restored(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of a CSV file of ours as it was before its dangerous cells were defused; any other row as it is."""
    told = row.get(DEFUSED)
    if not isinstance(told, str) or not any(name == INPUTS_JSON or name.startswith(PREFIX) for name in row):
        return row
    try:
        names = msgspec.json.decode(told or "[]", type=set[str])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise BadRequest(f"{DEFUSED}: no list of columns") from None
    return {
        name: value[1:] if name in names and isinstance(value, str) and value.startswith("'") else value
        for name, value in row.items()
        if name != DEFUSED
    }


def example_of(row: Mapping[str, Any]) -> Example:
    """The example a row is by its own words.

    Our own form (`inputs`, or columns `inputs.NAME`); a conversation for fine-tuning (`messages`, whose last message of
    the assistant is the reference); OpenAI's evals (`input`, `ideal`); `prompt` and `completion`; else each column is an
    input, but `id`, `split`, `tags`, and the one that is named like a reference.

    Raises:
        BadRequest: says what is wrong with it.
    """
    row = restored(row)
    flat = {name.removeprefix(PREFIX): value for name, value in row.items() if name.startswith(PREFIX)}
    if "inputs" in row or INPUTS_JSON in row or flat:
        return _ours(row, flat)
    if isinstance(row.get("messages"), list):
        return _conversation(row)
    for prompt, reference in (("input", "ideal"), ("prompt", "completion")):
        if prompt in row and (reference in row or isinstance(row[prompt], list)):
            return _asked(row, prompt, reference)
    references = [name for name in REFERENCES if name in row]
    if len(references) > 1:
        raise BadRequest(f"{' and '.join(references)} could each be the reference: name the columns")
    columns = Columns(
        expected=references[0] if references else None,
        id="id" if "id" in row else None,
        split="split" if "split" in row else None,
        tags=["tags"] if "tags" in row else [],
        inputs={name: name for name in row if name not in {"id", "split", "tags", *references}},
    )
    return _by_columns(row, columns)


def _by_columns(row: Mapping[str, Any], columns: Columns) -> Example:
    missing = [name for name in columns.inputs.values() if name not in row]
    missing += [name for name in (columns.expected, columns.id) if name is not None and name not in row]
    if missing:
        there = ", ".join(sorted(str(name)[:40] for name in row)[:20])
        raise BadRequest(f"there is no column {missing[0][:60]!r}; it has {there or 'none'}")
    sliced = {name: row[column] for name, column in columns.slices.items() if row.get(column) not in (None, "")}
    tags = [tag for column in columns.tags if row.get(column) not in (None, "") for tag in tags_of(row[column])]
    named = columns.named
    inputs = columns.inputs or {name: name for name in row if name not in named}
    taken = named | set(inputs.values())
    return Example(
        id="" if columns.id is None else _id(row[columns.id]),
        inputs={name: row[column] for name, column in inputs.items()},
        expected=None if columns.expected is None else row[columns.expected],
        split=None if columns.split is None else _split(row.get(columns.split)),
        tags=tuple(tags),
        slices=slices_of(sliced),
        metadata={name: value for name, value in row.items() if name not in taken},
    )


def _ours(row: Mapping[str, Any], flat: Mapping[str, Any]) -> Example:
    # A cell of a table that is empty is none: an empty text stands in `inputs_json`.
    texts = {name: value for name, value in flat.items() if value not in (None, "")}
    inputs = {**texts, **_object(row, INPUTS_JSON), **_object(row, "inputs")}
    if unknown := {name for name in row if name not in _OURS and not name.startswith(PREFIX)}:
        raise BadRequest(f"{min(unknown)[:60]!r} is none of {', '.join(sorted(_OURS))}: put it into metadata")
    origin = row.get("origin") or "import"
    if origin not in _ORIGINS:
        raise BadRequest(f"origin: {str(origin)[:40]!r} is none of {', '.join(_ORIGINS)}")
    call_id = row.get("call_id") or None
    if call_id is not None and not isinstance(call_id, str):
        raise BadRequest("call_id: a text")
    return Example(
        id=_id(row.get("id")),
        inputs=inputs,
        expected=_reference(row),
        split=_split(row.get("split")),
        slices=slices_of(_object(row, "slices")),
        tags=tags_of(row.get("tags") or []),
        metadata=_object(row, "metadata"),
        origin=next(each for each in _ORIGINS if each == origin),
        call_id=call_id,
    )


def _conversation(row: Mapping[str, Any]) -> Example:
    messages = row["messages"]
    if not messages or not all(
        isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages
    ):
        raise BadRequest("messages: a list of objects with `role`, at least one")
    last = messages[-1]
    expected: Any = None
    if last["role"] == "assistant":
        messages = messages[:-1]
        expected = (
            last["content"] if isinstance(last.get("content"), str) and set(last) <= {"role", "content"} else last
        )
    if not messages:
        raise BadRequest("messages: nothing is asked before the answer")
    inputs: dict[str, Any] = {"messages": messages}
    inputs |= {name: row[name] for name in ("tools", "functions") if name in row}
    rest = {name: value for name, value in row.items() if name not in {"messages", "id", *inputs}}
    return Example(id=_id(row.get("id")), inputs=inputs, expected=expected, metadata=rest)


def _asked(row: Mapping[str, Any], prompt: str, reference: str) -> Example:
    asked, expected = row[prompt], row.get(reference)
    inputs = {"messages": asked} if isinstance(asked, list) else {prompt: asked}
    if isinstance(asked, list):
        _conversation({"messages": [*asked, {"role": "assistant"}]})  # only to have it checked
    rest = {name: value for name, value in row.items() if name not in {"id", prompt, reference}}
    return Example(id=_id(row.get("id")), inputs=inputs, expected=expected, metadata=rest)


def _reference(row: Mapping[str, Any]) -> Any:
    written = row.get(EXPECTED_JSON)
    if isinstance(written, str) and written:
        try:
            return msgspec.json.decode(written)
        except (msgspec.MsgspecError, RecursionError):
            raise BadRequest(f"{EXPECTED_JSON}: no JSON") from None
    expected = row.get("expected")
    # As above: of a table, which has this column, an empty cell is none.
    return None if EXPECTED_JSON in row and expected == "" else expected


def _object(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; in tables it stands as JSON."""
    value = row.get(name)
    if isinstance(value, str) and value:
        try:
            value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, RecursionError):
            raise BadRequest(f"{name}: no JSON object") from None
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{name}: an object, not {type(value).__name__}")
    return value


def _id(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | dict | list | float):
        raise BadRequest("id: a text or a whole number")
    return worded(value)


def _split(value: Any) -> Split | None:
    if value is not None and not isinstance(value, str):
        raise BadRequest("split: a text")
    # What others call the same.
    return side_of({"valid": "validation", "val": "validation", "dev": "validation"}.get(value or "", value))
