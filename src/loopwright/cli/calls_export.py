"""Writes calls as JSON lines, page by page, so that memory holds one page whatever is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loopwright.cli.screen import console
from loopwright.client import Client
from loopwright.core.errors import NotFound

_COUNTED = frozenset({"model", "since", "until"})
"""Filters that the roll-ups behind the total know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which calls, from where, and how much of each."""

    client: Client
    where: Mapping[str, Any]
    texts: bool
    limit: int | None

    def lines(self) -> Iterator[dict[str, Any]]:
        """What each line holds."""
        page = min(self.limit or 200, 200)
        for at, call in enumerate(self.client.each_call(page=page, **self.where)):
            if at == self.limit:
                return
            if not self.texts:
                yield call
                continue
            try:
                yield self.client.call(call["id"])
            except NotFound:
                continue  # deleted since its page was read

    def total(self) -> int | None:
        """About how many there will be; None when the filters are finer than the roll-ups."""
        if any(value is not None for name, value in self.where.items() if name not in _COUNTED):
            return self.limit
        span = {name: self.where[name] for name in _COUNTED}
        summary = self.client.overview(**{"since": "1970-01-01T00:00:00Z", **_told(span)}).get("summary") or {}
        requests = summary.get("requests")
        if not isinstance(requests, int):
            return self.limit
        return requests if self.limit is None else min(requests, self.limit)


def write(source: Source, out: TextIO) -> int:
    """Write every line to `out`, with a progress bar where a person watches; returns how many."""
    screen = console(stderr=True)
    count = 0
    with Progress(
        SpinnerColumn(),
        TextColumn("calls"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
        disable=not screen.is_terminal or out.isatty(),
        transient=True,
    ) as progress:
        bar = progress.add_task("calls", total=None if progress.disable else source.total())
        for line in source.lines():
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
            progress.advance(bar)
    out.flush()
    return count


def write_file(source: Source, path: Path) -> int:
    """Write to `path` by way of `<path>.part`, so that a file of that name is always whole.

    The file is for its owner only: it holds what people wrote.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8", opener=_private) as out:
            count = write(source, out)
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return count


def _told(span: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in span.items() if value is not None}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
