"""Which texts are nearly the same: MinHash over overlapping pieces of five characters. Knows no examples and no tables.

The likeness of two texts is the Jaccard index of their sets of pieces, estimated from the share of equal values in two
signatures (Broder 1997), each value cut to one byte (Li and König 2010: b-bit minwise hashing). Pairs worth comparing
are found by bands of the signature (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, chapter 3).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ALIKE: Final = 0.6
"""Estimated Jaccard index from which two texts count as nearly the same."""
VALUES: Final = 128
"""Bytes of a signature."""
_PIECE: Final = 5
_MOST: Final = 2_000
"""Pieces of a text that are looked at: those of the smallest hashes, the same ones in a copy of it."""
_BLOCK: Final = 256
_BAND: Final = 4
_LONGEST: Final = 200_000
"""Characters of a text that are looked at."""
_SAMPLE: Final = 20
"""Texts that it takes to see what is boilerplate."""
_COMMON: Final = 0.2
"""A piece that more than this part of the texts have tells none of them apart."""
_FEW: Final = 2_000
"""Texts of which each is compared with each; of more, those that share a band."""
_CHUNK: Final = 65_536

Signatures = NDArray[np.uint8]
Numbers = NDArray[np.uint64]
Hashes = NDArray[np.uint32]

# Signatures are stored, so these are the same in every process and with every numpy, for ever.
_DRAWN: Final[Hashes] = np.frombuffer(
    b"".join(blake2b(b"loopwright %d" % at, digest_size=64).digest() for at in range(VALUES // 8)), dtype="<u4"
).astype(np.uint32)
_FACTORS: Final[Hashes] = _DRAWN[:VALUES] | np.uint32(1)
_ADDENDS: Final[Hashes] = _DRAWN[VALUES:]
_POWERS: Final[Numbers] = np.array([0x9E3779B1**at % 2**64 for at in range(_PIECE)], dtype=np.uint64)


def normalised(text: str) -> str:
    """What is the same for everybody who reads it: case, kinds of blanks and forms of characters make no difference."""
    return " ".join(unicodedata.normalize("NFKC", text[:_LONGEST]).casefold().split())


def pieces(text: str) -> Hashes:
    """The hashes of the pieces of a normalised text, each once, ascending; of a shorter text its own."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < _PIECE:
        codes = np.concatenate([codes, np.zeros(_PIECE - len(codes), dtype=np.uint64)])
    sums = np.zeros(len(codes) - _PIECE + 1, dtype=np.uint64)
    for at in range(_PIECE):
        sums += codes[at : len(codes) - _PIECE + 1 + at] * _POWERS[at]
    return np.unique((_mixed(sums) >> np.uint64(32)).astype(np.uint32))


def common(texts: Sequence[Hashes]) -> Hashes | None:
    """The boilerplate of these texts: what so many of them say that it tells none apart; None of too few texts."""
    if len(texts) < _SAMPLE:
        return None
    counted: Counter[int] = Counter()
    for text in texts:
        counted.update(text.tolist())
    least = max(len(texts) * _COMMON, 5)
    return np.array(sorted(piece for piece, count in counted.items() if count > least), dtype=np.uint32)


def signature(text: Hashes, boilerplate: Hashes | None = None) -> bytes:
    """The signature of a text by its pieces, those of the boilerplate left out unless nothing else is there."""
    if boilerplate is not None and len(boilerplate):
        rest = text[~np.isin(text, boilerplate, assume_unique=True)]
        text = rest if len(rest) else text
    text = text[:_MOST]
    least = np.full(VALUES, 2**32 - 1, np.uint32)
    for start in range(0, len(text), _BLOCK):
        # x·a + b modulo 2^32 with an odd a: a permutation for each value. In blocks, so that it stays in the cache.
        spread = text[start : start + _BLOCK, None] * _FACTORS
        spread += _ADDENDS
        np.minimum(least, spread.min(axis=0), out=least)
    return (_mixed(least.astype(np.uint64)) >> np.uint64(56)).astype(np.uint8).tobytes()


def likeness(a: bytes, b: bytes) -> float:
    """The estimated Jaccard index of two texts by their signatures."""
    return float(_likeness(np.frombuffer(a, np.uint8)[None], np.frombuffer(b, np.uint8)[None])[0])


def likeness_to(one: NDArray[np.uint8], others: Signatures) -> NDArray[np.float64]:
    """The estimated Jaccard index of a text and each of some others by their signatures."""
    return _likeness(one[None], others)


def alike(signatures: Signatures) -> NDArray[np.int64]:
    """Pairs of rows that are nearly the same, enough of them that who is alike by way of others is connected.

    Args:
        signatures: one a row, `VALUES` columns.
    """
    if len(signatures) <= _FEW:
        return _all_pairs(signatures)
    found: list[NDArray[np.int64]] = []
    bands = np.ascontiguousarray(signatures).view(np.uint32)
    # Within a bucket neighbours in the order of all bands are compared, and each with the first: not all with all.
    for band in range(VALUES // _BAND):
        keys = bands[:, band]
        order = np.lexsort((bands[:, (band + 1) % (VALUES // _BAND)], keys))
        ordered = keys[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        first = np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
        at = np.arange(len(ordered))
        later = at[at > first]
        neighbours = np.stack([order[later - 1], order[later]], axis=1)
        further = later[later - 1 > first[later]]
        firsts = np.stack([order[first[further]], order[further]], axis=1)
        found.extend(_checked(signatures, pairs) for pairs in (neighbours, firsts) if len(pairs))
    return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), dtype=np.int64)


def _all_pairs(signatures: Signatures) -> NDArray[np.int64]:
    found = [np.empty((0, 2), dtype=np.int64)]
    for at in range(len(signatures) - 1):
        near = np.flatnonzero(_likeness(signatures[at][None], signatures[at + 1 :]) >= ALIKE) + at + 1
        found.append(np.stack([np.full(len(near), at), near], axis=1))
    return np.concatenate(found)


def number_of(data: bytes) -> int:
    """The first eight bytes of a hash as a signed number, as PostgreSQL's bigint holds it."""
    return int.from_bytes(data[:8], "big", signed=True)


def words_of(value: Any) -> Iterable[str]:
    """Every text in a JSON value, by the names of members; of a conversation, what is not the system's."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in sorted(value.items()):
            if name == "messages" and isinstance(each, list):
                yield from words_of([_said(message) for message in each])
            else:
                yield from words_of(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from words_of(each)
    elif value is not None:
        yield str(value)


def _said(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    return [] if message.get("role") in {"system", "developer"} else [message.get("content"), message.get("tool_calls")]


def _checked(signatures: Signatures, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    kept = []
    for start in range(0, len(pairs), _CHUNK):
        some = pairs[start : start + _CHUNK]
        kept.append(some[_likeness(signatures[some[:, 0]], signatures[some[:, 1]]) >= ALIKE])
    found = np.concatenate(kept)
    found.sort(axis=1)
    return found


def _likeness(a: Signatures, b: Signatures) -> NDArray[np.float64]:
    # Two values of one byte are equal by chance in 1 of 256.
    same = (a == b).mean(axis=1, dtype=np.float64)
    found: NDArray[np.float64] = np.maximum((same - 1 / 256) / (1 - 1 / 256), 0.0)
    return found


def _mixed(values: Numbers) -> Numbers:
    """Every bit of a value spread over all (the finalizer of MurmurHash3)."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))
