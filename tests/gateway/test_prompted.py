import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from msgspec import structs

from loopwright.core.chat import Delta, Request
from loopwright.core.errors import BadRequest, NotFound, Refused, Unavailable, UnknownModel
from loopwright.core.who import HOUSE, Principal
from loopwright.evals.ranking import Ranking
from loopwright.gateway.performed import VARIANT
from loopwright.kit.settings_privacy import PolicySettings, PrivacySettings
from tests.gateway.roads import ask, deltas, events
from tests.gateway.task_roads import Player, Prompts, Road, last, version

pytestmark = pytest.mark.anyio
USER = [{"role": "user", "content": "say {{ input }}"}]
PLAIN = {"model": "cheap", "variants": {"base": {"messages": USER}}}
KEY = Principal(key_id=1, key_name="k", project_id=1, project="default")


def road(task: dict[str, Any], say: Any = last, **options: Any) -> Road:
    return Road(
        players={"cheap": Player(say), "dear": Player(say), "unpriced": Player(say)}, tasks={"t": task}, **options
    )


def text_of(raw: bytes) -> str:
    return str(json.loads(raw)["choices"][0]["message"]["content"])


async def test_what_is_no_task_passes_as_it_is() -> None:
    made = road(PLAIN)
    request = ask("hi", model="cheap")
    [delta] = await deltas(made.chat, request)
    assert text_of(delta.raw) == "hi"
    assert made.players["cheap"].requests[0] is request
    assert delta.headers == ()
    assert made.spool.records[0].task is None


@pytest.mark.parametrize("stream", [False, True])
async def test_one_request_passes_as_it_comes(*, stream: bool) -> None:
    made = road(PLAIN)
    found = await deltas(made.chat, ask("hello", model="task/t", stream=stream, temperature=0.5))
    if stream:
        assert [chunk["choices"][0]["delta"]["content"] for chunk in events(b"".join(d.raw for d in found))] == [
            "say", "hello",
        ]  # fmt: skip
    else:
        assert text_of(found[0].raw) == "say hello"
    assert found[0].headers == ((VARIANT, "base"),)
    sent = made.players["cheap"].requests[0]
    assert sent.model == sent.body["model"] == "cheap"
    assert sent.body["temperature"] == 0.5
    assert msgspec.json.decode(sent.raw or b"") == sent.body
    [record] = made.spool.records
    assert (record.model, record.task, record.variant) == ("task/t", "t", "base")
    assert record.cost_nano == 10 * 1000 + 2 * 2000
    assert record.price_source == "cheap"
    kept = json.loads(record.request)
    assert kept["messages"] == [{"role": "user", "content": "hello"}]
    assert kept["loopwright"]["variables"] == {"input": "hello"}
    assert kept["loopwright"]["messages"] == [{"role": "user", "content": "say hello"}]


async def test_what_a_variant_says_wins_over_the_client() -> None:
    task = {**PLAIN, "variants": {"base": {"messages": USER, "parameters": {"temperature": 0, "max_tokens": 7}}}}
    made = road(task)
    await deltas(made.chat, ask("x", model="task/t", temperature=1.5, max_completion_tokens=500, user="u"))
    body = made.players["cheap"].requests[0].body
    assert (body["temperature"], body["max_tokens"], body["user"]) == (0, 7, "u")
    assert "max_completion_tokens" not in body


async def test_examples_stand_between_instructions_and_question() -> None:
    variant = {
        "messages": [{"role": "system", "content": "Sort."}, *USER],
        "examples": [{"input": "a", "output": "A"}, {"input": {"input": "b"}, "output": "B"}],
    }
    made = road({"model": "cheap", "variants": {"base": variant}})
    await deltas(made.chat, ask("c", model="task/t"))
    sent = made.players["cheap"].requests[0].body["messages"]
    assert [message["content"] for message in sent] == ["Sort.", "say a", "A", "say b", "B", "say c"]


async def test_instructions_alone_are_followed_by_the_input() -> None:
    made = road({"model": "cheap", "variants": {"base": {"messages": [{"role": "system", "content": "Repeat."}]}}})
    [delta] = await deltas(made.chat, ask("hello", model="task/t"))
    assert text_of(delta.raw) == "hello"


async def test_a_stored_prompt_is_on_record_with_its_number() -> None:
    prompts = Prompts(
        held={"p": version("p", 7, ("user", "seven {{ input }}"), input="string")},
        far={"p@2": version("p", 2, ("user", "two {{ input }}"), input="string")},
    )
    task = {"model": "cheap", "variants": {"new": {"prompt": "p"}, "old": {"prompt": "p@2", "weight": 0}}}
    made = road(task, prompts=prompts)
    [delta] = await deltas(made.chat, ask("x", model="task/t"))
    assert text_of(delta.raw) == "seven x"
    [delta] = await deltas(made.chat, ask("x", model="task/t@old"))
    assert text_of(delta.raw) == "two x"
    assert [record.prompt_version for record in made.spool.records] == ["p@7", "p@2"]


async def test_refusals_are_on_record_too() -> None:
    made = road({"model": "cheap", "variants": {"base": {"prompt": "gone"}}})
    with pytest.raises(NotFound, match="gone"):
        await deltas(made.chat, ask("x", model="task/t"))
    with pytest.raises(UnknownModel, match="did you mean 't'"):
        await deltas(made.chat, ask("x", model="task/tt"))
    assert [(record.outcome, record.status, record.task) for record in made.spool.records] == [
        ("refused", 404, "t"), ("refused", 404, None),
    ]  # fmt: skip


async def test_a_task_does_chats_only_and_its_models_must_be_there() -> None:
    made = road({**PLAIN, "model": "chaep"})
    with pytest.raises(UnknownModel, match="did you mean 'cheap'"):
        await deltas(made.chat, ask("x", model="task/t"))
    with pytest.raises(BadRequest, match="does not do embeddings"):
        await deltas(made.chat, structs.replace(ask("x", model="task/t"), operation="embeddings"))


@pytest.mark.parametrize(
    ("key", "model", "may"),
    [
        (KEY, "task/t", True),
        (replace(KEY, tasks=frozenset({"t"}), models=frozenset()), "task/t", True),
        (replace(KEY, tasks=frozenset({"t"}), models=frozenset()), "task/t@base", True),
        (replace(KEY, tasks=frozenset({"t"}), models=frozenset()), "cheap", False),
        (replace(KEY, tasks=frozenset({"u"})), "task/t", False),
        (replace(KEY, models=frozenset({"cheap"})), "task/t", True),
        (replace(KEY, models=frozenset({"dear"})), "task/t", False),
        (replace(KEY, models=frozenset({"task/t"})), "task/t", True),
    ],
)
async def test_who_may_call_a_task(key: Principal, model: str, *, may: bool) -> None:
    made = road(PLAIN)
    request = ask("x", model=model, who=key)
    if may:
        assert await deltas(made.chat, request)
    else:
        with pytest.raises(Refused, match="may not call"):
            await deltas(made.chat, request)
        assert made.spool.records[0].status == 403


async def test_a_chain_feeds_its_steps_and_costs_what_they_cost() -> None:
    steps = [
        {"name": "draft", "messages": USER, "output": {"type": "object", "properties": {"a": {"type": "string"}}}},
        {"name": "final", "messages": [{"role": "user", "content": "{{ draft.a }} of {{ input }}"}], "model": "dear"},
    ]
    made = road(
        {"model": "cheap", "variants": {"base": {"strategy": {"kind": "chain", "steps": steps}}}},
        lambda request, _number: (
            last(request, 0) if "messages" in request.body and " of " in last(request, 0) else '{"a": "one"}'
        ),
    )
    [delta] = await deltas(made.chat, ask("x", model="task/t", max_tokens=9))
    assert text_of(delta.raw) == "one of x"
    assert "max_tokens" not in made.players["cheap"].requests[0].body
    assert made.players["dear"].requests[0].body["max_tokens"] == 9
    [record] = made.spool.records
    assert (record.input_tokens, record.output_tokens) == (20, 2 + 3)
    assert record.cost_nano == (10 * 1000 + 2 * 2000) + (10 * 10_000 + 3 * 20_000) == delta.cost_nano
    assert record.price_source == "cheap; dear"
    assert (record.prompt_version or "").count("+") == 1
    assert [step["chosen"] for step in json.loads(record.request)["loopwright"]["steps"]] == [False, True]


def voting(**strategy: Any) -> dict[str, Any]:
    base = {"messages": USER, "strategy": {"kind": "self_consistency", "samples": 5, **strategy}}
    return {"model": "cheap", "variants": {"base": base}}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_majority_of_samples_answers(*, stream: bool) -> None:
    said = ["It is 41.", "so 42", "#### 42", "no idea", "42.0!"]
    made = road(voting(answer="number"), lambda _request, number: said[number])
    found = await deltas(made.chat, ask("x", model="task/t", stream=stream))
    raw = b"".join(delta.raw for delta in found)
    if stream:
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in events(raw)) == "so 42"
    else:
        assert text_of(raw) == "so 42"
        assert json.loads(raw)["usage"]["prompt_tokens"] == 50
    [record] = made.spool.records
    assert record.tags["loopwright.votes"] == "3/5"
    assert "loopwright.tie" not in record.tags
    assert record.input_tokens == 50
    steps = json.loads(record.request)["loopwright"]["steps"]
    assert [step["said"] for step in steps] == ["vote 4.1E+1", *["vote 4.2E+1"] * 2, "cannot be read", "vote 4.2E+1"]
    assert [bool(step.get("messages")) for step in steps] == [True, False, False, False, False]


async def test_a_tie_is_told_and_samples_that_failed_are_left_out() -> None:
    said = ["a", "b", Unavailable("down"), "a", "b"]
    made = road(voting(), lambda _request, number: said[number])
    [delta] = await deltas(made.chat, ask("x", model="task/t"))
    assert text_of(delta.raw) == "a"
    tags = made.spool.records[0].tags
    assert (tags["loopwright.votes"], tags["loopwright.tie"], tags["loopwright.samples"]) == ("2/5", "true", "4/5")


async def test_when_no_sample_comes_the_call_fails_and_is_charged_nothing() -> None:
    made = road(voting(), lambda _request, _number: Unavailable("down"))
    with pytest.raises(Unavailable):
        await deltas(made.chat, ask("x", model="task/t"))
    [record] = made.spool.records
    assert (record.outcome, record.cost_nano, record.input_tokens) == ("error", 0, 0)


async def test_what_failed_late_is_charged_for_what_came_before() -> None:
    steps = [
        {"name": "one", "messages": USER},
        {"name": "two", "messages": [{"role": "user", "content": "{{ one }}"}], "model": "dear"},
    ]
    made = Road(
        players={"cheap": Player(last), "dear": Player(lambda _request, _number: Unavailable("down"))},
        tasks={"t": {"model": "cheap", "variants": {"base": {"strategy": {"kind": "chain", "steps": steps}}}}},
    )
    with pytest.raises(Unavailable):
        await deltas(made.chat, ask("x", model="task/t"))
    assert made.spool.records[0].cost_nano == 10 * 1000 + 2 * 2000


async def test_samples_have_seeds_of_their_own_or_are_not_given_again() -> None:
    made = road(voting())
    await deltas(made.chat, ask("x", model="task/t", seed=3))
    assert sorted(each.body["seed"] for each in made.players["cheap"].requests) == [3, 4, 5, 6, 7]
    made = road(voting())
    await deltas(made.chat, ask("x", model="task/t"))
    assert sorted(each.cache_control for each in made.players["cheap"].requests) == ["", *["no-store"] * 4]


async def test_the_best_of_several_answers() -> None:
    base = {"messages": USER, "strategy": {"kind": "best_of_n", "samples": 3, "evaluator": "length"}}
    said = ["", "long answer", "short"]
    made = road({"model": "cheap", "variants": {"base": base}}, lambda _request, number: said[number])
    [delta] = await deltas(made.chat, ask("x", model="task/t"))
    assert text_of(delta.raw) == "long answer"
    record = made.spool.records[0]
    assert record.tags["loopwright.best_score"] == "11"
    assert json.loads(record.request)["loopwright"]["steps"][0]["said"] == "no score: empty"


async def test_a_judge_chooses_and_is_on_the_bill() -> None:
    said = ["bad one", "good one", "bad two"]

    def judged(request: Request, _number: int) -> str:
        good = "good one" in json.dumps(request.body["messages"])
        return '{"verdict": "pass"}' if good else '{"verdict": "fail"}'

    judge = {"kind": "judge", "args": {"model": "dear", "question": "Is it good?"}}
    base = {"messages": USER, "strategy": {"kind": "best_of_n", "samples": 3, "evaluator": judge}}
    players = {"cheap": Player(lambda _request, number: said[number]), "dear": Player(judged)}
    made = Road(players=players, tasks={"t": {"model": "cheap", "variants": {"base": base}}}, rank=Ranking())
    [delta] = await deltas(made.chat, ask("x", model="task/t"))
    assert text_of(delta.raw) == "good one"
    [record] = made.spool.records
    assert record.cost_nano == 3 * (10 * 1000 + 2 * 2000) + 3 * (10 * 10_000 + 2 * 20_000)
    steps = json.loads(record.request)["loopwright"]["steps"]
    assert [step["name"] for step in steps] == ["sample 1", "sample 2", "sample 3", *["evaluator"] * 3]
    assert [step["said"] for step in steps[:3]] == ["score 0", "score 1", "score 0"]


async def test_an_unpriced_step_makes_the_call_unpriced() -> None:
    task = voting()
    made = road({**task, "model": "unpriced"})
    await deltas(made.chat, ask("x", model="task/t"))
    assert made.spool.records[0].cost_nano is None


@pytest.mark.parametrize(("member", "value"), [("n", 2), ("tools", [{"type": "function", "function": {"name": "f"}}])])
async def test_several_requests_make_one_answer_of_words(member: str, value: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        await deltas(road(voting()).chat, ask("x", model="task/t", **{member: value}))
    assert caught.value.param == member


async def test_a_guarded_answer_is_held_back_whole() -> None:
    task = {**PLAIN, "guardrails": {"moderation": {"input": False, "output": True}}}
    made = road(task, lambda _request, _number: "you stupid fucking idiot")
    with pytest.raises(Refused, match="output was refused"):
        await deltas(made.chat, ask("x", model="task/t", stream=True))
    assert made.spool.records[0].cost_nano == 10 * 1000 + 4 * 2000
    found = await deltas(road(task).chat, ask("x", model="task/t", stream=True))
    assert "say x" in b"".join(delta.raw for delta in found).decode()


async def test_the_policy_of_a_model_holds_also_where_a_task_asks_it() -> None:
    privacy = PrivacySettings(models={"cheap": PolicySettings(store=False)})
    made = road(PLAIN, privacy=privacy)
    await deltas(made.chat, ask("secret", model="task/t"))
    with pytest.raises(BadRequest):
        await deltas(made.chat, structs.replace(ask("secret", model="task/t"), variables={"inptu": "secret"}))
    assert [record.request for record in made.spool.records] == [b"", b""]


async def test_needs_count_every_request() -> None:
    made = road({**voting(), "variants": {"base": {**voting()["variants"]["base"], "parameters": {"max_tokens": 7}}}})
    plan = made.chat.preview(HOUSE, "task/t", {"input": "x"})
    assert [need.output for need in plan.needs] == [7] * 5
    steps = [{"name": "a", "messages": USER}, {"name": "b", "messages": [{"role": "user", "content": "{{ a }}"}]}]
    made = road({"model": "cheap", "variants": {"base": {"strategy": {"kind": "chain", "steps": steps}}}})
    first, second = made.chat.preview(HOUSE, "task/t", {"input": "x"}).needs
    assert second.input > first.output == 1024


async def test_who_hangs_up_ends_every_request_and_pays_for_those_that_came() -> None:
    first, closed = asyncio.Event(), []

    class Slow(Player):
        async def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
            if len(self.requests) < 2:
                async for delta in super().__call__(request):
                    yield delta
                first.set()
                return
            try:
                await asyncio.sleep(60)
                yield Delta()
            finally:
                closed.append(request)

    made = Road(players={"cheap": Slow(last)}, tasks={"t": voting()})
    asked = asyncio.ensure_future(deltas(made.chat, ask("x", model="task/t", stream=True)))
    await first.wait()
    await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert len(closed) == 3
    [record] = made.spool.records
    assert record.outcome == "cancelled"
    assert record.cost_nano == 2 * (10 * 1000 + 2 * 2000)
