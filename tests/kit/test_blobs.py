"""Blobs: what is read is what was stored, and nothing half-written is ever seen."""

import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import NotFound
from loopwright.kit.blobs import Blobs, DamagedBlob


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@given(st.binary(max_size=3000))
def test_what_is_put_is_read_back_under_its_hash(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    name = blobs.put(content)
    assert name == sha256(content).hexdigest()
    assert blobs.read(name) == content
    assert name in blobs


def test_bytes_files_and_pieces_are_stored_alike(blobs: Blobs) -> None:
    content = os.urandom(2_500_000)
    assert {blobs.put(content), blobs.put(io.BytesIO(content)), blobs.put(content[:9] + content[9:] for _ in "1")} == {
        sha256(content).hexdigest(),
    }
    assert list(blobs) == [sha256(content).hexdigest()]
    assert blobs.place(blobs.put(content)).relative_to(blobs.folder).parts[0] == sha256(content).hexdigest()[:2]


def test_storing_holds_one_piece_in_memory_and_tells_how_far_it_is(blobs: Blobs) -> None:
    told: list[int] = []
    pieces = (bytes(1_000_000) for _ in range(64))
    tracemalloc.start()
    blobs.put(pieces, progress=told.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    assert told == list(range(1_000_000, 65_000_000, 1_000_000))


@pytest.mark.anyio
async def test_pieces_that_arrive_are_stored(blobs: Blobs) -> None:
    async def arriving() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two ", b"three"):
            yield piece

    assert blobs.read(await blobs.receive(arriving())) == b"one two three"


def test_a_source_that_breaks_leaves_nothing(blobs: Blobs) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        blobs.put(breaking())
    assert list(blobs) == []
    assert list(blobs.incoming.iterdir()) == []


@pytest.mark.parametrize("damage", [b"changed", b""])
def test_damage_is_noticed_and_mended_by_storing_again(blobs: Blobs, damage: bytes) -> None:
    name = blobs.put(b"content")
    blobs.place(name).write_bytes(damage)
    with pytest.raises(DamagedBlob, match=name[2:]):
        blobs.read(name)
    with pytest.raises(DamagedBlob):
        blobs.open(name)
    blobs.put(b"content")
    with blobs.open(name) as file:
        assert file.read() == b"content"


def test_who_reads_is_not_disturbed_by_a_deletion(blobs: Blobs) -> None:
    name = blobs.put(b"content")
    with blobs.open(name) as file:
        assert blobs.delete(name)
        assert file.read() == b"content"
    assert not blobs.delete(name)
    assert name not in blobs
    with pytest.raises(NotFound, match=name):
        blobs.read(name)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "ab", "Z" * 64, "a" * 63 + "\n", "A" * 64])
def test_what_is_no_hash_names_no_blob(blobs: Blobs, name: str) -> None:
    assert name not in blobs
    for use in (blobs.read, blobs.open, blobs.delete, blobs.place):
        with pytest.raises(NotFound, match="names no blob"):
            use(name)


def test_only_what_is_old_and_unwanted_is_collected(blobs: Blobs) -> None:
    kept, old, young = blobs.put(b"kept"), blobs.put(b"old"), blobs.put(b"young")
    broken = blobs.incoming / "in-broken"
    broken.write_bytes(b"half")
    for path in (blobs.place(kept), blobs.place(old), broken):
        os.utime(path, (1, 1))
    assert blobs.collect({kept}) == [old]
    assert set(blobs) == {kept, young}
    assert not broken.exists()
