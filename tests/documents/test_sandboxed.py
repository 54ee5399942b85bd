"""Files are read by a process that can open nothing; one that breaks it is refused with the reason, and the next is read."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.documents.limits import Limits
from loopwright.documents.records import Fields
from loopwright.documents.samples import samples
from loopwright.documents.sandboxed import Reader
from loopwright.documents.unreadable import Unreadable

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="its limits are Linux's")]

SLOW = b"<!doctype html><body>" + b"<p>One <b>bold</b> <i>word</i></p>" * 150_000
"""Seconds of CPU."""


def child_of(reader: Reader) -> int:
    assert reader._child is not None
    return reader._child._process.pid


async def reading(reader: Reader, data: bytes, name: str) -> asyncio.Task[object]:
    """A task that is in the middle of reading it."""
    task: asyncio.Task[object] = asyncio.ensure_future(reader.read(data, name))
    while reader._child is None or not reader._child.asked:  # noqa: ASYNC110 - it has no event for tests
        await asyncio.sleep(0.01)
    return task


async def test_one_process_reads_file_after_file() -> None:
    async with Reader() as reader:
        for name, data in samples():
            assert (await reader.read(data, name)).text.strip()
        with pytest.raises(Unreadable, match="a picture"):
            await reader.read(b"\x89PNG\r\n\x1a\n", "x.txt")
        found = await reader.records(b'{"body": "One", "say": "Two"}', "x.jsonl", fields=Fields(text="say"))
        assert [(record.id, record.text, record.metadata) for record in found] == [("1", "Two", {"body": "One"})]
        pages = (await reader.read(dict(samples())["a.pdf"], "a.pdf")).pages
        assert [page.number for page in pages] == [1]
        assert reader.started == 1


async def test_many_ask_at_once_and_each_gets_its_own() -> None:
    async with Reader() as reader:
        texts = [f"text {number} " * (number + 1) for number in range(40)]
        found = await asyncio.gather(*(reader.read(text.encode(), "x.txt") for text in texts))
        assert [parsed.text for parsed in found] == texts


async def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read() -> None:
    async with Reader(limits=Limits(seconds=0.1)) as reader:
        with pytest.raises(Unreadable, match=r"took more than 0.1 seconds of CPU"):
            await reader.read(SLOW, "x.html")
        assert (await reader.read(b"hello", "x.txt")).text == "hello"
        assert reader.started == 2


async def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_is_read() -> None:
    async with Reader(limits=Limits(memory=40_000_000)) as reader:
        with pytest.raises(Unreadable, match=r"memory|MB"):
            await reader.read(SLOW, "x.html")
        assert (await reader.read(b"hello", "x.txt")).text == "hello"


async def test_a_file_that_kills_its_reader_is_refused_and_the_next_is_read() -> None:
    async with Reader() as reader:
        task = await reading(reader, SLOW, "x.html")
        os.kill(child_of(reader), signal.SIGSEGV)
        with pytest.raises(Unreadable, match=r"broke its reader \(SIGSEGV\)"):
            await task
        assert (await reader.read(b"hello", "x.txt")).text == "hello"


async def test_a_reader_that_dies_between_files_is_replaced() -> None:
    async with Reader() as reader:
        await reader.read(b"hello", "x.txt")
        os.kill(child_of(reader), signal.SIGKILL)
        while not reader._child or not reader._child.gone:  # noqa: ASYNC110 - it has no event for tests
            await asyncio.sleep(0.01)
        assert (await reader.read(b"again", "x.txt")).text == "again"
        assert reader.started == 2


async def test_whoever_gives_up_leaves_no_answer_to_the_next() -> None:
    async with Reader() as reader:
        task = await reading(reader, SLOW, "x.html")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await reader.read(b"mine", "x.txt")).text == "mine"


async def test_limits_hold_in_the_process_too() -> None:
    async with Reader(limits=Limits(size=10, characters=5)) as reader:
        with pytest.raises(Unreadable, match="has 11 bytes, the limit is 10"):
            await reader.read(b"a" * 11, "x.txt")
        with pytest.raises(Unreadable, match="has 8 characters of text, the limit is 5"):
            await reader.read(b"one more", "x.txt")


async def test_the_process_sees_no_secret_and_ends_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_API_KEY", "lw-secret")
    async with Reader() as reader:
        await reader.read(b"hello", "x.txt")
        process = Path("/proc") / str(child_of(reader))
        assert b"lw-secret" not in (process / "environ").read_bytes()
    assert not process.exists()


CONFINED = """
import socket
from loopwright.documents.reading_child import confine, load
load()
confine(300_000_000)
for attempt in (lambda: open("/etc/hostname"), socket.socket, lambda: bytearray(400_000_000)):
    try:
        attempt()
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
"""


def test_what_is_confined_opens_no_file_and_no_connection() -> None:
    done = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["OSError", "OSError", "MemoryError"]
