"""Examples out again, piece by piece: JSON lines and tables that come back as they were, and OpenAI's chat form."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final, Literal, cast, get_args

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.datasets.columns import DEFUSED, EXPECTED_JSON, INPUTS_JSON, PREFIX
from loopwright.datasets.draft import worded
from loopwright.datasets.example import Example
from loopwright.datasets.formats import parquet

OutFormat = Literal["jsonl", "csv", "parquet", "openai-chat", "openai-evals"]
OUT_FORMATS: Final[tuple[OutFormat, ...]] = get_args(OutFormat)
TYPES: Final[Mapping[OutFormat, str]] = {
    "jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet",
    "openai-chat": "application/jsonl", "openai-evals": "application/jsonl",
}  # fmt: skip
ENDINGS: Final[Mapping[OutFormat, str]] = {name: "jsonl" if "-" in name else name for name in OUT_FORMATS}
_BATCH: Final = 500
_PIECE: Final = 1 << 18
_RUN: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What begins a cell that a spreadsheet takes for a formula, or may; the last four are the wide forms of the first."""
_AROUND: Final = ("id", "split", "tags", "slices", "metadata", "origin", "call_id")

Opened = Callable[[], AsyncIterator[Example]]
"""Begins at the first example, each time."""


def out_format(given: str) -> OutFormat:
    """A format by its name.

    Raises:
        BadRequest: there is none of it.
    """
    found = next((each for each in OUT_FORMATS if each == given), None)
    if found is None:
        raise BadRequest(f"format: {given[:40]!r} is none of {', '.join(OUT_FORMATS)}", param="format")
    return found


def shown(example: Example) -> dict[str, Any]:
    """An example as JSON: our own form, which can be imported again."""
    row: dict[str, Any] = {"id": example.id, "inputs": dict(example.inputs), "expected": example.expected}
    optional = {
        "split": example.split,
        "tags": list(example.tags),
        "slices": dict(example.slices),
        "metadata": dict(example.metadata),
        "origin": None if example.origin == "import" else example.origin,
        "call_id": example.call_id,
    }
    return row | {name: value for name, value in optional.items() if value}


def chat(example: Example) -> dict[str, Any]:
    """An example in OpenAI's form for fine-tuning; without a reference it ends with the question."""
    messages = [*_messages(example.inputs)]
    expected = example.expected
    if isinstance(expected, dict) and expected.get("role") == "assistant":
        messages.append(expected)
    elif expected is not None:
        first = expected[0] if _several(expected) else expected
        messages.append({"role": "assistant", "content": worded(first)})
    return {"messages": messages} | {
        name: example.inputs[name] for name in ("tools", "functions") if name in example.inputs
    }


def evaluation(example: Example) -> dict[str, Any]:
    """An example in the form of OpenAI's evals."""
    ideal = example.expected
    if ideal is not None and not isinstance(ideal, str) and not _several(ideal):
        ideal = worded(ideal)
    return {"input": _messages(example.inputs), "ideal": ideal}


def _messages(inputs: Mapping[str, Any]) -> list[Any]:
    if isinstance(inputs.get("messages"), list):
        return list(inputs["messages"])
    values = list(inputs.values())
    said = values[0] if len(values) == 1 and isinstance(values[0], str) else worded(dict(inputs))
    return [{"role": "user", "content": said}]


def _several(expected: Any) -> bool:
    return isinstance(expected, list) and bool(expected) and all(isinstance(each, str) for each in expected)


async def pieces(opened: Opened, form: OutFormat) -> AsyncIterator[bytes]:
    """The file, in pieces. A table is read twice: its columns are known at the end.

    Raises:
        BadRequest: `parquet` is not installed.
    """
    if form in {"csv", "parquet"}:
        columns = await _columns(opened)
        if form == "parquet":
            parquet()  # says that it is not there before the first piece
        written = _csv(opened, columns) if form == "csv" else _parquet(opened, columns)
        async for piece in written:
            yield piece
        return
    row = {"jsonl": shown, "openai-chat": chat, "openai-evals": evaluation}[form]
    async for batch in _batches(opened):
        yield b"".join(msgspec.json.encode(row(example)) + b"\n" for example in batch)


async def _batches(opened: Opened) -> AsyncIterator[list[Example]]:
    batch: list[Example] = []
    async for example in opened():
        batch.append(example)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _columns(opened: Opened) -> list[str]:
    names: dict[str, None] = {}
    async for example in opened():
        names |= dict.fromkeys(example.inputs)
    return ["id", *(PREFIX + name for name in names), INPUTS_JSON, "expected", EXPECTED_JSON, *_AROUND[1:]]


def cells(example: Example) -> dict[str, str | None]:
    """An example as cells of a table: texts in columns of their own, what is no text as JSON beside them."""
    texts = {PREFIX + name: value for name, value in example.inputs.items() if isinstance(value, str) and value}
    others = {name: value for name, value in example.inputs.items() if PREFIX + name not in texts}
    row: dict[str, str | None] = {"id": example.id, **texts, "split": example.split, "call_id": example.call_id}
    row[INPUTS_JSON] = worded(others) if others else None
    plain = isinstance(example.expected, str) and bool(example.expected)
    row["expected"] = example.expected if plain else None
    row[EXPECTED_JSON] = None if plain or example.expected is None else msgspec.json.encode(example.expected).decode()
    row["tags"] = ",".join(example.tags) or None
    row["slices"] = worded(dict(example.slices)) if example.slices else None
    row["metadata"] = worded(dict(example.metadata)) if example.metadata else None
    row["origin"] = None if example.origin == "import" else example.origin
    return row


def defused(row: Mapping[str, str | None]) -> dict[str, str | None]:
    """A row for spreadsheets: an apostrophe before each cell they would run, and which those are, so that it comes off."""
    named = [name for name, value in row.items() if value is not None and value.startswith(_RUN)]
    changed = {name: f"'{row[name]}" for name in named}
    return {**row, **changed, DEFUSED: worded(named) if named else None}


async def _csv(opened: Opened, columns: list[str]) -> AsyncIterator[bytes]:
    out = io.StringIO(newline="")
    # RFC 4180's end of a line, for the writer quotes a lone CR only where its line ends hold one.
    writer = csv.DictWriter(out, [*columns, DEFUSED], lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    async for batch in _batches(opened):
        writer.writerows(defused(cells(example)) for example in batch)
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    if rest := out.getvalue():
        yield rest.encode()


async def _parquet(opened: Opened, columns: list[str]) -> AsyncIterator[bytes]:
    with tempfile.TemporaryFile() as file:
        with parquet().Writing(cast("BinaryIO", file), columns) as writing:
            async for batch in _batches(opened):
                await asyncio.to_thread(writing.add, [cells(example) for example in batch])
        file.seek(0)
        for piece in _read(cast("BinaryIO", file)):
            yield piece


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
