"""Runs as a folder of JSON and files, to keep, send or import elsewhere: one folder a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from loopwright.core.errors import BadRequest, NotFound
from loopwright.runs import words
from loopwright.runs.bundle import Bundle, Piece

_FILE: Final = "run.json"
_ARTIFACTS: Final = "artifacts"
_APART: Final = ("artifacts", "left")


class Folder:
    """A folder of runs: `<run>/run.json` and `<run>/artifacts/`.

    Args:
        where: the folder; made when something is put there.

    Raises:
        BadRequest: no folder is named.
    """

    def __init__(self, where: str | None = None) -> None:
        if not where:
            raise BadRequest("say which folder: --where FOLDER", param="where")
        self._folder = Path(where)

    def put(self, bundle: Bundle, /) -> str:
        """Keep a run there, in place of what was there of it; its folder."""
        place = self._folder / words.path(bundle.origin)
        place.mkdir(parents=True, exist_ok=True)
        told = {each.name: getattr(bundle, each.name) for each in fields(bundle) if each.name not in _APART}
        for piece in bundle.artifacts:
            target = place / _ARTIFACTS / words.path(piece.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for part in piece.read():
                    file.write(part)
        (place / _FILE).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return str(place)

    def bundles(self, experiment: str | None, /) -> Iterator[Bundle]:
        """The runs that are there.

        Raises:
            NotFound: there is no folder.
            BadRequest: names the file that is none of ours.
        """
        if not self._folder.is_dir():
            raise NotFound(f"there is no folder {self._folder}", param="where")
        for path in sorted(self._folder.glob(f"*/{_FILE}")):
            bundle = _read(path)
            if experiment is None or bundle.experiment == experiment:
                yield bundle

    def close(self) -> None:
        """Nothing is held."""


def _read(path: Path) -> Bundle:
    known = {each.name for each in fields(Bundle)} - set(_APART)
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        bundle = {name: value for name, value in told.items() if name in known}
        inside = path.parent / _ARTIFACTS
        files = sorted(each for each in inside.rglob("*") if each.is_file()) if inside.is_dir() else []
        pieces = [
            Piece(path=each.relative_to(inside).as_posix(), size=each.stat().st_size, read=_reader(each))
            for each in files
        ]
        return Bundle(**bundle, artifacts=pieces)
    except (ValueError, TypeError, AttributeError) as error:
        raise BadRequest(f"{path}: is no run that was exported here ({type(error).__name__})", param="where") from None


def _reader(path: Path) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                yield piece

    return read
