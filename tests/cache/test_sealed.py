import pytest
from msgspec.structs import replace

from loopwright.cache import resealing, shared
from loopwright.cache.cache import Cache
from loopwright.cache.entry import Likeness
from loopwright.core.errors import Sealed
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import Seal
from loopwright.kit.settings import CacheSettings
from tests.cache.test_cache import entry

pytestmark = pytest.mark.anyio
ONE, TWO = SealingKey(id="one", secret=b"1" * 32), SealingKey(id="two", secret=b"2" * 32)
BODY = b'{"choices":[{"message":{"content":"' + b"the rhododendron flowers in May. " * 100 + b'"}}]}'


async def test_shared_answers_are_sealed_for_their_row_and_compressed_before(database_url: str) -> None:
    db = await Database.open(database_url, size=4)
    await migrate(db, ["cache"])
    held, other = entry(b"k" * 32, body=BODY), entry(b"l" * 32, body=b'{"b":2}')
    await shared.store(db, [(held, None), (other, None)], Seal([ONE]))
    [row] = await db.rows("select body, sealed_by from cache_entries where key = %s", (held.key,))
    assert row["sealed_by"] == "one"
    assert b"rhododendron" not in bytes(row["body"])
    assert len(row["body"]) < len(BODY) // 5
    found = await shared.fetch(db, held.key, Seal([TWO, ONE]))
    assert found is not None
    assert found.body == BODY
    with pytest.raises(Sealed, match="'one'"):
        await shared.fetch(db, held.key, Seal([TWO]))
    assert await Cache(db, CacheSettings(), Seal([TWO])).fetch(held.key) is None, "a miss, not a failure"
    await db.run("update cache_entries set body = %s where key = %s", (row["body"], other.key))
    assert await Cache(db, CacheSettings(), Seal([ONE])).fetch(other.key) is None, "moved from another row"
    await db.close()


async def test_answers_are_sealed_anew(database_url: str) -> None:
    db = await Database.open(database_url, size=4)
    await migrate(db, ["cache"])
    likeness = Likeness(partition=b"p", guard="en 14", vector=(1.0, 0.0))
    plain = [(entry(bytes([at]) * 32, body=BODY), likeness) for at in range(100)]
    await shared.store(db, plain)
    sealed = entry(b"s" * 32, body=BODY)
    await shared.store(db, [(sealed, None)], Seal([ONE]))
    assert await resealing.keys_used(db) == {None: 100, "one": 1}
    ring = Seal([TWO, ONE])
    done = 0
    while step := await resealing.reseal(db, ring):
        done += step
    assert done == 101
    assert await resealing.keys_used(db) == {"two": 101}
    for key in (plain[3][0].key, sealed.key):
        found = await shared.fetch(db, key, Seal([TWO]))
        assert found is not None
        assert found.body == BODY
    assert await db.row("select count(*) as left from cache_entries where guard is not null or vector is not null") == {
        "left": 0
    }
    assert await shared.fetch(db, replace(sealed, key=b"none").key, ring) is None
    await db.close()
