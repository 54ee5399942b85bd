"""Latency histograms that merge: OpenTelemetry's exponential histogram at scale 5, so at most 1.1 % off.

Bucket i holds the values in (b^i, b^(i+1)] with b = 2^(1/32); a quantile is answered with the middle that is equally
far, relatively, from both ends. (OpenTelemetry specification, Metrics data model, ExponentialHistogram.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

SCALE: Final = 5
_PER_OCTAVE: Final = 1 << SCALE
ZERO: Final = -32768
"""The bucket of values of zero and less."""
_LOWEST: Final = -32767
_HIGHEST: Final = 32767
BUCKET: Final = np.dtype([("bin", "<i2"), ("count", "<u4")])
"""How a histogram is stored: its filled buckets, rising."""
_MOST: Final = 0xFFFF_FFFF

Bins = NDArray[np.int16]


def bins_of(values: Sequence[float] | NDArray[np.float64]) -> Bins:
    """The bucket of each value (finite); rounding may move a value that is a bucket's end by one."""
    array = np.asarray(values, dtype=np.float64)
    positive = array > 0
    index = np.ceil(np.log2(np.where(positive, array, 1.0)) * _PER_OCTAVE) - 1
    return np.where(positive, np.clip(index, _LOWEST, _HIGHEST), ZERO).astype(np.int16)


def middle_of(bucket: int) -> float:
    """The value a bucket answers with."""
    if bucket == ZERO:
        return 0.0
    return math.exp2((bucket + 0.5) / _PER_OCTAVE)


class Histogram:
    """Counts by bucket."""

    __slots__ = ("counts",)

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts: dict[int, int] = {} if counts is None else counts

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The histogram of `values`."""
        made = cls()
        for value in values:
            made.add(value)
        return made

    def add(self, value: float, times: int = 1) -> None:
        """Count a finite value."""
        bucket = min(max(math.ceil(math.log2(value) * _PER_OCTAVE) - 1, _LOWEST), _HIGHEST) if value > 0 else ZERO
        self.counts[bucket] = self.counts.get(bucket, 0) + times

    def merge(self, other: Histogram) -> None:
        """Add what `other` counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The value below which `share` (0…1) of the values lie, at most 1.1 % off; None when nothing was counted."""
        total = self.total
        if not total:
            return None
        rank, seen = share * (total - 1), 0
        last = ZERO
        for last in sorted(self.counts):
            seen += self.counts[last]
            if seen > rank:
                break
        return middle_of(last)

    def to_bytes(self) -> bytes:
        """Six bytes a filled bucket."""
        pairs = [(bucket, min(self.counts[bucket], _MOST)) for bucket in sorted(self.counts)]
        return np.array(pairs, dtype=BUCKET).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` made.

        Raises:
            ValueError: it did not.
        """
        stored = np.frombuffer(data, dtype=BUCKET)
        return cls(dict(zip(stored["bin"].tolist(), stored["count"].tolist(), strict=True)))


def merged(groups: NDArray[np.int64], bins: Bins, counts: NDArray[np.int64], size: int) -> list[bytes]:
    """Histograms of `size` groups at once: value i counts `counts[i]` times in bucket `bins[i]` of group `groups[i]`."""
    if not len(groups):
        return [b""] * size
    keys = (groups.astype(np.int64) << 16) | (bins.astype(np.int64) + 32768)
    distinct, which = np.unique(keys, return_inverse=True)
    totals = np.bincount(which, weights=counts, minlength=len(distinct))
    stored = np.empty(len(distinct), dtype=BUCKET)
    stored["bin"] = ((distinct & 0xFFFF) - 32768).astype(np.int16)
    stored["count"] = np.minimum(totals, _MOST).astype(np.uint32)
    ends = np.searchsorted(distinct >> 16, np.arange(size), side="right")
    data, width = stored.tobytes(), BUCKET.itemsize
    starts = [0, *ends.tolist()[:-1]]
    return [data[start * width : end * width] for start, end in zip(starts, ends.tolist(), strict=True)]


def unpacked(stored: Sequence[bytes]) -> tuple[NDArray[np.int64], Bins, NDArray[np.int64]]:
    """What `merged` takes, from stored histograms: (which of them, bucket, count)."""
    pairs = np.frombuffer(b"".join(stored), dtype=BUCKET)
    lengths = np.fromiter((len(data) for data in stored), dtype=np.int64, count=len(stored)) // BUCKET.itemsize
    groups = np.repeat(np.arange(len(stored), dtype=np.int64), lengths)
    return groups, pairs["bin"].astype(np.int16), pairs["count"].astype(np.int64)


def quantiles(stored: bytes, shares: Sequence[float]) -> list[float | None]:
    """Quantiles of stored histograms laid end to end, at most 1.1 % off; None for each when nothing was counted."""
    pairs = np.frombuffer(stored, dtype=BUCKET)
    if not len(pairs):
        return [None] * len(shares)
    bins = pairs["bin"].astype(np.int64)
    lowest = int(bins.min())
    # Counted into every bucket from the lowest to the highest: sorting a month of them would take ten times as long.
    seen = np.cumsum(np.bincount(bins - lowest, weights=pairs["count"]))
    ranks = np.array(shares) * (seen[-1] - 1)
    return [middle_of(lowest + at) for at in np.searchsorted(seen, ranks, side="right").tolist()]
