"""What is on its way into a dataset, in batches of drafts: rows of a file, or examples one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from loopwright.core.errors import BadRequest
from loopwright.datasets.columns import Taking
from loopwright.datasets.draft import Draft, Problem
from loopwright.datasets.example import Example
from loopwright.datasets.formats import Format, rows
from loopwright.datasets.intake import Batch

_BATCH: Final = 500
_BYTES: Final = 8_000_000
"""Of a file, from which on a batch has fewer rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file of rows, and what is done with them."""

    file: BinaryIO
    format: Format
    source: str
    """Its name."""
    taking: Taking
    mixed: bool = False
    """Let a column hold texts in some rows and numbers in others."""


async def of_file(upload: Upload) -> AsyncIterator[Batch]:
    """The rows of a file, read in threads."""
    source = _batches(_drafts(upload), upload.file)
    while batch := await asyncio.to_thread(next, source, None):
        yield batch


async def of_examples(examples: Iterable[Example] | AsyncIterator[Example]) -> AsyncIterator[Batch]:
    """Examples that are there, or come one by one; their places are counted from 1."""
    batch: list[Draft | Problem] = []
    at = 0
    async for example in _each(examples):
        at += 1
        batch.append(_draft(at, example))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _drafts(upload: Upload) -> Iterator[Draft | Problem]:
    for row in rows(upload.file, upload.format):
        if isinstance(row, Problem):
            yield row
            continue
        number, said = row
        try:
            yield _draft(number, upload.taking.example(said))
        except BadRequest as error:
            yield Problem(number, error.message)


def _draft(row: int, example: Example) -> Draft:
    seed = example.metadata.get("seed") if example.origin == "synthetic" else None
    return Draft(row=row, example=example, seed=seed if isinstance(seed, str) else None)


def _batches(drafts: Iterator[Draft | Problem], file: BinaryIO) -> Iterator[Batch]:
    batch: list[Draft | Problem] = []
    began = file.tell()
    for draft in drafts:
        batch.append(draft)
        if len(batch) == _BATCH or abs(file.tell() - began) > _BYTES:
            yield batch
            batch, began = [], file.tell()
    if batch:
        yield batch


async def _each(examples: Iterable[Example] | AsyncIterator[Example]) -> AsyncIterator[Example]:
    if isinstance(examples, AsyncIterator):
        async for example in examples:
            yield example
    else:
        for example in examples:
            yield example
