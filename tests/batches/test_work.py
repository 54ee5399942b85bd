"""Batches over a real database and real files; the road is a script of replies."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loopwright.batches.batch import Batch, Problem
from loopwright.batches.files import Files, NewFile
from loopwright.batches.lines import Line
from loopwright.batches.road import Reply
from loopwright.batches.run import Runner
from loopwright.batches.store import Batches
from loopwright.core.errors import BadRequest, Conflict, NotFound, Spent
from loopwright.core.who import Principal
from loopwright.kit.blobs import Blobs
from loopwright.kit.db import Database
from loopwright.kit.jobs import Jobs
from loopwright.kit.migrations import migrate
from loopwright.kit.settings_batches import BatchSettings, FileSettings

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
WHO = Principal(key_id=1, key_name="k", project_id=1, project="p")
QUICK = BatchSettings(base=0.01, longest=0.02, concurrency=4, attempts=3)
Answer = Callable[[Line, int], Reply]


def reply(status: int = 200, body: bytes = b'{"ok":\n true}', **more: float) -> Reply:
    after = more.get("after")
    return Reply(status=status, body=body, request_id="r-1", retry_after=after, output_tokens=2, cost_nano=7)


class Script:
    """A road that answers as `answer` says, given the line and which time it is asked."""

    def __init__(self, answer: Answer = lambda _line, _time: reply(), *, delay: float = 0.0) -> None:
        self.answer = answer
        self.delay = delay
        self.asked: Counter[str] = Counter()
        self.busy = False
        self.at_once = self.most = 0

    async def ask(self, batch: Batch, line: Line, seconds: float) -> Reply:
        assert batch.project_id == 1
        assert seconds >= 0
        self.asked[line.custom_id] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.at_once -= 1
        return self.answer(line, self.asked[line.custom_id])

    async def free(self, model: str) -> bool:
        assert model == "m"
        return not self.busy

    def judge(self, _batch: Batch, model: str) -> Problem | None:
        return None if model == "m" else Problem(code="model_not_found", message=model)


class Room:
    """Files, batches and a runner in a folder."""

    def __init__(self, db: Database, folder: Path, settings: BatchSettings, files: FileSettings) -> None:
        self.db = db
        self.folder = folder
        self.files = Files(db, Blobs(folder / "blobs"), files)
        self.batches = Batches(db, self.files, settings)

    async def upload(self, raw: bytes, *, purpose: str = "batch", project_id: int = 1) -> str:
        blob = self.files.blobs.put(raw)
        new = NewFile(project_id=project_id, key_id=1, filename="f", purpose=purpose, bytes=len(raw), blob=blob)
        return (await self.files.add(new)).id

    async def create(self, count: int = 10, **changes: object) -> str:
        rows = [
            {"custom_id": f"c{n}", "method": "POST", "url": CHAT, "body": {"model": "m"} | changes}
            for n in range(count)
        ]
        raw = b"".join(json.dumps(each).encode() + b"\n" for each in rows)
        return (await self.batches.create(WHO, input_file_id=await self.upload(raw), endpoint=CHAT)).id

    def running(
        self, road: Script, *, linger: float = 0.0, stopping: asyncio.Event | None = None
    ) -> asyncio.Task[None]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Script]:
            yield road

        folder = self.folder / "batches"
        runner = Runner(self.batches, opened, folder, longest=10_000, linger=linger, stopping=stopping)
        return asyncio.create_task(runner.run())

    async def run(self, road: Script) -> None:
        async with asyncio.timeout(60):
            await self.running(road)

    async def lines(self, file_id: str | None) -> list[dict[str, object]]:
        assert file_id is not None
        with await self.files.open(await self.files.get(file_id, project_id=1)) as file:
            return [json.loads(line) for line in file]

    async def show(self, batch_id: str) -> Batch:
        return await self.batches.show(batch_id, project_id=1)


@asynccontextmanager
async def room(
    url: str, folder: Path, settings: BatchSettings = QUICK, files: FileSettings | None = None
) -> AsyncIterator[Room]:
    db = await Database.open(url, size=4)
    await migrate(db, ["batches"])
    await Jobs(db).prepare()
    try:
        yield Room(db, folder, settings, files or FileSettings())
    finally:
        await db.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - looks at a script
            await asyncio.sleep(0.01)


async def test_every_line_is_asked_once_and_told_in_order(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path) as here:
        road = Script(delay=0.01)
        made = [await here.create(20), await here.create(3), await here.create(1, model="other")]
        await here.run(road)
        first, second, third = [await here.show(batch_id) for batch_id in made]
        assert (first.status, second.status, third.status) == ("completed", "completed", "failed")
        assert first.tally.completed == 20
        assert first.tally.cost_nano == 140
        assert third.errors is not None
        assert third.errors[0]["code"] == "model_not_found"
        assert 1 < road.most <= 4
        assert sum(road.asked.values()) == 23
        rows = await here.lines(first.output_file_id)
        assert [each["custom_id"] for each in rows] == [f"c{n}" for n in range(20)]
        assert first.error_file_id is None
        assert not list((tmp_path / "batches").glob("*.part"))


async def test_failures_are_asked_again_and_refusals_waited_out(database_url: str, tmp_path: Path) -> None:
    def answer(line: Line, time: int) -> Reply:
        if line.custom_id == "c0":
            return reply(503, b"{}")
        if line.custom_id == "c1" and time < 3:
            return reply(500, b"{}")
        if line.custom_id == "c2" and time < 9:
            return reply(429, b"{}", after=0.01)
        if line.custom_id == "c3":
            return reply(400, b'{"error": {}}')
        return reply()

    async with room(database_url, tmp_path) as here:
        road = Script(answer)
        batch_id = await here.create(6)
        await here.run(road)
        found = await here.show(batch_id)
        assert (found.status, found.tally.completed, found.tally.failed) == ("completed", 4, 2)
        assert road.asked == {"c0": 3, "c1": 3, "c2": 9, "c3": 1, "c4": 1, "c5": 1}
        assert [each["custom_id"] for each in await here.lines(found.error_file_id)] == ["c0", "c3"]


async def test_a_runner_that_ends_anywhere_is_gone_on_from(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path) as here:
        road = Script(delay=0.02)
        batch_id = await here.create(60)
        for part in (10, 25, 45):
            running = here.running(road)
            await until(lambda part=part: len(road.asked) >= part)  # type: ignore[misc]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await here.run(road)
        found = await here.show(batch_id)
        assert (found.status, found.tally.completed) == ("completed", 60)
        rows = await here.lines(found.output_file_id)
        assert [each["custom_id"] for each in rows] == [f"c{n}" for n in range(60)]
        # Asked twice at the most where an answer was under way when a runner ended: four at once, three times.
        assert 60 <= sum(road.asked.values()) <= 72


async def test_a_runner_that_lingers_is_told_to_stop(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path) as here:
        stopping = asyncio.Event()
        batch_id = await here.create(3)
        running = here.running(Script(), linger=3600, stopping=stopping)
        async with asyncio.timeout(60):
            while (await here.show(batch_id)).status != "completed":  # noqa: ASYNC110 - looks at a table
                await asyncio.sleep(0.01)
            assert not running.done()
            stopping.set()
            await running


async def test_lines_wait_while_others_need_the_engine(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path) as here:
        road = Script(delay=0.01)
        road.busy = True
        batch_id = await here.create(5)
        running = here.running(road)
        while (await here.show(batch_id)).status != "in_progress":  # noqa: ASYNC110 - looks at the database
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.6)
        assert not road.asked
        road.busy = False
        async with asyncio.timeout(30):
            await running
        assert (await here.show(batch_id)).status == "completed"


async def test_the_end_of_the_window_is_the_end(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path) as here:
        road = Script(lambda line, _time: reply() if line.custom_id < "c2" else reply(429, b"{}"))
        batch_id = await here.create(5)
        await here.db.run("update batches set expires_at = now() + interval '2 seconds'")
        await here.run(road)
        found = await here.show(batch_id)
        assert (found.status, found.tally.completed, found.tally.failed) == ("expired", 2, 3)
        told = await here.lines(found.error_file_id)
        assert {each["error"]["code"] for each in told} == {"batch_expired"}  # type: ignore[index]


async def test_cancelled_before_it_began(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path) as here:
        road = Script()
        batch_id = await here.create(5)
        assert (await here.batches.cancel(batch_id, project_id=1)).status == "cancelling"
        with pytest.raises(NotFound):
            await here.batches.cancel(batch_id, project_id=2)
        await here.run(road)
        assert (await here.show(batch_id)).status == "cancelled"
        assert not road.asked


async def test_quotas_and_foreign_files(database_url: str, tmp_path: Path) -> None:
    small = FileSettings(limit=1_000, project_bytes=1_000, project_files=2)
    settings = BatchSettings(project_batches=1)
    async with room(database_url, tmp_path, settings, small) as here:
        first = await here.upload(b"x" * 600)
        assert await here.files.room(1) == 400
        with pytest.raises(Spent):
            await here.upload(b"y" * 600)
        await here.upload(b"z")
        with pytest.raises(Spent):
            await here.files.room(1)
        other = await here.upload(b"x" * 600, project_id=2)
        with pytest.raises(NotFound):
            await here.files.get(other, project_id=1)
        with pytest.raises(NotFound):
            await here.batches.create(WHO, input_file_id=other, endpoint=CHAT)
        with pytest.raises(BadRequest):
            await here.batches.create(WHO, input_file_id=first, endpoint="/v1/none")
        await here.batches.create(WHO, input_file_id=first, endpoint=CHAT, metadata={"a": "b"})
        with pytest.raises(Spent):
            await here.batches.create(WHO, input_file_id=first, endpoint=CHAT)
        with pytest.raises(BadRequest):
            await here.batches.create(WHO, input_file_id=first, endpoint=CHAT, metadata={"x" * 65: ""})
        with pytest.raises(Conflict):
            await here.files.delete(first, project_id=1)
        # The other project's file has the same bytes: deleting one leaves them to the other.
        await here.db.run("update batches set status = 'cancelled'")
        await here.files.delete(first, project_id=1)
        with await here.files.open(await here.files.get(other, project_id=2)) as file:
            assert file.read() == b"x" * 600
        await here.files.delete(other, project_id=2)
        assert len(list(here.files.blobs)) == 1


async def test_files_expire_but_not_under_a_batch(database_url: str, tmp_path: Path) -> None:
    async with room(database_url, tmp_path) as here:
        batch_id = await here.create(2)
        lone = await here.upload(b"lone")
        await here.db.run("update files set expires_at = now() - interval '1 second'")
        with pytest.raises(NotFound):
            await here.files.get(lone, project_id=1)
        assert not await here.files.list(1)
        assert await here.files.expire() == 1
        await here.run(Script())
        assert (await here.show(batch_id)).status == "completed"
        assert await here.files.expire() == 1
        assert len(await here.files.list(1)) == 1
