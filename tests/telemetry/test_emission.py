"""Sending calls out: each at least once, bounded, retried; what came back to its own house is known."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from loopwright.calls.record import Record
from loopwright.core.call import CallDetail
from loopwright.core.who import Principal
from loopwright.kit.ids import Ids
from loopwright.kit.settings_metrics import SendingSettings
from loopwright.telemetry.emission import Emission, drop_strangers, noted, noting
from loopwright.telemetry.emitted import Form
from loopwright.telemetry.sending import NotTaken, Signal
from tests.gateway.test_counted import record
from tests.telemetry.taken import WHO, Room, opened

pytestmark = pytest.mark.anyio


class Receiver:
    """Takes requests, or does not."""

    def __init__(self) -> None:
        self.problems: list[NotTaken] = []
        self.taken: list[str] = []
        self.largest: int | None = None
        self.bodies: list[bytes] = []

    async def __call__(self, signal: Signal, message: bytes) -> None:
        """Take it."""
        assert signal == "traces"
        if self.problems:
            raise self.problems.pop(0)
        request = ExportTraceServiceRequest.FromString(message)
        spans = request.resource_spans[0].scope_spans[0].spans
        if self.largest is not None and len(spans) > self.largest:
            raise NotTaken("too large", again=False, too_large=True)
        self.bodies.append(message)
        self.taken += [span.span_id.hex() for span in spans]

    async def close(self) -> None:
        """Nothing."""


async def every_project() -> None:
    return None


def said(detail: CallDetail) -> CallDetail:
    return detail


@asynccontextmanager
async def sending(url: str, **settings: Any) -> AsyncIterator[tuple[Room, Receiver, Emission, Counter[str]]]:
    counts: Counter[str] = Counter()

    def count(*labels: str, amount: int = 1) -> None:
        counts[labels[-1]] += amount

    receiver = Receiver()
    async with opened(url) as room:
        emission = Emission(
            receiver="here",
            settings=SendingSettings(url="http://collector:4318", **settings),
            db=room.db,
            send=receiver,  # type: ignore[arg-type] # it is asked in the same way
            form=Form(content=True),
            count=count,
            told=said,
            projects=every_project,
        )
        yield room, receiver, emission, counts


IDS = Ids()


def call(number: int, **named: Any) -> Record:
    made = IDS.new()
    usual: dict[str, Any] = {
        "id": made,
        "started_ns": int(made.replace("-", "")[:12], 16) * 1_000_000,
        "project_id": WHO.project_id,
        "trace_id": made.replace("-", ""),
        "span_id": f"{number + 1:016x}",
        "request": b'{"model": "fast", "messages": [{"role": "user", "content": "hello"}]}',
        "answer": b"",
        "stream": False,
        "ttft_us": None,
    }
    return record(**(usual | named))


async def stored(room: Room, records: list[Record]) -> None:
    """As the drain does: noted in the transaction that stores them."""
    for each in records:
        room.spool.write(each)
    await room.drained()
    async with room.db.transaction() as connection:
        await noted(connection, ["here"], records)


async def test_each_call_is_sent_once_and_forgotten(database_url: str) -> None:
    async with sending(database_url, batch=30) as (room, receiver, emission, counts):
        records = [call(number) for number in range(250)]
        await stored(room, records)
        await emission()
        assert sorted(receiver.taken) == sorted(each.span_id for each in records)
        assert counts == {"sent": 250}
        assert await room.count("emission_waiting") == 0
        assert b"hello" in receiver.bodies[0]


async def test_what_is_not_taken_waits_and_is_sent_later(database_url: str) -> None:
    async with sending(database_url) as (room, receiver, emission, counts):
        await stored(room, [call(1), call(2)])
        receiver.problems = [NotTaken("answered with status 503", again=True, wait=0.2)]
        await emission()
        assert (receiver.taken, emission.waiting) == ([], 2)
        await emission()
        assert receiver.taken == []
        await asyncio.sleep(1.2)
        await emission()
        assert (len(receiver.taken), emission.waiting) == (2, 0)
        assert counts == {"failed": 2, "sent": 2}


async def test_what_can_never_be_taken_is_given_up_and_counted(database_url: str) -> None:
    async with sending(database_url) as (room, receiver, emission, counts):
        await stored(room, [call(1)])
        receiver.problems = [NotTaken("answered with status 400", again=False)]
        await emission()
        assert (counts, await room.count("emission_waiting")) == ({"refused": 1}, 0)


async def test_too_large_a_request_is_sent_in_smaller_ones(database_url: str) -> None:
    async with sending(database_url) as (room, receiver, emission, counts):
        await stored(room, [call(number) for number in range(100)])
        receiver.largest = 20
        for _ in range(8):
            await emission()
        assert len(set(receiver.taken)) == 100
        assert counts["refused"] == 0
        assert await room.count("emission_waiting") == 0


async def test_more_than_may_wait_is_left_out_and_counted(database_url: str) -> None:
    async with sending(database_url, queue=150) as (room, receiver, emission, counts):
        records = [call(number) for number in range(400)]
        await stored(room, records)
        await emission()
        assert counts["dropped"] + counts["sent"] == 400
        assert counts["sent"] <= 150
        # The newest are kept.
        assert set(receiver.taken) <= {each.span_id for each in records[-150:]}


async def test_calls_that_came_as_spans_are_never_sent_on(database_url: str) -> None:
    async with sending(database_url) as (room, receiver, emission, _):
        async with room.db.transaction() as connection:
            await noted(connection, ["here"], [call(1, observed=True, client="otlp:shop")])
        await emission()
        assert receiver.taken == []


async def test_deleted_calls_are_not_sent(database_url: str) -> None:
    async with sending(database_url) as (room, receiver, emission, _):
        gone, kept = call(1), call(2)
        await stored(room, [gone, kept])
        await room.calls.delete(project_id=None, call_id=gone.id)
        await emission()
        assert receiver.taken == [kept.span_id]


async def test_a_call_that_comes_back_is_the_call_that_it_was(database_url: str) -> None:
    async with sending(database_url) as (room, receiver, emission, _):
        mine = call(1)
        await stored(room, [mine])
        await emission()
        [body] = receiver.bodies
        assert (await room.intake.spans(body, "protobuf", WHO)).new == 1
        assert [each.id for each in await room.drained()] == [mine.id]
        rows = await room.db.rows("select call_id::text from spans")
        assert [row["call_id"] for row in rows] == [mine.id]


async def test_nobody_takes_a_call_of_another_project_by_naming_it(database_url: str) -> None:
    async with sending(database_url) as (room, receiver, emission, _):
        mine = call(1)
        await stored(room, [mine])
        await emission()
        stranger = Principal(key_id=9, key_name="k", project_id=4, project="other")
        await room.intake.spans(receiver.bodies[0], "protobuf", stranger)
        assert sorted(each.project_id for each in await room.drained()) == [3, 4]


async def test_receivers_that_are_no_longer_named_are_forgotten(database_url: str) -> None:
    async with sending(database_url) as (room, _, emission, _):
        await stored(room, [call(1)])
        await drop_strangers(room.db, {"here": emission.settings})
        assert await room.count("emission_waiting") == 1
        await drop_strangers(room.db, {"here": SendingSettings(url="http://x", traces=False)})
        assert await room.count("emission_waiting") == 0


def test_nobody_is_noted_for_where_nobody_is_sent_anything() -> None:
    async def charge(*_: Any) -> None:
        raise AssertionError

    assert noting(charge, {}) is charge
    assert noting(charge, {"m": SendingSettings(url="http://x", traces=False)}) is charge
    assert noting(charge, {"t": SendingSettings(url="http://x")}) is not charge
