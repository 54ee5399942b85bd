"""The registry and what processes hold of it, in a real database."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from loopwright.core.errors import BadRequest, Conflict, NotFound, Sealed
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.seal import Seal
from loopwright.prompts.held import NEWEST, Held
from loopwright.prompts.resealing import SEALED
from loopwright.prompts.store import Prompts

pytestmark = pytest.mark.anyio


def said(text: str) -> dict[str, Any]:
    return {"variables": {"q": "string"}, "messages": [{"role": "user", "content": f"{text} {{{{ q }}}}"}]}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    db = await Database.open(url, size=4)
    try:
        await migrate(db, ["prompts"])
        yield db
    finally:
        await db.close()


async def test_the_same_content_is_the_same_version(database_url: str) -> None:
    async with opened(database_url) as db:
        prompts = Prompts(db)
        one, new = await prompts.pushed(1, "answer", said("a"), author="ada", note="first")
        assert (one.number, one.spoken, one.author, one.note, new) == (1, "answer@1", "ada", "first", True)
        again, new = await prompts.pushed(
            1, "answer", {**said("a"), "variables": {"q": {"type": "string"}}}, author="b"
        )
        assert (again.id, again.author, new) == (one.id, "ada", False)
        two = await prompts.push(1, "answer", said("b"), author="ada")
        assert (await prompts.push(1, "answer", said("a"), author="ada")).number == 1
        elsewhere = await prompts.push(2, "answer", said("b"), author="eve")
        assert (two.number, elsewhere.number, elsewhere.sha == two.sha) == (2, 1, True)
        assert one.render({"q": "?"}) == [{"role": "user", "content": "a ?"}]
        with pytest.raises(BadRequest, match=r"prompt answer@1, messages\[0\]|prompt answer@1: variable 'q'"):
            one.render({})
        [listed] = await prompts.list(1)
        assert (listed.name, listed.latest, listed.labels) == ("answer", 2, {})
        assert [each.number for each in await prompts.versions(1, "answer")] == [2, 1]
        assert len(await prompts.list(None)) == 2


async def test_versions_pushed_at_once_get_numbers_without_gaps(database_url: str) -> None:
    async with opened(database_url) as db:
        prompts = Prompts(db)
        made = await asyncio.gather(*(prompts.push(1, "p", said(str(at % 6)), author="a") for at in range(18)))
        assert sorted({version.number for version in made}) == [1, 2, 3, 4, 5, 6]


async def test_versions_never_change(database_url: str) -> None:
    async with opened(database_url) as db:
        await Prompts(db).push(1, "p", said("a"), author="a")
        for statement in (
            "update prompt_versions set note = 'x'",
            "update prompt_versions set sha = 'x'",
            "delete from prompt_versions",
            "truncate prompt_versions cascade",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await db.run(statement)


async def test_references_and_what_is_meant_without_one(database_url: str) -> None:
    async with opened(database_url) as db:
        prompts, held = Prompts(db), Held(db)
        versions = [await prompts.push(1, "p", said(str(at)), author="a") for at in range(3)]
        await prompts.label(1, "p", "staging", 2, "ada")

        async def number(ref: str | None) -> int:
            await held.load()
            stored, kept = await prompts.version(1, "p", ref), held.find(1, "p", ref)
            assert (stored.id, stored.labels) == (kept.id, kept.labels)
            return kept.number

        assert [await number(ref) for ref in (None, "latest", "staging", "1", versions[0].sha[:8])] == [3, 3, 2, 1, 1]
        await prompts.label(1, "p", "production", "staging", "ada")
        assert await number(None) == 2
        assert held.find(1, "p").labels == ("production", "staging")
        for ref in ("stagin", "9", "abcdef", "0", "", "a\tb", "9" * 40):
            with pytest.raises(NotFound):
                await prompts.version(1, "p", ref)
            with pytest.raises(NotFound):
                held.find(1, "p", ref)
        with pytest.raises(NotFound, match="did you mean 'p'"):
            await prompts.version(1, "pp", None)
        with pytest.raises(NotFound, match="did you mean 'p'"):
            held.find(1, "pp")
        with pytest.raises(NotFound):
            held.find(2, "p")


async def test_labels_move_with_history_and_roll_back(database_url: str) -> None:
    async with opened(database_url) as db:
        prompts = Prompts(db)
        for text in ("a", "b", "c"):
            await prompts.push(1, "p", said(text), author="a")
        for number in (1, 2, 2, 3):
            await prompts.label(1, "p", "production", number, "ada")
        assert (await prompts.rollback(1, "p", "production", "eve")).number == 2
        assert (await prompts.rollback(1, "p", "production", "eve")).number == 1
        with pytest.raises(Conflict, match="has not pointed elsewhere"):
            await prompts.rollback(1, "p", "production", "eve")
        await prompts.label(1, "p", "production", 3, "ada")
        assert (await prompts.rollback(1, "p", "production", "eve")).number == 1
        moves = [
            (move.before, move.number, move.back, move.author) for move in await prompts.history(1, "p", "production")
        ]
        assert moves == [
            (3, 1, True, "eve"),
            (1, 3, False, "ada"),
            (2, 1, True, "eve"),
            (3, 2, True, "eve"),
            (2, 3, False, "ada"),
            (1, 2, False, "ada"),
            (None, 1, False, "ada"),
        ]
        await prompts.unlabel(1, "p", "production", "ada")
        assert (await prompts.version(1, "p")).number == 3
        with pytest.raises(NotFound):
            await prompts.unlabel(1, "p", "production", "ada")
        assert (await prompts.rollback(1, "p", "production", "ada")).number == 1
        for label in ("latest", "7", "Production", "", "a" * 65, "é"):
            with pytest.raises(BadRequest):
                await prompts.label(1, "p", label, 1, "ada")
        with pytest.raises(NotFound):
            await prompts.label(1, "p", "staging", 12, "ada")


async def test_a_move_reaches_other_processes_without_waiting_for_the_poll(database_url: str) -> None:
    async with opened(database_url) as db:
        prompts, held = Prompts(db), Held(db)
        await prompts.push(1, "p", said("a"), author="a")
        watching = asyncio.create_task(held.watch())
        try:

            async def until(number: int) -> None:
                async with asyncio.timeout(8):
                    while True:
                        try:
                            if held.find(1, "p").number == number:
                                return
                        except NotFound:
                            pass
                        await asyncio.sleep(0.01)

            await until(1)
            await prompts.push(1, "p", said("b"), author="a")
            await until(2)
            await prompts.label(1, "p", "production", 1, "a")
            await until(1)
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def test_what_is_old_and_without_a_label_is_fetched_once(database_url: str) -> None:
    async with opened(database_url) as db:
        prompts, held = Prompts(db), Held(db)
        for at in range(NEWEST + 3):
            await prompts.push(1, "p", said(str(at)), author="a")
        await prompts.label(1, "p", "old", 2, "a")
        await held.load()
        assert held.find(1, "p", "2").number == 2
        with pytest.raises(NotFound):
            held.find(1, "p", "1")
        assert (await held.fetch(1, "p", "1")).number == 1
        assert held.find(1, "p", "1").number == 1
        await held.load()
        assert held.find(1, "p", "1").number == 1


async def test_differences_are_told_line_by_line(database_url: str) -> None:
    async with opened(database_url) as db:
        prompts = Prompts(db)
        await prompts.push(1, "p", said("one\ntwo\nthree"), author="a")
        await prompts.push(1, "p", said("one\n2\nthree"), author="a")
        found = await prompts.diff(1, "p", "1", "2")
        assert (found.added, found.removed, found.same) == (1, 1, False)
        assert found.unified.startswith("--- p@1\n+++ p@2\n@@ ")
        assert "\n-two\n+2\n" in found.unified
        assert (await prompts.diff(1, "p", "2", "2")).same


async def test_texts_are_sealed_and_sealed_anew(database_url: str) -> None:
    def keys(*ids: str) -> Seal:
        return Seal(
            [
                SealingKey(id=each, secret=base64.b64decode(base64.b64encode(each.encode() * 32)[:44])[:32])
                for each in ids
            ]
        )

    async with opened(database_url) as db:
        await Prompts(db).push(1, "p", said("plain"), author="a")
        sealed = Prompts(db, keys("a"))
        await sealed.push(1, "p", said("secret words"), author="a")
        rows = await db.rows("select definition from prompt_versions order by number")
        assert b"plain" in bytes(rows[0]["definition"])
        assert b"secret" not in bytes(rows[1]["definition"])
        assert await SEALED.keys_used(db) == {None: 1, "a": 1}
        with pytest.raises(Sealed):
            await Prompts(db).version(1, "p")
        assert await SEALED.reseal(db, keys("b", "a")) == 2
        assert await SEALED.reseal(db, keys("b", "a")) == 0
        assert (await Prompts(db, keys("b")).version(1, "p")).render({"q": "?"})[0]["content"] == "secret words ?"
        held = Held(db, keys("b"))
        await held.load()
        assert held.find(1, "p", "1").number == 1
