"""Stored tasks and what processes hold of them, in a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from loopwright.core.errors import BadRequest, Conflict, NotFound, UnknownModel
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import Seal
from loopwright.kit.settings_tasks import TaskSettings, VariantSettings
from loopwright.tasks.held import Held
from loopwright.tasks.resealing import SEALED
from loopwright.tasks.store import Tasks

pytestmark = pytest.mark.anyio
FILE = {"filed": TaskSettings(model="m", variants={"base": VariantSettings(prompt="p")})}


def told(text: str) -> dict[str, Any]:
    return {"model": "m", "variants": {"base": {"messages": [{"role": "user", "content": text + " {{ input }}"}]}}}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    db = await Database.open(url, size=4)
    try:
        await migrate(db, ["access", "tasks"])
        yield db
    finally:
        await db.close()


async def test_tasks_are_told_told_anew_and_forgotten(database_url: str) -> None:
    async with opened(database_url) as db:
        tasks = Tasks(db)
        task, made = await tasks.put(1, "t", told("a"), author="ada", new=True)
        assert (task.number, task.author, task.source, made) == (1, "ada", "stored", True)
        task, made = await tasks.put(1, "t", told("a"), author="eve")
        assert (task.number, task.author, made) == (1, "ada", False)
        task, made = await tasks.put(1, "t", told("b"), author="eve")
        assert (task.number, made) == (2, False)
        assert [(each.number, each.author) for each in await tasks.history(1, "t")] == [(2, "eve"), (1, "ada")]
        with pytest.raises(Conflict):
            await tasks.put(1, "t", told("c"), author="eve", new=True)
        with pytest.raises(BadRequest):
            await tasks.put(1, "u", {"variants": {}}, author="eve")
        with pytest.raises(BadRequest, match="name of a task"):
            await tasks.put(1, "a/b", told("a"), author="eve")
        await tasks.delete(1, "t")
        with pytest.raises(NotFound):
            await tasks.delete(1, "t")
        assert list(await tasks.history(1, "t")) == []


async def test_the_order_of_a_schema_is_kept(database_url: str) -> None:
    output = {"type": "object", "properties": {"reason": {"type": "string"}, "a": {"type": "string"}}}
    async with opened(database_url) as db:
        tasks = Tasks(db)
        await tasks.put(1, "t", {**told("a"), "output": output}, author="ada")
        [task] = await tasks.all()
        assert task.output_schema is not None
        assert list(task.output_schema["properties"]) == ["reason", "a"]
        swapped = {**output, "properties": dict(reversed(list(output["properties"].items())))}  # type: ignore[attr-defined]
        task, _ = await tasks.put(1, "t", {**told("a"), "output": swapped}, author="ada")
        assert task.number == 2


async def test_what_is_held_follows_what_is_stored(database_url: str) -> None:
    async with opened(database_url) as db:
        tasks, held = Tasks(db), Held(db, FILE)
        await held.load()
        await db.run("insert into projects (name) values ('other')")
        watching = asyncio.create_task(held.watch())
        try:
            await tasks.put(1, "mine", told("a"), author="ada")
            await tasks.put(2, "theirs", told("b"), author="eve")
            for _ in range(1000):
                if len(held.listed(None)) == 3:
                    break
                await asyncio.sleep(0.01)
        finally:
            watching.cancel()
        assert [task.name for task in held.listed(1)] == ["filed", "mine"]
        assert held.find(1, "mine").variants["base"].models == ("m",)
        assert held.find(2, "filed").source == "file"
        with pytest.raises(UnknownModel, match="did you mean 'task/mine'"):
            held.find(1, "nine")
        with pytest.raises(UnknownModel):
            held.find(1, "theirs")


async def test_the_configuration_wins_over_the_database_and_bad_rows_are_left_out(database_url: str) -> None:
    async with opened(database_url) as db:
        await Tasks(db).put(1, "filed", told("a"), author="ada")
        await Tasks(db).put(1, "newer", told("a"), author="eve")
        await db.run("update task_definitions set definition = %s where author = 'eve'", (b'{"x": 1}',))
        held = Held(db, FILE)
        await held.load()
        assert held.find(1, "filed").source == "file"
        assert [task.name for task in held.listed(1)] == ["filed"]


async def test_definitions_are_sealed_and_sealed_anew(database_url: str) -> None:
    old, new = (SealingKey(id=name, secret=bytes([at]) * 32) for at, name in enumerate(("old", "new")))
    async with opened(database_url) as db:
        await Tasks(db).put(1, "plain", told("open words"), author="ada")
        tasks = Tasks(db, Seal([old]))
        await tasks.put(1, "t", told("secret words"), author="ada")
        assert await SEALED.keys_used(db) == {None: 1, "old": 1}
        rows = await db.rows("select definition from task_definitions where sealed_by = 'old'")
        assert b"secret" not in bytes(rows[0]["definition"])
        both = Seal([new, old])
        assert await SEALED.reseal(db, both) == 2
        assert await SEALED.reseal(db, both) == 0
        assert await SEALED.keys_used(db) == {"new": 2}
        assert [each.name for each in await Tasks(db, Seal([new])).all()] == ["plain", "t"]
        assert await Tasks(db, Seal([old])).all() == []
