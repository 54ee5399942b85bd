"""Policies of privacy on the road: who may be asked, what a refusal says, what is kept."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from loopwright.calls.record import Opened
from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import BadRequest, LoopwrightError, Refused, UpstreamError
from loopwright.core.privacy import NO_STORE, Place, Privacy, Sensitive, Trail
from loopwright.core.who import HOUSE
from loopwright.gateway.confined import Confined, texts_of
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.gateway.gated import Gated
from loopwright.gateway.guarded import Guarded, Policies
from loopwright.gateway.strategies import STRATEGIES
from loopwright.guardrails.pii import find
from loopwright.kit.ids import Ids
from loopwright.kit.settings import ModelSettings
from loopwright.kit.settings_privacy import PolicySettings, PrivacySettings, SensitiveSettings
from loopwright.kit.settings_routes import CascadeSettings, HedgeSettings
from tests.gateway.roads import Memory, ask, deltas, recorded, saying
from tests.gateway.routes_made import Player, made, quick

pytestmark = pytest.mark.anyio
EU, US = Place(provider="eu", region="eu-west-1"), Place(provider="us", region="us")
OWN = Place(provider="llamacpp", own=True)
PLACES = {"abroad": (US,), "both": (US, EU), "here": (OWN,)}
SECRET = "reach me at ada.lovelace@example.org"
BROKEN = UpstreamError("500", upstream_status=500)


class Heard:
    """Answers, and keeps what it was asked."""

    def __init__(self, *, error: BaseException | None = None) -> None:
        self.requests: list[Request] = []
        self._error = error

    async def __call__(self, request: Request, /) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        if self._error is not None:
            raise self._error
        yield Delta(raw=b'{"choices":[]}', model="m", provider="p", done=True)


def under(request: Request, **policy: Any) -> Request:
    return structs.replace(request, privacy=Privacy(sources=("privacy.projects.clinic",), **policy))


def confined(inner: Chat, places: Mapping[str, Sequence[Place]] = PLACES) -> Confined:
    return Confined(inner=inner, places=places, find=find)


def policies(known: Mapping[str, ModelSettings] | None = None, /, **told: Any) -> Policies:
    return Policies(PrivacySettings(**told), known or {})


def from_project(project: str, **told: Any) -> Request:
    return ask(who=replace(HOUSE, project=project), **told)


def test_nothing_configured_for_a_project_is_no_policy() -> None:
    assert policies(projects={"clinic": PolicySettings(store=False)}).of(from_project("shop")) is None


def test_a_trail_can_be_kept_of_everything() -> None:
    privacy = policies(trail=True).of(from_project("shop"))
    assert privacy == Privacy()
    assert privacy is not None
    assert privacy.trail is not None


def test_what_a_project_does_not_say_the_default_says() -> None:
    found = policies(
        default=PolicySettings(residency=("eu",), redact=("email",), store=False),
        projects={"clinic": PolicySettings(redact=("all",)), "open": PolicySettings(residency=("any",), store=True)},
    )
    clinic, free = found.of(from_project("clinic")), found.of(from_project("open"))
    assert clinic is not None
    assert (clinic.residency, clinic.redact, clinic.store) == ((frozenset({"eu"}),), frozenset({"all"}), False)
    assert free is not None
    assert (free.residency, free.redact, free.store) == ((), frozenset({"email"}), True)


@pytest.mark.parametrize("name", ["task/triage", "task/triage@b", "m", "alias"])
def test_the_name_that_is_called_makes_it_stricter(name: str) -> None:
    found = policies(
        {"m": ModelSettings(provider="p", aliases=("alias",))},
        projects={"clinic": PolicySettings(residency=("eu", "own"))},
        models={"task/triage": PolicySettings(residency=("own",)), "m": PolicySettings(residency=("own",))},
    )
    for _again in range(2):
        privacy = found.of(from_project("clinic", model=name))
        assert privacy is not None
        assert privacy.residency == (frozenset({"eu", "own"}), frozenset({"own"}))
        assert not privacy.allows(EU)
        assert privacy.sources[0] == "privacy.projects.clinic"
    other = found.of(from_project("clinic", model="task/other"))
    assert other is not None
    assert other.allows(EU)


def test_a_client_can_only_ask_for_more() -> None:
    found = policies(projects={"clinic": PolicySettings(residency=("eu",))})
    privacy = found.of(structs.replace(from_project("clinic"), privacy=NO_STORE))
    assert privacy is not None
    assert (privacy.store, privacy.residency) == (False, (frozenset({"eu"}),))


def test_trails_are_not_shared() -> None:
    found = policies(trail=True)
    one, other = found.of(ask()), found.of(ask())
    assert one is not None
    assert other is not None
    assert one.trail is not other.trail


async def test_a_model_without_an_allowed_target_is_refused_before_anything_is_done() -> None:
    inner = Heard()
    with pytest.raises(Refused) as caught:
        confined(inner)(under(ask(SECRET, model="abroad"), residency=(frozenset({"eu"}),)))
    assert not inner.requests
    message = caught.value.message
    for word in ("privacy.projects.clinic", "'abroad'", "residency is eu", "us in us", "both", "here"):
        assert word in message
    assert "ada" not in message


async def test_one_allowed_target_is_enough_here() -> None:
    inner = Heard()
    await deltas(confined(inner), under(ask(model="both"), residency=(frozenset({"eu"}),)))
    assert len(inner.requests) == 1


@pytest.mark.parametrize(
    ("rule", "body", "because"),
    [
        (Sensitive(pii=frozenset({"email"})), {}, "email"),
        (Sensitive(pii=frozenset({"all"})), {}, "email"),
        (Sensitive(tags=frozenset({("class", "*")})), {"loopwright": {"tags": {"class": "x"}}}, "tag class:x"),
    ],
)
async def test_what_is_sensitive_goes_to_what_is_ours_only(rule: Sensitive, body: Any, because: str) -> None:
    inner = Heard()
    road = confined(inner)
    await deltas(road, under(ask(SECRET, model="here", **body), sensitive=rule))
    sent = inner.requests[0].privacy
    assert sent is not None
    assert (sent.own_only, sent.because) == (True, because)
    with pytest.raises(Refused, match="found sensitive") as caught:
        await deltas(road, under(ask(SECRET, model="both", **body), sensitive=rule))
    assert because in caught.value.message
    assert "ada" not in caught.value.message
    assert len(inner.requests) == 1


async def test_a_model_of_ours_answers_instead() -> None:
    inner = Heard()
    rule = Sensitive(pii=frozenset({"email"}), model="here")
    await deltas(confined(inner), under(ask(SECRET, model="abroad", temperature=0.5), sensitive=rule))
    [asked] = inner.requests
    assert asked.model == "here"
    assert asked.raw is not None
    body = json.loads(asked.raw)
    assert (body["model"], body["temperature"], body["messages"]) == ("here", 0.5, asked.body["messages"])
    await deltas(confined(inner), under(ask("harmless", model="abroad"), sensitive=rule))
    assert inner.requests[1].model == "abroad"


async def test_one_that_is_not_there_answers_nothing() -> None:
    rule = Sensitive(pii=frozenset({"email"}), model="gone")
    with pytest.raises(Refused):
        await deltas(confined(Heard()), under(ask(SECRET, model="abroad"), sensitive=rule))


async def test_a_long_text_is_searched_to_its_end() -> None:
    inner = Heard()
    rule = Sensitive(pii=frozenset({"email"}))
    await deltas(confined(inner), under(ask("word " * 20_000 + SECRET, model="here"), sensitive=rule))
    sent = inner.requests[0].privacy
    assert sent is not None
    assert sent.own_only


def test_texts_stand_anywhere_in_a_body() -> None:
    body = {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "one"}, {"image_url": {"url": "data:x/y;base64,AA"}}],
            },
            {"tool_calls": [{"function": {"arguments": '{"to": "two"}'}}]},
        ],
        "prompt": ["three", "data: four"],
        "tools": [{"function": {"description": "five"}}],
        "prediction": {"content": "six"},
    }
    found = " ".join(texts_of(body))
    assert all(word in found for word in ("one", "two", "three", "data: four", "five", "six"))
    assert "base64" not in found


async def test_tokens_cannot_be_searched_so_they_are_sensitive() -> None:
    inner = Heard()
    asked = structs.replace(ask(model="here"), body={"model": "here", "prompt": [1, 2, 3]}, raw=None)
    await deltas(confined(inner), under(asked, sensitive=Sensitive(pii=frozenset({"email"}))))
    assert inner.requests[0].privacy is not None
    assert inner.requests[0].privacy.own_only


async def test_nothing_is_fetched_for_a_confined_request() -> None:
    pointing = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}]
    holding = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}]
    rule = (frozenset({"eu"}),)
    with pytest.raises(Refused, match="image_url"):
        confined(Heard())(under(ask(model="both", messages=pointing), residency=rule))
    inner = Heard()
    await deltas(confined(inner), under(ask(model="both", messages=holding), residency=rule))
    assert inner.requests


async def test_the_last_gate_lets_nothing_else_through() -> None:
    inner = Heard()
    gate = Gated(inner, US)
    with pytest.raises(Refused):
        gate(under(ask(SECRET), residency=(frozenset({"eu"}),)))
    with pytest.raises(Refused):
        gate(under(ask(SECRET), own_only=True))
    assert not inner.requests
    await deltas(gate, ask())
    await deltas(gate, under(ask(), redact=frozenset({"email"})))
    assert len(inner.requests) == 2


async def test_the_gate_notes_what_leaves_and_whether_it_was_answered() -> None:
    trail = Trail()
    request = ask("hello")
    with pytest.raises(UpstreamError):
        await deltas(Gated(Heard(error=BROKEN), US), under(request, trail=trail))
    await deltas(Gated(Heard(), EU), under(request, trail=trail))
    failed, answered = trail.shown()
    assert (failed["provider"], failed["answered"]) == ("us", False)
    assert (answered["provider"], answered["region"], answered["answered"]) == ("eu", "eu-west-1", True)
    # These do not say what they send, so at the most it is what they were given.
    assert request.raw is not None
    assert (answered["bytes"], answered["exact"]) == (len(request.raw), False)


async def test_texts_for_the_cache_meet_the_gate_too() -> None:
    inner = Heard()
    embedder = CalledEmbedder(Gated(inner, US), "vectors", Ids())
    with pytest.raises(Refused):
        await embedder([SECRET], privacy=Privacy(residency=(frozenset({"eu"}),)))
    assert not inner.requests


REGION = st.sampled_from(["eu", "us"])


@given(
    regions=st.lists(REGION, min_size=1, max_size=4),
    strategy=st.sampled_from(sorted(STRATEGIES)),
    shape=st.sampled_from(["plain", "hedge", "cascade"]),
    failing=st.sets(st.integers(0, 3)),
    stream=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_no_route_asks_a_target_that_is_not_allowed(
    regions: list[str], strategy: Any, shape: str, failing: set[int], *, stream: bool
) -> None:
    players = [
        Player(f"p{at}", *([BROKEN] if at in failing else []), region=region, delay=0.002)
        for at, region in enumerate(regions)
    ]
    options: dict[str, Any] = {"retries": quick(attempts=4)}
    if shape == "hedge":
        options["hedge"] = HedgeSettings(after=0.001)
    if shape == "cascade" and len(players) > 1:
        options["cascade"] = CascadeSettings()
    route = made(*players, strategy=strategy, **options)
    chat = route.target.chat

    async def main() -> None:
        for _again in range(3):
            try:
                await deltas(chat, under(ask("hello", stream=stream), residency=(frozenset({"eu"}),)))
            except Refused:
                assert "eu" not in regions
            except LoopwrightError:
                assert failing

    asyncio.run(main())
    asked = [region for player, region in zip(players, regions, strict=True) if player.asked]
    assert "us" not in asked
    assert bool(asked) == ("eu" in regions)


async def test_a_cascade_of_which_one_half_is_allowed_is_that_half() -> None:
    for allowed, answers in (("eu", "cheap"), ("us", "dear")):
        cheap, dear = Player("cheap", region="eu"), Player("dear", region="us")
        chat = made(cheap, dear, cascade=CascadeSettings()).target.chat
        await deltas(chat, under(ask(), residency=(frozenset({allowed}),)))
        assert [player.name for player in (cheap, dear) if player.asked] == [answers]


@pytest.mark.parametrize("stream", [True, False])
async def test_of_a_call_that_is_not_stored_only_metadata_is_kept(*, stream: bool) -> None:
    spool = Memory()
    chat = recorded(saying(Delta(raw=b'data: {"said": "ada.l"}\n\n', model="m", provider="p"), Delta(done=True)), spool)
    await deltas(chat, structs.replace(ask(SECRET, stream=stream), privacy=NO_STORE))
    assert spool.records[0].tags == {"loopwright.store": "false"}
    for each in spool.written:
        record = each.record if isinstance(each, Opened) else each
        assert (record.request, record.answer, record.model, record.sent) == (b"", b"", "m", None)


async def test_an_error_that_could_quote_the_prompt_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    spool = Memory()
    chat = recorded(saying(error=BadRequest(f"cannot take {SECRET}")), spool)
    with caplog.at_level(logging.DEBUG), pytest.raises(BadRequest):
        await deltas(chat, structs.replace(ask(SECRET), privacy=NO_STORE))
    [record] = spool.records
    assert (record.error_code, record.status) == ("invalid_request", 400)
    assert "ada.l" not in repr(record)
    assert "ada.l" not in caplog.text


async def test_a_refusal_by_policy_can_be_read_on_record() -> None:
    spool = Memory()
    chat = recorded(confined(Heard()), spool)
    with pytest.raises(Refused):
        await deltas(chat, under(ask(SECRET, model="abroad"), residency=(frozenset({"eu"}),), store=False))
    [record] = spool.records
    assert "privacy.projects.clinic" in (record.error or "")
    assert (record.outcome, record.status) == ("refused", 403)


async def test_what_is_refused_at_the_door_is_recorded_as_the_policy_says() -> None:
    spool = Memory()
    told = PrivacySettings(projects={"clinic": PolicySettings(store=False)})
    road = Guarded(recorded(Heard(), spool), Policies(told, {}))
    road.refuse(from_project("clinic", text=SECRET), BadRequest(SECRET))
    road.refuse(from_project("shop", text=SECRET), BadRequest(SECRET))
    clinic, shop = spool.records
    assert "ada.l" not in repr(clinic)  # "ada" alone may stand in an id
    assert "ada.l" in repr(shop)


async def test_the_record_says_where_bytes_went() -> None:
    spool = Memory()
    told = PrivacySettings(trail=True)
    road = Guarded(recorded(Gated(Heard(), EU), spool), Policies(told, {}))
    await deltas(road, ask())
    [record] = spool.records
    assert record.sent is not None
    [departure] = record.sent
    assert (departure["provider"], departure["answered"], len(departure["sha256"])) == ("eu", True, 64)


async def test_a_sensitive_policy_comes_from_its_settings() -> None:
    told = SensitiveSettings(pii=("card",), tags={"class": "secret"}, model="here")
    privacy = policies(projects={"clinic": PolicySettings(sensitive=told)}).of(from_project("clinic"))
    assert privacy is not None
    assert privacy.sensitive == Sensitive(pii=frozenset({"card"}), tags=frozenset({("class", "secret")}), model="here")
