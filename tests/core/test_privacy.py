"""Policies of privacy: what they allow, how they join, what is noted of bytes that leave."""

import hashlib
import json
import time

from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.privacy import NO_STORE, Place, Privacy, Sensitive, Trail

REGIONS = st.sampled_from(["eu", "eu-central-1", "us", "us-east-1", "EU-West", "europe", None])
PLACES = st.builds(Place, provider=st.just("p"), region=REGIONS, own=st.booleans())
ALLOWED = st.frozensets(st.sampled_from(["eu", "us", "us-east-1", "own", "europe"]), min_size=1)
POLICIES = st.builds(
    Privacy,
    residency=st.lists(ALLOWED, max_size=2).map(tuple),
    own_only=st.booleans(),
    redact=st.frozensets(st.sampled_from(["email", "card", "all"])),
    sensitive=st.none() | st.builds(Sensitive, pii=st.frozensets(st.sampled_from(["email", "iban"]))),
    store=st.booleans(),
)


def place(region: str | None = None, *, own: bool = False) -> Place:
    return Place(provider="p", model="m", region=region, own=own)


def test_a_region_holds_those_within_it() -> None:
    assert place("eu").within(["eu"])
    assert place("eu-central-1").within(["EU"])
    assert not place("europe").within(["eu"])
    assert not place("us-eu").within(["eu"])
    assert not place("eu").within(["eu-central-1"])


def test_a_place_nobody_named_is_within_nothing() -> None:
    assert not place().within(["eu", "us", "own"])
    assert not place("").within(["eu", ""])


def test_what_is_ours() -> None:
    assert place(own=True).within(["eu"]), "an engine of the house: nothing leaves"
    assert not place("us", own=True).within(["eu"]), "a server of ours elsewhere"
    assert place("us", own=True).within(["own"])
    assert not place("us").within(["own"])


@given(POLICIES, POLICIES, PLACES)
def test_joined_is_as_strict_as_each(one: Privacy, other: Privacy, where: Place) -> None:
    both = one.joined(other)
    assert both.allows(where) == (one.allows(where) and other.allows(where))
    assert both.store == (one.store and other.store)
    assert both.redact == one.redact | other.redact
    kinds = [each.sensitive.pii for each in (one, other) if each.sensitive is not None]
    assert (frozenset() if both.sensitive is None else both.sensitive.pii) == frozenset().union(*kinds)
    assert both.joined(one) == both.joined(both)


@given(POLICIES)
def test_a_wish_not_to_be_stored_changes_nothing_else(policy: Privacy) -> None:
    both = policy.joined(NO_STORE)
    assert not both.store
    assert (both.residency, both.redact, both.sensitive) == (
        tuple(dict.fromkeys(policy.residency)),
        policy.redact,
        policy.sensitive,
    )


def test_a_tag_makes_sensitive_by_its_value_or_by_any() -> None:
    rule = Sensitive(tags=frozenset({("class", "secret"), ("patient", "*")}))
    assert rule.tagged({"class": "secret"}) == "class:secret"
    assert rule.tagged({"patient": "7"}) == "patient:7"
    assert rule.tagged({"class": "public"}) is None
    assert rule.tagged({}) is None


def test_what_left_is_counted_and_hashed() -> None:
    policy = Privacy(trail=Trail())
    policy.replaced("email", 2)
    leaving = policy.leaving(place("eu"))
    leaving.sent(b"first ")
    leaving.sent(b"second")
    assert leaving.departure is not None
    leaving.departure.answered = True
    assert policy.trail is not None
    [shown] = policy.trail.shown()
    assert abs(shown.pop("at_us") / 1e6 - time.time()) < 60
    assert [shown] == [
        {
            "provider": "p",
            "model": "m",
            "region": "eu",
            "own": False,
            "bytes": 12,
            "bodies": 2,
            "sha256": hashlib.sha256(b"first second").hexdigest(),
            "answered": True,
            "redacted": {"email": 2},
        }
    ]


def test_without_a_trail_nothing_is_noted() -> None:
    policy = Privacy()
    assert policy.leaving(place()) is policy
    policy.sent(b"x")
    policy.replaced("email")


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=20)), max_size=80))
def test_however_many_leave_every_target_and_every_byte_is_on_record_in_little_room(
    departures: list[tuple[int, bytes]],
) -> None:
    policy = Privacy(trail=Trail())
    for target, body in departures:
        policy.leaving(Place(provider=f"provider-{target}", model="model", region="eu-central-1")).sent(body)
    assert policy.trail is not None
    shown = policy.trail.shown()
    for target in range(4):
        mine = [each for each in shown if each["provider"] == f"provider-{target}"]
        sent = [body for at, body in departures if at == target]
        assert sum(each["bytes"] for each in mine) == sum(map(len, sent))
        assert sum(each["bodies"] for each in mine) == len(sent)
    assert len(json.dumps(shown)) < 2_048
