"""What a dataset and a version of it are, how they are named, and which part of the examples goes where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self, get_args

from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Split

SPLITS: Final[tuple[Split, ...]] = get_args(Split)
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Which part of the examples goes where, in whole percent. Fixed for the life of a dataset."""

    train: int = 80
    validation: int = 10
    test: int = 10

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Shares by name; what is not named gets nothing.

        Raises:
            BadRequest: an unknown name, no whole number, or they do not add up to 100.
        """
        if unknown := given.keys() - set(SPLITS):
            raise BadRequest(f"shares: {min(unknown)[:40]!r} is none of {', '.join(SPLITS)}", param="shares")
        parts = {name: given.get(name, 0) for name in SPLITS}
        fit = all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 100 for part in parts.values())
        if not fit or sum(parts.values()) != 100:
            raise BadRequest(
                "shares: whole percents that add up to 100, e.g. train 80, validation 10, test 10", param="shares"
            )
        return cls(**parts)

    @classmethod
    def read(cls, text: str) -> Self:
        """`80/10/10`: train, validation, test.

        Raises:
            BadRequest: as `of`, or another form.
        """
        parts = text.split("/")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
            raise BadRequest(
                f"shares: {text[:40]!r} is not of the form 80/10/10 (train/validation/test)", param="shares"
            )
        return cls.of(dict(zip(SPLITS, map(int, parts), strict=True)))

    def shown(self) -> dict[str, int]:
        """As JSON."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def side(self, key: int) -> Split:
        """Where what hashes to `key` (64 bits, signed) belongs.

        The same in every dataset of these shares; whatever is in a test part of 10 % is in one of 20 %, too.
        """
        place = (key & 0xFFFF_FFFF_FFFF_FFFF) / 2**64 * 100
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A name for versions of examples."""

    id: int
    project_id: int
    name: str
    description: str
    shares: Shares
    input_schema: Mapping[str, Any] | None
    """What the inputs of every example keep."""
    output_schema: Mapping[str, Any] | None
    """What every reference keeps."""
    created_at: datetime
    latest: DatasetVersion | None = None
    """None while nothing is in it."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "project_id": self.project_id,
            "description": self.description,
            "shares": self.shares.shown(),
            "input_schema": self.input_schema,
            "output_schema": self.output_schema,
            "created_at": self.created_at,
            "latest": None if self.latest is None else self.latest.shown(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a version did to the one before."""

    added: int = 0
    replaced: int = 0
    """Same id, other content."""
    removed: int = 0
    unchanged: int = 0
    """Came again as they were."""
    repeated: int = 0
    """Without an id of their own and the same as an earlier one: left out."""
    held_back: int = 0
    """On no side, as near-duplicates of them are on more than one."""

    def shown(self) -> dict[str, int]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """Examples that never change."""

    id: int
    dataset_id: int
    project_id: int
    name: str
    """Of the dataset."""
    number: int
    sha: str
    """SHA-256 of its examples and their sides, in order."""
    count: int
    splits: Mapping[str, int]
    """Examples by side; those on none under the empty name."""
    created_at: datetime
    source: str = ""
    author: str = ""
    note: str = ""
    changes: Changes = field(default_factory=Changes)
    slices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Examples by name and value of their slices, the commonest."""
    tags: Mapping[str, int] = field(default_factory=dict)
    """Examples by tag, the commonest."""

    @property
    def ref(self) -> str:
        """`NAME@NUMBER`."""
        return f"{self.name}@{self.number}"

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ref": self.ref,
            "name": self.name,
            "number": self.number,
            "sha": self.sha,
            "count": self.count,
            "splits": dict(self.splits),
            "slices": {name: dict(values) for name, values in self.slices.items()},
            "tags": dict(self.tags),
            "source": self.source,
            "author": self.author,
            "note": self.note,
            "changes": self.changes.shown(),
            "created_at": self.created_at,
        }


def check_name(name: str) -> str:
    """A name that a dataset may have.

    Raises:
        BadRequest: another.
    """
    if _NAME.fullmatch(name) is None:
        raise BadRequest(
            f"{name[:100]!r} is no name of a dataset: letters, digits, and . _ - between them, 100 at most",
            param="name",
        )
    return name


def parted(ref: str) -> tuple[str, str]:
    """Name and version of `NAME[@NUMBER|@latest]`."""
    name, _, version = ref.partition("@")
    return name, version or "latest"


def side_of(text: str | None) -> Split | None:
    """A side by its name; None for none.

    Raises:
        BadRequest: another word.
    """
    found = next((each for each in SPLITS if each == text), None)
    if text and found is None:
        raise BadRequest(f"split: {text[:40]!r} is none of {', '.join(SPLITS)}", param="split")
    return found
