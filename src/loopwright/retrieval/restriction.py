"""Which documents a search may find: the labels of who asks, the filter, the documents named. Part of every statement."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from psycopg.types.json import Jsonb

from loopwright.core.passage import Query
from loopwright.kit.db import Connection, plain
from loopwright.retrieval.options import Options
from loopwright.retrieval.postings import Numbers
from loopwright.retrieval.rows import VISIBLE

FEW: Final = 2_000
"""Documents up to which those that may be found are few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """A condition on `collection_documents d` of one collection."""

    sql: str
    params: Mapping[str, Any] = field(default_factory=dict)
    none: bool = False
    """It leaves nothing out of the collection."""

    @classmethod
    def of(cls, collection_id: int, options: Options, labels: frozenset[str] | None) -> Restriction:
        """What `labels` may see, under `options`."""
        parts = ["d.collection_id = %(collection)s"]
        params: dict[str, Any] = {"collection": collection_id}
        if labels is not None:
            parts.append(VISIBLE)
            params["seen"] = sorted(plain(label) for label in labels)
        if options.documents is not None:
            parts.append("d.id = any(%(documents)s::bigint[])")
            params["documents"] = list(options.documents)
        if options.filter is not None:
            parts.append(options.filter.sql)
            params |= options.filter.params
        return cls(sql=" and ".join(parts), params=params, none=len(parts) == 1)

    def key(self) -> bytes:
        """Alike for two that leave the same in any state of the database; says nothing of what is looked for."""
        return hashlib.blake2b(json.dumps([self.sql, self.params], default=_said).encode(), digest_size=16).digest()

    async def guessed(self, connection: Connection) -> float:
        """How many documents the planner guesses that it leaves, by what it knows of the values in the table."""
        cursor = await connection.execute(
            f"explain (format json) select from collection_documents d where {self.sql}".encode(),
            self.params,
            prepare=False,
        )
        row = await cursor.fetchone()
        assert row is not None
        return float(row["QUERY PLAN"][0]["Plan"]["Plan Rows"])

    async def few(self, connection: Connection, most: int = FEW) -> Few | None:
        """What it leaves, where that is at most `most` documents; None where it is more."""
        cursor = await connection.execute(
            f"select string_agg(int8send(id), ''::bytea) as ids, count(*) as documents,"  # noqa: S608 - parameters only
            f" coalesce(sum(chunks), 0)::bigint as chunks"
            f" from (select d.id, d.chunks from collection_documents d where {self.sql} limit {most + 1:d}) found".encode(),
            self.params,
            binary=True,
        )
        row = await cursor.fetchone()
        assert row is not None
        if row["documents"] > most:
            return None
        return Few(np.frombuffer(row["ids"] or b"", dtype=">i8").astype(np.int64), row["chunks"])


@dataclass(frozen=True, slots=True)
class Few:
    """Documents that may be found, by id, and how many chunks they have."""

    documents: Numbers
    chunks: int

    @property
    def told(self) -> str:
        """The ids as PostgreSQL reads a list: ten thousand one by one as parameters take five times as long."""
        return f"{{{','.join(map(str, self.documents.tolist()))}}}"


def _said(value: object) -> object:
    if isinstance(value, Jsonb):
        return value.obj
    raise TypeError(f"{type(value).__name__} is no parameter of a restriction")


def labels_of(query: Query) -> frozenset[str] | None:
    """The labels that hold for a query: those of who asks, narrowed; None sees every document."""
    if query.who.labels is None:
        return query.labels
    return query.who.labels if query.labels is None else query.who.labels & query.labels
