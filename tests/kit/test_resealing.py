"""Rows are sealed anew some at a time, each column for its place; what is null or empty stays as it is."""

from __future__ import annotations

import pytest

from loopwright.core.errors import Changed
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.resealing import SealedTable, SealedTables
from loopwright.kit.seal import Seal

pytestmark = pytest.mark.anyio
ONE, TWO = (SealingKey(id=name, secret=name.encode() * 8) for name in ("aaaa", "bbbb"))
LETTERS = SealedTables(
    (
        SealedTable(
            name="letters",
            key=("box", "position"),
            needs=("owner",),
            texts={
                "head": lambda row: b"letters.head %d %d" % (row["box"], row["position"]),
                "body": lambda row: b"letters.body " + row["owner"].encode(),
            },
            batch=2,
        ),
    )
)


async def test_each_column_is_sealed_for_its_place(database_url: str) -> None:
    db = await Database.open(database_url)
    try:
        await db.run(
            "create table letters (box int, position int, owner text, head bytea, body bytea, sealed_by text,"
            " primary key (box, position))"
        )
        for position, (head, body) in enumerate([(b"a", b"b"), (b"c", None), (b"", b"d"), (None, None)]):
            await db.run("insert into letters values (7, %s, 'ann', %s, %s)", (position, head, body))
        assert await LETTERS.keys_used(db) == {None: 3}
        assert [await LETTERS.reseal(db, Seal([ONE])) for _ in range(3)] == [2, 1, 0]
        assert [await LETTERS.reseal(db, Seal([TWO, ONE])) for _ in range(3)] == [2, 1, 0]
        assert await LETTERS.keys_used(db) == {TWO.id: 3}
        two = Seal([TWO])
        rows = await db.rows("select head, body from letters order by position")
        assert two.open(bytes(rows[0]["head"]), b"letters.head 7 0") == b"a"
        assert two.open(bytes(rows[2]["body"]), b"letters.body ann") == b"d"
        with pytest.raises(Changed):
            two.open(bytes(rows[1]["head"]), b"letters.head 7 0")
        assert (rows[1]["body"], bytes(rows[2]["head"]), rows[3]["head"]) == (None, b"", None)
    finally:
        await db.close()
