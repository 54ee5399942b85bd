import asyncio
import os
import random
import signal
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from loopwright.calls.drain import Drain
from loopwright.calls.frames import HEAD, HEAD_SIZE, MAGIC, RECORD
from loopwright.calls.query import CallFilter, Calls
from loopwright.calls.record import Opened, Record
from loopwright.calls.spool import SEGMENT_SECONDS, Spool
from loopwright.calls.waiting import waiting
from loopwright.core.errors import BadRequest, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.settings import CallsSettings

Making = Callable[..., Record]
Opening = Callable[..., AbstractAsyncContextManager[Any]]
ALL = CallFilter()


async def kept(calls: Calls, asked: CallFilter = ALL) -> list[str]:
    return [call.id for call in (await calls.page(asked, limit=1000)).calls]


async def counted(calls: Calls) -> int:
    return (await calls.summary(ALL)).counts.requests


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  (the drain knows nobody who waits for it)
        await asyncio.sleep(0.01)


def test_every_call_is_stored_once_and_counted(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            records = [make(f"prompt {number}", tags={"n": str(number)}) for number in range(50)]
            await house.keep(*records)
            assert await kept(house.calls) == [record.id for record in reversed(records)]
            assert await counted(house.calls) == house.drain.stored == 50
            detail = await house.calls.get(records[7].id, project_id=1)
            assert detail.request is not None
            assert detail.response is not None
            assert detail.request["messages"][0]["content"] == "prompt 7"
            assert detail.call.tags == {"n": "7"}
            assert (detail.call.finish, detail.call.trace_id, detail.call.span_id) == (
                "stop",
                records[7].trace_id,
                records[7].span_id,
            )

    asyncio.run(main())


def test_finished_files_go_and_the_position_outlives_the_drain(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            await house.keep(make())
            house.drain.close()
            again = Drain(house.db, house.folder, house.settings)
            house.spool.write(make())
            assert await again.once() == 1
            house.spool.close()
            await again.once()
            assert not list(house.folder.glob("*.spool"))
            assert again.backlog() == 0
            again.close()
            assert await counted(house.calls) == 2

    asyncio.run(main())


def test_a_call_that_is_there_already_counts_once(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            twice = [make(), make()]
            await house.keep(*twice)
            await house.keep(*twice, make(), twice[0])
            assert len(await kept(house.calls)) == 3
            assert await counted(house.calls) == 3

    asyncio.run(main())


def test_a_stream_cut_by_a_death_is_interrupted(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            whole, cut = make(stream=True), make(stream=True, outcome="interrupted", answer=b"")
            house.spool.write(Opened(record=whole))
            house.spool.write(Opened(record=cut))
            await house.keep(whole)
            assert await kept(house.calls) == [whole.id], "its worker lives, so it may still end"
            house.drain.close()
            again = Drain(house.db, house.folder, house.settings)
            await again.once()
            house.spool.close()
            await again.once()
            assert await kept(house.calls, CallFilter(outcome="interrupted")) == [cut.id]
            assert (await house.calls.summary(ALL)).counts.interrupted == 1
            assert await again.once() == 0
            again.close()

    asyncio.run(main())


@pytest.mark.parametrize("ends", [True, False])
def test_a_stream_may_end_in_a_later_file(opening: Opening, make: Making, *, ends: bool) -> None:
    async def main() -> None:
        async with opening() as house:
            record = make(stream=True, outcome="interrupted")
            house.spool.write(Opened(record=record))
            house.spool._opened_at -= SEGMENT_SECONDS + 1
            house.spool.tick()
            await house.keep()
            assert len(list(house.folder.glob("*.spool"))) == 1
            house.drain.close()
            again = Drain(house.db, house.folder, house.settings)
            if ends:
                house.spool.write(make(id=record.id, started_ns=record.started_ns, outcome="ok"))
            house.spool.close()
            await again.once()
            (call,) = (await house.calls.page(ALL)).calls
            assert (call.id, call.outcome) == (record.id, "ok" if ends else "interrupted")
            assert await house.db.rows("select * from spool_opened") == []
            again.close()

    asyncio.run(main())


def test_what_cannot_be_stored_is_set_aside(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            body = b"\x93no record"
            path = next(house.folder.glob("*.spool"))
            house.spool.write(make())
            with path.open("ab") as file:
                file.write(HEAD.pack(MAGIC, RECORD, 1, len(body), zlib.crc32(body)) + body + b"rubbish between")
            house.spool.write(make(id="not an id"))
            house.spool.write(make(status=200, cost_nano=2**63))
            house.spool.write(make(session="nul \x00 in it", tags={"a": "\x00"}))
            await house.keep(make())
            assert len(await kept(house.calls)) == 3
            assert house.drain.set_aside == 4
            assert len(list((house.folder / "bad").iterdir())) == 4
            assert await kept(house.calls, CallFilter(session="nul \ufffd in it"))

    asyncio.run(main())


def test_a_torn_tail_is_skipped_once_its_owner_is_dead(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            house.spool.write(make())
            path = next(house.folder.glob("*.spool"))
            with path.open("ab") as file:
                file.write(HEAD.pack(MAGIC, RECORD, 1, 500, 0) + b"only a part")
            await house.keep()
            assert path.exists()
            house.spool.close()
            await house.drain.once()
            assert not path.exists()
            assert (await counted(house.calls), house.drain.set_aside) == (1, 0)

    asyncio.run(main())


def test_payloads_are_optional(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening(CallsSettings(payloads=False)) as house:
            record = make()
            await house.keep(record)
            detail = await house.calls.get(record.id, project_id=1)
            assert (detail.request, detail.response) == (None, None)
            with pytest.raises(BadRequest, match="payloads"):
                await house.calls.page(CallFilter(text="hello"))

    asyncio.run(main())


DRAINING = """
import asyncio, sys
from pathlib import Path
from loopwright.calls.drain import Drain
from loopwright.kit.db import Database
from loopwright.kit.settings import CallsSettings

async def main():
    db = await Database.open(sys.argv[1], size=3)
    print("up", flush=True)
    await Drain(db, Path(sys.argv[2]), CallsSettings()).run()

asyncio.run(main())
"""


def test_killing_the_drain_at_any_point_loses_and_doubles_nothing(
    database_url: str, tmp_path: Path, make: Making
) -> None:
    folder = tmp_path / "spool"

    async def main() -> None:
        db = await Database.open(database_url, size=3)
        await migrate(db, ["calls"])
        spool, chance = Spool(folder, 10**9), random.Random(7)
        written: list[Record] = []
        for _ in range(6):
            command = [sys.executable, "-c", DRAINING, database_url, str(folder)]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert await process.stdout.readline() == b"up\n"
            for _ in range(chance.randrange(2, 6)):
                for _ in range(300):
                    written.append(make(f"call {len(written)}", key_id=len(written) % 3))
                    spool.write(written[-1])
                await asyncio.sleep(chance.random() * 0.1)
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        spool.close()
        drain = Drain(db, folder, CallsSettings())
        while await drain.once():
            pass
        drain.close()
        calls = Calls(db, CallsSettings())
        rows = await db.rows("select id, block, slot from calls")
        assert {str(row["id"]) for row in rows} == {record.id for record in written}
        assert Counter((row["block"], row["slot"]) for row in rows).most_common(1)[0][1] == 1
        assert await counted(calls) == len(written)
        assert sum(group.counts.requests for group in await calls.by("key", ALL)) == len(written)
        ids = await db.rows("select ids from call_unindexed union all select ids from call_groups")
        assert sum(len(row["ids"]) for row in ids) == 16 * len(written)
        await db.close()

    asyncio.run(main())


def test_an_outage_is_waited_out(make: Making, short_folder: Path) -> None:
    folder = short_folder / "spool"

    async def main() -> None:
        server = await EmbeddedPostgres.start(short_folder / "pg")
        db = await Database.open(server.url, size=3)
        await migrate(db, ["calls"])
        spool, drain = Spool(folder, 10**9), Drain(db, folder, CallsSettings())
        running = asyncio.create_task(drain.run())
        written = [make() for _ in range(20)]
        for record in written:
            spool.write(record)
        await until(lambda: drain.stored == 20)
        await server.stop()
        for record in (later := [make() for _ in range(20)]):
            spool.write(record)
        await until(lambda: drain.failing is not None)
        assert (await waiting(db, folder)).bytes > 0
        with pytest.raises(Unavailable):
            await Calls(db, CallsSettings()).page(ALL)
        server = await EmbeddedPostgres.start(short_folder / "pg")
        await until(lambda: drain.stored == 40)
        assert set(await kept(Calls(db, CallsSettings()))) == {record.id for record in written + later}
        assert (await waiting(db, folder)).bytes == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        spool.close()
        await db.close()
        await server.stop()

    asyncio.run(main())


def test_what_waits_is_measured(opening: Opening, make: Making) -> None:
    async def main() -> None:
        async with opening() as house:
            assert await waiting(house.db, house.folder) == await waiting(house.db, house.folder / "none")
            old = make(started_ns=make().started_ns - 90 * 10**9)
            house.spool.write(old)
            found = await waiting(house.db, house.folder)
            assert found.bytes > HEAD_SIZE
            assert found.seconds >= 90
            await house.keep()
            assert (await waiting(house.db, house.folder)).bytes == 0

    asyncio.run(main())
