import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.calls.drain import Drain
from loopwright.calls.query import Calls
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings
from tests.calls.conftest import Opening

pytestmark = pytest.mark.anyio
Making = Callable[..., Record]
KEY, OTHER = b"k" * 32, b"o" * 32
SOON = 60_000_000_000


def soon(seconds: float = 60) -> int:
    return time.time_ns() + int(seconds * 1e9)


async def test_an_answer_is_found_by_its_key_as_long_as_it_is_good(opening: Opening, make: Making) -> None:
    async with opening() as house:
        old = make(said="old", cache_key=KEY, cache_until_ns=soon(), started_ns=time.time_ns() - SOON)
        new = make(said="new", cache_key=KEY, cache_until_ns=soon(), session="s", tags={"team": "x"}, cached_tokens=3)
        over = make(said="over", cache_key=OTHER, cache_until_ns=soon(-1))
        mute = make(said="none")
        await house.keep(new, old, over, mute)
        found = await house.calls.answer_of(KEY)
        assert found is not None
        assert (found.call.id, found.body) == (new.id, new.answer)
        assert (found.call.session, found.call.tags, found.call.cached_tokens) == ("s", {"team": "x"}, 3)
        assert found.until == pytest.approx(new.cache_until_ns / 1e9, abs=0.01)
        assert await house.calls.answer_of(OTHER) is None
        assert await house.calls.answer_of(b"never") is None
        until = new.cache_until_ns // 10**9
        assert await house.calls.answers_known(1) == [(KEY[:8], until)]
        assert [key for key, _ in await house.calls.answers_known(9)] == [KEY[:8]] * 2
        assert [await house.calls.answers_held(scope) for scope in (None, 1, 2)] == [2, 2, 0]
        assert [await house.calls.questions_of(call.id) for call in (new, mute)] == [[KEY], []]
        assert await house.calls.delete(project_id=1, call_id=new.id) == 1
        found = await house.calls.answer_of(KEY)
        assert found is not None
        assert found.call.id == old.id


async def test_an_answer_with_the_call_of_a_block_gone_is_still_its_own(opening: Opening, make: Making) -> None:
    async with opening() as house:
        records = [make(said=f"answer {at}", cache_key=bytes([at]) * 32, cache_until_ns=soon()) for at in range(40)]
        await house.keep(*records)
        for at in (0, 7, 33):
            await house.calls.delete(project_id=None, call_id=records[at].id)
        for at, record in enumerate(records):
            found = await house.calls.answer_of(bytes([at]) * 32)
            assert (None if found is None else found.body) == (None if at in (0, 7, 33) else record.answer)


@pytest.mark.parametrize("named", ["call_id", "key_id", "session", "tag"])
async def test_answers_are_silenced_where_they_lie_and_where_they_wait(
    opening: Opening, make: Making, named: str
) -> None:
    async with opening() as house:
        mine = {"key_id": 7, "session": "s", "tags": {"team": "x"}, "cache_until_ns": soon()}
        drained = make(cache_key=KEY, **mine)
        waiting = make(cache_key=OTHER, **mine)
        theirs = make(cache_key=b"t" * 32, cache_until_ns=soon())
        elsewhere = make(cache_key=b"e" * 32, **mine, project_id=2)
        await house.keep(drained, theirs, elsewhere)
        house.spool.write(waiting)
        values: dict[str, Any] = {"call_id": drained.id, "key_id": 7, "session": "s", "tag": ("team", "x")}
        assert await house.calls.silence(project_id=1, **{named: values[named]}) == 1
        if named == "call_id":
            assert await house.calls.silence(project_id=1, call_id=waiting.id) == 0
        later = make(cache_key=b"l" * 32, **mine)
        await house.keep(later)
        left = [await house.calls.answer_of(key) for key in (KEY, OTHER, b"t" * 32, b"e" * 32, b"l" * 32)]
        assert [each is not None for each in left] == [False, False, True, True, True]
        for record in (drained, waiting, theirs, elsewhere, later):
            detail = await house.calls.get(record.id, project_id=None)
            assert detail.response is not None, "the call itself stays"


async def test_all_answers_to_a_question_are_silenced_where_they_lie_and_where_they_wait(
    opening: Opening, make: Making
) -> None:
    async with opening() as house:
        one, two = (make(said=said, cache_key=KEY, cache_until_ns=soon()) for said in ("one", "two"))
        theirs = make(cache_key=KEY, cache_until_ns=soon(), project_id=2)
        await house.keep(one, theirs)
        house.spool.write(two)
        elsewhere = Ids().new()
        assert await house.calls.silence(project_id=1, call_id=elsewhere, questions=[KEY, OTHER]) == 1
        await house.keep(three := make(said="three", cache_key=OTHER, cache_until_ns=soon()))
        found = await house.calls.answer_of(KEY)
        assert found is not None
        assert found.call.id == theirs.id
        found = await house.calls.answer_of(OTHER)
        assert found is not None
        assert found.call.id == three.id, "asked anew"


async def test_what_an_answer_took_the_place_of_does_not_come_back(opening: Opening, make: Making) -> None:
    async with opening() as house:
        await house.keep(
            make(said="long", cache_key=KEY, cache_until_ns=soon(3600), started_ns=time.time_ns() - SOON),
            make(said="brief", cache_key=KEY, cache_until_ns=soon(-1)),
        )
        assert await house.calls.answer_of(KEY) is None


async def test_a_damaged_text_is_no_answer(opening: Opening, make: Making) -> None:
    async with opening() as house:
        await house.keep(make(cache_key=KEY, cache_until_ns=soon()))
        await house.db.run("update call_payloads set body = substring(body for 20)")
        assert await house.calls.answer_of(KEY) is None


async def test_an_answer_whose_text_is_not_kept_has_no_key(opening: Opening, make: Making) -> None:
    async with opening(CallsSettings(payloads=False)) as house:
        await house.keep(record := make(cache_key=KEY, cache_until_ns=soon()))
        assert (await house.calls.get(record.id, project_id=1)).call.id == record.id
        assert await house.calls.answers_held(None) == 0


async def test_naming_nothing_silences_nothing(opening: Opening, make: Making) -> None:
    async with opening() as house:
        await house.keep(make(cache_key=KEY, cache_until_ns=soon()))
        with pytest.raises(BadRequest):
            await house.calls.silence(project_id=1, call_id="none")
        with pytest.raises(BadRequest):
            await house.calls.silence(project_id=1)
        assert await house.calls.answers_held(None) == 1


async def test_a_sealed_answer_is_opened_or_not_there(database_url: str, tmp_path: Path, make: Making) -> None:
    db = await Database.open(database_url, size=2)
    await migrate(db, ["calls"])
    seal, settings = Seal([SealingKey(id="one", secret=b"1" * 32)]), CallsSettings()
    record = make(said="a secret", cache_key=KEY, cache_until_ns=soon(), id=Ids().new())
    spool = Spool(tmp_path, 10**9, seal)
    spool.write(record)
    drain = Drain(db, tmp_path, settings, seal=seal)
    while await drain.once():
        pass
    found = await Calls(db, settings, seal).answer_of(KEY)
    assert found is not None
    assert found.body == record.answer
    assert await Calls(db, settings, PLAIN).answer_of(KEY) is None
    drain.close()
    spool.close()
    await db.close()
