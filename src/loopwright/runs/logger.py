"""How a program tells of a run while it goes on: `with client.run(...) as run`. Stands on the standard library."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from loopwright.core.errors import LoopwrightError, Unavailable
from loopwright.runs.run import EXAMPLES

_BATCH: Final = 1_000
"""Points that are sent together, and at most so many requests fewer."""
_PAUSE: Final = 2.0
"""Seconds after which what was logged is sent with the next point."""
_KEPT: Final = 500_000
"""Points kept while nothing answers; beyond, the oldest go."""


class Server(Protocol):
    """What the logger asks of a client."""

    def log_run(self, run_id: str, /, **said: Any) -> dict[str, Any]:
        """Say more of a run."""
        ...

    def change_run(self, run_id: str, /, **change: Any) -> dict[str, Any]:
        """End a run, or name it."""
        ...

    def note_run(self, run_id: str, text: str, /) -> dict[str, Any]:
        """Note something."""
        ...

    def put_artifact(self, run_id: str, path: str, content: bytes | Path, /) -> dict[str, Any]:
        """Keep a file."""
        ...


class ActiveRun:
    """A run that goes on. Points are gathered and sent together; leaving the block sends the rest and ends the run.

    Left by an exception the run is `failed` with that error (`killed` by Ctrl-C). While nothing answers, points are kept
    and a warning says so once: a server that is away for a while does not end a training.
    """

    def __init__(self, server: Server, shown: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._points: list[dict[str, Any]] = []
        self._sent = clock()
        self._warned = False
        self._steps: dict[str, int] = {}
        self.id = str(shown["id"])
        self.name = str(shown["name"])
        self.experiment = str(shown["experiment"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
            return
        status = "killed" if isinstance(error, KeyboardInterrupt) else "failed"
        try:
            self.finish(status, error=f"{type(error).__name__}: {error}"[:5_000])
        except LoopwrightError as second:  # what ended the block matters more
            warnings.warn(f"run {self.id} could not be ended: {second}", RuntimeWarning, stacklevel=2)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Set parameters; each is set once.

        Raises:
            Conflict: one has another value already.
        """
        self._server.log_run(self.id, params=dict(params))

    def log_metric(self, name: str, value: float | None, step: int | None = None) -> None:
        """Add a point; without `step` the one after the last of this metric. NaN and infinity are kept as no number."""
        self.log_metrics({name: value}, step)

    def log_metrics(self, metrics: Mapping[str, float | None], step: int | None = None) -> None:
        """Add a point to each of several metrics at one step."""
        at = datetime.now(UTC).isoformat()
        for name, value in metrics.items():
            place = self._steps.get(name, -1) + 1 if step is None else int(step)
            self._steps[name] = place
            number = None if value is None or not math.isfinite(value) else float(value)
            self._points.append({"name": name, "value": number, "step": place, "at": at})
        if len(self._points) >= _BATCH or self._clock() - self._sent >= _PAUSE:
            self._send(patient=True)

    def log_artifact(self, source: str | Path, path: str | None = None) -> None:
        """Keep a file, or every file of a folder; `path` is what it is called in the run."""
        place = Path(source)
        if place.is_dir():
            for each in sorted(found for found in place.rglob("*") if found.is_file()):
                inside = each.relative_to(place).as_posix()
                self._server.put_artifact(self.id, f"{path or place.name}/{inside}", each)
            return
        self._server.put_artifact(self.id, path or place.name, place)

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file."""
        self._server.put_artifact(self.id, path, text.encode())

    def log_examples(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep what came out for each example, so that two runs compare down to it.

        A row has `example_id`, and as far as there are any `scores` (names and numbers), `output`, `inputs`,
        `expected`, `slice`.
        """
        self.log_text("".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows), EXAMPLES)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; one that is there changes."""
        self._server.log_run(self.id, tags=dict(tags))

    def used(self, *, prompts: Iterable[str] = (), data: Iterable[Mapping[str, Any]] = ()) -> None:
        """Say which versions of prompts (`name@number`) and datasets it was made with."""
        self._server.log_run(self.id, prompts=[*prompts], data=[dict(each) for each in data])

    def note(self, text: str) -> None:
        """Note something for people."""
        self._server.note_run(self.id, text)

    def flush(self) -> None:
        """Send what is gathered now.

        Raises:
            Unavailable: nothing answers; what is gathered stays.
        """
        self._send(patient=False)

    def finish(self, status: str = "finished", *, error: str | None = None) -> None:
        """Send the rest and end the run; leaving the block does it."""
        self.flush()
        self._server.change_run(self.id, status=status, error=error)

    def _send(self, *, patient: bool) -> None:
        self._sent = self._clock()
        while self._points:
            batch = self._points[: 10 * _BATCH]
            try:
                self._server.log_run(self.id, metrics=batch)
            except Unavailable as error:
                if not patient:
                    raise
                if not self._warned:
                    warnings.warn(f"points of run {self.id} wait to be sent: {error}", RuntimeWarning, stacklevel=4)
                self._warned = True
                del self._points[:-_KEPT]
                return
            del self._points[: len(batch)]
