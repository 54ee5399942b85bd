"""Which side of the split each new example goes to: what is nearly the same stays together, and nothing ever moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.datasets.dataset import SPLITS, Shares
from loopwright.datasets.example import Split
from loopwright.datasets.likeness import ALIKE, Signatures, alike, likeness_to
from loopwright.kit.postponed import Postponed

sparse: Final = Postponed("scipy.sparse")
csgraph: Final = Postponed("scipy.sparse.csgraph")
_CODES: Final[dict[Split | None, int]] = {None: 0, **{name: 1 << at for at, name in enumerate(SPLITS)}}
_SIDES: Final[dict[int, Split | None]] = {code: name for name, code in _CODES.items()}

Codes = NDArray[np.uint8]
Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Examples as far as their sides go, in their order: those that are there, then new ones."""

    keys: Keys
    """Of their normalised inputs."""
    signatures: Signatures
    codes: Codes
    """The side of those that are there; the wish of new ones. See `code_of`."""
    kin: Keys
    """Of those that are there; of new ones not read."""
    old: int
    """How many are there."""
    tied: NDArray[np.int64]
    """Pairs that belong together whatever they say: an example and its seed, its former content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What was decided for each new example."""

    codes: Codes
    kin: Keys
    held_back: int
    """Those that would have been a near-duplicate across sides, or wished for the other side: they are on none."""


def code_of(split: Split | None) -> int:
    """A side as a number; 0 for none."""
    return _CODES[split]


def split_of(code: int) -> Split | None:
    """The side of a number."""
    return _SIDES[code]


def place(rows: Rows, shares: Shares) -> Placed:
    """Decide for the new examples.

    A group is what is connected by near-duplicates, equal inputs and ties. It goes where its members that are there
    are; a group of new ones where the first wish says, or else where the hash of its first member falls. Where members
    are on two sides already, each new one goes to the side of all its own near-duplicates, or to none.
    """
    total = len(rows.keys)
    new = slice(rows.old, total)
    if rows.old == total:
        return Placed(codes=np.zeros(0, np.uint8), kin=np.zeros(0, np.int64), held_back=0)
    groups, count = _groups(rows)
    sides = np.zeros(count, np.uint8)
    np.bitwise_or.at(sides, groups[: rows.old], rows.codes[: rows.old])
    kin = _kin(rows, groups, count)
    codes = np.zeros(total, np.uint8)
    codes[: rows.old] = rows.codes[: rows.old]
    wishes = rows.codes
    for at in rows.old + np.flatnonzero((wishes[new] != 0) & (sides[groups[new]] == 0)):
        if sides[groups[at]] == 0:
            sides[groups[at]] = wishes[at]
    for group in np.unique(groups[new]):
        if sides[group] == 0:
            sides[group] = code_of(shares.side(int(kin[group])))
    codes[new] = sides[groups[new]]
    divided = np.flatnonzero(np.isin(codes[new], list(_SIDES), invert=True)) + rows.old
    if len(divided):
        _one_by_one(rows, groups, codes, divided, shares)
    refused = (wishes[new] != 0) & (wishes[new] != codes[new])
    codes[new][refused] = 0
    return Placed(codes=codes[new], kin=kin[groups[new]], held_back=int((codes[new] == 0).sum()))


def _groups(rows: Rows) -> tuple[NDArray[np.int64], int]:
    order = np.argsort(rows.keys, kind="stable")
    equal = np.flatnonzero(rows.keys[order][1:] == rows.keys[order][:-1])
    same = np.stack([order[equal], order[equal + 1]], axis=1)
    edges = np.concatenate([same, alike(rows.signatures), rows.tied.reshape(-1, 2)])
    size = len(rows.keys)
    graph = sparse.coo_array((np.ones(len(edges), np.bool_), (edges[:, 0], edges[:, 1])), shape=(size, size))
    count, groups = csgraph.connected_components(graph, directed=False)
    return groups.astype(np.int64), int(count)


def _kin(rows: Rows, groups: NDArray[np.int64], count: int) -> Keys:
    """Of each group the kin of its first member."""
    first = np.full(count, len(groups), np.int64)
    np.minimum.at(first, groups, np.arange(len(groups)))
    return np.where(first < rows.old, rows.kin[first], rows.keys[first])


def _one_by_one(
    rows: Rows, groups: NDArray[np.int64], codes: Codes, divided: NDArray[np.int64], shares: Shares
) -> None:
    """Sides of new examples whose groups are on several: in order, each after those before it."""
    codes[divided] = 0
    tied: dict[int, list[int]] = {}
    for a, b in rows.tied.tolist():
        tied.setdefault(a, []).append(b)
        tied.setdefault(b, []).append(a)
    order = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[order], np.arange(groups.max() + 2))
    for at in divided.tolist():
        members = order[bounds[groups[at]] : bounds[groups[at] + 1]]
        near = likeness_to(rows.signatures[at], rows.signatures[members]) >= ALIKE
        near |= rows.keys[members] == rows.keys[at]
        around = int(np.bitwise_or.reduce(codes[members[near]], initial=0))
        for other in tied.get(at, []):
            around |= int(codes[other])
        if around == 0:
            around = int(rows.codes[at]) or code_of(shares.side(int(rows.keys[at])))
        codes[at] = around if around in _SIDES else 0
