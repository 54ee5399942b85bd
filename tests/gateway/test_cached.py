import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from loopwright.cache.cache import Cache
from loopwright.cache.memory import short
from loopwright.cache.question import question
from loopwright.cache.tally import Wrong
from loopwright.calls.drain import Drain
from loopwright.calls.query import Calls
from loopwright.calls.spool import Spool
from loopwright.core.adapter import Adapter
from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import UpstreamBroke
from loopwright.core.money import Usage
from loopwright.core.privacy import Privacy
from loopwright.core.who import HOUSE
from loopwright.gateway.cached import Cached, Policy
from loopwright.gateway.recollected import Recollected
from loopwright.gateway.recorded import Recorded
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import CacheSettings, CallsSettings, ExactSettings, ModelCacheSettings, SemanticSettings
from tests.gateway.roads import PRICE, Memory, ask, deltas, events, saying, scripted

pytestmark = pytest.mark.anyio
ELSEWHERE = replace(HOUSE, project_id=9)


class Embedded:
    """Every text is the same."""

    name = "same"
    dimensions = 2

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:  # noqa: ARG002
        return [[0.6, 0.8] for _ in texts]


class Asked:
    """Counts who gets through."""

    def __init__(self, inner: Chat) -> None:
        self.inner = inner
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Any:
        self.requests.append(request)
        return self.inner(request)


def cached(
    db: Database, inner: Chat, *, embedder: Embedded | None = None, calls: Calls | None = None, **settings: Any
) -> Cached:
    semantic = SemanticSettings(embedder="same") if embedder else None
    policy = Policy(
        model="m",
        settings=ModelCacheSettings(semantic=semantic, **settings),
        ttl=settings.get("ttl", 60),
        embedder=embedder,
    )
    cache = Cache(db, CacheSettings(), on_record=None if calls is None else Recollected(calls))
    return Cached(inner, cache, {"m": policy, "alias": policy}, lambda *_: PRICE)


async def opened(url: str) -> Database:
    db = await Database.open(url, size=2)
    await migrate(db, ["cache"])
    return db


async def once(chat: Chat, request: Request) -> tuple[str, Delta]:
    found = await deltas(chat, request)
    await asyncio.sleep(0)
    return (found[0].cache.kind if found[0].cache else "", found[-1])


async def test_the_same_question_is_answered_again_in_either_form(database_url: str) -> None:
    db = await opened(database_url)
    upstream, spool = Asked(scripted({"answers": [{"text": "one two"}]}).chat), Memory()
    chat = Recorded(cached(db, upstream), spool, lambda *_: PRICE)
    assert (await once(chat, ask("q", temperature=0, stream=True)))[0] == "miss"
    kind, whole = await once(chat, ask("q", temperature=0.0, user="u"))
    _, streamed = await once(chat, ask("q", temperature=0, stream=True, stream_options={"include_usage": True}))
    body, said = json.loads(whole.raw), events(streamed.raw)
    assert (kind, len(upstream.requests)) == ("hit", 1)
    assert body["choices"][0]["message"]["content"] == "one two"
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in said if e["choices"]) == "one two"
    assert said[-1]["usage"] == body["usage"]
    first, second, _ = spool.records
    assert (second.provider, second.cost_nano, second.output_tokens) == ("cache", 0, first.output_tokens)
    assert second.tags["loopwright.cache_of"] == first.id
    assert first.cost_nano
    assert second.tags["loopwright.saved_usd"].startswith("0.0000")
    await db.close()


async def answers_in(db: Database) -> int:
    row = await db.row("select count(*)::int as answers from cache_entries")
    return row["answers"] if row else 0


async def test_an_answer_that_is_on_record_as_it_came_is_not_written_twice(database_url: str, tmp_path: Path) -> None:
    db = await opened(database_url)
    await migrate(db, ["calls"])
    calls = Calls(db, CallsSettings())
    upstream = Asked(scripted({"answers": [{"text": "one"}]}).chat)
    spool, drain = Spool(tmp_path, 10**9), Drain(db, tmp_path, CallsSettings())
    inner = cached(db, upstream, calls=calls)
    chat = Recorded(inner, spool, lambda *_: PRICE)
    _, first = await once(chat, ask("q", temperature=0))
    assert (await once(chat, ask("q", temperature=0)))[0] == "hit"
    await inner.cache.flush()
    while await drain.once():
        pass
    assert await answers_in(db) == 0
    other = cached(db, upstream, calls=calls)
    for key, until in await calls.answers_known(9):
        other.cache.memory.learn([(short(key), until)])
    elsewhere = Recorded(other, spool, lambda *_: PRICE)
    kind, again = await once(elsewhere, ask("q", temperature=0))
    assert (kind, again.raw, again.usage, again.model) == ("hit", first.raw, first.usage, first.model)
    assert again.cache is not None
    assert again.cache.saved_nano == first.cost_nano
    # Anew, streamed: the newer answer of the two that are there now is given.
    await once(chat, structs.replace(ask("q", temperature=0, stream=True), cache_control="no-cache"))
    await inner.cache.flush()
    assert await answers_in(db) == 1
    newest = cached(db, upstream, calls=calls).cache
    entry = await newest.fetch(question(ask("q", temperature=0), "m").key)  # type: ignore[union-attr]
    assert entry is not None
    assert entry.call_id != again.cache.call_id
    assert await newest.forget(project_id=None, key_id=entry.key_id + 1) == 0
    assert await newest.forget(project_id=None, key_id=entry.key_id) == 2
    assert await newest.fetch(entry.key) is None
    drain.close()
    spool.close()
    await db.close()


async def test_a_wrong_answer_takes_the_others_to_its_question_along(database_url: str, tmp_path: Path) -> None:
    db = await opened(database_url)
    await migrate(db, ["calls"])
    calls, spool, drain = Calls(db, CallsSettings()), Spool(tmp_path, 10**9), Drain(db, tmp_path, CallsSettings())
    inner = cached(db, scripted({"answers": [{"text": "one"}]}).chat, calls=calls)
    chat = Recorded(inner, spool, lambda *_: PRICE)

    async def given(text: str) -> str | None:
        worker = cached(db, inner.inner, calls=calls).cache
        entry = await worker.fetch(question(ask(text, temperature=0), "m").key)  # type: ignore[union-attr]
        return None if entry is None else entry.call_id

    for at, streams in enumerate([(False, True), (True, False), (False, False), (True, True)]):
        text = f"question {at}"
        for stream in streams:
            anew = structs.replace(ask(text, temperature=0, stream=stream), cache_control="no-cache")
            await once(chat, anew)
            await inner.cache.flush()
            while await drain.once():
                pass
        reported = await given(text)
        assert reported == anew.id
        hit = Wrong(call_id=Ids().new(), of_call_id=reported, project_id=HOUSE.project_id, key_id=1, model="m", kind="hit", similarity=None, threshold=0.0)  # fmt: skip
        assert [await inner.cache.report_wrong(hit), await inner.cache.report_wrong(hit)] == [True, False]
        assert await given(text) is None
        assert (await once(chat, ask(text, temperature=0)))[0] == "miss"
    drain.close()
    spool.close()
    await db.close()


@pytest.mark.parametrize("usage", [None, Usage(input=9, output=1, cache_written=5)])
async def test_what_the_record_does_not_tell_is_stored_apart(database_url: str, usage: Usage | None) -> None:
    db = await opened(database_url)
    spool = Memory()
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'

    async def upstream(_request: Request) -> Any:
        yield Delta(raw=body, usage=usage, done=True, model="m", provider="p")

    inner = cached(db, upstream)
    chat = Recorded(inner, spool, lambda *_: PRICE)
    await once(chat, ask("q", temperature=0))
    await once(chat, structs.replace(ask("r", temperature=0), session="s" * 400))
    await inner.cache.flush()
    assert [record.cache_key for record in spool.records] == [None, None]
    assert await answers_in(db) == 2
    entry = await cached(db, upstream).cache.fetch(question(ask("q", temperature=0), "m").key)  # type: ignore[union-attr]
    assert entry is not None
    assert entry.usage == usage
    await db.close()


async def test_an_answer_found_by_likeness_is_replaced_by_a_newer_one(database_url: str) -> None:
    db = await opened(database_url)
    answers = iter(["old", "new"])

    async def upstream(_request: Request) -> Any:
        said = json.dumps({"choices": [{"index": 0, "message": {"content": next(answers)}, "finish_reason": "stop"}]})
        yield Delta(raw=said.encode(), usage=Usage(input=1, output=1), done=True, model="m", provider="p")

    inner = cached(db, upstream, embedder=Embedded())
    spool = Memory()
    chat = Recorded(inner, spool, lambda *_: PRICE)
    await once(chat, ask("how high?", temperature=0))
    await inner.cache.flush()
    await once(chat, structs.replace(ask("how high?", temperature=0), cache_control="no-cache"))
    await inner.cache.flush()
    assert [record.cache_key for record in spool.records] == [None, None]
    entry = await cached(db, upstream).cache.fetch(question(ask("how high?", temperature=0), "m").key)  # type: ignore[union-attr]
    assert entry is not None
    assert b"new" in entry.body
    await db.close()


async def test_an_answer_that_is_changed_on_its_way_to_the_record_is_stored_apart(database_url: str) -> None:
    db = await opened(database_url)
    spool = Memory()
    inner = cached(db, scripted({"answers": [{"text": "one"}]}).chat)

    async def shouting(request: Request) -> Any:
        async for delta in inner(request):
            yield structs.replace(delta, raw=delta.raw.replace(b"one", b"ONE"))

    said = (await once(Recorded(shouting, spool, lambda *_: PRICE), ask("q", temperature=0)))[1].raw
    unkept = Recorded(inner, spool, lambda *_: PRICE, payloads=False)
    await once(unkept, ask("r", temperature=0))
    [shouted, mute] = spool.records
    assert (b"ONE" in said, shouted.cache_key, mute.cache_key) == (True, None, None)
    await inner.cache.flush()
    assert await answers_in(db) == 2
    await db.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_same_words_are_answered_the_same_until_the_answer_is_forgotten(
    stream: bool,  # noqa: FBT001 - a parameter of the test
    database_url: str,
) -> None:
    db = await opened(database_url)
    upstream, spool = Asked(scripted({"answers": [{"text": "one two"}]}).chat), Memory()
    inner = cached(db, upstream)
    chat = Recorded(inner, spool, lambda *_: PRICE)
    _, first = await once(chat, ask("q", temperature=0, stream=stream))
    again = [await once(chat, ask("q", temperature=0, stream=stream)) for _ in range(3)]
    assert ([kind for kind, _ in again], len({delta.raw for _, delta in again})) == (["hit"] * 3, 1)
    assert first.usage == again[-1][1].usage
    _, *hits = spool.records
    assert [hit.tags["loopwright.cache_of"] for hit in hits] == [spool.records[0].id] * 3
    assert len({hit.id for hit in hits}) == 3
    total = inner.cache.tally.total
    assert (total.hits, total.misses) == (3, 1)
    assert (await once(chat, structs.replace(ask("q", temperature=0, stream=stream), cache_control="no-cache")))[
        0
    ] == "miss"
    assert (await once(chat, ask("q", temperature=0, stream=stream, who=ELSEWHERE)))[0] == "miss"
    assert (await once(chat, ask("q", temperature=0, stream=stream)))[0] == "hit"
    with_usage = ask("q", temperature=0, stream=True, stream_options={"include_usage": True})
    bare = structs.replace(with_usage, wants_usage=False)  # as other dialects ask
    assert b'"usage":{' in (await once(chat, with_usage))[1].raw
    assert b'"usage":{' not in (await once(chat, bare))[1].raw
    await inner.cache.forget(project_id=None, call_id=spool.records[-1].tags["loopwright.cache_of"])
    assert (await once(chat, ask("q", temperature=0, stream=stream)))[0] == "miss"
    await db.close()


async def test_the_same_words_with_another_adapter_are_another_question(database_url: str) -> None:
    db = await opened(database_url)
    upstream, spool = Asked(scripted({"answers": [{"text": "one two"}]}).chat), Memory()
    chat = Recorded(cached(db, upstream), spool, lambda *_: PRICE)
    ways = [None, Adapter(name="a", scale=1.0), Adapter(name="a", scale=0.5), Adapter(name="b", scale=1.0)]
    kinds = [(await once(chat, structs.replace(ask("q", temperature=0), adapter=way)))[0] for way in ways * 3]
    assert kinds == ["miss"] * 4 + ["hit"] * 8
    assert [request.adapter for request in upstream.requests] == ways
    found = [record.tags["loopwright.cache_of"] for record in spool.records[4:]]
    assert found == [record.id for record in spool.records[:4]] * 2
    await db.close()


async def test_another_project_another_question_and_a_client_that_says_so_are_misses(database_url: str) -> None:
    db = await opened(database_url)
    upstream = Asked(scripted().chat)
    chat = cached(db, upstream)
    await once(chat, ask("q", temperature=0))
    assert (await once(chat, ask("q", temperature=0, who=ELSEWHERE)))[0] == "miss"
    assert (await once(chat, ask("p", temperature=0)))[0] == "miss"
    assert (await once(chat, structs.replace(ask("q", temperature=0), cache_control="no-cache")))[0] == "miss"
    assert (await once(chat, structs.replace(ask("q", temperature=0), cache_control="no-store")))[0] == ""
    assert (await once(chat, ask("q")))[0] == ""
    assert (await once(chat, ask("q", seed=1)))[0] == "miss"
    assert (await once(chat, structs.replace(ask("q", temperature=0), model="alias")))[0] == "hit"
    assert len(upstream.requests) == 7
    await db.close()


@pytest.mark.parametrize(
    "answer",
    [
        saying(Delta(text="x", finish="length", done=True)),
        saying(Delta(text="x", finish="content_filter", done=True)),
        saying(Delta(extra={"refusal": "no"}, finish="stop", done=True)),
        saying(Delta(text="x")),
    ],
)
async def test_what_is_no_good_answer_is_not_kept(answer: Chat, database_url: str) -> None:
    db = await opened(database_url)
    encoded = type(scripted().chat)(answer)  # type: ignore[call-arg]
    chat = cached(db, encoded)
    for stream in (False, True):
        await once(chat, ask(temperature=0, stream=stream))
        assert len(chat.cache.memory) == 0
    await db.close()


async def test_a_failure_is_not_kept_and_a_truncated_answer_only_when_told(database_url: str) -> None:
    db = await opened(database_url)
    chat = cached(db, saying(Delta(raw=b"{}"), error=UpstreamBroke("x")))
    with pytest.raises(UpstreamBroke):
        await once(chat, ask(temperature=0))
    assert len(chat.cache.memory) == 0
    short = type(scripted().chat)(saying(Delta(text="x", finish="length", usage=Usage(), done=True)))  # type: ignore[call-arg]
    told = cached(db, short, truncated=True, exact=ExactSettings(any=True))
    await once(told, ask())
    assert (await once(told, ask()))[0] == "hit"
    await db.close()


async def test_a_body_with_a_member_twice_is_never_kept(database_url: str) -> None:
    db = await opened(database_url)
    chat = cached(db, scripted().chat)
    request = ask(temperature=0)
    doubled = (request.raw or b"").replace(b'{"role"', b'{"content": "other", "role"')
    await once(chat, structs.replace(request, raw=doubled))
    assert len(chat.cache.memory) == 0
    await db.close()


async def test_a_model_without_a_cache_is_asked_directly(database_url: str) -> None:
    db = await opened(database_url)
    inner = object()
    chat = Cached(lambda _request: inner, Cache(db, CacheSettings()), {}, lambda *_: PRICE)  # type: ignore[arg-type]
    assert chat(ask()) is inner
    await db.close()


async def test_likeness_answers_within_a_partition_until_it_is_reported_wrong(database_url: str) -> None:
    db = await opened(database_url)
    chat = cached(db, Asked(scripted().chat), embedder=Embedded())
    await once(chat, ask("how do I get my money back", temperature=0))
    await chat.cache.flush()
    kind, delta = await once(chat, ask("what is the way to get my money back", temperature=0))
    assert kind == "semantic-hit"
    assert delta.cache is not None
    assert delta.cache.similarity == pytest.approx(1, abs=1e-5)
    for other in ("how do I not get my money back", "how do I get 5 of my money back", "wie bekomme ich das Geld"):
        assert (await once(chat, ask(other, temperature=0)))[0] == "miss"
    assert (await once(chat, ask("the money I want back", temperature=0, max_tokens=7)))[0] == "miss"
    assert (await once(chat, ask("the money I want back", temperature=0, who=ELSEWHERE)))[0] == "miss"
    await db.close()
