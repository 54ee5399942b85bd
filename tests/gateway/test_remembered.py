import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from msgspec import structs

from loopwright.cache.question import question, said
from loopwright.core.chat import Chat, Request
from loopwright.core.errors import Refused, Unavailable
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal
from loopwright.evals.ranking import Ranking
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.performed import Performed
from loopwright.gateway.prompted import Prompted
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.remembered import FREE, PROVIDER, Remembered, drawn
from loopwright.gateway.routed import Routed, Target
from loopwright.gateway.structured import Structured
from loopwright.gateway.worded import Worder
from loopwright.guardrails.moderation import Moderator
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.memory.tally import Tally
from loopwright.tasks.definition import checked
from loopwright.tasks.task import Task, task_of
from loopwright.workshop import form_of
from tests.gateway.roads import Memory as Spool
from tests.gateway.roads import ask, deltas, events
from tests.gateway.task_roads import OPERATIONS, Player, Prompts
from tests.memory.remembering import Rooms, Words

pytestmark = pytest.mark.anyio
ONE = Principal(key_id=1, key_name="k", project_id=1, project="default")
TWO = replace(ONE, key_id=2, project_id=2, project="other")
USER = [{"role": "system", "content": "Answer."}, {"role": "user", "content": "say {{ input }}"}]
QUESTION = "where is my new card"


def told(memory: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    said = {"embedder": "words", "holdout": 0, **(memory or {})}
    variant = {"messages": USER, "memory": said, **more.pop("variant", {})}
    return {"model": "cheap", "variants": {"base": variant}, **more}


@dataclass
class Road:
    """The road of a task with a memory, as the product composes it."""

    rooms: Rooms
    task: dict[str, Any]
    say: Callable[[Request, int], str] = lambda _request, _number: "from the model"
    spool: Spool = field(default_factory=Spool)
    words: Words = field(default_factory=Words)

    def __post_init__(self) -> None:
        self.made: Task = task_of("t", checked("t", self.task))
        self.player = Player(self.say)
        target = Target(
            chat=Structured(inner=self.player, schemas="asked"),
            provider="p",
            model="m",
            operations=OPERATIONS,
            price=None,
        )
        self.rooms.form = form_of(self.made)
        self.tally = Tally(self.rooms.db)
        performed = Performed(
            inner=Routed({"cheap": target}), price=lambda *_: None, judge=Moderator().judge, rank=Ranking()
        )
        self.remembered = Remembered(
            inner=performed,
            held=self.rooms.held,
            tally=self.tally,
            form_of=form_of,
            embedder_of=lambda name: self.words if name == "words" else None,
        )
        recorded = Recorded(
            Admitted(self.remembered), self.spool, lambda *served: FREE if served[1] == PROVIDER else None
        )
        self.chat: Chat = Prompted(
            inner=recorded,
            find=lambda _project, _name: self.made,
            worder=Worder(prompts=Prompts()),
            models={"cheap": target},
        )

    async def ask(self, text: str, *, who: Principal = ONE, request: Request | None = None, **more: Any) -> str:
        found = await deltas(self.chat, request or ask(text, model="task/t", who=who, **more))
        raw = b"".join(delta.raw for delta in found)
        if more.get("stream"):
            return "".join(event["choices"][0]["delta"].get("content") or "" for event in events(raw))
        return str(json.loads(raw)["choices"][0]["message"]["content"])

    @property
    def seen(self) -> list[tuple[str, str]]:
        """What the model was asked last."""
        messages = self.player.requests[-1].body["messages"]
        return [(each["role"], each["content"]) for each in messages]

    @property
    def kept(self) -> tuple[str | None, dict[str, Any]]:
        """Tag and memory of the last call on record."""
        record = self.spool.records[-1]
        return record.tags.get("loopwright.memory"), json.loads(record.request)["loopwright"].get("memory", {})


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Rooms]:
    database = await Database.open(database_url, size=6)
    await migrate(database, ["memory"])
    yield Rooms(database)
    await database.close()


async def test_what_has_no_memory_or_an_empty_one_passes_as_it_is(rooms: Rooms) -> None:
    road = Road(rooms, told())
    assert await road.ask(QUESTION) == "from the model"
    assert road.words.asked == []  # nothing to look for, so nothing is embedded
    assert road.kept[0] == "none"
    plain = Road(rooms, {"model": "cheap", "variants": {"base": {"messages": USER}}})
    await plain.ask(QUESTION)
    assert plain.kept == (None, {})


async def test_corrections_are_shown_with_the_nearest_last_and_stand_on_record(rooms: Rooms) -> None:
    road = Road(rooms, told({"threshold": 0.3}))
    near = await rooms.tell("where is my new debit card", "in the post")
    far = await rooms.tell("where is my money", "in your account")
    await rooms.tell("something else entirely", "never shown")
    assert await road.ask(QUESTION) == "from the model"
    assert road.seen == [
        ("system", "Answer."),
        ("user", "say where is my money"),
        ("assistant", "in your account"),
        ("user", "say where is my new debit card"),
        ("assistant", "in the post"),
        ("user", f"say {QUESTION}"),
    ]
    tag, memory = road.kept
    assert tag == "shown"
    assert [each["id"] for each in memory["corrections"]] == [near, far]
    assert memory["corrections"][0]["similarity"] > memory["corrections"][1]["similarity"]
    record = json.loads(road.spool.records[-1].request)
    assert [each["content"] for each in record["loopwright"]["messages"]] == [content for _, content in road.seen]


async def test_one_tenant_is_never_shown_what_another_said(rooms: Rooms) -> None:
    """Whatever is asked at once, by whomever, of the same words: only the own project's corrections."""
    road = Road(rooms, told({"k": 8}))
    for project in (1, 2):
        for at in range(20):
            await rooms.tell(f"{QUESTION} {at}", f"secret of {project}", project=project)
    await rooms.tell(QUESTION, "secret of 3", project=3)
    await asyncio.gather(*(road.ask(f"{QUESTION} {at}", who=(ONE, TWO)[at % 2]) for at in range(40)))
    for request in road.player.requests:
        shown = {each["content"] for each in request.body["messages"] if each["role"] == "assistant"}
        assert shown == {f"secret of {request.who.project_id}"}
    stranger = replace(ONE, project_id=9, project="stranger")
    await road.ask(QUESTION, who=stranger)
    assert "secret" not in str(road.seen)
    assert road.kept[0] == "none"
    exact = Road(rooms, told({"exact": "answer"}))
    assert await exact.ask(QUESTION, who=replace(ONE, project_id=3)) == "secret of 3"
    assert await exact.ask(QUESTION, who=TWO) == "from the model"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_exact_repeat_is_answered_where_the_task_says_so(rooms: Rooms, *, stream: bool) -> None:
    road = Road(rooms, told({"exact": "answer"}))
    entry = await rooms.tell(QUESTION, "in the post")
    assert await road.ask(QUESTION, stream=stream) == "in the post"
    assert road.player.requests == []
    assert road.words.asked == []
    record = road.spool.records[-1]
    assert (record.provider, record.cost_nano, record.price_source) == (PROVIDER, 0, "memory")
    assert road.kept[0] == "answered"
    assert [each["id"] for each in road.kept[1]["corrections"]] == [entry]
    # What asks for more than a text is asked of the model, with it shown.
    await road.ask(QUESTION, n=2)
    assert ("assistant", "in the post") in road.seen
    changed = await rooms.memory.change(await rooms.memory.get(entry, project_id=1), disabled=True)
    await rooms.held.take((1, "t"), [changed.id])
    assert await road.ask(QUESTION) == "from the model"


async def test_a_guardrail_hears_every_answer(rooms: Rooms) -> None:
    road = Road(rooms, told({"exact": "answer"}, guardrails={"moderation": {"input": True}}))
    await rooms.tell(QUESTION, "in the post")
    assert await road.ask(QUESTION) == "from the model"
    assert road.kept[0] == "shown"


async def test_the_newest_of_two_that_contradict_is_shown(rooms: Rooms) -> None:
    road = Road(rooms, told())
    await rooms.tell(QUESTION, "in a week", author="ann")
    await rooms.tell(QUESTION, "in two days", author="ben")
    await road.ask(QUESTION)
    assert [content for role, content in road.seen if role == "assistant"] == ["in two days"]


async def test_what_the_task_may_not_say_any_more_is_not_shown(rooms: Rooms) -> None:
    rooms.form = replace(rooms.form)
    await rooms.tell(QUESTION, "an old label")
    road = Road(rooms, told(output={"enum": ["billing", "bug"]}), say=lambda _r, _n: "bug")
    await rooms.tell(f"{QUESTION} please", "billing")
    await road.ask(QUESTION)
    assert [content for role, content in road.seen if role == "assistant"] == ["billing"]


async def test_values_are_narrowed_to_those_of_corrections(rooms: Rooms) -> None:
    labels = {"enum": ["a", "b", "c", "d"]}
    road = Road(rooms, told({"near": "narrow"}, output=labels), say=lambda _r, _n: "b")
    await rooms.tell(f"{QUESTION} please", "c")
    await rooms.tell(f"{QUESTION} now", "b")
    await road.ask(QUESTION)
    assert road.seen[0][1].endswith("nothing else:\n- b\n- c")
    await road.ask("nothing like it")
    assert road.seen[0][1].endswith("nothing else:\n- a\n- b\n- c\n- d")


async def test_a_share_is_answered_without_and_the_lot_is_the_calls_id(rooms: Rooms) -> None:
    road = Road(rooms, told({"holdout": 0.5, "exact": "answer"}))
    await rooms.tell(QUESTION, "in the post")
    for _ in range(60):
        request = ask(QUESTION, model="task/t", who=ONE)
        answer = await road.ask(QUESTION, request=request)
        held_out = drawn(request.id) < 0.5
        assert road.kept[0] == ("held-out" if held_out else "answered")
        assert answer == ("from the model" if held_out else "in the post")
        assert len(road.kept[1]["corrections"]) == 1  # also those that would have been shown
    tags = [record.tags["loopwright.memory"] for record in road.spool.records]
    assert 10 < tags.count("held-out") < 50
    await road.ask("nothing like it at all")
    assert road.kept[0] == "none"
    await road.tally.flush()
    rows = await rooms.db.rows("select outcome, calls from memory_days order by outcome")
    assert {row["outcome"]: row["calls"] for row in rows} == {
        "answered": tags.count("answered"), "held-out": tags.count("held-out"), "none": 1,
    }  # fmt: skip


async def test_an_evaluation_has_no_lot_and_is_not_counted(rooms: Rooms) -> None:
    road = Road(rooms, told({"holdout": 1.0}))
    await rooms.tell(QUESTION, "in the post")
    await road.ask(QUESTION, loopwright={"tags": {"loopwright.evaluation": "e"}})
    request = structs.replace(ask(QUESTION, model="task/t", who=ONE), tags={"loopwright.evaluation": "e"})
    await road.ask(QUESTION, request=request)
    assert road.kept[0] == "shown"


@pytest.mark.parametrize("problem", [Unavailable("away"), Refused("the policy")])
async def test_without_its_vector_a_call_goes_on(rooms: Rooms, problem: Any) -> None:
    road = Road(rooms, told())
    await rooms.tell(f"{QUESTION} please", "in the post")
    road.words.problem = problem
    assert await road.ask(QUESTION) == "from the model"
    assert road.kept[0] == ("none" if isinstance(problem, Refused) else "late")
    assert road.kept[1]["why"]


async def test_a_late_vector_is_not_waited_for(rooms: Rooms) -> None:
    class Slow(Words):
        async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
            await asyncio.sleep(60)
            return await Words.__call__(self, texts, privacy=privacy)

    road = Road(rooms, told({"timeout": 0.05}), words=Slow())
    await rooms.tell(f"{QUESTION} please", "in the post")
    assert await road.ask(QUESTION) == "from the model"
    assert road.kept == ("late", {**road.kept[1], "why": "timeout"})


async def test_the_question_is_embedded_under_its_policy(rooms: Rooms) -> None:
    road = Road(rooms, told())
    await rooms.tell(QUESTION, "in the post")
    policy = Privacy(sources=("s",), redact=frozenset({"email"}))
    await road.ask(QUESTION, request=structs.replace(ask(QUESTION, model="task/t", who=ONE), privacy=policy))
    assert road.words.asked == [([QUESTION], policy)]


async def test_samples_of_one_answer_all_see_the_corrections(rooms: Rooms) -> None:
    variant = {"strategy": {"kind": "self_consistency", "samples": 3}, "parameters": {"temperature": 1}}
    road = Road(rooms, told(variant=variant))
    await rooms.tell(f"{QUESTION} please", "in the post")
    await road.ask(QUESTION)
    assert len(road.player.requests) == 3
    assert all("in the post" in str(request.body["messages"]) for request in road.player.requests)


async def test_no_answer_kept_before_hides_a_correction(rooms: Rooms) -> None:
    """Neither the exact cache nor the one by likeness takes the two questions for one."""
    road = Road(rooms, told())
    await road.ask(QUESTION)
    entry = await rooms.memory.get(await rooms.tell(f"{QUESTION} please", "in the post"), project_id=1)
    await road.ask(QUESTION)
    await rooms.held.take((1, "t"), [(await rooms.memory.change(entry, disabled=True)).id])
    await road.ask(QUESTION)
    before, corrected, after = (question(request, "cheap") for request in road.player.requests)
    assert before is not None
    assert corrected is not None
    assert after is not None
    assert before.key == after.key != corrected.key
    alike = [said(road.player.requests[at], "cheap", found.members) for at, found in enumerate((before, corrected))]
    assert alike[0] is not None
    assert alike[1] is not None
    assert alike[0].text == alike[1].text
    assert alike[0].partition != alike[1].partition


async def test_entries_kept_to_calls_with_a_tag_are_shown_to_those(rooms: Rooms) -> None:
    road = Road(rooms, told())
    entry = await rooms.memory.get(await rooms.tell(QUESTION, "in Germany"), project_id=1)
    await rooms.memory.change(entry, scope={"market": "de"})
    await rooms.held.take((1, "t"), [entry.id])
    await road.ask(QUESTION)
    assert road.kept[0] == "none"
    await road.ask(QUESTION, request=structs.replace(ask(QUESTION, model="task/t", who=ONE), tags={"market": "de"}))
    assert road.kept[0] == "shown"


async def test_a_template_that_cannot_show_a_correction_does_not_refuse_the_question(rooms: Rooms) -> None:
    messages = [{"role": "user", "content": "{{ 100 // (input | length - 4) }} {{ input }}"}]
    road = Road(rooms, told({"threshold": 0.0}, variant={"messages": messages}))
    await rooms.tell("card", "of four letters")
    assert await road.ask(QUESTION) == "from the model"
    assert road.kept[0] == "none"
