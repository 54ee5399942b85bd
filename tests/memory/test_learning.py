import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from loopwright.core.errors import BadRequest, Conflict, NotFound, Sealed, Unavailable
from loopwright.core.score import Score
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import Seal
from loopwright.memory import resealing
from loopwright.memory.conflicts import Conflicts
from loopwright.memory.effect import ENOUGH, Arm, Effect, effects, wilson
from loopwright.memory.tally import Tally
from tests.memory.remembering import LABELS, Rooms, asked, new

pytestmark = pytest.mark.anyio
ONE, TWO = SealingKey(id="one", secret=b"1" * 32), SealingKey(id="two", secret=b"2" * 32)
QUESTION = "where is my new card"


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=8)
    await migrate(database, ["memory"])
    yield database
    await database.close()


async def test_a_correction_is_held_at_once_and_one_of_the_same_call_takes_its_place(db: Database) -> None:
    rooms = Rooms(db)
    of = asked(QUESTION, "no idea")
    learnt = await rooms.correct(of, "in the post")
    assert (learnt.task, learnt.embedded, learnt.problem) == ("t", True, "")
    assert await rooms.like(QUESTION) == [("in the post", 1.0)]
    again = await rooms.correct(of, "it is on its way")
    assert await rooms.like(QUESTION) == [("it is on its way", 1.0)]
    before = await rooms.memory.get(learnt.entry_id, project_id=1)
    assert before.state(datetime.now(UTC)) == "superseded"
    found = await rooms.memory.of_call(of.call.id)
    assert found is not None
    assert found.id == again.entry_id


async def test_every_process_hears_of_it_and_of_its_end(db: Database) -> None:
    here, there = Rooms(db), Rooms(db)
    watching = asyncio.create_task(there.held.watch())
    try:
        learnt = await here.correct(asked(QUESTION, "no idea"), "in the post")
        await _until(lambda: there.like(QUESTION), [("in the post", 1.0)])
        entry = await here.memory.get(learnt.entry_id, project_id=1)
        await here.memory.change(entry, disabled=True)
        await _until(lambda: there.like(QUESTION), [])
        await here.memory.change(entry, disabled=False)
        await _until(lambda: there.like(QUESTION), [("in the post", 1.0)])
        await here.memory.delete(entry)
        await _until(lambda: there.like(QUESTION), [])
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_one_tenants_corrections_are_nowhere_else(db: Database) -> None:
    rooms = Rooms(db)
    for project in (1, 2, 3):
        await rooms.tell(QUESTION, f"of {project}", project=project)
    await rooms.tell(QUESTION, "of another task", task="u")
    fresh = Rooms(db)
    await fresh.held.load()
    for held in (rooms, fresh):
        for project in (1, 2, 3):
            assert await held.like(QUESTION, project=project) == [(f"of {project}", 1.0)]
            repeats = await held.held.repeats((project, "t"), {"input": QUESTION})
            assert [entry.project_id for entry in repeats] == [project]
        assert await held.like(QUESTION, project=4) == []
        assert await held.like(QUESTION, project=2, task="u") == []
    [mine] = (await rooms.memory.page(project_id=2)).entries
    with pytest.raises(NotFound):
        await rooms.memory.get(mine.id, project_id=1)
    assert await rooms.memory.forget(project_id=1, key_id=1) == 0


async def test_without_an_embedder_it_waits_and_is_embedded_by_itself(db: Database) -> None:
    rooms = Rooms(db)
    rooms.words.problem = Unavailable("away")
    learnt = await rooms.correct(asked(QUESTION, "no idea"), "in the post")
    assert not learnt.embedded
    assert await rooms.like(QUESTION) == []
    assert len(await rooms.held.repeats((1, "t"), {"input": QUESTION})) == 1
    assert [each.id for each in (await rooms.memory.page(project_id=1, state="waiting")).entries] == [learnt.entry_id]
    with pytest.raises(Unavailable):
        await rooms.learning.catch_up(after=0)
    rooms.words.problem = None
    assert await rooms.learning.catch_up(after=0) == 1
    await rooms.held.load()
    assert await rooms.like(QUESTION) == [("in the post", 1.0)]
    rooms.form = replace(rooms.form, embedder="elsewhere")
    await rooms.learning.renew()  # nothing here embeds with it: what there is stays
    await rooms.held.load()
    assert len(await rooms.like(QUESTION)) == 1


@pytest.mark.parametrize(
    ("output", "kept"), [("billing", "billing"), (" bug ", "bug"), ("refund", None), ({"a": 1}, None)]
)
async def test_what_the_task_may_not_answer_is_no_entry(db: Database, output: object, kept: object) -> None:
    rooms = Rooms(db, form=LABELS)
    learnt = await rooms.correct(asked(QUESTION, "other"), output)
    assert [each for each, _ in await rooms.like(QUESTION)] == ([] if kept is None else [kept])
    assert bool(learnt.problem) is (kept is None)


async def test_a_call_of_no_task_or_of_one_that_is_gone_is_no_entry(db: Database) -> None:
    rooms = Rooms(db)
    assert (await rooms.correct(asked("x", "y", task=None), "z")).entry_id is None
    assert "no task 'gone'" in (await rooms.correct(asked("x", "y", task="gone"), "z")).problem
    assert (await rooms.memory.page(project_id=None)).entries == []


async def test_a_deleted_call_takes_its_entry_along(db: Database) -> None:
    rooms = Rooms(db)
    calls = [asked(f"question {at}", "a", session="s", tags={"who": str(at)}) for at in range(3)]
    for each in calls:
        await rooms.correct(each, "b")
    await rooms.tell("imported", "stays")
    assert await rooms.memory.forget(project_id=1, call_id=calls[0].call.id) == 1
    assert await rooms.memory.forget(project_id=1, tag=("who", "1")) == 1
    assert await rooms.memory.forget(project_id=None, session="s") == 1
    await rooms.held.load()
    assert [output for output, _ in await rooms.like("question imported")] == ["stays"]
    with pytest.raises(BadRequest):
        await rooms.memory.forget(project_id=1)


async def test_people_who_contradict_each_other_are_listed_and_decided(db: Database) -> None:
    rooms, conflicts = Rooms(db), Conflicts(Rooms(db).memory)
    first = await rooms.tell(QUESTION, "in the post", author="ann")
    await rooms.tell(QUESTION, "in the post", author="ben")  # agrees
    await rooms.tell(QUESTION, "not sent yet", author="ann")  # has changed her mind, and so contradicts ben
    [found] = await conflicts.list(project_id=1)
    assert [found.older.author, found.newer.author] == ["ben", "ann"]
    assert await conflicts.list(project_id=2) == []
    with pytest.raises(NotFound):
        await conflicts.get(found.id, project_id=2)
    decided = await conflicts.resolve(found, "newer", by="eve")
    assert (decided.state, decided.kept, decided.decided_by) == ("one", found.newer.id, "eve")
    assert (await rooms.memory.get(found.older.id, project_id=1)).disabled_at is not None
    assert (await rooms.memory.get(first, project_id=1)).disabled_at is None
    with pytest.raises(Conflict):
        await conflicts.resolve(found, "both", by="eve")
    await rooms.tell("how do I close my account", "by letter", author="ann")
    await rooms.tell("how do I close my account", "in the app", author="ben")
    [other] = await conflicts.list(project_id=1)
    with pytest.raises(BadRequest):
        await conflicts.resolve(other, "scope", by="eve", scopes={first: {"market": "de"}})
    await conflicts.resolve(other, "scope", by="eve", scopes={other.older.id: {"market": "de"}})
    scoped = await rooms.memory.get(other.older.id, project_id=1)
    assert not scoped.holds(datetime.now(UTC), {})
    assert scoped.holds(datetime.now(UTC), {"market": "de", "more": "x"})
    assert await conflicts.list(project_id=1) == []
    assert len(await conflicts.list(project_id=1, state=None)) == 2


async def test_what_is_sealed_is_sealed_anew_and_found_again(db: Database) -> None:
    old, both = Rooms(db, seal=Seal([ONE])), Rooms(db, seal=Seal([TWO, ONE]))
    await old.tell(QUESTION, "in the post")
    plain = Rooms(db)
    await plain.held.load()
    with pytest.raises(Sealed):
        await plain.like(QUESTION)
    assert await plain.held.repeats((1, "t"), {"input": QUESTION}) == []
    await both.held.load()
    assert len(await both.held.repeats((1, "t"), {"input": QUESTION})) == 1
    assert await resealing.reseal(db, both.seal) == 1
    assert await resealing.reseal(db, both.seal) == 0
    assert await resealing.keys_used(db) == {"two": 1}
    new_only = Rooms(db, seal=Seal([TWO]))
    await new_only.held.load()
    assert await new_only.like(QUESTION) == [("in the post", 1.0)]
    assert len(await new_only.held.repeats((1, "t"), {"input": QUESTION})) == 1
    rows = await db.rows("select content from memory_entries")
    assert all(b"post" not in bytes(row["content"]) for row in rows)


async def test_over_the_bound_the_nearest_come_from_the_database(db: Database) -> None:
    many = Rooms(db)
    await many.learning.bring([new(f"question number {at} of word{at % 40}", f"a{at}") for at in range(300)])
    await many.tell(QUESTION, "of another", project=2)
    await many.tell(QUESTION, "in the post")
    small = Rooms(db, most=50_000)
    await small.held.load()
    assert small.held.count((1, "t")) == 0
    for text in (QUESTION, "question number 7", "word12"):
        held, far = await many.like(text), await small.like(text)
        assert far[0][1] == held[0][1]
        assert sorted(score for _, score in far) == sorted(score for _, score in held)
    assert [entry.lesson(small.seal).output for entry in await small.held.repeats((1, "t"), {"input": QUESTION})] == [
        "in the post"
    ]
    assert "of another" not in [output for output, _ in await small.like(QUESTION)]


async def test_entries_that_expire_are_shown_to_nobody(db: Database) -> None:
    rooms = Rooms(db)
    entry = await rooms.memory.get(await rooms.tell(QUESTION, "x"), project_id=1)
    soon = await rooms.memory.change(entry, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert soon.state(datetime.now(UTC)) == "expired"
    await rooms.held.load()
    assert await rooms.like(QUESTION) == []
    assert [each.id for each in (await rooms.memory.page(project_id=1, state="expired")).entries] == [entry.id]
    await rooms.memory.change(soon, expires_at=None)
    await rooms.held.load()
    assert await rooms.like(QUESTION) == [("x", 1.0)]


async def test_the_effect_counts_what_memory_had_something_for(db: Database) -> None:
    rooms, tally = Rooms(db), Tally(db)
    started = int(datetime.now(UTC).timestamp() * 1e9)
    for outcome, calls in (("shown", 90), ("answered", 10), ("held-out", 50), ("none", 7), ("late", 1)):
        for _ in range(calls):
            tally.add((1, "t", "base"), started, outcome, [], counted=True)  # type: ignore[arg-type]
    tally.add((1, "t", "base"), started, "shown", [], counted=False)
    await tally.flush()
    for outcome, wrong in (("shown", 4), ("held-out", 20)):
        for _ in range(wrong):
            await rooms.correct(asked("q", "a", tags={"loopwright.memory": outcome}), "b")
    await rooms.correct(asked("q", "a", tags={"loopwright.memory": "shown"}), "a")  # says that it was right
    await rooms.correct(asked("q", "a", tags={"loopwright.memory": "held-out", "loopwright.evaluation": "e"}), "b")
    scored = asked("q", "a", tags={"loopwright.memory": "answered"})
    for passed in (True, False):
        async with db.transaction() as connection:
            await rooms.learning.scored(connection, scored.call, Score(name="good", value=None, passed=passed))
    [found] = await effects(db, project_id=1)
    assert (found.memory.calls, found.memory.wanting, found.memory.bad) == (100, 5, 1)
    assert (found.held_out.calls, found.held_out.wanting) == (50, 20)
    assert found.verdict == "better"
    assert found.difference is not None
    assert found.difference[0] == pytest.approx(0.35)
    assert found.others == {"none": 7, "late": 1}
    assert await effects(db, project_id=2) == []
    # A call that is deleted counts no more.
    await rooms.memory.forget(project_id=1, call_id=scored.call.id)
    [after] = await effects(db, project_id=1)
    assert (after.memory.calls, after.memory.bad) == (99, 0)


async def test_what_was_shown_is_counted_by_entry(db: Database) -> None:
    rooms, tally = Rooms(db), Tally(db)
    first, second = await rooms.tell("one", "1"), await rooms.tell("two", "2")
    now = int(datetime.now(UTC).timestamp() * 1e9)
    gone = "01a1ff8c-80f2-74f4-aee7-5b0cf03446f3"
    for _ in range(2):
        for _ in range(3):
            tally.add((1, "t", "base"), now, "shown", [first, second, gone], counted=True)
        tally.add((1, "t", "base"), now, "answered", [second], counted=True)
        tally.add((1, "t", "base"), now, "held-out", [first], counted=True)
        await tally.flush()
    assert await rooms.memory.days(first) == (6, 0)
    assert await rooms.memory.days(second) == (6, 2)


def test_of_too_few_nothing_is_said() -> None:
    one = Arm(calls=ENOUGH - 1, corrected=0, bad=0, wanting=0)
    other = Arm(calls=1000, corrected=500, bad=0, wanting=500)
    assert Effect(project_id=1, task="t", memory=one, held_out=other, others={}).verdict == "too few"
    assert Effect(project_id=1, task="t", memory=other, held_out=other, others={}).verdict == "not told apart"
    nothing = Arm(calls=0, corrected=0, bad=0, wanting=0)
    assert Effect(project_id=1, task="t", memory=nothing, held_out=other, others={}).difference is None


def test_the_interval_is_wilsons() -> None:
    low, high = wilson(10, 100)
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)
    assert wilson(0, 10)[0] == 0.0


async def _until(said: Callable[[], Awaitable[object]], wanted: object) -> None:
    async with asyncio.timeout(30):
        while await said() != wanted:  # noqa: ASYNC110 - what is waited for is another connection's doing
            await asyncio.sleep(0.02)
