"""Files read by a process of its own: one made to break its reader breaks that, and costs a bounded time and memory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

import msgspec

from loopwright.core.errors import StartError
from loopwright.documents.document import Parsed
from loopwright.documents.exchange import HEAD, Answer, Question, answers, questions
from loopwright.documents.limits import Limits
from loopwright.documents.records import Fields, Record
from loopwright.documents.unreadable import Unreadable

_PASSED: Final = ("PATH", "PYTHONPATH", "PYTHONHASHSEED", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "TZ")
"""Variables that the process sees; whatever else is secret here stays here."""
_START: Final = 60.0
"""Seconds until it must be ready, on a machine that is busy."""
_LASTS: Final = 500
"""Files that one process reads before another takes its place: readers leak."""
_SLACK: Final = 2_000_000
"""Bytes of an answer beside its text."""


class Reader:
    """Reads one file at a time; the process is started with the first, kept for the next, and replaced when it broke."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.started = 0
        """How many processes there have been."""
        self._child: _Child | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def read(self, data: bytes, name: str) -> Parsed:
        """What the file says. `name` is a hint and is never opened.

        Raises:
            Unreadable: nothing can be had from it, it is over a limit, or it broke its reader; says why.
            StartError: the process does not start.
        """
        answer = await self._ask(Question(name=name, limits=self.limits), data)
        if answer.parsed is None:
            raise Unreadable("broke its reader, which answered with nothing")
        return answer.parsed

    async def records(self, data: bytes, name: str, *, fields: Fields | None = None) -> Sequence[Record]:
        """The rows of a table or the objects of JSON, each as a document of its own.

        Raises:
            Unreadable: as `read`; or it has no rows.
            StartError: the process does not start.
        """
        return (await self._ask(Question(name=name, limits=self.limits, fields=fields or Fields()), data)).records

    async def close(self) -> None:
        """End the process, if there is one."""
        async with self._turn:
            await self._end()

    async def _ask(self, question: Question, data: bytes) -> Answer:
        if len(data) > self.limits.size:
            raise Unreadable(f"has {len(data):,} bytes, the limit is {self.limits.size:,}")
        async with self._turn:
            child = await self._ready()
            try:
                async with asyncio.timeout(self.limits.seconds * 2 + 5):
                    answer = await child.ask(question, data, self.limits.characters * 4 + _SLACK)
            except TimeoutError:
                await self._end()
                raise Unreadable(f"took more than {self.limits.seconds * 2 + 5:g} seconds to read") from None
            except (EOFError, OSError):
                raise Unreadable(_why(await child.end(), self.limits)) from None
            except BaseException:  # whoever asked gave up: nothing in the pipes is the answer to the next question
                await self._end()
                raise
        if answer.last:
            await self.close()
        if answer.unreadable is not None:
            raise Unreadable(answer.unreadable)
        return answer

    async def _ready(self) -> _Child:
        if self._child is not None and (self._child.gone or self._child.asked >= _LASTS):
            await self._end()
        if self._child is None:
            self._child = await _Child.start(self.limits)
            self.started += 1
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()


class _Child:
    """The process, and the pipes to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.asked = 0

    @classmethod
    async def start(cls, limits: Limits) -> Self:
        """Start one and wait until it is ready.

        Raises:
            StartError: it is not, in time.
        """
        process = await asyncio.create_subprocess_exec(
            # -P: what lies in the working directory is no module of ours
            *(sys.executable, "-P", "-m", "loopwright.documents.reading_child", str(os.getpid()), str(limits.memory)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _PASSED if name in os.environ},
            start_new_session=True,
        )
        child = cls(process)
        try:
            async with asyncio.timeout(_START):
                await child.heard(_SLACK)
        except (EOFError, OSError, TimeoutError):
            code = await child.end()
            raise StartError(
                f"the process that reads documents did not start (exit {code}); its log says why"
            ) from None
        except BaseException:
            await child.end()
            raise
        return child

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._process.returncode is not None

    async def ask(self, question: Question, data: bytes, longest: int) -> Answer:
        """Send a file and wait for what is in it.

        Raises:
            EOFError: it died, or says more than `longest` bytes, or something else than an answer.
            OSError: the same.
        """
        self.asked += 1
        assert self._process.stdin is not None
        head = questions.encode(question)
        self._process.stdin.writelines((HEAD.pack(len(head), len(data)), head, data))
        await self._process.stdin.drain()
        try:
            return answers.decode(await self.heard(longest))
        except msgspec.MsgspecError:
            raise EOFError from None

    async def heard(self, longest: int) -> bytes:
        """The next that it says."""
        assert self._process.stdout is not None
        length, _ = HEAD.unpack(await self._process.stdout.readexactly(HEAD.size))
        if length > longest:
            raise EOFError
        return await self._process.stdout.readexactly(length)

    async def end(self) -> int:
        """Kill it, unless it died already; its exit code."""
        if self._process.returncode is None:
            # What died by itself is given the moment until its exit code is there.
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    return await self._closed()
            with suppress(ProcessLookupError):
                self._process.kill()
        return await self._closed()

    async def _closed(self) -> int:
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code


def _why(code: int, limits: Limits) -> str:
    """What a dead process says about the file it was reading."""
    if code == -signal.SIGXCPU:
        return f"took more than {limits.seconds:g} seconds of CPU to read"
    if code == -signal.SIGKILL:
        return "was given up: its reader was killed, or said more than the limit allows"
    if code < 0:
        return f"broke its reader ({signal.Signals(-code).name}); it is broken, or needs more than {limits.memory // 1_000_000:,} MB"
    return f"broke its reader (exit {code})"
