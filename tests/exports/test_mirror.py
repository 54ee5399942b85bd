"""Mirrors over a real database: every call that came is sent, what fails is tried again, what is deleted is told."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from loopwright.calls.store import Charge
from loopwright.core.call import CallDetail
from loopwright.exports import due
from loopwright.exports.due import Leaving, exporting
from loopwright.exports.exporter import NotTaken, Said
from loopwright.exports.mirror import Mirror
from loopwright.exports.outgoing import Outgoing
from loopwright.exports.standing import standings
from loopwright.kit.settings_exports import ExportFilterSettings, ExportSettings
from tests.exports.going_out import Kept, kept
from tests.monitoring.keeping import record

pytestmark = pytest.mark.anyio


class Place:
    """An exporter that remembers, and refuses what it is told to."""

    def __init__(self, refuse: Callable[[str], bool | None] = lambda _id: None) -> None:
        self.calls: list[Outgoing] = []
        self.scores: list[Said] = []
        self.gone: list[str] = []
        self.refuse = refuse

    async def send(self, calls: Sequence[Outgoing]) -> None:
        for each in calls:
            again = self.refuse(each.detail.call.id)
            if again is not None:
                raise NotTaken("no", again=again)
        self.calls += calls

    async def score(self, said: Sequence[Said]) -> None:
        self.scores += said

    async def forget(self, traces: Sequence[str]) -> int:
        self.gone += traces
        return len(traces)

    async def close(self) -> None:
        pass

    def ids(self) -> list[str]:
        return [each.detail.call.id for each in self.calls]


async def _charge(_connection: Any, _calls: Any) -> None:
    pass


def _noted(*names: str) -> Charge:
    return exporting(_charge, names)


def _mirror(house: Kept, place: Place, name: str = "m", *, may: bool = True, **settings: Any) -> Mirror:
    async def may_leave(_detail: CallDetail) -> bool:
        return may

    async def project_of(named: str) -> int | None:
        return {"default": 1, "other": 2}.get(named)

    found = Mirror(
        db=house.db,
        source=house.source,
        settings=ExportSettings(**settings),
        project_of=project_of,
        may_leave=may_leave,
        called=name,
    )
    found._exporter = place
    return found


async def _state(house: Kept, name: str = "m") -> dict[str, Any]:
    [found] = await standings(house.db, {name: ExportSettings()})
    return found


async def test_every_call_is_sent_once_also_those_that_come_late(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted("m")) as house:
        place, some = Place(), [record(asked=f"q{n}") for n in range(150)]
        mirror = _mirror(house, place, texts=True)
        await house.keep(*some[50:])
        await mirror()
        await house.keep(*some[:50])  # they began before
        await mirror()
        await mirror()
        assert sorted(place.ids()) == sorted(each.id for each in some)
        assert place.calls[0].detail.request is not None
        state = await _state(house)
        assert (state["state"], state["sent"], state["waiting"], state["problem"]) == ("current", 150, 0, None)


async def test_what_fails_is_kept_and_tried_later(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted("m")) as house:
        place = Place(lambda _id: True)
        mirror = _mirror(house, place)
        await house.keep(record())
        await mirror()
        state = await _state(house)
        assert (state["state"], state["waiting"], state["problem"]) == ("failing", 1, "no")
        place.refuse = lambda _id: None
        await mirror()
        assert place.calls == []  # not yet
        await house.db.run("update export_states set after = now()")
        await mirror()
        assert len(place.calls) == 1
        assert place.calls[0].detail.request is None
        assert (await _state(house))["state"] == "current"


async def test_one_that_nobody_takes_holds_up_no_other(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted("m")) as house:
        some = [record() for _ in range(20)]
        place = Place(lambda call: False if call == some[7].id else None)
        await house.keep(*some)
        await _mirror(house, place)()
        assert sorted(place.ids()) == sorted(each.id for each in some if each is not some[7])
        state = await _state(house)
        assert (state["sent"], state["refused"], state["waiting"]) == (19, 1, 0)


async def test_filters_choose(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted("m", "n")) as house:
        one, other = (
            record(tags={"team": "a"}),
            record(project_id=2, tags={"team": "a", "tier": "gold"}, outcome="error", status=502),
        )
        await house.keep(one, other, record(model="x"))
        chosen = {
            "project": ExportFilterSettings(project="other"),
            "outcome": ExportFilterSettings(outcome="error"),
            "nobody's": ExportFilterSettings(project="gone"),
            "tags": ExportFilterSettings(tags=("team:a", "tier:gold")),
        }
        want = {"project": [other.id], "outcome": [other.id], "nobody's": [], "tags": [other.id]}
        for name, chosen_filter in chosen.items():
            place = Place()
            await house.db.run("delete from export_due")
            await due.queue(house.db, "m", None, None)
            await _mirror(house, place, filter=chosen_filter)()
            assert place.ids() == want[name]
        place = Place()
        await due.queue(house.db, "n", None, None)
        await _mirror(house, place, "n", filter=ExportFilterSettings(tag="team:a", model="task/t"))()
        assert sorted(place.ids()) == sorted([one.id, other.id])


async def test_scores_follow_their_calls_and_minds_change(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted("m")) as house:
        place, one = Place(), record()
        mirror = _mirror(house, place)
        await mirror()
        await house.keep(one)
        await mirror()
        await house.say(one.id, "because")
        await mirror()
        await mirror()
        assert [(each.call.id, each.score["name"]) for each in place.scores] == [(one.id, "helpful")]
        assert "explanation" not in place.scores[0].score
        await house.say(one.id, "no, because")
        await house.say(one.id, "also", name="polite")
        await mirror()
        assert sorted(each.score["name"] for each in place.scores[1:]) == ["helpful", "polite"]
        again = _mirror(house, Place())  # another process may send the last minutes' again, and no more
        await again()
        assert (await _state(house))["scores"] >= 3


async def test_what_is_deleted_is_told_and_the_rest_of_its_trace_sent_anew(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted("m")) as house:
        trace = "ab" * 16
        gone = record(trace_id=trace, session="s")
        stays, other = record(trace_id=trace), record(trace_id="cd" * 16)
        place = Place()
        mirror = _mirror(house, place)
        await house.keep(gone, stays, other)
        await mirror()
        leaving = Leaving(house.db, ["m"])
        noted = await leaving.note(project_id=None, session="s")
        await mirror()
        assert place.gone == []  # it is still there
        assert await house.source.calls.delete(project_id=None, session="s") == 1
        await leaving.over(noted)
        place.calls.clear()
        await mirror()
        assert place.gone == [trace]
        assert place.ids() == [stays.id]
        assert (await _state(house))["forgotten"] == 1
        assert await leaving.note(project_id=None, session="none") == []


async def test_words_that_may_not_leave_stay(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted("m")) as house:
        place, one = Place(), record(asked="MARKER", said="MARKER")
        mirror = _mirror(house, place, may=False, texts=True)
        await house.keep(one)
        await house.say(one.id, "MARKER", "MARKER")
        await mirror()
        await house.say(one.id, "MARKER", name="later")
        await mirror()
        assert place.ids() == [one.id]
        assert {each.score["name"] for each in place.scores} == {"helpful", "later"}
        assert "MARKER" not in repr(place.calls) + repr(place.scores)


async def test_nobody_pays_for_mirrors_that_are_not_there(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, charge=_noted()) as house:
        await house.keep(record())
        assert await house.db.row("select 1 from export_due") is None
        assert await due.queue(house.db, "old", None, None) == 1
        await due.drop_strangers(house.db, ["new"])
        assert await house.db.row("select 1 from export_due") is None
