from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loopwright.calls import resealing
from loopwright.calls.drain import Drain
from loopwright.calls.indexer import Indexer
from loopwright.calls.query import CallFilter, Calls
from loopwright.calls.record import Opened, Record
from loopwright.calls.resealing import Place
from loopwright.calls.spool import Spool
from loopwright.calls.waiting import waiting
from loopwright.core.errors import Sealed
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings
from tests.calls.conftest import House

pytestmark = pytest.mark.anyio
Making = Callable[..., Record]
ONE, TWO = SealingKey(id="one", secret=b"1" * 32), SealingKey(id="two", secret=b"2" * 32)
WORD = "rhododendron"
SETTINGS = CallsSettings()
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
Opening = Callable[[Seal], AbstractAsyncContextManager[House]]


@pytest.fixture
def sealing(database_url: str, tmp_path: Path) -> Opening:
    """`async with sealing(seal) as house`: the same database and folder each time."""

    @asynccontextmanager
    async def opened(seal: Seal) -> AsyncIterator[House]:
        db = await Database.open(database_url, size=4)
        await migrate(db, ["calls"])
        folder = tmp_path / "spool"
        spool, drain = Spool(folder, 10**9, seal), Drain(db, folder, SETTINGS, seal=seal)
        try:
            yield House(db, folder, SETTINGS, spool, drain, Indexer(db, seal=seal), Calls(db, SETTINGS, seal))
        finally:
            drain.close()
            spool.close()
            await db.close()

    return opened


async def stored(db: Database) -> bytes:
    """Everything the rows of this room hold, as Postgres writes it down."""
    found = b""
    for table in ("calls", "call_payloads", "call_postings", "call_groups", "spool_opened", "call_unindexed"):
        for row in await db.rows(f"select * from {table}"):
            found += b"".join(
                bytes(value) if isinstance(value, bytes) else str(value).encode() for value in row.values()
            )
    return found


def spooled(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def answer_of(house: House, record: Record) -> str | None:
    detail = await house.calls.get(record.id, project_id=1, wait=0)
    return detail.sealed or (detail.request or {})["messages"][0]["content"]


async def test_nothing_is_written_in_plain_and_all_of_it_is_read(sealing: Opening, make: Making) -> None:
    async with sealing(Seal([ONE])) as house:
        calls = [make(f"my {WORD} number {number}") for number in range(3)]
        failed = make(f"bad {WORD}", outcome="error", status=502, error_code="upstream_broke", error=f"got {WORD}")
        opened = make(f"begun {WORD}", outcome="interrupted")
        for record in (*calls, failed):
            house.spool.write(record)
        house.spool.write(Opened(record=opened))
        assert WORD.encode() not in spooled(house.folder)
        assert (await waiting(house.db, house.folder, Seal([ONE]))).seconds < 60
        while await house.drain.once():
            pass
        await house.indexer.once(TOMORROW)
        assert WORD.encode() not in await stored(house.db)
        assert [await answer_of(house, record) for record in calls] == [f"my {WORD} number {at}" for at in range(3)]
        assert (await house.calls.get(failed.id, project_id=1, wait=0)).call.error == f"got {WORD}"
        found = await house.calls.page(CallFilter(text=WORD))
        assert {call.id for call in found.calls} == {record.id for record in (*calls, failed)}
        assert (await house.calls.page(CallFilter(text="azalea"))).calls == ()
        assert await resealing.texts_by_key(house.db) == {"one": 1}
        assert await resealing.words_by_key(house.db) == {"one": 1}


async def test_a_stream_carried_over_from_file_to_file_is_sealed(sealing: Opening, make: Making) -> None:
    async with sealing(Seal([ONE])) as house:
        record = make(f"my {WORD}", outcome="interrupted", stream=True)
        house.spool.write(Opened(record=record))
        house.spool._rotate()
        while await house.drain.once():
            pass
        assert await resealing.streams_by_key(house.db) == {"one": 1}
        assert WORD.encode() not in await stored(house.db)
    async with sealing(Seal([TWO, ONE])) as house:
        assert await resealing.reseal_streams(house.db, Seal([TWO, ONE])) in (0, 1)
        while await house.drain.once():
            pass
        assert await answer_of(house, record) == f"my {WORD}"


async def test_what_has_no_key_is_told_and_waits(sealing: Opening, make: Making, tmp_path: Path) -> None:
    drained, waits = make(f"my {WORD}"), make(f"another {WORD}")
    async with sealing(Seal([ONE])) as house:
        await house.keep(drained)
        await house.indexer.once(TOMORROW)
        house.spool.write(waits)
    async with sealing(Seal([TWO])) as house:
        assert (
            await answer_of(house, drained)
            == "sealed with key 'one', which is not here: give it back in encryption.keys"
        )
        assert (await house.calls.page(CallFilter(text=WORD))).calls == ()
        assert resealing.spooled_by_key(house.folder) == {"one": 1}
        with pytest.raises(Sealed, match="'one'"):
            await house.drain.once()
        with pytest.raises(Sealed, match="'one'"):
            await resealing.reseal_texts(house.db, Seal([TWO]), None)
        assert not (house.folder / "bad").exists()
    async with sealing(Seal([TWO, ONE])) as house:
        while await house.drain.once():
            pass
        assert await answer_of(house, waits) == f"another {WORD}"


async def test_texts_moved_to_another_row_do_not_open(sealing: Opening, make: Making) -> None:
    async with sealing(Seal([ONE])) as house:
        first, second = make(f"my {WORD}"), make("something else")
        await house.keep(first)
        await house.keep(second)
        await house.db.run("""update call_payloads p set body = o.body from call_payloads o where p.block <> o.block""")
        assert "moved from elsewhere" in str(await answer_of(house, first))


async def test_deleting_seals_what_remains(sealing: Opening, make: Making) -> None:
    async with sealing(Seal([ONE])) as house:
        gone, kept = make(f"my {WORD}"), make("something else")
        await house.keep(gone, kept)
        await house.indexer.once(TOMORROW)
    async with sealing(Seal([TWO, ONE])) as house:
        assert await house.calls.delete(project_id=1, call_id=gone.id) == 1
        assert await answer_of(house, kept) == "something else"
        assert await resealing.texts_by_key(house.db) == {"two": 1}
        assert [call.id for call in (await house.calls.page(CallFilter(text="something"))).calls] == [kept.id]


async def test_everything_is_sealed_anew(sealing: Opening, make: Making) -> None:
    error = {"outcome": "error", "status": 502, "error_code": "upstream_broke", "error": f"got {WORD}"}
    plain = [make(f"plain {WORD} {at}", **(error if at == 7 else {})) for at in range(200)]
    async with sealing(PLAIN) as house:
        await house.keep(*plain)
        await house.indexer.once(TOMORROW)
        assert WORD.encode() in await stored(house.db)
    async with sealing(Seal([ONE])) as house:
        sealed = [make(f"sealed {WORD} {at}") for at in range(200)]
        await house.keep(*sealed)
        await house.indexer.once(TOMORROW)
        assert set(await resealing.texts_by_key(house.db)) == {None, "one"}
        assert set(await resealing.words_by_key(house.db)) == {None, "one"}
        assert len((await house.calls.page(CallFilter(text=WORD), limit=1000)).calls) == 400
    ring = Seal([TWO, ONE])
    async with sealing(ring) as house:
        after: Place | None = None
        while True:
            done, after = await resealing.reseal_texts(house.db, ring, after)
            if after is None:
                break
            assert Place.parse(str(after)) == after
            assert done
        while await house.indexer.blind_once():
            pass
        assert set(await resealing.texts_by_key(house.db)) == {"two"}
        assert set(await resealing.words_by_key(house.db)) == {"two"}
    async with sealing(Seal([TWO])) as house:
        assert WORD.encode() not in await stored(house.db)
        for record in (plain[3], plain[199], sealed[0]):
            assert WORD in str(await answer_of(house, record))
        assert (await house.calls.get(plain[7].id, project_id=1, wait=0)).call.error == f"got {WORD}"
        assert len((await house.calls.page(CallFilter(text=WORD), limit=1000)).calls) == 400
        assert await house.indexer.merge_day(datetime.now(UTC).date()) in (0, 400)


async def test_words_nobody_keeps_any_more_are_dropped(sealing: Opening, make: Making) -> None:
    async with sealing(PLAIN) as house:
        await house.keep(make(f"my {WORD}"))
        await house.indexer.once(TOMORROW)
        assert await resealing.drop_words(house.db, Seal([ONE])) == 1
        assert await house.db.rows("select * from call_postings") == []


async def test_a_key_of_the_same_name_that_is_another_is_known(sealing: Opening, make: Making) -> None:
    async with sealing(Seal([ONE])) as house:
        await house.keep(make())
        assert await resealing.opens(house.db, Seal([ONE]), "one")
        assert not await resealing.opens(house.db, Seal([SealingKey(id="one", secret=b"3" * 32)]), "one")
