"""Which chunks of a segment have which words, and how often, as bytes: an inverted index in numpy. Knows no tables.

A posting is a number, `hash << 24 | chunk`, with how often the word stands in the chunk. Words are split by the leading
bits of their hashes into rows of a few kilobytes. A row is zstd over four columns, each split into byte planes: hashes
rising (as differences), how many chunks have each, the chunks (as differences, each word beginning anew), how often.
"""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from loopwright.retrieval.terms import HASH_BITS

NUMBER_BITS: Final = 64 - HASH_BITS
MOST_CHUNKS: Final = 1 << NUMBER_BITS
"""Of a segment."""
_MASK: Final = np.uint64(MOST_CHUNKS - 1)
_HEAD: Final = struct.Struct("<II")
_ROW_POSTINGS: Final = 3000
"""Of a row, about."""
_MOST_BITS: Final = 16
_MOST_TIMES: Final = 65_535
_LARGEST: Final = 1 << 29

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Postings:
    """All postings of a segment, rising, each once."""

    keys: NDArray[np.uint64]
    times: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def numbers(self) -> Numbers:
        """The chunk of each."""
        return (self.keys & _MASK).astype(np.int64)

    def renumbered(self, numbers: Numbers) -> Postings:
        """With the chunk that `numbers` says for each chunk there was; those it says -1 for are gone."""
        moved = numbers[self.numbers]
        kept = moved >= 0
        keys = (self.keys[kept] & ~_MASK) | moved[kept].astype(np.uint64)
        return Postings(keys, self.times[kept])


def postings_of(hashes: Sequence[Sequence[int]]) -> Postings:
    """Of chunks given by the hashes of their words."""
    found = [(number, Counter(words)) for number, words in enumerate(hashes)]
    total = sum(len(counts) for _, counts in found)
    keys = np.fromiter(
        (word << NUMBER_BITS | number for number, counts in found for word in counts), dtype=np.uint64, count=total
    )
    times = np.fromiter(
        (min(count, _MOST_TIMES) for _, counts in found for count in counts.values()), dtype=np.uint16, count=total
    )
    return _sorted(keys, times)


def joined(parts: Sequence[Postings]) -> Postings:
    """Several as one; none has a posting of another."""
    if len(parts) == 1:
        return parts[0]
    return _sorted(np.concatenate([part.keys for part in parts]), np.concatenate([part.times for part in parts]))


def bits_for(postings: int) -> int:
    """How many leading bits split that many postings well."""
    return min(max((max(postings, 1) // _ROW_POSTINGS).bit_length() - 1, 0), _MOST_BITS)


def bucket_of(word: int, bits: int) -> int:
    """The row in which a word stands."""
    return word >> (HASH_BITS - bits) if bits else 0


def pack(postings: Postings, bits: int) -> Iterator[tuple[int, bytes]]:
    """(bucket, row) of each bucket that holds any."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=False)
    edges = (
        np.searchsorted(postings.keys, np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - bits)).tolist()
        if bits
        else []
    )
    for bucket, (start, end) in enumerate(itertools.pairwise([0, *edges, len(postings)])):
        if end > start:
            yield bucket, compressor.compress(_row(postings.keys[start:end], postings.times[start:end]))


def unpack(bodies: Sequence[bytes]) -> Postings:
    """All postings from the rows of a segment in the order of their buckets.

    Raises:
        ValueError: a row is damaged.
    """
    rows = [_columns(body) for body in bodies]
    if not rows:
        return Postings(np.empty(0, np.uint64), np.empty(0, np.uint16))
    keys = [
        (np.repeat(words, counts).astype(np.uint64) << np.uint64(NUMBER_BITS)) | numbers.astype(np.uint64)
        for words, counts, numbers, _ in rows
    ]
    return Postings(np.concatenate(keys), np.concatenate([times for *_, times in rows]).astype(np.uint16))


def lookup(body: bytes, words: Sequence[int]) -> dict[int, tuple[Numbers, NDArray[np.uint32]]]:
    """(chunks, how often in each) of those of `words` that a row holds.

    Raises:
        ValueError: the row is damaged.
    """
    plain = memoryview(decompressed(body))
    many, postings = _sizes(plain)
    at = _HEAD.size
    hashes = np.cumsum(unplanes(plain[at : at + 8 * many], "<u8"))
    counts = unplanes(plain[at + 8 * many : at + 12 * many], "<u4")
    ends, found = np.cumsum(counts), {}
    for word, place in zip(words, np.searchsorted(hashes, words).tolist(), strict=True):
        if place < many and int(hashes[place]) == word:
            end = int(ends[place])
            span = slice(end - int(counts[place]), end)
            # Each word begins anew: nothing but its own part of the columns is needed.
            steps = _part(plain, at + 12 * many, 4, postings, span)
            found[word] = (
                np.cumsum(steps, dtype=np.int64),
                _part(plain, at + 12 * many + 4 * postings, 2, postings, span),
            )
    return found


def _part(plain: memoryview, at: int, width: int, count: int, span: slice) -> NDArray[np.uint32]:
    """Some of the `count` numbers of `width` bytes that begin at `at`."""
    rows = np.frombuffer(plain, dtype=np.uint8, count=width * count, offset=at).reshape(width, count)[:, span]
    values: NDArray[np.uint32] = rows[0].astype(np.uint32)
    for place in range(1, width):
        if rows[place].any():
            values |= rows[place].astype(np.uint32) << np.uint32(8 * place)
    return values


def _sorted(keys: NDArray[np.uint64], times: NDArray[np.uint16]) -> Postings:
    order = np.argsort(keys, kind="stable")
    return Postings(keys[order], times[order])


def _row(keys: NDArray[np.uint64], times: NDArray[np.uint16]) -> bytes:
    hashes = (keys >> np.uint64(NUMBER_BITS)).astype(np.int64)
    numbers = (keys & _MASK).astype(np.int64)
    starts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    steps = np.diff(numbers, prepend=0)
    steps[starts] = numbers[starts]
    columns = (
        planes(np.diff(hashes[starts], prepend=0), "<u8"),
        planes(np.diff(np.append(starts, len(keys))), "<u4"),
        planes(steps, "<u4"),
        planes(times, "<u2"),
    )
    return _HEAD.pack(len(starts), len(keys)) + b"".join(columns)


def _columns(body: bytes) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """(hashes, how many chunks each has, chunks, how often) of a row."""
    plain = memoryview(decompressed(body))
    words, postings = _sizes(plain)
    at = _HEAD.size
    read = []
    for size, width in ((words, "<u8"), (words, "<u4"), (postings, "<u4"), (postings, "<u2")):
        end = at + size * int(width[2])
        read.append(unplanes(plain[at:end], width))
        at = end
    first, counts, steps, times = read
    hashes = np.cumsum(first)
    totals = np.cumsum(steps)
    starts = np.cumsum(counts) - counts
    # Each word begins anew: take off what the ones before it summed up to.
    offsets = totals[starts] - steps[starts]
    return hashes, counts, totals - np.repeat(offsets, counts), times


def _sizes(plain: memoryview) -> tuple[int, int]:
    """(words, postings) of a row."""
    try:
        words, postings = _HEAD.unpack_from(plain)
    except struct.error as error:
        raise ValueError(f"a row of postings is damaged: {error}") from error
    if len(plain) != _HEAD.size + 12 * words + 6 * postings:
        raise ValueError("a row of postings is damaged: its length is wrong")
    return words, postings


def decompressed(body: bytes) -> bytes:
    """What was compressed.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=_LARGEST)
    except zstandard.ZstdError as error:
        raise ValueError(f"a part of the index is damaged: {error}") from error


def planes(values: NDArray[Any], width: str) -> bytes:
    """Each byte of the numbers apart, so that the mostly zero upper ones compress to nothing."""
    return values.astype(width).view(np.uint8).reshape(-1, int(width[2])).T.tobytes()


def unplanes(data: bytes | memoryview, width: str) -> Numbers:
    """The numbers again."""
    rows = np.frombuffer(data, dtype=np.uint8).reshape(int(width[2]), -1)
    return np.ascontiguousarray(rows.T).view(width).reshape(-1).astype(np.int64)
