"""Questions that a model writes: kept when they are good for something, dropped and counted otherwise."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from loopwright.core.chat import Delta, Request
from loopwright.core.errors import BadRequest, Unavailable
from loopwright.core.who import Principal
from loopwright.kit.seal import PLAIN
from loopwright.retrieval.labelled import judged_of
from loopwright.retrieval.questions import Question, Questioning, Wanted, copies, points, rambles
from loopwright.retrieval.search import Searcher
from tests.retrieval.stocked import Doc, Shelf

pytestmark = pytest.mark.anyio
WHO = Principal(key_id=1, key_name="k", project_id=1, project="default")
TEXTS = (
    (
        "Refunds are paid within fourteen days after the goods came back to the warehouse in Hamburg, by the same means that"
        " were used for paying, and never in cash."
    ),
    (
        "Parcels travel by courier on every working day; the guarantee of arrival after two nights covers neither islands nor"
        " mountain huts, and excludes bulky furniture."
    ),
    (
        "The observatory was completed by engineers during winter; its telescope turns on bearings of bronze that a foundry in"
        " Toledo cast for the purpose in one piece."
    ),
)


class Writer:
    """Answers what its rules say of the passage; counts."""

    def __init__(self, answers: Sequence[tuple[str, str]], cost_nano: int | None = 100) -> None:
        self.answers = answers
        self.cost_nano = cost_nano
        self.asked: list[Request] = []

    async def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        seen = str(request.body["messages"])
        said = next((answer for word, answer in self.answers if word in seen), "no JSON")
        if said == "down":
            raise Unavailable("asleep")
        body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": said}}]}
        yield Delta(raw=msgspec.json.encode(body), cost_nano=self.cost_nano, done=True)


async def made(shelf: Shelf, name: str, chat: Writer, **wanted: object) -> tuple[list[Question], Questioning]:
    collection = await shelf.collection(name)
    await shelf.put(collection, [Doc(name=f"d{at}", texts=[text]) for at, text in enumerate(TEXTS)])
    making = Questioning(
        db=shelf.db,
        seal=PLAIN,
        chat=chat,
        search=Searcher(shelf.db, embedder=lambda _name: shelf.embedder),
        embedder=shelf.embedder,
        collection=await shelf.get(collection.id),
        who=WHO,
        wanted=Wanted(model="m", **wanted),  # type: ignore[arg-type]
    )
    return [each async for each in making.run(lambda _done, _of: None)], making


def question(text: str) -> str:
    return json.dumps({"question": text})


async def test_good_questions_are_kept_and_read_by_eval(shelf: Shelf) -> None:
    chat = Writer(
        [
            ("Hamburg", question("Within how many days are refunds paid after the goods came back?")),
            ("courier", question("Which goods are excluded from the guarantee of arrival by courier?")),
            ("Toledo", question("Who cast the bronze bearings of the telescope?")),
        ]
    )
    found, making = await made(shelf, "good", chat, count=3)
    assert {each.document for each in found} == {"d0", "d1", "d2"}
    assert making.told.shown() | {"ended": "done"} == making.told.shown()
    assert (making.told.written, making.told.asked, making.told.cost_nano) == (3, 3, 300)
    [first, *_] = judged_of([each.shown() for each in found])
    assert first.synthetic
    assert first.grades == {found[0].document: 1.0}
    assert chat.asked[0].tags == {"loopwright.questions": "good"}
    assert chat.asked[0].who is WHO


async def test_what_is_no_good_is_dropped_and_counted(shelf: Shelf) -> None:
    chat = Writer(
        [
            ("Hamburg", question("What does the passage say about refunds?")),
            ("courier", question("How tall are zebras in southern Kenya usually?")),
        ]
    )
    found, making = await made(shelf, "bad", chat, count=3)
    told = making.told
    assert found == []
    assert (told.pointing, told.unanswerable, told.unreadable) == (1, 1, 1)
    assert told.ended == "no passage is left that was not asked about"


async def test_near_duplicates_and_lost_ones_are_dropped(shelf: Shelf) -> None:
    same = question("Which refunds, parcels, telescope, guarantee and bearings are meant?")
    found, making = await made(shelf, "alike", Writer([("passage", same)]), count=3, overlap=0.05, near=0.0)
    assert (len(found), making.told.alike) == (1, 2)
    lost = question("Parcels, courier, guarantee: which bulky furniture, islands and mountain huts?")
    found, making = await made(shelf, "lost", Writer([("Hamburg", lost)]), count=3, overlap=0.0, near=0.0, depth=1)
    assert (found, making.told.lost) == ([], 1)


async def test_money_and_failures_end_it(shelf: Shelf) -> None:
    good = question("Within how many days are refunds paid after the goods came back?")
    chat = Writer([("Hamburg", good)])
    found, making = await made(shelf, "poor", chat, count=3, budget_nano=150)
    assert (making.told.asked, making.told.ended) == (1, "budget")
    with pytest.raises(BadRequest, match="no price"):
        await made(shelf, "unpriced", Writer([("Hamburg", good)], cost_nano=None), count=3, budget_nano=150)
    found, making = await made(shelf, "down", Writer([("passage", "down")]), count=3)
    assert (found, making.told.failed) == ([], 3)


def test_copies_and_pointing_are_seen() -> None:
    passage = "one two three four five six seven eight nine ten eleven twelve thirteen"
    assert copies("Is it so that " + passage, passage)
    assert not copies("one two three four five six?", passage)
    assert points("What is the author's point?")
    assert not points("Who wrote Faust?")
    assert rambles("Who wrote Faust? And when?")
    assert rambles("Is it the area of the tensor that is meant by the area of the tensor that is shown?")
    assert not rambles("Who wrote the first and who the second part of Faust?")
