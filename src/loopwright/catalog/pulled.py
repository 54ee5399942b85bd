"""The shelf of pulled models: `<home>/models/NAME.gguf`, each with a small JSON note of where it came from."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from loopwright.catalog.names import pulled_name
from loopwright.core.errors import NotFound
from loopwright.kit.nearest import hint


class Note(msgspec.Struct, kw_only=True, frozen=True):
    """Where a pulled file came from."""

    source: str
    url: str
    sha256: str
    size_bytes: int
    pulled_at: str
    """ISO 8601, UTC."""
    verified: bool
    """The hash was known beforehand and matched; False means it only records what came."""


def write(path: Path, note: Note) -> None:
    """Put the note beside the file, in one step."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.json.part")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(note), indent=2))
    draft.replace(_beside(path))


def note(path: Path) -> Note | None:
    """The note of a file; None when it was not pulled."""
    try:
        return msgspec.json.decode(_beside(path).read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError):
        return None


def names(folder: Path) -> dict[str, Path]:
    """Pulled files by the names they are known by."""
    return {pulled_name(path.name): path for path in sorted(folder.glob("*.gguf")) if path.is_file()}


def find(folder: Path, name: str) -> Path:
    """A pulled file by name.

    Raises:
        NotFound: naming the nearest.
    """
    known = names(folder)
    path = known.get(pulled_name(name))
    if path is None:
        raise NotFound(
            f"no model named {name!r} was pulled{hint(name, known)}. A source is package:NAME, file:PATH, or the name of "
            "a pulled model (`loopwright models pull SOURCE` fetches one)"
        )
    return path


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")
