"""Spans taken in: durable, each once, calls among them on record, whatever else is in the request."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from loopwright.calls.record import Record
from loopwright.core.errors import BadRequest, Unavailable
from loopwright.kit.ids import Ids
from loopwright.kit.seal import PLAIN, Seal
from loopwright.telemetry.putting import Putter
from loopwright.telemetry.resealing import keys_used, reseal
from loopwright.telemetry.retention import retain
from tests.telemetry.sent import TRACE, protobuf, request, span
from tests.telemetry.taken import KEY, WHO, Room, opened
from tests.telemetry.test_dialects import GENAI, SAID

CHAIN = {"openinference.span.kind": "CHAIN", "input.value": "what was asked", "session.id": "talk", "user.id": "ann"}


def over(url: str, work: Callable[[Room], Awaitable[None]], **named: Any) -> None:
    """Do something with a room."""

    async def main() -> None:
        async with opened(url, **named) as room:
            await work(room)

    asyncio.run(main())


def test_a_trace_is_taken_once_however_often_it_comes(database_url: str) -> None:
    async def work(room: Room) -> None:
        body = protobuf(span("root", CHAIN), span("chat", GENAI, number=2, parent=1))
        assert (await room.intake.spans(body, "protobuf", WHO)).new == 2
        again = await room.intake.spans(body, "protobuf", WHO)
        assert (again.new, again.refused) == (0, 0)
        more = protobuf(
            *request_spans(body), span("tool", {"gen_ai.operation.name": "execute_tool"}, number=3, parent=1)
        )
        assert (await room.intake.spans(more, "protobuf", WHO)).new == 1
        [call] = await room.drained()
        assert (call.model, call.provider, call.session, call.project_id) == ("gpt-4o", "openai", "s-1", 3)
        assert call.cost_nano is not None
        detail = await room.calls.get(call.id, project_id=3)
        assert detail.response is not None
        assert detail.response["choices"][0]["message"]["content"] == SAID
        found = await room.spans.of_trace(3, TRACE)
        assert [each.name for each in found] == ["root", "chat", "tool"]
        assert found[1].call_id == call.id
        assert await room.spans.of_trace(4, TRACE) == []
        root = await room.spans.get(3, TRACE, found[0].span_id)
        assert root is not None
        assert (root.input, root.user, root.dialect) == ("what was asked", "ann", "openinference")

    over(database_url, work)


def request_spans(body: bytes) -> list[Any]:
    made = request()
    made.ParseFromString(body)
    return list(made.resource_spans[0].scope_spans[0].spans)


def test_what_cannot_be_kept_is_refused_and_the_rest_is_kept(database_url: str) -> None:
    async def work(room: Room) -> None:
        short, unnumbered = span(number=2), span(number=3)
        short.trace_id, unnumbered.span_id = b"short", bytes(8)
        deep: Any = "x"
        for _ in range(45):
            deep = [deep]
        early = time.time_ns() - 10**9
        body = protobuf(
            span("good", CHAIN), short, unnumbered,
            span("future", number=4, start=time.time_ns() + 3_600 * 10**9), span("old", number=5, start=1_000),
            span("unborn", number=6, start=0), span("orphan", number=7, parent=99), span("deep", {"deep": deep}, number=8),
            span("one", number=9, start=early), span("other", number=9, start=early + 5),
            span("back", number=10, ms=-50),
        )  # fmt: skip
        accepted = await room.intake.spans(body, "protobuf", WHO)
        assert (accepted.new, accepted.refused) == (5, 6)
        for reason in ("16 bytes", "8 bytes", "future", "older", "no start", "one id"):
            assert reason in accepted.message
        found = {each.name: each for each in await room.spans.of_trace(3, TRACE)}
        assert found.keys() == {"good", "orphan", "deep", "one", "back"}
        assert found["back"].duration_us == 0
        assert found["orphan"].parent_id == "0000000000000063"
        whole = await room.spans.get(3, TRACE, found["deep"].span_id)
        assert whole is not None
        assert list(whole.clipped) == ["deep"]

    over(database_url, work)


def test_one_that_is_damaged_is_refused_alone(database_url: str) -> None:
    async def work(room: Room) -> None:
        deepest: Any = "x"
        for _ in range(90):
            deepest = [deepest]
        body = protobuf(span("good", CHAIN), span("bottomless", {"a": "b"}, number=2))
        # Deeper than protobuf's own parser goes, and text that is not UTF-8.
        nested = b"\x0a\x01x"
        for _ in range(200):
            nested = (
                b"\x2a" + varint(len(nested) + len(varint(len(nested))) + 1) + b"\x0a" + varint(len(nested)) + nested
            )
        bad = field(2, field(1, bytes(16)) + field(9, field(1, b"k") + field(2, nested)))
        worse = field(2, field(1, b"\x01" * 16) + field(2, b"\x01" * 8) + field(5, b"\xff\xfe"))
        body += field(1, field(2, bad + worse))
        accepted = await room.intake.spans(body, "protobuf", WHO)
        assert (accepted.new, accepted.refused) == (2, 2)
        assert "damaged" in accepted.message

    over(database_url, work)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def test_what_is_too_large_is_cut_and_says_so(database_url: str) -> None:
    async def work(room: Room) -> None:
        many = span("many", {f"a{index}": index for index in range(300)}, number=2)
        endless = span("endless", number=3)
        endless.MergeFromString((b"\x4a" + bytes([len(b"\x0a\x01k")]) + b"\x0a\x01k") * 30_000)
        body = protobuf(span("long", {"openinference.span.kind": "CHAIN", "big": "x" * 5_000}), many, endless)
        accepted = await room.intake.spans(body, "protobuf", WHO)
        assert (accepted.new, accepted.refused) == (2, 1)
        assert "1,000 attributes" in accepted.message
        long = await room.spans.get(3, TRACE, f"{1:016x}")
        assert long is not None
        assert len(long.attributes["big"]) == 1_000
        assert list(long.clipped) == ["big"]
        kept = await room.spans.get(3, TRACE, f"{2:016x}")
        assert kept is not None
        assert len(kept.attributes) == 100
        assert list(kept.clipped) == ["attributes"]
        some = await room.intake.spans(protobuf(*[span(number=index) for index in range(10, 30)]), "protobuf", WHO)
        assert (some.new, some.refused) == (12, 8)

    over(database_url, work, attributes=100, attribute_limit=1_000, spans=12)


def test_no_request_at_all(database_url: str) -> None:
    async def work(room: Room) -> None:
        for body in (b"\xff\xfe not protobuf", b"\x0a\x7f", b"\x0b\x0b"):
            with pytest.raises(BadRequest):
                await room.intake.spans(body, "protobuf", WHO)
        for body in (b"[1]", b"{", b'{"resourceSpans": 3}', b"[" * 100_000):
            with pytest.raises(BadRequest):
                await room.intake.spans(body, "json", WHO)
        assert (await room.intake.spans(b"", "protobuf", WHO)).new == 0
        assert (await room.intake.spans(b"{}", "json", WHO)).new == 0
        odd = {"resourceSpans": [{"scopeSpans": [{"spans": [
            {"traceId": TRACE, "spanId": "zz"}, {"traceId": 5}, 7, {"traceId": TRACE, "spanId": "00000000000000aa", "startTimeUnixNano": "-5"},
            {"traceId": TRACE, "spanId": "00000000000000ab", "startTimeUnixNano": str(time.time_ns()), "attributes": [
                {"key": "n", "value": {"intValue": "9" * 30}}, {"key": "x", "value": {"doubleValue": "NaN"}}, {"key": "none"},
            ]},
        ]}]}]}  # fmt: skip
        accepted = await room.intake.spans(json.dumps(odd).encode(), "json", WHO)
        assert (accepted.new, accepted.refused) == (1, 4)
        [kept] = await room.spans.of_trace(3, TRACE)
        told = await room.spans.get(3, TRACE, kept.span_id)
        assert told is not None
        assert told.attributes == {"n": "9" * 30, "x": "nan", "none": None}

    over(database_url, work)


def test_a_call_of_ours_that_a_program_tells_of_too_counts_once(database_url: str) -> None:
    async def work(room: Room) -> None:
        body = protobuf(
            span("chat", GENAI), span("POST", {"http.request.method": "POST"}, number=2, parent=1),
            span("direct", GENAI, number=3),
        )  # fmt: skip
        await room.intake.spans(body, "protobuf", WHO)
        ours = [gateway_call(parent=2), gateway_call(parent=3)]
        for record in ours:
            room.spool.write(record)
        calls = await room.drained()
        assert sorted(call.id for call in calls) == sorted(record.id for record in ours)
        found = await room.spans.of_trace(3, TRACE)
        assert {each.name: each.call_id for each in found} == {"chat": ours[0].id, "POST": None, "direct": ours[1].id}
        # A framework's span, told after the call beneath it had been drained.
        await room.intake.spans(protobuf(span("inner", GENAI, number=5, parent=4)), "protobuf", WHO)
        assert len(await room.drained()) == 3
        await room.intake.spans(protobuf(span("outer", GENAI, number=4)), "protobuf", WHO)
        assert len(await room.drained()) == 3

    over(database_url, work)


@pytest.mark.parametrize("first", ["call", "span", "together", "ours"])
@pytest.mark.parametrize("seal", [PLAIN, Seal((KEY,))], ids=["plain", "sealed"])
def test_a_call_without_a_trace_is_known_by_the_id_of_its_answer(database_url: str, first: str, seal: Seal) -> None:
    async def work(room: Room) -> None:
        ours = apart(gateway_call(parent=2), first)
        named = f"chatcmpl-{ours.id}" if first == "ours" else "chatcmpl-8x"
        told = GENAI | {
            "gen_ai.response.id": named, "gen_ai.usage.input_tokens": 50, "gen_ai.usage.output_tokens": 7,
        }  # fmt: skip
        others = [
            span("id", told | {"gen_ai.response.id": "chatcmpl-9x"}, number=2),
            span("tokens", told | {"gen_ai.usage.output_tokens": 8}, number=3),
            span("long ago", told, number=4, start=time.time_ns() - 60 * 10**9),
        ]
        if first == "ours":
            others = others[:1]
        if first in ("call", "ours"):
            room.spool.write(ours)
            await room.drained()
        await room.intake.spans(protobuf(span("chat", told), *others), "protobuf", WHO)
        if first in ("span", "together"):  # one process writes what the other does at the same time
            room.spool.write(ours)
        calls = await room.drained()
        assert ours.id in {call.id for call in calls}
        assert len(calls) == 1 + len(others)
        assert {each.name for each in await room.spans.of_trace(3, TRACE) if each.call_id == ours.id} == {"chat"}

    over(database_url, work, seal=seal)


def apart(call: Record, first: str) -> Record:
    """A call in a trace of its own, as it is without `traceparent`; its answer streamed where `first` says so."""
    body = b'{"id":"chatcmpl-8x","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}'
    stream = first != "together"
    return msgspec.structs.replace(
        call, trace_id="cd" * 16, parent_id=None, input_tokens=50, output_tokens=7, stream=stream,
        started_ns=time.time_ns() - 10**9, answer=b"data: " + body + b"\n\ndata: [DONE]\n\n" if stream else body,
    )  # fmt: skip


def gateway_call(*, parent: int) -> Record:
    return Record(
        id=Ids().new(), started_ns=time.time_ns(), project_id=3, key_id=1, operation="chat", model="m", target="m",
        provider="p", outcome="ok", status=200, error_code=None, error=None, stream=False, ttft_us=None, latency_us=1,
        input_tokens=1, output_tokens=1, cached_tokens=0, reasoning_tokens=0, usage_estimated=False, cost_nano=None,
        price_source=None, client="sdk", session=None, trace_id=TRACE, span_id=f"{parent + 100:016x}",
        parent_id=f"{parent:016x}", task=None, variant=None, prompt_version=None, tags={}, request=b"", answer=b"",
    )  # fmt: skip


@pytest.mark.parametrize("named", ["call", "key", "session", "tag", "trace"])
def test_a_deletion_takes_the_whole_trace(database_url: str, named: str) -> None:
    async def work(room: Room) -> None:
        other = "ab" * 16
        body = protobuf(
            span("root", CHAIN), span("chat", GENAI, number=2, parent=1), span("note", {"output.value": SAID}, number=3, parent=1),
            span("kept", CHAIN | {"session.id": "another", "user.id": "bob"}, trace=other, number=4),
        )  # fmt: skip
        await room.intake.spans(body, "protobuf", WHO)
        [call] = await room.drained()
        ways: dict[str, dict[str, Any]] = {
            "call": {"call_id": call.id}, "key": {"key_id": 7}, "session": {"session": "talk"},
            "tag": {"tag": ("user", "ann")}, "trace": {"trace_id": TRACE},
        }  # fmt: skip
        asked = ways[named]
        assert await room.intake.forget(project_id=4, **asked) == 0
        gone = await room.intake.forget(project_id=3, **asked)
        assert gone == (4 if named == "key" else 3)
        assert await room.spans.of_trace(3, TRACE) == []
        left = await room.spans.of_trace(3, other)
        assert len(left) == (0 if named == "key" else 1)
        if left:
            kept = await room.spans.get(3, other, left[0].span_id)
            assert kept is not None
            assert kept.input == "what was asked"
        else:
            assert await room.count("span_texts") == 0
        with pytest.raises(BadRequest):
            await room.intake.forget(project_id=3)

    over(database_url, work)


def test_what_was_deleted_does_not_come_back(database_url: str) -> None:
    async def work(room: Room) -> None:
        body = protobuf(
            span("root", CHAIN), span("chat", GENAI | {"gen_ai.conversation.id": "talk"}, number=2, parent=1)
        )
        await room.intake.spans(body, "protobuf", WHO)
        await room.intake.forget(project_id=3, session="talk")
        await room.calls.delete(project_id=3, session="talk")
        await room.intake.spans(body, "protobuf", WHO)
        assert await room.drained() == []
        assert await room.spans.of_trace(3, TRACE) == []

    over(database_url, work)


def test_retention_drops_days(database_url: str) -> None:
    async def work(room: Room) -> None:
        ago = time.time_ns() - 40 * 86_400 * 10**9
        await room.intake.spans(protobuf(span("old", CHAIN, start=ago), span("new", CHAIN, number=2)), "protobuf", WHO)
        assert await room.count("spans") == 2
        assert await retain(room.db, datetime.now(UTC), 30) == 1
        assert [each.name for each in await room.spans.of_trace(3, TRACE)] == ["new"]
        # Its partition is gone: another of that day is taken all the same.
        again = replace(room.intake, retention_days=90)
        assert (await again.spans(protobuf(span("old", CHAIN, start=ago)), "protobuf", WHO)).new == 1
        assert await retain(room.db, datetime.now(UTC) + timedelta(days=1), 30) == 1

    over(database_url, work)


def test_texts_are_sealed_and_sealed_anew(database_url: str) -> None:
    async def first(room: Room) -> None:
        await room.intake.spans(protobuf(span("plain", CHAIN, failed="a failure that quotes")), "protobuf", WHO)
        assert await keys_used(room.db) == {None: 1}

    async def second(room: Room) -> None:
        sealed = span("sealed", CHAIN, number=2, failed="another that quotes")
        await room.intake.spans(protobuf(sealed), "protobuf", WHO)
        assert await keys_used(room.db) == {None: 1, "first": 1}
        assert await reseal(room.db, room.intake.seal) == 1
        assert await reseal(room.db, room.intake.seal) == 0
        assert await keys_used(room.db) == {"first": 2}
        rows = await room.db.rows("select error from spans")
        assert [row["error"] for row in rows] == [None, None]
        for number, told in ((1, "a failure that quotes"), (2, "another that quotes")):
            found = await room.spans.get(3, TRACE, f"{number:016x}")
            assert found is not None
            assert (found.error, found.input) == (told, "what was asked")

    over(database_url, first)
    over(database_url, second, seal=Seal([KEY]))


def test_where_texts_may_not_be_kept_rows_are(database_url: str) -> None:
    async def work(room: Room) -> None:
        await room.intake.spans(
            protobuf(span("root", CHAIN, failed="quotes"), span("chat", GENAI, number=2)), "protobuf", WHO
        )
        [call] = await room.drained()
        detail = await room.calls.get(call.id, project_id=3)
        assert (detail.request, detail.response, call.tags) == (None, None, {"loopwright.store": "false"})
        assert await room.count("span_texts") == 0
        assert [each.error for each in await room.spans.of_trace(3, TRACE)] == [None, None]

    over(database_url, work, keeps=False)


def test_no_room_in_the_spool_is_no_acknowledgement(database_url: str) -> None:
    class Full:
        def write(self, _record: msgspec.Struct) -> None:
            raise Unavailable("no room", retry_after=1.0)

    async def work(room: Room) -> None:
        full = replace(room.intake, putter=Putter(room.db, Full()))
        body = protobuf(span("root", CHAIN), span("chat", GENAI, number=2))
        with pytest.raises(Unavailable):
            await full.spans(body, "protobuf", WHO)
        assert await room.count("spans") == 0
        assert (await room.intake.spans(body, "protobuf", WHO)).new == 2

    over(database_url, work)


def test_many_at_once_are_each_stored_once(database_url: str) -> None:
    async def work(room: Room) -> None:
        body = protobuf(*[span(f"n{index}", CHAIN, number=index) for index in range(1, 40)])
        done = await asyncio.gather(*[room.intake.spans(body, "protobuf", WHO) for _ in range(4)])
        assert sum(each.new for each in done) == 39
        assert await room.count("spans") == 39

    over(database_url, work)
