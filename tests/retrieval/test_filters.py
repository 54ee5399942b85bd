import random
from collections.abc import Mapping
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database
from loopwright.retrieval.filters import condition_of
from tests.retrieval.stocked import Shelf

pytestmark = pytest.mark.anyio

NAMES = ("kind", "year", "a'b", 'q"; drop table collections; --', "%(x)s", "source.kind", "\\u", "{}")
VALUES: tuple[Any, ...] = (
    "a", "b", "A", "", "1", 1, 1.0, 0, -2.5, 10, 2024, 1e20, True, False, None, "ä", "'; drop table collections; --", "%s",
    "%(filter_0)s", "\\", '"',
)  # fmt: skip


def value(drawn: random.Random) -> Any:
    kind = drawn.random()
    if kind < 0.8:
        return drawn.choice(VALUES)
    return [drawn.choice(VALUES) for _ in range(drawn.randint(0, 3))]


def metadata(drawn: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {name: value(drawn) for name in NAMES if "." not in name and drawn.random() < 0.6}
    if drawn.random() < 0.5:
        found["source"] = {"kind": value(drawn)} if drawn.random() < 0.8 else value(drawn)
    return found


def test_of(drawn: random.Random) -> Any:
    kind = drawn.choice(("plain", "eq", "ne", "in", "gt", "gte", "lt", "lte", "exists"))
    if kind == "plain":
        return drawn.choice(VALUES)
    if kind == "in":
        return {"in": [drawn.choice(VALUES) for _ in range(drawn.randint(0, 4))]}
    if kind == "exists":
        return {"exists": drawn.random() < 0.5}
    if kind in ("gt", "gte", "lt", "lte"):
        return {kind: drawn.choice([each for each in VALUES if each is not None and not isinstance(each, bool)])}
    return {kind: drawn.choice(VALUES)}


test_of.__test__ = False  # type: ignore[attr-defined]


def a_filter(drawn: random.Random, depth: int = 0) -> dict[str, Any]:
    kind = drawn.random()
    if depth < 3 and kind < 0.35:
        join = drawn.choice(("and", "or"))
        return {join: [a_filter(drawn, depth + 1) for _ in range(drawn.randint(0, 3))]}
    if depth < 3 and kind < 0.5:
        return {"not": a_filter(drawn, depth + 1)}
    return {drawn.choice(NAMES): test_of(drawn) for _ in range(drawn.randint(1, 2))}


def alike(one: Any, two: Any) -> bool:
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if type(one) in (int, float) and type(two) in (int, float):
        return bool(one == two)
    return type(one) is type(two) and bool(one == two)


def equal(there: Any, wanted: Any) -> bool:
    if alike(there, wanted):
        return True
    return wanted is not None and isinstance(there, list) and any(alike(each, wanted) for each in there)


MISSING = object()


def looked_up(told: Mapping[str, Any], name: str) -> Any:
    found: Any = told
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def passes(there: Any, test: str, wanted: Any) -> bool:
    if test == "eq":
        return there is not MISSING and equal(there, wanted)
    if test == "ne":
        return not passes(there, "eq", wanted)
    if test == "in":
        return any(passes(there, "eq", each) for each in wanted)
    if test == "exists":
        return bool((there is not MISSING and there is not None) == wanted)
    numbers = type(there) in (int, float) and type(wanted) in (int, float)
    if not numbers and not (isinstance(there, str) and isinstance(wanted, str)):
        return False
    return bool({"gt": there > wanted, "gte": there >= wanted, "lt": there < wanted, "lte": there <= wanted}[test])


def matches(told: Mapping[str, Any], condition: Mapping[str, Any]) -> bool:
    """What a filter means, in Python."""
    for name, wanted in condition.items():
        if name == "and":
            held = all(matches(told, each) for each in wanted)
        elif name == "or":
            held = any(matches(told, each) for each in wanted)
        elif name == "not":
            held = not matches(told, wanted)
        else:
            tests = wanted if isinstance(wanted, Mapping) else {"eq": wanted}
            held = all(passes(looked_up(told, name), test, value) for test, value in tests.items())
        if not held:
            return False
    return True


async def test_a_filter_in_sql_leaves_what_it_leaves_in_python(shelf: Shelf) -> None:
    drawn = random.Random(5)
    rows = {at: metadata(drawn) for at in range(250)}
    db: Database = shelf.db
    await db.run("create table told (id integer primary key, metadata jsonb not null)")
    async with db.transaction() as connection:
        for at, each in rows.items():
            await connection.execute("insert into told values (%s, %s)", (at, Jsonb(each)))
    hit = 0
    for _ in range(400):
        told = a_filter(drawn)
        condition = condition_of(told)
        sql, params = ("true", {}) if condition is None else (condition.sql, condition.params)
        found = await db.rows(f"select id from told d where {sql}", params)
        wanted = {at for at, each in rows.items() if matches(each, told)}
        assert {row["id"] for row in found} == wanted, told
        hit += 0 < len(wanted) < len(rows)
    assert hit > 100
    assert (await db.row("select count(*) > 0 as there from pg_tables where tablename = 'collections'")) == {
        "there": True
    }


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "\x00"}, {"kind": "\ud800"}, {"\x00": 1}, {"": 1}, {"a..b": 1}, {"kind": {}}, {"kind": float("nan")},
        {"kind": float("inf")}, {"kind": {"in": "abc"}}, {"kind": {"gt": None}}, {"kind": {"gt": True}}, {"and": {"a": 1}},
        {"not": [1]}, {"kind": {"exists": 1}}, {"kind": "x" * 1001}, {"kind": {"in": [[1]]}}, {"kind": {"eq": {"a": 1}}},
        {"or": [{"a": 1}] * 65}, "kind = 1", 7, {"kind": 10**400},
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(told: Any) -> None:
    with pytest.raises(BadRequest, match="filter"):
        condition_of(told)


def test_a_filter_of_endless_depth_is_refused() -> None:
    told: dict[str, Any] = {"kind": 1}
    for _ in range(50):
        told = {"not": told}
    with pytest.raises(BadRequest, match="levels deep"):
        condition_of(told)
