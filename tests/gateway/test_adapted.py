"""Adapters on the road: which one each request of a task has, on record too, and who may not say it."""

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from loopwright.cache.question import question, said
from loopwright.core.adapter import TAG, Adapter
from loopwright.core.errors import BadRequest
from loopwright.gateway.adapted import Adapted
from loopwright.gateway.routed import Routed
from tests.gateway.roads import ask, deltas, scripted
from tests.gateway.task_roads import Player, Road, last

pytestmark = pytest.mark.anyio
USER = [{"role": "user", "content": "say {{ input }}"}]
HELD = {"cheap": {"polite": 1.0, "brisk": 0.5}}


def road(**variants: Any) -> Road:
    tasks = {"t": {"model": "cheap", "variants": variants}}
    return Road(players={"cheap": Player(last), "dear": Player(last)}, tasks=tasks, adapters=HELD)


def lora(made: Road, number: int = -1) -> list[float]:
    body = made.players["cheap"].requests[number]
    assert msgspec.json.decode(body.raw or b"") == body.body
    told = body.body["lora"]
    assert [each["id"] for each in told] == [0, 1]
    return [each["scale"] for each in told]


@pytest.mark.parametrize(
    ("adapter", "scales", "spoken"),
    [
        (None, [0.0, 0.0], None),
        ("polite", [1.0, 0.0], "polite"),
        ("brisk", [0.0, 0.5], "brisk*0.5"),
        ({"name": "polite", "scale": -2}, [-2.0, 0.0], "polite*-2"),
        ({"name": "brisk", "scale": 0}, [0.0, 0.0], "brisk*0"),
    ],
    ids=["none", "by name", "configured scale", "its own scale", "scale 0"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_says_of_every_adapter_how_much_it_counts(
    adapter: Any, scales: list[float], spoken: str | None, *, stream: bool
) -> None:
    made = road(v={"messages": USER, **({} if adapter is None else {"adapter": adapter})})
    await deltas(made.chat, ask("hello", model="task/t", stream=stream))
    assert lora(made) == scales
    [record] = made.spool.records
    assert record.tags.get(TAG) == spoken
    shown = json.loads(record.request)["loopwright"].get("adapters")
    assert shown == (None if spoken is None else [{"name": spoken.partition("*")[0], "scale": max(scales, key=abs)}])


async def test_a_plain_call_of_the_model_has_none() -> None:
    made = road(v={"messages": USER, "adapter": "polite"})
    await deltas(made.chat, ask("hi", model="cheap"))
    assert lora(made) == [0.0, 0.0]
    assert TAG not in made.spool.records[0].tags


async def test_steps_and_samples_have_theirs() -> None:
    steps = [
        {"name": "one", "messages": USER},
        {"name": "two", "messages": [{"role": "user", "content": "{{ one }}"}], "adapter": "brisk"},
    ]
    made = road(v={"adapter": "polite", "strategy": {"kind": "chain", "steps": steps}})
    await deltas(made.chat, ask("x", model="task/t"))
    assert (lora(made, 0), lora(made, 1)) == ([1.0, 0.0], [0.0, 0.5])
    [record] = made.spool.records
    assert record.tags[TAG] == "polite, brisk*0.5"
    assert [step["adapter"] for step in json.loads(record.request)["loopwright"]["steps"]] == ["polite", "brisk*0.5"]
    votes = road(v={"messages": USER, "adapter": "polite", "strategy": {"kind": "self_consistency", "samples": 3}})
    await deltas(votes.chat, ask("x", model="task/t"))
    assert [lora(votes, number) for number in range(3)] == [[1.0, 0.0]] * 3


async def test_a_client_cannot_say_it() -> None:
    made = road(v={"messages": USER, "adapter": "polite"})
    for model in ("cheap", "task/t"):
        for said_of_it in ([{"id": 1, "scale": 1}], [], None):
            with pytest.raises(BadRequest, match="for a variant of a task to say") as refused:
                await deltas(made.chat, ask("x", model=model, lora=said_of_it))
            assert refused.value.param == "lora"
    assert made.players["cheap"].requests == []


@pytest.mark.parametrize(
    ("variant", "problem"),
    [
        ({"adapter": "gruff"}, "model 'cheap' has no adapter 'gruff'"),
        ({"adapter": "polite", "model": "dear"}, "model 'dear' has no adapters, so not 'polite'"),
    ],
    ids=["unknown", "of another model"],
)
async def test_an_adapter_that_is_not_there_is_refused_on_record(variant: dict[str, Any], problem: str) -> None:
    made = road(v={"messages": USER, **variant})
    with pytest.raises(BadRequest, match=problem):
        await deltas(made.chat, ask("x", model="task/t"))
    [record] = made.spool.records
    assert (record.status, record.task) == (400, "t")
    assert not any(player.requests for player in made.players.values())


async def test_no_target_answers_without_the_adapter_in_silence() -> None:
    player = Player(last)
    wanting = replace(ask("x", model="cheap"), adapter=Adapter(name="polite", scale=1.0))
    with pytest.raises(BadRequest, match="has no adapters"):
        await deltas(Routed({"cheap": scripted()}), wanting)
    with pytest.raises(BadRequest, match="has no adapter 'polite'"):
        await deltas(Adapted(player, ("brisk",)), wanting)
    assert player.requests == []


def test_two_adapters_never_share_a_cached_answer() -> None:
    asked = ask("hi", model="m", temperature=0)
    ways = [None, *(Adapter(name=name, scale=scale) for name in ("a", "b") for scale in (1.0, 0.5))]
    keys, partitions = set(), set()
    for way in ways:
        found = question(replace(asked, adapter=way), "m")
        assert found is not None
        keys.add(found.key)
        around = said(replace(asked, adapter=way), "m", found.members)
        assert around is not None
        partitions.add(around.partition)
    assert len(keys) == len(partitions) == len(ways)
