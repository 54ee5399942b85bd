"""Counts every call as it is recorded: requests, tokens, money, times. What is counted survives the death of this process.

A spool before the spool, as `Settled` is: so figures are those of the record, and whatever became of a request, it counts
exactly once. About a microsecond of CPU a call (bench/metrics.py). Labels are names from the configuration and words of
this house, never a text of somebody: what is none of them, and what is too much, counts as `other`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from loopwright.calls.record import Opened, Record
from loopwright.core.errors import LoopwrightError
from loopwright.gateway.recorded import Spooling
from loopwright.kit.cells import Cells, Labels, Rows, fold

OTHER: Final = "other"
CALLS, TIMES, OPEN, EVENTS, GUARDED = "calls", "times", "open", "events", "guarded"
"""Kinds of rows, the first of their labels."""
CALL_CELLS: Final = (
    "requests", "input", "output", "cached", "reasoning", "cost_nano", "unpriced", "hits", "semantic", "attempts", "saved_nano",
)  # fmt: skip
"""What a row of calls counts, in order. Its labels: project, task, model, provider, operation, outcome, error code."""
DURATION: Final = tuple(10_000 << step for step in range(14))
"""Bounds in microseconds: the conventions' 0.01, 0.02 … 81.92 s."""
TTFT: Final = (
    1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
)  # fmt: skip
TPOT: Final = (
    10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000, 500_000, 750_000, 1_000_000, 2_500_000,
)  # fmt: skip
TOKENS: Final = tuple(4**step for step in range(14))
HISTOGRAMS: Final = {"duration": DURATION, "ttft": TTFT, "tpot": TPOT, "input": TOKENS, "output": TOKENS}
"""What a row of times holds, in order: of each the sum, then a count for each bound and one beyond the last. Its labels:
model, provider, operation, and the error code or nothing."""
_PLACES: Final[dict[str, int]] = {}
_SIZE = 0
for _name, _bounds in HISTOGRAMS.items():
    _PLACES[_name] = _SIZE
    _SIZE += len(_bounds) + 2
TIME_CELLS: Final = _SIZE
_TTFT, _TPOT, _INPUT, _OUTPUT = (_PLACES[name] for name in ("ttft", "tpot", "input", "output"))
_TIMED: Final = frozenset(("ok", "error"))
"""Outcomes whose times say something of a model."""
_CODE: Final = re.compile("[a-z][a-z0-9_]{0,48}")
_MOST_OPEN: Final = 100_000
_KNOWN_A_ROW: Final = 4
"""Ways to ask that are remembered for each row there may be."""


def places() -> dict[str, int]:
    """Where each histogram begins in a row of times."""
    return dict(_PLACES)


def _index_of(bounds: tuple[int, ...]) -> bytes:
    """For each number of bits of a value the first bound that may hold it: what is left is a step or two."""
    return bytes(
        next((i for i, bound in enumerate(bounds) if bound >= 1 << bits >> 1), len(bounds)) for bits in range(65)
    )


_FIRST_TTFT: Final = _index_of(TTFT)
_FIRST_TPOT: Final = _index_of(TPOT)


class Meters:
    """What one process counts."""

    __slots__ = ("_cells", "_counts", "_known", "_made", "_models", "_most", "_open", "_view")

    def __init__(self, cells: Cells, models: Collection[str], *, series: int) -> None:
        """`models` are the names that can be called; `series` bounds the rows of calls, those of times, and the others."""
        self._cells = cells
        self._view = cells.view
        self._models = frozenset(models)
        self._most = series
        self._known: dict[tuple[Any, ...], tuple[int, int | None]] = {}
        self._made: dict[Labels, int] = {}
        self._counts: Counter[str] = Counter()
        self._open: dict[str, int] = {}

    @classmethod
    def begin(cls, folder: Path, models: Collection[str], *, series: int) -> Self:
        """Those of this process, in a file of its own; what processes that died have counted is put together first.

        Raises:
            StartError: no file can be made in `folder`.
        """
        fold(folder, buried)
        return cls(Cells(folder), models, series=series)

    def close(self) -> None:
        """Count no more, whatever is still told; harmless when repeated."""
        self._view = memoryview(bytearray(len(self._view) * self._view.itemsize)).cast("q")
        self._cells.close()

    def count(self, record: Record) -> None:
        """Count a call that is over."""
        key = (
            record.project_id, record.task, record.model, record.provider, record.operation, record.outcome,
            record.error_code,
        )  # fmt: skip
        rows = self._known.get(key)
        at, times = self._rows(key) if rows is None else rows
        cells, given, made, cost = self._view, record.input_tokens, record.output_tokens, record.cost_nano
        cells[at] += 1
        cells[at + 1] += given
        cells[at + 2] += made
        if cost is None:
            cells[at + 6] += 1
        elif cost:
            cells[at + 5] += cost
        if times is not None:
            self._time(record, times, given, made)
        if record.tags or record.cached_tokens or record.reasoning_tokens or record.sent is not None:
            self._count_more(record, at)
        if record.stream and self._open:
            begun = self._open.pop(record.id, None)
            if begun is not None:
                cells[begun] -= 1

    def opened(self, record: Record) -> None:
        """A stream has begun. Should this process die before its end, the call is `interrupted`."""
        if len(self._open) < _MOST_OPEN:
            who = self._who(record.project_id, record.task, record.model, record.operation)
            at = self._row((OPEN, *who), 1, other=(OPEN, OTHER, OTHER, OTHER, record.operation))
            if at is not None:
                self._view[at] += 1
                self._open[record.id] = at

    def event(self, *labels: str, amount: int = 1) -> None:
        """Count something that happens seldom, by words of ours: what it is, then its kinds."""
        at = self._row((EVENTS, *labels), 1)
        if at is not None and amount:
            self._view[at] += amount

    def _time(self, record: Record, at: int, given: int, made: int) -> None:
        cells, took = self._view, record.latency_us
        cells[at] += took
        # 10 ms doubled again and again: the bits say which.
        bucket = ((took - 1) // 10_000).bit_length() if took > 0 else 0
        cells[at + 1 + min(bucket, 14)] += 1
        first = record.ttft_us
        if first is not None:
            bucket = _FIRST_TTFT[first.bit_length()]
            while bucket < 16 and TTFT[bucket] < first:
                bucket += 1
            cells[at + _TTFT] += first
            cells[at + _TTFT + 1 + bucket] += 1
            if made > 1:
                each = (took - first) // (made - 1)
                bucket = _FIRST_TPOT[each.bit_length()]
                while bucket < 13 and TPOT[bucket] < each:
                    bucket += 1
                cells[at + _TPOT] += each
                cells[at + _TPOT + 1 + bucket] += 1
        if given:
            bucket = ((given - 1).bit_length() + 1) >> 1
            cells[at + _INPUT] += given
            cells[at + _INPUT + 1 + min(bucket, 14)] += 1
        if made:
            bucket = ((made - 1).bit_length() + 1) >> 1
            cells[at + _OUTPUT] += made
            cells[at + _OUTPUT + 1 + min(bucket, 14)] += 1

    def _count_more(self, record: Record, at: int) -> None:
        """What few calls have."""
        tags, cells = record.tags, self._view
        if record.cached_tokens:
            cells[at + 3] += record.cached_tokens
        if record.reasoning_tokens:
            cells[at + 4] += record.reasoning_tokens
        kind = tags.get("loopwright.cache")
        if kind is not None and record.price_source == "cache":
            cells[at + (7 if kind == "hit" else 8)] += 1
            cells[at + 10] += _nano(tags.get("loopwright.saved_usd"))
        attempts = tags.get("loopwright.attempts")
        if attempts is not None and attempts.isdecimal():
            cells[at + 9] += int(attempts[:6]) - 1
        if record.sent is not None:
            self._count_guarded(record.sent)

    def _count_guarded(self, sent: list[dict[str, Any]]) -> None:
        """What was replaced before a request left, and whether only ours might answer. Only where a trail is kept."""
        replaced: dict[str, int] = {}
        for each in sent:
            # Each tells what had been replaced by then.
            for kind, times in each.get("redacted", {}).items():
                replaced[kind] = max(replaced.get(kind, 0), times)
        if any(each.get("sensitive") for each in sent):
            replaced["sensitive"] = 1
        for kind, times in replaced.items():
            at = self._row((GUARDED, kind), 1)
            if at is not None:
                self._view[at] += times

    def _rows(self, key: tuple[Any, ...]) -> tuple[int, int | None]:
        project, task, model, provider, operation, outcome, code = key
        who = self._who(project, task, model, operation)
        failure = "" if code is None else code if _CODE.fullmatch(code) else OTHER
        labels: Labels = (CALLS, *who[:3], provider, operation, outcome, failure)
        found = self._row(labels, len(CALL_CELLS), other=(CALLS, OTHER, OTHER, OTHER, OTHER, operation, outcome, OTHER))
        at = found or 0  # None after the end only: then nobody reads it
        times = None
        if provider and outcome in _TIMED:
            labels = (TIMES, who[2], provider, operation, failure)
            times = self._row(labels, TIME_CELLS, other=(TIMES, OTHER, OTHER, operation, OTHER if failure else ""))
        if len(self._known) < self._most * _KNOWN_A_ROW:
            self._known[key] = (at, times)
        return at, times

    def _who(self, project: int, task: str | None, model: str, operation: str) -> tuple[str, str, str, str]:
        """Names of the configuration, not what somebody wrote."""
        if model not in self._models:
            model = f"task/{task}" if task is not None and model.startswith("task/") else OTHER
        return str(project), task or "", model, operation

    def _row(self, labels: Labels, size: int, *, other: Labels | None = None) -> int | None:
        """A row; past the bound, and where the file is full, the one for all others, which is made of words of ours."""
        if labels in self._made:
            return self._made[labels]
        kind = labels[0]
        full = self._counts[kind] >= self._most
        at = None if full and labels != other else self._cells.row(labels, size)
        if at is None:
            return self._row(other, size, other=other) if other is not None and labels != other else None
        self._made[labels] = at
        self._counts[kind] += 1
        return at


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts what its spool has taken."""

    inner: Spooling
    meters: Meters

    def write(self, record: Record | Opened) -> None:
        """Append and count; what could not be recorded is counted as that."""
        try:
            self.inner.write(record)
        except LoopwrightError:
            self.meters.event("unrecorded")
            raise
        if type(record) is Record:
            self.meters.count(record)
        elif type(record) is Opened:
            self.meters.opened(record.record)


def buried(rows: Rows) -> Rows:
    """What the rows of a process that died stand for: its open streams are calls that were interrupted, as on record."""
    kept: Rows = {}
    for labels, values in rows.items():
        if labels[0] == OPEN and len(labels) == 5:
            if values[0] > 0:
                _, project, task, model, operation = labels
                name = (CALLS, project, task, model, "", operation, "interrupted", "")
                known = kept.setdefault(name, [0] * len(CALL_CELLS))
                known[0] += values[0]
        elif labels in kept:
            kept[labels] = [one + two for one, two in zip(kept[labels], values, strict=True)]
        else:
            kept[labels] = list(values)
    return kept


def _nano(dollars: str | None) -> int:
    """Nanodollars of a decimal as `usd` writes it."""
    whole, _, part = (dollars or "").partition(".")
    return int(whole + part.ljust(9, "0")[:9]) if (whole + part).isdecimal() else 0
