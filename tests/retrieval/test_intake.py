from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from loopwright.core.errors import Conflict, NotFound, Spent
from loopwright.kit.settings_collections import CollectionSettings
from loopwright.retrieval.collection import Chunking
from loopwright.retrieval.intake import Offer
from loopwright.retrieval.reading import Which
from tests.retrieval.ingested import ANN, offer, opened

pytestmark = pytest.mark.anyio
FOR_STAFF = replace(ANN, key_id=2, key_name="staff", labels=frozenset({"staff"}))
FOR_GUESTS = replace(ANN, key_id=3, key_name="guests", labels=frozenset({"guests"}))


async def test_only_what_is_other_than_it_was_waits(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        files = {"a.md": "# A\n\nApples are red.", "../b.md": "# B\n\nBananas are yellow.", "c.md": "# C\n\nCherries."}
        taken = await house.take(made, files)
        assert [(each.name, each.outcome) for each in taken] == [(name, "added") for name in files]
        assert [each.outcome for each in await house.take(made, files)] == ["unchanged"] * 3  # it waits already
        await house.work()
        assert (await house.whole())["ready"] == 3
        assert [each.outcome for each in await house.take(made, files)] == ["unchanged"] * 3
        assert len(house.woken) == 1
        before = await house.store.get(1, "docs")
        taken = await house.take(made, {**files, "c.md": "# C\n\nCherries are dark."})
        assert [each.outcome for each in taken] == ["unchanged", "unchanged", "changed"]
        lacking = await house.intake.lacking(
            made, [offer("c.md", "# C\n\nCherries."), offer("a.md", files["a.md"])], ANN
        )
        assert lacking == ["c.md"]
        document = await house.store.named(made, "c.md", None)
        assert (document.state, document.waiting) == ("ready", True)  # as it was, until the new is ready
        assert (await house.store.content(document)).text == "# C\n\nCherries."
        await house.work()
        assert (await house.store.content(document)).text == "# C\n\nCherries are dark."
        after = await house.store.get(1, "docs")
        assert (after.documents, after.version) == (3, before.version + 1)
        assert (await house.whole())["chunks"] == 3
        # Cut otherwise, all of it counts as changed.
        cut = await house.store.change(after, chunking=Chunking(tokens=64, overlap=8))
        assert len(await house.intake.lacking(cut, [offer(name, text) for name, text in files.items()], ANN)) == 3


async def test_other_labels_and_metadata_alone_change_in_place(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {"a.md": "Apples."}, metadata={"year": 2024})
        await house.work()
        [taken] = await house.take(made, {"a.md": "Apples."}, labels=("staff",), metadata={"year": 2025})
        assert taken.outcome == "relabelled"
        assert (await house.whole())["waiting"] == 0
        document = await house.store.named(made, "a.md", None)
        assert (document.labels, document.metadata["year"], document.waiting) == (("staff",), 2025, False)
        assert (await house.store.get(1, "docs")).version == 2
        # What waits is taken back when what is there comes again.
        await house.take(made, {"a.md": "Apricots."}, labels=("staff",), metadata={"year": 2025})
        await house.take(made, {"a.md": "Apples."}, labels=("staff",), metadata={"year": 2025})
        assert (await house.whole())["waiting"] == 0


async def test_labels_hold_for_lists_texts_deletion_and_names(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        await house.take(made, {"open.md": "For all."})
        await house.take(made, {"staff.md": "For staff."}, labels=("staff", "board"))
        await house.work()

        async def seen(labels: frozenset[str] | None) -> list[str]:
            return [each.name for each in await house.store.documents(made, Which(), labels)]

        assert await seen(None) == await seen(frozenset({"staff"})) == ["open.md", "staff.md"]
        assert await seen(frozenset({"guests"})) == await seen(frozenset()) == ["open.md"]
        secret = await house.store.named(made, "staff.md", None)
        with pytest.raises(NotFound):
            await house.store.document(made, secret.id, FOR_GUESTS.labels)
        assert (await house.store.remove(made, [secret.id], FOR_GUESTS.labels)).documents == 0
        [refused] = await house.take(made, {"staff.md": "Mine now."}, by=FOR_GUESTS)
        assert refused.outcome == "refused"
        [unchanged] = await house.take(made, {"staff.md": "For staff."}, by=FOR_STAFF, labels=("board", "staff"))
        assert unchanged.outcome == "unchanged"
        assert (await house.store.remove(made, [secret.id], FOR_STAFF.labels)).documents == 1
        assert (await house.whole())["chunks"] == 1


async def test_pages_filters_and_pruning(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        for folder in ("x", "y"):
            await house.take(
                made, {f"{folder}/{n:02}.txt": f"text {folder} {n}" for n in range(12)}, metadata={"of": folder}
            )
        await house.take(made, {"y/bad.txt": "\x00\x01\x02\x03" * 50})
        await house.work()
        names, after = list[str](), ""
        while page := await house.store.documents(made, Which(), None, after=after, limit=7):
            names += [each.name for each in page]
            after = names[-1]
        assert len(names) == 25
        assert names == sorted(names)
        assert len(await house.store.documents(made, Which(prefix="x/"), None)) == 12
        assert len(await house.store.documents(made, Which(metadata={"of": "y"}), None)) == 12
        [bad] = await house.store.documents(made, Which(state="failed"), None)
        assert (bad.name, bad.state) == ("y/bad.txt", "failed")
        assert bad.reason
        gone = await house.store.remove_all(made, Which(prefix="y/", origin="file"), None, keep=["y/03.txt"])
        assert gone.documents == 12
        assert len(await house.store.documents(made, Which(prefix="y/"), None)) == 1
        assert (await house.whole())["ready"] == 13
        assert (await house.store.remove_all(made, Which(origin="url"), None)).documents == 0


async def test_large_files_wait_as_blobs_that_go_when_nothing_waits_with_them(
    database_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, tmp_path) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        data = b"A line of text.\n" * 100

        def large(name: str) -> Offer:
            return Offer(
                name=name, origin="file", sha=sha256(data).digest(), size=len(data), blob=house.intake.blobs.put(data)
            )

        await house.intake.take(made, [large("one.txt"), large("two.txt")], ANN)
        assert len([*house.intake.blobs]) == 1
        await house.intake.let_go(await house.store.remove_all(made, Which(prefix="one"), None))
        assert len([*house.intake.blobs]) == 1
        await house.work()
        assert [*house.intake.blobs] == []
        [taken] = await house.intake.take(made, [large("two.txt")], ANN)
        assert (taken.outcome, [*house.intake.blobs]) == ("unchanged", [])
        await house.intake.take(made, [large("three.txt")], ANN)
        await house.intake.let_go(await house.store.delete(made))
        assert [*house.intake.blobs] == []
        assert await house.whole() == dict.fromkeys(await house.whole(), 0)


async def test_names_and_room_are_bounded(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, settings=CollectionSettings(documents=2)) as house:
        made = await house.store.create(1, "docs", embedder="toy")
        with pytest.raises(Conflict):
            await house.store.create(1, "docs", embedder="toy")
        await house.store.create(2, "docs", embedder="toy")
        with pytest.raises(NotFound, match="did you mean 'docs'"):
            await house.store.get(1, "doc")
        await house.take(made, {"a": "1", "b": "2"})
        with pytest.raises(Spent, match="may have 2 documents"):
            await house.take(made, {"c": "3"})
        renamed = await house.store.change(made, name="papers", description="of all kinds")
        assert (renamed.id, renamed.name, renamed.description) == (made.id, "papers", "of all kinds")
        listed = await house.store.list(None)
        assert [(each.name, each.project_id) for each in listed] == [("docs", 2), ("papers", 1)]
        assert [each.name for each in await house.store.list(None, after=f"docs/{listed[0].id}")] == ["papers"]
