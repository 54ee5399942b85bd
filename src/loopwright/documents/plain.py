"""Plain text and source code: as it stands, in whatever encoding."""

from __future__ import annotations

from loopwright.documents.decoding import cleaned, decoded
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits


def read(data: bytes, kind: str, limits: Limits) -> Parsed:  # noqa: ARG001 - as every reader
    """The text of it."""
    text, told = decoded(data)
    text, more = cleaned(text)
    return Parsed(text=text, media_type=kind, warnings=[*told, *more])
