"""An upload by the fields of its form: what they may say, and what they mean. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.datasets.batching import Upload
from loopwright.datasets.columns import Columns, Taking
from loopwright.datasets.dataset import side_of
from loopwright.datasets.draft import slices_of, tags_of
from loopwright.datasets.formats import format_of
from loopwright.datasets.intake import Mode

FIELDS: Final = (
    "file", "format", "columns", "mode", "split", "tags", "slices", "mixed", "task", "input_schema", "output_schema",
    "note",
)  # fmt: skip


def upload_of(fields: Mapping[str, str], name: str, file: BinaryIO) -> Upload:
    """What is uploaded under a file's name, and what is to be done with its rows.

    Raises:
        BadRequest: a field says what it cannot mean.
    """
    if unknown := fields.keys() - set(FIELDS):
        raise BadRequest(f"{min(unknown)[:60]!r} is none of {', '.join(FIELDS)}", param=min(unknown)[:60])
    taking = Taking(
        columns=Columns.read(fields["columns"]) if fields.get("columns") else Columns(),
        split=side_of(fields.get("split")),
        tags=tags_of(fields.get("tags", "")),
        slices=slices_of(object_of(fields, "slices") or {}),
    )
    mixed = fields.get("mixed", "") in {"true", "1", "on"}
    form = format_of(name, fields.get("format") or None)
    return Upload(file=file, format=form, source=name, taking=taking, mixed=mixed)


def mode_of(fields: Mapping[str, str]) -> Mode:
    """`append` unless the field says `replace`.

    Raises:
        BadRequest: it says something else.
    """
    given = fields.get("mode", "")
    if given not in {"", "append", "replace"}:
        raise BadRequest(f"mode: {given[:40]!r} is neither append nor replace", param="mode")
    return "replace" if given == "replace" else "append"


def object_of(fields: Mapping[str, str], name: str) -> dict[str, Any] | None:
    """The JSON object in a field; None without it.

    Raises:
        BadRequest: it holds something else.
    """
    given = fields.get(name)
    if not given:
        return None
    try:
        return msgspec.json.decode(given, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest(f"{name}: a JSON object", param=name) from None
