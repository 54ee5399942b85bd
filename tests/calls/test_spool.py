import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls.frames import HEAD_SIZE, OPENED, encode_into, parse
from loopwright.calls.record import Opened, Record
from loopwright.calls.segments import Segment, names_in
from loopwright.calls.spool import SEGMENT_SECONDS, Spool, used_bytes
from loopwright.core.errors import Unavailable

Making = Callable[..., Record]


def frame(record: Record | Opened) -> bytes:
    buffer = bytearray()
    encode_into(record, buffer)
    return bytes(buffer)


def segments(folder: Path) -> list[Segment]:
    return [Segment.open(folder / name) for name in names_in(folder)]


def records(folder: Path) -> list[Record]:
    found = []
    for segment in segments(folder):
        parsed, _ = segment.read(0)
        found += [frame.record() for frame in parsed.frames]
        segment.close()
    return found


def test_what_is_written_is_read(tmp_path: Path, make: Making) -> None:
    spool = Spool(tmp_path, 10**9)
    made = [make(f"prompt {number}") for number in range(10)]
    for record in made:
        spool.write(record)
    spool.write(Opened(record=made[0]))
    assert records(tmp_path) == [*made, made[0]]
    spool.close()


def test_a_living_owner_is_told_from_a_dead_one(tmp_path: Path, make: Making) -> None:
    spool = Spool(tmp_path, 10**9)
    spool.write(make())
    (segment,) = segments(tmp_path)
    assert not segment.ended()
    assert segment.read(0)[1] is False
    spool.close()
    assert segment.ended()
    assert segment.read(0)[1] is True
    segment.close()


def test_a_large_file_is_followed_by_another(tmp_path: Path, make: Making) -> None:
    spool = Spool(tmp_path, 100_000)
    for number in range(40):
        spool.write(make("x" * 1000 + str(number)))
    found = segments(tmp_path)
    assert len(found) > 2
    assert [segment.ended() for segment in found] == [True] * (len(found) - 1) + [False]
    for segment in found:
        segment.close()
    assert len(records(tmp_path)) == 40
    spool.close()


def test_an_idle_worker_lets_go_of_an_old_file(tmp_path: Path, make: Making) -> None:
    spool = Spool(tmp_path, 10**9)
    spool.write(make())
    spool.tick()
    assert len(names_in(tmp_path)) == 1
    spool._opened_at -= SEGMENT_SECONDS + 1
    spool.tick()
    assert len(names_in(tmp_path)) == 2
    spool._opened_at -= SEGMENT_SECONDS + 1
    spool.tick()
    assert len(names_in(tmp_path)) == 2, "an empty file is not followed by another"
    spool.close()


def test_a_full_spool_refuses_and_recovers(tmp_path: Path, make: Making) -> None:
    spool = Spool(tmp_path, 20_000)
    size = len(frame(make("y" * 2000)))
    kept = 20_000 // size
    for _ in range(kept):
        spool.write(make("y" * 2000))
    with pytest.raises(Unavailable, match="spool_limit") as caught:
        spool.write(make("y" * 2000))
    assert caught.value.retry_after is not None
    assert used_bytes(tmp_path) <= 20_000
    assert len(records(tmp_path)) == kept
    for name in names_in(tmp_path)[:-1]:
        (tmp_path / name).unlink()
    spool.write(make("y" * 2000))
    spool.close()


def test_a_closed_spool_refuses(tmp_path: Path, make: Making) -> None:
    spool = Spool(tmp_path, 10**9)
    spool.close()
    spool.close()
    with pytest.raises(Unavailable, match="stopping"):
        spool.write(make())


FULL_DISK = """
import json, sys
import msgspec
from pathlib import Path
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.core.errors import Unavailable

record = msgspec.msgpack.decode(bytes.fromhex(sys.argv[2]), type=Record)
spool, kept, refused = Spool(Path(sys.argv[1]), 10**9), 0, 0
for _ in range(20):
    try:
        spool.write(record)
        kept += 1
    except Unavailable:
        refused += 1
print(json.dumps([kept, refused]))
"""


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, make: Making) -> None:
    # A file may not grow beyond what ten and a half records take: the kernel then writes short, as a full disk does.
    record = make("z" * 3000)
    limit = len(frame(record)) * 10 + len(frame(record)) // 2

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code = [sys.executable, "-c", FULL_DISK, str(tmp_path), frame(record)[HEAD_SIZE:].hex()]
    done = subprocess.run(code, capture_output=True, text=True, check=True, preexec_fn=limited)
    assert done.stdout.strip() == "[10, 10]"
    (segment,) = segments(tmp_path)
    found, ended = segment.read(0)
    assert (len(found.frames), found.torn, found.damaged, ended) == (10, 0, [], True)
    segment.close()


def test_names_that_are_no_spool_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "drain.lock").touch()
    hidden = tmp_path / f".{'a' * 32}-00000000.spool"
    hidden.touch()
    assert names_in(tmp_path) == []
    assert hidden.exists(), "it may be just being made"
    os.utime(hidden, (1, 1))
    names_in(tmp_path)
    assert not hidden.exists()


@given(data=st.data())
def test_a_cut_file_yields_every_whole_record(data: st.DataObject) -> None:
    frames = data.draw(st.lists(st.binary(min_size=0, max_size=60), min_size=1, max_size=6))
    made = [frame(_record(body)) for body in frames]
    whole = b"".join(made)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [sum(map(len, made[: number + 1])) for number in range(len(made))]
    complete = sum(end <= cut for end in ends)
    found = parse(whole[:cut], last=True)
    assert [one.record().request for one in found.frames] == frames[:complete]
    assert (found.used, found.damaged) == (cut, [])
    assert found.torn == cut - (ends[complete - 1] if complete else 0)
    waiting = parse(whole[:cut], last=False)
    assert waiting.frames == found.frames
    assert waiting.used == cut - found.torn


@given(garbage=st.binary(min_size=1, max_size=80), at=st.integers(0, 3))
def test_damage_costs_only_what_it_covers(garbage: bytes, at: int) -> None:
    bodies = [bytes([number]) * 40 for number in range(3)]
    made = [frame(_record(body)) for body in bodies]
    found = parse(b"".join([*made[:at], garbage, *made[at:]]), last=True)
    assert [one.record().request for one in found.frames] == bodies
    assert sum(end - start for start, end in found.damaged) + found.torn == len(garbage)


def test_a_flipped_bit_is_noticed(make: Making) -> None:
    good = frame(make("good"))
    bad = bytearray(frame(make("bad")))
    bad[HEAD_SIZE + 20] ^= 1
    found = parse(bytes(bad) + good, last=False)
    assert len(found.frames) == 1
    assert found.damaged == [(0, len(bad))]


def test_an_opened_stream_has_its_own_kind(make: Making) -> None:
    (found,) = parse(frame(Opened(record=make())), last=False).frames
    assert found.kind == OPENED


def _record(body: bytes) -> Record:
    return Record(
        id="", started_ns=0, project_id=0, key_id=0, operation="", model="", target="", provider="", outcome="ok",
        status=0, error_code=None, error=None, stream=False, ttft_us=None, latency_us=0, input_tokens=0,
        output_tokens=0, cached_tokens=0, reasoning_tokens=0, usage_estimated=False, cost_nano=None, price_source=None,
        client="", session=None, trace_id="", span_id="", parent_id=None, task=None, variant=None, prompt_version=None,
        tags={}, request=body, answer=b"",
    )  # fmt: skip
