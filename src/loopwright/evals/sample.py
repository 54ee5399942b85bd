"""Which examples of a dataset an evaluation is about: a side, a tag, a slice, or a sample that is always the same."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import AsyncIterator

from loopwright.core.errors import BadRequest
from loopwright.datasets.dataset import DatasetVersion, parted, side_of
from loopwright.datasets.example import Example
from loopwright.datasets.store import Datasets
from loopwright.evals.evaluation import Evaluation
from loopwright.evals.spec import Spec


async def version_of(datasets: Datasets, project_id: int, ref: str) -> DatasetVersion:
    """The version that `NAME[@NUMBER|@latest]` means now.

    Raises:
        NotFound: there is none.
    """
    name, number = parted(ref)
    return await datasets.version(project_id, name, number)


async def count(datasets: Datasets, version: DatasetVersion, spec: Spec) -> int:
    """How many examples an evaluation of a version has.

    Raises:
        BadRequest: none.
    """
    if not spec.slice and spec.tag is None:
        found = version.count if spec.split is None else version.splits.get(spec.split, 0)
    else:
        found = 0
        async for _ in _whole(datasets, version, spec):
            found += 1
    if not found:
        raise BadRequest(f"dataset: {version.ref} has no examples of what was asked for", param="dataset")
    return found if spec.limit is None else min(found, spec.limit)


async def first(datasets: Datasets, version: DatasetVersion, spec: Spec) -> Example:
    """One of the examples: what a target takes must fit it.

    Raises:
        BadRequest: there is none.
    """
    async for example in _whole(datasets, version, spec):
        return example
    raise BadRequest(f"dataset: {version.ref} has no examples of what was asked for", param="dataset")


async def examples(datasets: Datasets, evaluation: Evaluation) -> AsyncIterator[Example]:
    """The examples of an evaluation, always the same and in the order of the dataset.

    Raises:
        NotFound: the version is gone.
        BadRequest: the dataset was deleted and is another now.
    """
    spec = evaluation.spec
    version = await version_of(datasets, evaluation.project_id, evaluation.dataset)
    if version.sha != evaluation.dataset_sha:
        raise BadRequest(f"dataset: {version.ref} is not what it was: another was made under its name")
    kept: set[str] | None = None
    if spec.limit is not None:
        drawn: list[tuple[bytes, str]] = [
            (_drawn(spec.seed, each.id), each.id) async for each in _whole(datasets, version, spec)
        ]
        kept = {name for _, name in heapq.nsmallest(spec.limit, drawn)}
    async for example in _whole(datasets, version, spec):
        if kept is None or example.id in kept:
            yield example


async def _whole(datasets: Datasets, version: DatasetVersion, spec: Spec) -> AsyncIterator[Example]:
    wanted = list(spec.slice.items())
    first = wanted[0] if wanted else None
    async for example in datasets.examples(version, split=side_of(spec.split), tag=spec.tag, slice=first):
        if all(example.slices.get(name) == value for name, value in wanted):
            yield example


def _drawn(seed: int, example_id: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{example_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
