from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from loopwright.batches.batch import Tally
from loopwright.batches.journal import Answered, Journal
from loopwright.kit.blobs import Blobs
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import PLAIN, Seal

KEYED = Seal([SealingKey(id="k", secret=b"s" * 32)])


def answered(number: int, *, failed: bool = False, cost: int | None = 3) -> Answered:
    text = b'{"n": %d, "words": "secret words"}' % number
    return Answered(number=number, failed=failed, text=text, input_tokens=2, output_tokens=5, cost_nano=cost)


def test_what_was_added_is_there_again_and_in_the_order_of_the_input(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "b")
    for number in (7, 2, 9):
        journal.add(answered(number, failed=number == 9, cost=None if number == 2 else 3))
    journal.add(answered(7, failed=True))
    journal.close()
    again = Journal.open(tmp_path, "b")
    assert set(again.done) == {2, 7, 9}
    assert again.tally == Tally(completed=2, failed=1, input_tokens=6, output_tokens=15, cost_nano=6, unpriced=1)
    blobs = Blobs(tmp_path / "blobs")
    written = again.write(blobs, failed=False)
    assert written is not None
    name, size = written
    assert blobs.read(name) == answered(2).text + b"\n" + answered(7).text + b"\n"
    assert size == len(blobs.read(name))
    assert again.write(blobs, failed=True) is not None
    again.remove()
    assert Journal.open(tmp_path, "b").write(blobs, failed=False) is None


@given(cut=st.integers(0, 400), sealed=st.booleans())
def test_a_write_that_broke_off_is_cut_away(tmp_path_factory: object, cut: int, sealed: bool) -> None:  # noqa: FBT001
    folder: Path = tmp_path_factory.mktemp("journal")  # type: ignore[attr-defined]
    seal = KEYED if sealed else PLAIN
    journal = Journal.open(folder, "b", seal)
    ends = [0]
    for number in range(4):
        journal.add(answered(number))
        ends.append(journal.path.stat().st_size)
    journal.close()
    raw = journal.path.read_bytes()
    journal.path.write_bytes(raw[:cut])
    again = Journal.open(folder, "b", seal)
    whole = sum(end <= cut for end in ends) - 1
    assert len(again.done) == whole
    for number in range(4):
        again.add(answered(number))
    assert again.tally == Tally(completed=4, input_tokens=8, output_tokens=20, cost_nano=12)
    written = again.write(Blobs(folder / "blobs"), failed=False)
    assert written is not None
    assert Blobs(folder / "blobs").read(written[0]).count(b"\n") == 4
    again.close()


def test_texts_are_sealed_where_a_key_is(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "b", KEYED)
    journal.add(answered(1))
    assert b"secret words" not in journal.path.read_bytes()
    blobs = Blobs(tmp_path / "blobs", KEYED)
    written = journal.write(blobs, failed=False)
    assert written is not None
    assert b"secret words" not in blobs.place(written[0]).read_bytes()
    assert blobs.read(written[0]) == answered(1).text + b"\n"
    journal.close()
