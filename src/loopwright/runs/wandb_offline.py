"""Weights & Biases without an account: runs written offline by its own library, and read from what it wrote.

Nothing is sent anywhere: `wandb sync FOLDER/wandb/offline-run-…` does that, where and when a person wants it. Needs the
library (`pip install 'loopwright[wandb]'`), which is no dependency of ours.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import wandb
from wandb.proto import wandb_internal_pb2 as wire

from loopwright.core.errors import BadRequest, NotFound
from loopwright.runs import words
from loopwright.runs.bundle import Bundle, Piece

_HEAD: Final = 7
"""Bytes before the first block: `:W&B`, a number, a version."""
_BLOCK: Final = 32_768
_RECORD: Final = struct.Struct("<IHB")
"""Of a piece of a record: checksum, length, whether it is whole (1), the first (2), a middle (3) or the last one (4)."""


class Wandb:
    """A folder of offline runs.

    Args:
        where: the folder in which `wandb/offline-run-…` are; made when something is put there.

    Raises:
        BadRequest: no folder is named.
    """

    def __init__(self, where: str | None = None) -> None:
        if not where:
            raise BadRequest("say which folder: --where FOLDER", param="where")
        self._folder = Path(where)

    def put(self, bundle: Bundle, /) -> str:
        """Keep a run there; its folder. One that is there already is not kept twice."""
        name = words.path(bundle.origin)
        known = sorted(self._folder.glob(f"wandb/offline-run-*-{name}"))
        if known:
            return str(known[0])
        self._folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            id=name,
            mode="offline",
            dir=str(self._folder),
            project=bundle.experiment[:128].replace("/", "-"),
            name=bundle.name,
            job_type=bundle.kind,
            notes="\n\n".join(bundle.notes) or None,
            tags=[f"{key}:{value}"[:64] for key, value in bundle.tags.items()],
            config={**bundle.params, **_told(bundle)},
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
            ),
        )
        for piece in bundle.artifacts:
            # Right where it keeps files: from elsewhere it would only link them.
            target = Path(run.dir) / words.path(piece.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(piece.read())
            run.save(str(target), base_path=run.dir, policy="now")
        for step, values in _by_step(bundle.curves).items():
            run.log(values, step=step)
        run.finish(exit_code=0 if bundle.status in ("finished", "running") else 1)
        return str(Path(run.dir).parent)

    def bundles(self, experiment: str | None, /) -> Iterator[Bundle]:
        """The runs that were written there.

        Raises:
            NotFound: there is none.
            BadRequest: a file is none of the library's.
        """
        found = sorted({path.resolve() for path in self._folder.glob("**/*.wandb")})
        if not found:
            raise NotFound(f"{self._folder}: no run of wandb's is there (*.wandb)", param="where")
        for path in found:
            bundle = _bundle(path)
            if experiment is None or bundle.experiment == experiment:
                yield bundle

    def close(self) -> None:
        """Nothing is held."""


def _bundle(path: Path) -> Bundle:
    run, ended = None, None
    config: dict[str, Any] = {}
    notes: list[str] = []
    curves: dict[str, list[dict[str, Any]]] = {}
    for raw in _records(path):
        record = wire.Record()
        record.ParseFromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= _values(run.config.update)
            notes = [run.notes] if run.notes else []
        elif kind == "config":
            config |= _values(record.config.update)
        elif kind == "history":
            _point(record.history, curves)
        elif kind == "exit":
            ended = record.exit.exit_code
    if run is None:
        raise BadRequest(f"{path}: says nothing of a run", param="where")
    params = {name: value for name, value in config.items() if not name.startswith(("_wandb", "loopwright/"))}
    started = datetime.fromtimestamp(run.start_time.seconds + run.start_time.nanos / 1e9, UTC)
    moments = [each["at"] for curve in curves.values() for each in curve if each["at"]]
    inside = path.parent / "files"
    files = sorted(each for each in inside.rglob("*") if each.is_file()) if inside.is_dir() else []
    return Bundle(
        origin=run.run_id,
        experiment=run.project or "wandb",
        name=run.display_name or run.run_id,
        kind=run.job_type or "run",
        status={None: "killed", 0: "finished"}.get(ended, "failed"),
        params=params,
        tags={tag.partition(":")[0] or tag: tag.partition(":")[2] or "true" for tag in run.tags},
        prompts=config.get("loopwright/prompts", []),
        data=config.get("loopwright/data", []),
        code=config.get("loopwright/code", {}),
        curves=curves,
        notes=notes,
        started_at=started.isoformat(),
        ended_at=max(moments, default=None),
        artifacts=[_piece(inside, each) for each in files],
    )


def _records(path: Path) -> Iterator[bytes]:
    """The records of a file: pieces in blocks, as LevelDB's log has them; one that was cut off ends it."""
    data = path.read_bytes()
    if not data.startswith(b":W&B"):
        raise BadRequest(f"{path}: is no file of wandb's", param="where")
    at, whole = _HEAD, b""
    while at + _RECORD.size <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _RECORD.size:
            at += left
            continue
        _, length, kind = _RECORD.unpack_from(data, at)
        piece = data[at + _RECORD.size : at + _RECORD.size + length]
        if len(piece) < length or not 1 <= kind <= 4:
            return
        at += _RECORD.size + length
        whole = piece if kind in (1, 2) else whole + piece
        if kind in (1, 4):
            yield whole


def _point(history: Any, curves: dict[str, list[dict[str, Any]]]) -> None:
    values = _values(history.item)
    stamp = values.get("_timestamp")
    at = datetime.fromtimestamp(stamp, UTC).isoformat() if isinstance(stamp, int | float) else None
    step = values.get("_step", history.step.num)
    for name, value in values.items():
        number = None if value in ("NaN", "Infinity", "-Infinity") else value
        if not name.startswith("_") and (number is None or isinstance(number, int | float)):
            curves.setdefault(name, []).append({"step": int(step), "at": at, "value": number})


def _values(items: Any) -> dict[str, Any]:
    found = {}
    for each in items:
        name = each.key or ".".join(each.nested_key)
        value = json.loads(each.value_json)
        found[name] = None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - what is not itself is NaN
    return found


def _by_step(curves: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What was logged at each step, in their order."""
    found: dict[int, dict[str, Any]] = {}
    for name, curve in curves.items():
        for point in curve:
            value = float("nan") if point["value"] is None else point["value"]
            found.setdefault(point["step"], {})[name] = value
            if point.get("at"):
                found[point["step"]]["_timestamp"] = datetime.fromisoformat(point["at"]).timestamp()
    return dict(sorted(found.items()))


def _told(bundle: Bundle) -> dict[str, Any]:
    """What the library has no place for."""
    told = {"prompts": [*bundle.prompts], "data": [dict(each) for each in bundle.data], "code": dict(bundle.code)}
    return {f"loopwright/{name}": value for name, value in told.items() if value}


def _piece(inside: Path, file: Path) -> Piece:
    def read() -> Iterator[bytes]:
        yield file.read_bytes()

    return Piece(path=file.relative_to(inside).as_posix(), size=file.stat().st_size, read=read)
