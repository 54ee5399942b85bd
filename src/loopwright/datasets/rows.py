"""Examples as rows of the database: what is written of one, what is read, and how its content is sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any, Final

import msgspec

from loopwright.datasets.dataset import Changes, Dataset, DatasetVersion, Shares
from loopwright.datasets.draft import Draft
from loopwright.datasets.example import Example
from loopwright.datasets.likeness import Hashes, normalised, number_of, pieces, words_of
from loopwright.kit.seal import Seal

STAGED: Final = (
    "row", "id", "named", "sha", "content", "sealed_by", "key", "signature", "split", "tags", "slices", "origin",
    "call_id", "seed",
)  # fmt: skip
_sorted: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Read:
    """A draft whose words were looked at."""

    draft: Draft
    key: int
    pieces: Hashes


def read(draft: Draft) -> Read:
    """Look at the words of a draft's inputs."""
    words = normalised(" \x1f ".join(words_of(draft.example.inputs)))
    return Read(
        draft, number_of(blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()), pieces(words)
    )


def identified(example: Example) -> str:
    """The id of an example: its own, or the start of the hash of what goes in and what should come out."""
    if example.id:
        return example.id
    return sha256(_sorted.encode([example.inputs, example.expected])).hexdigest()[:16]


def sha_of(example: Example) -> bytes:
    """SHA-256 of all that an example says, but for its side: one of the same sha is the same."""
    said = [
        identified(example), example.inputs, example.expected, sorted(example.tags), example.slices,
        example.metadata, example.origin, example.call_id,
    ]  # fmt: skip
    return sha256(_sorted.encode(said)).digest()


def about(sha: bytes) -> bytes:
    """What the content of an example is bound to."""
    return b"dataset_examples.content " + sha


def about_boilerplate(dataset_id: int) -> bytes:
    """What the boilerplate of a dataset is bound to."""
    return b"datasets.boilerplate %d" % dataset_id


def staged(one: Read, signature: bytes, seal: Seal) -> tuple[object, ...]:
    """A draft as a row of STAGED."""
    example = one.draft.example
    sha = sha_of(example)
    content = msgspec.json.encode([example.inputs, example.expected, example.metadata])
    return (
        one.draft.row,
        identified(example),
        bool(example.id),
        sha,
        seal.seal(content, about(sha)),
        seal.first,
        one.key,
        signature,
        example.split,
        list(example.tags),
        msgspec.json.encode(example.slices).decode(),
        example.origin,
        example.call_id,
        one.draft.seed,
    )


def example_of(row: Mapping[str, Any], seal: Seal) -> Example:
    """An example of a row.

    Raises:
        Sealed: its key is not here.
    """
    inputs, expected, metadata = msgspec.json.decode(seal.open(bytes(row["content"]), about(bytes(row["sha"]))))
    return Example(
        id=row["id"],
        inputs=inputs,
        expected=expected,
        split=row["split"],
        slices=row["slices"],
        tags=tuple(row["tags"]),
        metadata=metadata,
        origin=row["origin"],
        call_id=None if row["call_id"] is None else str(row["call_id"]),
    )


def version_of(row: Mapping[str, Any]) -> DatasetVersion:
    """A version of a row of `dataset_versions` joined with name and project of its dataset."""
    return DatasetVersion(
        id=row["id"],
        dataset_id=row["dataset_id"],
        project_id=row["project_id"],
        name=row["name"],
        number=row["number"],
        sha=row["sha"],
        count=row["examples"],
        splits=row["splits"],
        slices=row["slices"],
        tags=row["tags"],
        source=row["source"],
        author=row["author"],
        note=row["note"],
        changes=Changes(**row["changes"]),
        created_at=row["created_at"],
    )


def dataset_of(row: Mapping[str, Any], latest: DatasetVersion | None = None) -> Dataset:
    """A dataset of its row."""
    return Dataset(
        id=row["id"],
        project_id=row["project_id"],
        name=row["name"],
        description=row["description"],
        shares=Shares(**row["shares"]),
        input_schema=row["input_schema"],
        output_schema=row["output_schema"],
        created_at=row["created_at"],
        latest=latest,
    )
