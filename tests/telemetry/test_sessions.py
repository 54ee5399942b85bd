import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest, NotFound
from loopwright.telemetry.sessions import Sessions
from loopwright.telemetry.spoken import TEXT, answer_of, question_of, text_of, told_of, tools_of
from tests.telemetry.traced import answered, asked, opened, record, span


def test_sessions_are_conversations(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(database_url, tmp_path) as house:
            sessions = Sessions(house.db, house.traces)
            lone = [
                record(100 + at, 1, None, at=at, session="chat", cost_nano=10, request=asked(*(["q", "a"] * at), f"q{at}"),
                       answer=answered(f"a{at}"))
                for at in range(5)
            ]  # fmt: skip
            await house.keep(
                *lone,
                record(1, 3, 2, at=20, took=2, cost_nano=5, request=asked("find tea"), answer=answered("let me look")),
                record(
                    1, 5, 2, at=24, took=2, cost_nano=None, request=asked("find tea"), answer=answered("here is tea")
                ),
                record(2, 1, None, at=50, session="other", outcome="error", error="it broke", project_id=2),
            )
            await house.put(
                [
                    span(1, 1, at=19, took=9, name="agent run", session="chat"),
                    span(1, 2, 1, at=19, took=8, kind="agent", name="buyer"),
                    span(1, 4, 2, at=22, kind="tool", name="shop search", status="error", error="closed"),
                ]
            )
            await house.fold()
            rows, onward = await sessions.page(None)
            assert [row.session for row in rows] == ["other", "chat"]
            assert onward is None
            row = rows[1]
            assert (row.turns, row.calls, row.failed, row.cost_nano, row.unpriced) == (6, 7, 1, 55, 1)
            assert row == await sessions.get(1, "chat")
            assert row.busy_us == 5_000_000 + 9_000_000
            with pytest.raises(NotFound):
                await sessions.get(1, "other")
            turns, earlier = await sessions.turns(row, limit=3)
            assert [(turn.kind, turn.question, turn.answer) for turn in turns] == [
                ("call", "q3", "a3"), ("call", "q4", "a4"), ("trace", "find tea", "here is tea"),
            ]  # fmt: skip
            trace = turns[-1]
            assert [(used.name, used.kind, used.failed) for used in trace.used] == [
                ("buyer", "agent", False), ("shop search", "tool", True),
            ]  # fmt: skip
            assert (trace.cost_nano, trace.unpriced, trace.failed, trace.error) == (5, 1, 1, "closed")
            assert len(trace.calls) == 2
            older, none = await sessions.turns(row, before=earlier, limit=3)
            assert [turn.question for turn in older] == ["q0", "q1", "q2"]
            assert none is None
            with pytest.raises(BadRequest):
                await sessions.turns(row, before="x")

    asyncio.run(main())


def test_pages_of_sessions_leave_none_out(database_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(database_url, tmp_path) as house:
            sessions = Sessions(house.db, house.traces)
            await house.keep(*(record(at + 1, 1, None, at=at, session=f"s{at % 7}") for at in range(40)))
            found: list[str] = []
            before = None
            while True:
                rows, before = await sessions.page(1, before=before, limit=3)
                found += [row.session for row in rows]
                if before is None:
                    break
            assert found == ["s4", "s3", "s2", "s1", "s0", "s6", "s5"]
            latest = (await sessions.page(1))[0][0].started_at
            assert [
                row.session for row in (await sessions.page(1, since=latest.replace(year=latest.year + 1)))[0]
            ] == []

    asyncio.run(main())


def test_what_was_said_is_found_in_its_shapes() -> None:
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}
    assert question_of(parts) == "a\nb"
    assert question_of({"messages": [], "loopwright": {"variables": {"text": "hi"}}}) == "hi"
    assert question_of({"prompt": "once"}) == "once"
    assert text_of([{"role": "user", "parts": [{"type": "text", "content": "genai"}]}]) == "genai"
    assert text_of({"question": "why", "k": 3}) == "why"
    assert text_of({"a": 1, "b": [2]}) == '{"a":1,"b":[2]}'
    assert text_of("x" * 50_000) == "x" * TEXT
    assert told_of('{"question": "why"}') == "why"
    assert told_of("[broken") == "[broken"
    assert text_of('{"answer": "as it was said"}') == '{"answer": "as it was said"}'
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "look"}}, {"function": 3}]}
    request = {"messages": [called, {"role": "user", "content": "q"}, called, {"role": "tool", "content": "r"}]}
    assert [used.name for used in tools_of(request, {"choices": [{"message": called}]})] == ["look", "?", "look", "?"]


shapes = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["messages", "content", "role", "parts", "text", "choices", "message", "x"]), inner
        )
    ),
)


@given(shapes)
def test_whatever_shape_it_has_nothing_raises(value: Any) -> None:
    body = value if isinstance(value, dict) else {"messages": value, "choices": value}
    for said in (text_of(value), told_of(value), question_of(body), answer_of(body)):
        assert said is None or len(said) <= TEXT
    tools_of(body, body)
