import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import BadRequest, Conflict, NotFound, Sealed, TooLarge
from loopwright.datasets import resealing
from loopwright.datasets.columns import Columns, Taking
from loopwright.datasets.dataset import Shares
from loopwright.datasets.example import Example
from loopwright.datasets.store import Datasets, Upload, Which
from loopwright.kit.db import Database
from loopwright.kit.keyring import SealingKey
from loopwright.kit.migrations import migrate
from loopwright.kit.schema import schema
from loopwright.kit.seal import Seal

pytestmark = pytest.mark.anyio


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(database_url, size=3)
    await migrate(opened, ["datasets"])
    yield opened
    await opened.close()


@pytest.fixture
def datasets(db: Database) -> Datasets:
    return Datasets(db)


def upload(rows: list[dict[str, Any]] | bytes, *, mixed: bool = False, **columns: Any) -> Upload:
    raw = rows if isinstance(rows, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    taking = Taking(columns=Columns.read(json.dumps(columns)))
    return Upload(file=io.BytesIO(raw), format="jsonl", source="rows.jsonl", taking=taking, mixed=mixed)


def numbered(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"q{at}", "question": f"What is {at} times {at * 7 + 3}?", "answer": str(at * (at * 7 + 3))}
        for at in range(first, first + count)
    ]


async def everything(datasets: Datasets, version: Any, **which: Any) -> list[Example]:
    return [example async for example in datasets.examples(version, **which)]


async def test_versions_share_rows_and_never_change(db: Database, datasets: Datasets) -> None:
    one = await datasets.import_(1, "sums", upload(numbered(600)), author="ann")
    assert (one.number, one.count, one.changes.added) == (1, 600, 600)
    two = await datasets.import_(1, "sums", upload(numbered(10, 600)), author="bob", note="ten more")
    changed = {**numbered(1, 5)[0], "answer": "another"}
    three = await datasets.import_(1, "sums", upload([changed, *numbered(2)]), author="bob")
    assert (three.changes.replaced, three.changes.unchanged, three.changes.added) == (1, 2, 0)
    four = await datasets.import_(1, "sums", upload(numbered(3)), author="bob", mode="replace")
    assert (four.count, four.changes.removed) == (3, 607)
    assert [len(await everything(datasets, each)) for each in (one, two, three, four)] == [600, 610, 610, 3]
    stored = await db.row("select count(*) as rows from dataset_examples")
    assert stored == {"rows": 611}
    first = await everything(datasets, one)
    assert [each.id for each in first] == [f"q{at}" for at in range(600)]
    assert first[5].expected == numbered(1, 5)[0]["answer"]
    assert (await datasets.example(three, "q5")).expected == "another"
    assert await datasets.version(1, "sums@2") == two
    assert (await datasets.version(1, "sums")).sha == four.sha
    assert [each.number for each in await datasets.versions(1, "sums")] == [4, 3, 2, 1]
    with pytest.raises(NotFound, match="the latest is 4"):
        await datasets.version(1, "sums@9")


async def test_the_same_again_is_the_same_version(datasets: Datasets) -> None:
    one = await datasets.import_(1, "sums", upload(numbered(20)), author="ann")
    assert await datasets.import_(1, "sums", upload(numbered(20)), author="bob") == one
    other = await datasets.import_(1, "copy", upload(numbered(20)), author="ann")
    assert other.sha == one.sha


async def test_sides_never_change_across_versions(datasets: Datasets) -> None:
    sides: dict[str, Any] = {}
    for step in range(5):
        version = await datasets.import_(1, "sums", upload(numbered(40, step * 30)), author="ann")
        for example in await everything(datasets, version):
            assert sides.setdefault(example.id, example.split) == example.split
    rewritten = [
        {**row, "question": f"Say: {row['question']} Please be quick about it, I have no time."} for row in numbered(40)
    ]
    version = await datasets.import_(1, "sums", upload(rewritten), author="ann")
    for example in await everything(datasets, version):
        assert example.split in {None, sides[example.id]}
    parts = {split: await everything(datasets, version, split=split) for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in parts.items()} == {
        split: version.splits.get(split, 0) for split in parts
    }


async def test_what_was_removed_keeps_its_side(datasets: Datasets) -> None:
    one = await datasets.import_(1, "sums", upload(numbered(30)), author="ann")
    before = {example.id: example.split for example in await everything(datasets, one)}
    await datasets.remove(1, "sums", ["q3", "q4"], author="ann")
    again = await datasets.import_(1, "sums", upload(numbered(30)), author="ann")
    assert {example.id: example.split for example in await everything(datasets, again)} == before
    with pytest.raises(BadRequest, match="not every one"):
        await datasets.remove(1, "sums", ["q3", "nobody"], author="ann")


async def test_a_variation_is_on_the_side_of_its_seed(datasets: Datasets) -> None:
    one = await datasets.import_(1, "sums", upload(numbered(60)), author="ann")
    sides = {example.id: example.split for example in await everything(datasets, one)}
    made = [
        Example(id="", inputs={"question": f"{word} of a kind"}, origin="synthetic", metadata={"seed": f"q{at}"})
        for at, word in enumerate(["zebra", "quilt", "mortar", "violin", "hedge", "bishop", "cellar", "dynamo"])
    ]
    two = await datasets.append(1, "sums", made, author="ann", source="synthesis")
    for example in (await everything(datasets, two))[60:]:
        assert example.split == sides[example.metadata["seed"]]


async def test_every_wrong_row_is_told_at_once_and_nothing_is_stored(db: Database, datasets: Datasets) -> None:
    rows = (
        b'\xef\xbb\xbf{"question": "a", "answer": "b"}\n'
        + b"nope\n" * 25
        + b'{"question": 1, "answer": "b"}\n{"answer": "c"}\n'
    )
    with pytest.raises(BadRequest) as caught:
        await datasets.import_(1, "sums", upload(rows), author="ann")
    lines = caught.value.message.splitlines()
    assert lines[0] == "rows.jsonl: 27 rows are wrong, so nothing of it is stored"
    assert lines[1].startswith("row 2: no JSON")
    assert len(lines) == 22
    assert lines[-1] == "… and 7 more"
    assert await datasets.names(1) == []
    mixed: list[dict[str, Any]] = [
        {"question": "a", "answer": "b"},
        {"question": 1, "answer": "b"},
        {"question": "c", "answer": ["d"]},
    ]
    with pytest.raises(BadRequest, match=r"row 2: inputs.question is a number, and a text in row 1"):
        await datasets.import_(1, "sums", upload(mixed), author="ann")
    assert (await datasets.import_(1, "sums", upload(mixed, mixed=True), author="ann")).count == 3


async def test_ids_are_there_once(datasets: Datasets) -> None:
    rows = [*numbered(3), *numbered(2)]
    with pytest.raises(BadRequest, match=r"row 4: id 'q0' is there already, in row 1\nrow 5: id 'q1'"):
        await datasets.import_(1, "sums", upload(rows), author="ann")
    with pytest.raises(BadRequest) as caught:
        await datasets.import_(1, "sums", upload([{"answer": "1"}, *rows]), author="ann")
    assert [line.split(":")[0] for line in caught.value.message.splitlines()[1:]] == ["row 1", "row 5", "row 6"]
    assert "3 rows are wrong" in caught.value.message
    nameless = [{"question": row["question"], "answer": row["answer"]} for row in rows]
    version = await datasets.import_(1, "sums", upload(nameless), author="ann")
    assert (version.count, version.changes.repeated) == (3, 2)


async def test_schemas_hold_for_every_row(datasets: Datasets) -> None:
    form = {"type": "object", "required": ["question"], "properties": {"question": {"type": "string", "minLength": 3}}}
    await datasets.create(1, "strict", input_schema=form, output_schema={"enum": ["yes", "no"]})
    rows = [{"question": "ok?", "answer": "yes"}, {"question": "x", "answer": "maybe"}, {"other": "x", "answer": "no"}]
    with pytest.raises(BadRequest) as caught:
        await datasets.import_(1, "strict", upload(rows), author="ann")
    assert "row 2: inputs.question: " in caught.value.message
    assert "expected: " in caught.value.message
    assert "row 3: inputs: " in caught.value.message
    other = schema({"type": "object", "required": ["question", "context"]}, "task")
    with pytest.raises(BadRequest, match="context"):
        await datasets.import_(1, "loose", upload(rows[:1]), author="ann", schemas=(other, None))
    with pytest.raises(Conflict):
        await datasets.create(1, "strict")
    for wrong in ("", "a b", "../x", "x" * 101, "a@1"):
        with pytest.raises(BadRequest):
            await datasets.create(1, wrong)


async def test_parts_and_pages(datasets: Datasets) -> None:
    rows = [
        {**row, "language": "de" if at % 3 else "en", "tags": "hard,odd" if at % 2 else "even"}
        for at, row in enumerate(numbered(90))
    ]
    version = await datasets.import_(
        1,
        "sums",
        upload(rows, inputs=["question"], expected="answer", id="id", slices=["language"], tags="tags"),
        author="ann",
    )
    assert version.slices == {"language": {"de": 60, "en": 30}}
    assert version.tags == {"even": 45, "hard": 45, "odd": 45}
    assert len(await everything(datasets, version, tag="hard", slice=("language", "en"))) == 15
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = await datasets.page(version, Which(slice=("language", "de")), after=after, limit=7)
        seen += [example.id for example in page.examples]
        after = page.next
    assert seen == [f"q{at}" for at in range(90) if at % 3]


async def test_projects_do_not_see_each_other(datasets: Datasets) -> None:
    await datasets.import_(1, "sums", upload(numbered(5)), author="ann")
    await datasets.import_(2, "sums", upload(numbered(7)), author="eve")
    assert (await datasets.version(2, "sums")).count == 7
    with pytest.raises(NotFound, match="sums"):
        await datasets.version(1, "summs")
    await datasets.delete(2, "sums")
    assert [each.project_id for each in await datasets.list()] == [1]


async def test_shares_and_bounds(db: Database) -> None:
    few = Datasets(db, most=50)
    await few.create(1, "tests", shares=Shares.read("0/0/100"))
    version = await few.import_(1, "tests", upload(numbered(40)), author="ann")
    assert version.splits == {"test": 40}
    with pytest.raises(TooLarge):
        await few.import_(1, "tests", upload(numbered(40, 40)), author="ann")
    with pytest.raises(TooLarge):
        await few.import_(1, "others", upload(numbered(51)), author="ann")
    with pytest.raises(BadRequest, match="no example"):
        await few.import_(1, "others", upload(b"\n\n"), author="ann")


async def test_contents_are_sealed(db: Database) -> None:
    key, other = SealingKey(id="one", secret=b"1" * 32), SealingKey(id="two", secret=b"2" * 32)
    sealed = Datasets(db, seal=Seal([key]))
    version = await sealed.import_(
        1,
        "secret",
        upload([{**row, "question": f"rhododendron {row['question']}"} for row in numbered(30)]),
        author="ann",
    )
    rows = await db.rows("select content, sealed_by from dataset_examples")
    assert {row["sealed_by"] for row in rows} == {"one"}
    assert not [row for row in rows if b"rhododendron" in bytes(row["content"])]
    assert (await everything(sealed, version))[0].inputs["question"].startswith("rhododendron")
    with pytest.raises(Sealed):
        await everything(Datasets(db, seal=Seal([other])), version)
    assert (await sealed.import_(1, "secret", upload(numbered(5, 100)), author="ann")).count == 35
    assert await resealing.keys_used(db) == {"one": 36}
    ring = Seal([other, key])
    while await resealing.reseal(db, ring):
        pass
    assert await resealing.keys_used(db) == {"two": 36}
    renewed = Datasets(db, seal=Seal([other]))
    assert len(await everything(renewed, await renewed.version(1, "secret"))) == 35
    assert (await renewed.import_(1, "secret", upload(numbered(5, 200)), author="ann")).count == 40


async def test_two_imports_at_once_are_two_versions(datasets: Datasets) -> None:
    async def brought(at: int) -> None:
        await datasets.import_(1, "sums", upload(numbered(50, at * 50)), author="ann")

    async with asyncio.TaskGroup() as group:
        for at in range(4):
            group.create_task(brought(at))
    assert [each.count for each in await datasets.versions(1, "sums")] == [200, 150, 100, 50]


async def test_near_duplicates_of_real_questions_stay_together(datasets: Datasets) -> None:
    data = Path(__file__).parents[3] / "shared" / "data" / "banking77"
    if not data.is_dir():
        pytest.skip("the data of banking77 is not beside the checkout")
    raw = (data / "test.jsonl").read_bytes()
    version = await datasets.import_(1, "banking", upload(raw, inputs=["text"], expected="category"), author="ann")
    assert version.count >= 3_000
    sides: dict[str, set[Any]] = {}
    for example in await everything(datasets, version):
        plain = "".join(sign for sign in example.inputs["text"].casefold() if sign.isalnum())
        sides.setdefault(plain, set()).add(example.split)
    assert not [plain for plain, found in sides.items() if len(found) > 1]
