import asyncio
from pathlib import Path

import pytest

from loopwright.core.errors import StartError
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from loopwright.kit.settings_collections import CollectionSettings
from loopwright.retrieval.filling import Filling
from loopwright.retrieval.reading import Which
from loopwright.retrieval.resealing import SEALED
from loopwright.retrieval.rows import chunk_of
from loopwright.retrieval.shelving import Shelving
from tests.retrieval.ingested import ANN, House, offer, opened

pytestmark = pytest.mark.anyio


async def until(house: House, sql: str) -> None:
    async with asyncio.timeout(20):
        while not (row := await house.db.row(f"select ({sql}) as held")) or not row["held"]:  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.02)


async def test_pieces_of_many_documents_share_batches(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, settings=CollectionSettings(batch=16, at_once=1)) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {f"{n}.md": f"# Title {n}\n\nSome words of document {n}." for n in range(60)})
        await house.work()
        assert (await house.whole())["ready"] == 60
        assert sum(house.embed.batches) == 60
        assert len(house.embed.batches) < 40
        assert max(house.embed.batches) <= 16
        row = await house.db.row("select * from collection_chunks order by id limit 1")
        assert row is not None
        chunk = chunk_of(row, house.store.seal)
        assert chunk.text == "# Title 0\n\nSome words of document 0."
        document = await house.store.named(made, "0.md", None)
        assert (await house.store.content(document)).text[chunk.start : chunk.end] == chunk.text
        assert (document.title, document.media_type, document.added) == ("Title 0", "text/markdown", document.added)


async def test_an_embedder_that_is_away_is_waited_for_and_one_bad_text_fails_alone(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        house.embed.away, house.embed.refused = True, "poison"
        await house.take(made, {"a.txt": "fine", "b.txt": "this is poison", "c.txt": "fine too"})
        working = asyncio.create_task(house.work())
        try:
            await until(house, "select problem <> '' from collection_embeddings")
            progress = await house.store.progress(made)
            assert progress.waiting == 3
            assert "nobody is there" in progress.problem
            house.embed.away = False
            await working
        finally:
            working.cancel()
        assert (await house.whole())["ready"] == 2
        [failed] = await house.store.documents(made, Which(state="failed"), None)
        assert (failed.name, failed.reason) == ("b.txt", "could not be embedded: too long")
        assert (await house.store.progress(made)).problem == ""


async def test_a_newer_form_that_cannot_be_read_leaves_the_one_before(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {"a.txt": "good"})
        await house.work()
        await house.take(made, {"a.txt": "\x00\x01\x02\x03" * 50})
        await house.work()
        [document] = await house.store.documents(made, Which(state="failed"), None)
        assert (document.state, document.refused is not None) == ("ready", True)
        assert (await house.store.content(document)).text == "good"
        await house.take(made, {"a.txt": "better"})
        await house.work()
        document = await house.store.named(made, "a.txt", None)
        assert (document.refused, document.reason) == (None, "")
        await house.whole()


async def test_what_ended_the_process_three_times_is_given_up_and_nothing_with_it(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {"poison.txt": "poison", "fine.txt": "fine"})
        shelving = Shelving(house.store, house.intake.place)
        for alone in (False, True, True):  # a process that takes some and dies over the first
            leased = await shelving.lease(16, alone=alone)
            assert leased[0].name == "poison.txt"
            await shelving.take_over()
        await house.work()
        [failed] = await house.store.documents(made, Which(state="failed"), None)
        assert (failed.name, failed.reason) == ("poison.txt", "ended the process that read it 3 times")
        assert (await house.whole())["ready"] == 1


async def test_what_is_interrupted_anywhere_goes_on_with_nothing_double(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, settings=CollectionSettings(batch=4)) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {f"{n:03}.txt": f"document {n} " * 40 for n in range(80)})
        for ready in (3, 20, 45):
            working = asyncio.create_task(house.ingester().run())
            await until(house, f"select count(*) >= {ready} from collection_documents where state = 'ready'")
            with pytest.raises(StartError):  # one a data folder
                await house.ingester().run()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await house.whole()
        await house.work()
        figures = await house.whole()
        assert (figures["ready"], figures["waiting"]) == (80, 0)
        assert 4 <= (await house.store.get(1, "docs")).version <= 80


async def test_embedding_anew_goes_on_beside_searching_and_changing(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, settings=CollectionSettings(batch=4)) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {f"{n}.txt": f"document {n}" for n in range(20)})
        await house.work()
        made = await house.store.get(1, "docs")
        begun = await house.store.embed(made, "small")
        assert (begun.embedder, begun.dimensions) == ("toy", 32)
        filling = Filling(house.store, house.embed, batch=4)
        for _ in range(2):  # then the process ends
            generation = await filling.next()
            assert generation is not None
            await filling.step(generation)
        progress = await house.store.progress(made)
        assert progress.embedding is not None
        assert (progress.embedding.done, progress.embedding.of) == (8, 20)
        await house.take(made, {"19.txt": "another text", "new.txt": "new"})
        await house.intake.let_go(await house.store.remove_all(made, Which(prefix="1.txt"), None))
        await house.work()
        now = await house.store.get(1, "docs")
        assert (now.embedder, now.dimensions, now.documents) == ("small", 16, 20)
        assert (await house.whole())["vectors"] == 20
        assert await house.db.row("select count(*) as n from collection_embeddings") == {"n": 1}
        assert (await house.store.progress(now)).embedding is None
        # The one it has ends what was begun; one without chunks changes at once.
        await house.store.embed(now, "toy")
        assert (await house.store.embed(now, "small")).embedder == "small"
        assert (await house.store.progress(now)).embedding is None
        empty = await house.store.create(1, "empty", embedder="toy")
        assert (await house.store.embed(empty, "small")).embedder == "small"


async def test_a_collection_deleted_while_it_is_ingested_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, settings=CollectionSettings(batch=4)) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {f"{n}.txt": f"document {n} " * 50 for n in range(60)})
        working = asyncio.create_task(house.work())
        try:
            await until(house, "select count(*) >= 5 from collection_documents where state = 'ready'")
            await house.intake.let_go(await house.store.delete(made))
            await working
        finally:
            working.cancel()
        assert set((await house.whole()).values()) == {0}


async def test_texts_are_sealed_as_they_wait_and_as_they_are_put(database_url: str, tmp_path: Path) -> None:
    seal = Seal([SealingKey(id="one", secret=b"k" * 32)])
    async with opened(database_url, tmp_path, seal=seal) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {"a.md": "# A pineapple\n\nOnly pineapples here."})
        for work in (False, True):
            if work:
                await house.work()
            for table in ("collection_intake", "collection_documents", "collection_chunks"):
                rows = await house.db.rows(f"select t::text as all from {table} t")
                assert not any(b"pineapple".hex() in row["all"] or "pineapple" in row["all"] for row in rows)
        document = await house.store.named(made, "a.md", None)
        assert document.title == "A pineapple"
        assert "pineapples" in (await house.store.content(document)).text
        await house.whole()


async def test_an_offer_that_comes_while_it_is_worked_on_wins(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.intake.take(made, [offer("a.txt", "first")], ANN)
        house.embed.away = True
        working = asyncio.create_task(house.work())
        try:
            await until(house, "select problem <> '' from collection_embeddings")
            await house.intake.take(made, [offer("a.txt", "second")], ANN)
            house.embed.away = False
            await working
        finally:
            working.cancel()
        document = await house.store.named(made, "a.txt", None)
        assert (await house.store.content(document)).text == "second"
        assert (await house.whole())["chunks"] == 1


async def test_documents_are_sealed_anew_with_the_first_key(database_url: str, tmp_path: Path) -> None:
    old, new = SealingKey(id="old", secret=b"1" * 32), SealingKey(id="new", secret=b"2" * 32)
    async with opened(database_url, tmp_path, seal=Seal([old])) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {f"{n}.md": f"# Title {n}\n\nSome words." for n in range(5)})
        await house.take(made, {"bad.bin": "\x00\x01\x02\x03" * 50})
        await house.work()
        await house.take(made, {"0.md": "It waits."})
        assert await SEALED.keys_used(house.db) == {"old": 12}
        both = Seal([new, old])
        while await SEALED.reseal(house.db, both):
            pass
        assert await SEALED.keys_used(house.db) == {"new": 12}
    async with opened(database_url, tmp_path, seal=Seal([new])) as house:
        document = await house.store.named(made, "1.md", None)
        assert (await house.store.content(document)).text.startswith("# Title 1")
        rows = await house.db.rows("select * from collection_chunks")
        assert {chunk_of(row, house.store.seal).text for row in rows} >= {"# Title 1\n\nSome words."}
