"""Whole arrays and the bytes of columns come to PostgreSQL as what they are."""

from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from loopwright.kit.arrays import byteas, int4s, int8s
from loopwright.kit.copying import INT8_BYTES, JSONB_BYTES, TIME_NUMBER, UUID_BYTES, jsonb_of, moment_of, uuid_of
from loopwright.kit.db import Database

ASKED = "select * from unnest(%s::int[], %s::bigint[], %s::bytea[]) as t (small, large, body)"
UNIQUE = "0190163d-8694-739b-aea5-966c26f8ad91"


@pytest.mark.anyio
async def test_arrays_hold_what_they_were_made_of(database_url: str) -> None:
    db = await Database.open(database_url)
    try:
        small, large = [-(2**31), 0, 2**31 - 1], [-(2**63), 7, 2**63 - 1]
        bodies = [b"", b"\x00\xff", b"x" * 70_000]
        found = await db.rows(ASKED, (int4s(np.array(small)), int8s(np.array(large)), byteas(bodies)))
        assert [(row["small"], row["large"], bytes(row["body"])) for row in found] == list(
            zip(small, large, bodies, strict=True)
        )
        nothing = np.empty(0, dtype=np.int64)
        assert await db.rows(ASKED, (int4s(nothing), int8s(nothing), byteas([]))) == []
    finally:
        await db.close()


@pytest.mark.anyio
async def test_columns_take_their_bytes(database_url: str) -> None:
    db = await Database.open(database_url)
    try:
        async with db.transaction() as connection:
            await connection.execute(
                "create temp table t (id uuid, number bigint, about jsonb, at timestamptz) on commit drop"
            )
            async with connection.cursor() as cursor, cursor.copy("copy t from stdin (format binary)") as copy:
                copy.set_types([UUID_BYTES, INT8_BYTES, JSONB_BYTES, TIME_NUMBER])
                at = moment_of(1_700_000_000_123_456_789)
                await copy.write_row((uuid_of(UNIQUE), bytes.fromhex("ff" * 8), jsonb_of({"ä": '"\\'}), at))
                await copy.write_row((uuid_of(UUID(UNIQUE).hex), None, None, moment_of(0)))
            found = await (await connection.execute("select * from t")).fetchall()
        assert [tuple(row.values()) for row in found] == [
            (UUID(UNIQUE), -1, {"ä": '"\\'}, datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)),
            (UUID(UNIQUE), None, None, datetime(1970, 1, 1, tzinfo=UTC)),
        ]
    finally:
        await db.close()


@pytest.mark.parametrize("text", ["", "0190", "zz" * 16, "{0190163d-8694-739b-aea5-966c26f8ad91}"])
def test_what_is_no_uuid_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"UUID|hexadecimal"):
        uuid_of(text)
