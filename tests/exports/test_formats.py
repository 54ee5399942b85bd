"""Calls as files: every format holds every call that was asked for, what was said of it, and names what is sealed."""

import io
import json
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from loopwright.calls.question import CallFilter
from loopwright.core.errors import BadRequest
from loopwright.exports.formats import Format, pieces, writer
from loopwright.exports.outgoing import Source
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from tests.exports.going_out import kept
from tests.monitoring.keeping import record

pytestmark = pytest.mark.anyio
KEY = SealingKey(id="first", secret=bytes(range(32)))


async def _file(source: Source, form: Format, *, texts: bool = True, **asked: Any) -> bytes:
    limit = asked.pop("limit", None)
    calls = source.each(CallFilter(**asked), texts=texts, limit=limit)
    return b"".join([piece async for piece in pieces(calls, writer(form, texts=texts))])


async def test_lines_hold_calls_with_texts_and_what_was_said(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        some = [record(asked=f"ask {n}", said=f"say {n}", tags={"team": "ab"[n % 2]}) for n in range(120)]
        await house.keep(*some)
        await house.say(some[7].id, "because", "better")
        lines = [json.loads(line) for line in (await _file(house.source, "jsonl")).splitlines()]
        assert [line["call"]["id"] for line in lines] == sorted((each.id for each in some), reverse=True)
        [told] = [line for line in lines if line["call"]["id"] == some[7].id]
        assert told["request"]["messages"][0]["content"] == "ask 7"
        assert told["response"]["choices"][0]["message"]["content"] == "say 7"
        assert told["call"]["cost_usd"] == "0.0000015"
        assert told["call"]["tags"] == {"team": "b"}
        assert [(each["name"], each["value"], each["explanation"]) for each in told["scores"]] == [
            ("helpful", 0.5, "because")
        ]
        assert told["corrections"][0]["output"] == "better"
        few = await _file(house.source, "jsonl", tags=(("team", "a"),), limit=50)
        assert few.count(b"\n") == 50
        assert b'"b"' not in few
        assert await _file(house.source, "jsonl", model="none") == b""


async def test_without_texts_nothing_that_anybody_wrote_leaves(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        one = record(asked="MARKER", said="MARKER")
        await house.keep(one)
        await house.say(one.id, "MARKER", "MARKER")
        for form in ("jsonl", "otlp", "parquet"):
            found = await _file(house.source, form, texts=False)
            assert b"MARKER" not in found
            assert b"helpful" in found
        line = json.loads(await _file(house.source, "jsonl", texts=False))
        assert (line["id"], line["scores"][0]["value"], line["corrections"][0]["author"]) == (one.id, 0.5, "anna")


async def test_parquet_has_typed_columns_and_is_written_in_groups(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        some = [record(said="x" * 300_000, tags={"n": str(n)}) for n in range(60)]
        await house.keep(*some)
        await house.say(some[0].id, "because", "better")
        made = writer("parquet", texts=True)
        got = [piece async for piece in pieces(house.source.each(CallFilter(), texts=True), made)]
        assert len(got) > 2  # it went out in parts
        table = pq.read_table(io.BytesIO(b"".join(got)))
        assert pq.ParquetFile(io.BytesIO(b"".join(got))).num_row_groups > 1
        rows = table.to_pylist()
        assert [row["id"] for row in rows] == sorted((each.id for each in some), reverse=True)
        [told] = [row for row in rows if row["id"] == some[0].id]
        assert str(told["cost_usd"]) == "0.000001500"
        assert dict(told["tags"]) == {"n": "0"}
        assert told["scores"][0]["explanation"] == "because"
        assert told["corrections"][0]["output"] == "better"
        assert json.loads(told["request"])["model"] == "task/t"
        assert str(table.schema.field("started_at").type) == "timestamp[us, tz=UTC]"
        empty = pq.read_table(io.BytesIO(await _file(house.source, "parquet", model="none")))
        assert (empty.num_rows, empty.schema.names) == (0, table.schema.names)


async def test_otlp_lines_are_requests_that_any_collector_takes(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        await house.keep(one := record(asked="why"))
        await house.say(one.id, "because", "better")
        told = json.loads(await _file(house.source, "otlp"))
        [span] = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
        assert (span["traceId"], span["spanId"]) == (one.trace_id, one.span_id)
        assert {event["name"] for event in span["events"]} == {"gen_ai.evaluation.result", "loopwright.correction"}
        assert "why" in json.dumps(span["attributes"])


async def test_what_is_sealed_is_opened_or_named(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path, seal=Seal([KEY])) as house:
        one = record(asked="MARKER")
        await house.keep(one)
        await house.say(one.id, "MARKER", "MARKER")
        line = json.loads(await _file(house.source, "jsonl"))
        assert (line["sealed"], line["scores"][0]["explanation"]) == (None, "MARKER")
        other = house.read_with(Seal([SealingKey(id="other", secret=bytes(32))]))
        line = json.loads(await _file(other, "jsonl"))
        assert line["request"] is None
        assert "first" in line["sealed"]
        assert "first" in line["scores"][0]["sealed"]
        assert "first" in line["corrections"][0]["sealed"]
        assert b"first" in await _file(other, "otlp")
        [row] = pq.read_table(io.BytesIO(await _file(other, "parquet"))).to_pylist()
        assert "first" in row["sealed"]


async def test_a_wrong_filter_is_told_before_anything_is_written(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        with pytest.raises(BadRequest):
            await _file(house.source, "jsonl", trace="x")


async def test_what_breaks_on_the_way_is_raised(database_url: str, tmp_path: Path) -> None:
    async with kept(database_url, tmp_path) as house:
        await house.keep(*[record() for _ in range(60)])
        out = pieces(house.source.each(CallFilter(), texts=True), writer("jsonl", texts=True))
        assert (await anext(out)).count(b"\n") == 32
        await house.db.run("alter table calls rename to hidden")
        with pytest.raises(psycopg.errors.UndefinedTable):
            await anext(out)
