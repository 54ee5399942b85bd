"""Calls of a stranger's function in processes of their own: one that never returns, or dies, costs its own call only."""

from __future__ import annotations

import asyncio
import builtins
import os
import pickle
import select
import struct
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

AT_ONCE: Final = 4
"""Processes of one function at most."""
_IMPORT: Final = 120.0
"""Seconds that a process may take to start and to import the function."""
_LARGEST: Final = 16_000_000
"""Bytes of what a function may give."""
_LENGTH: Final = struct.Struct("!Q")


class Apart:
    """A function of Python by its name, `module:function`. Its processes start when it is first called."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._idle: list[_Child] = []
        self._every: set[_Child] = set()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="function")
        weakref.finalize(self, _let_go, self._threads, self._every)

    async def call(self, *given: Any, seconds: float, **named: Any) -> Any:
        """What the function gives, which may be async.

        Raises:
            TimeoutError: it took longer; its process was killed.
            ChildProcessError: its process died.
            Exception: what it raised, by its name.
        """
        asked = pickle.dumps((given, named))
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._called, asked, seconds)

    def _called(self, asked: bytes, seconds: float) -> Any:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        if child is None:
            child = _Child(self._function)
            with self._lock:
                self._every.add(child)
        try:
            child.ready()
            worked, found = child.ask(asked, seconds)
        except BaseException:
            child.kill()
            with self._lock:
                self._every.discard(child)
            raise
        with self._lock:
            self._idle.append(child)
        if worked:
            return pickle.loads(found)  # noqa: S301 - of a program that the house's own configuration names
        raise _raised(*pickle.loads(found))  # noqa: S301 - as above


class _Child:
    """One process, which does one call at a time."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._imported = False
        command = [sys.executable, "-m", "loopwright.evals.apart_child"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own

    def ready(self) -> None:
        """See that it has the function."""
        if not self._imported:
            self.ask(pickle.dumps((self._function, sys.path)), _IMPORT)
            self._imported = True

    def ask(self, asked: bytes, seconds: float) -> tuple[bool, bytes]:
        """Whether it worked, and what came of it, pickled."""
        end = time.monotonic() + seconds
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_LENGTH.pack(len(asked)) + asked)
            self._process.stdin.flush()
        except OSError:
            raise self._died() from None
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, end, seconds))
        if length > _LARGEST:
            raise ValueError(f"the function gave {length:,} bytes; {_LARGEST:,} are the most")
        said = self._read(length, end, seconds)
        return said[:1] == b"+", said[1:]

    def _read(self, count: int, end: float, seconds: float) -> bytes:
        assert self._process.stdout is not None
        handle, found = self._process.stdout.fileno(), bytearray()
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while len(found) < count:
            if not poll.poll(max(end - time.monotonic(), 0.0) * 1000):
                raise TimeoutError(f"the function took longer than {seconds:g} s, and was stopped")
            piece = os.read(handle, min(count - len(found), 1 << 20))
            if not piece:
                raise self._died()
            found += piece
        return bytes(found)

    def _died(self) -> ChildProcessError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return ChildProcessError(f"the process of the function ended by itself ({self._process.returncode})")

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _let_go(threads: ThreadPoolExecutor, every: set[_Child]) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for child in [*every]:
        child.kill()


def _raised(name: str, said: str) -> Exception:
    """An exception that is called and says what one of the other process was and said."""
    known = getattr(builtins, name, None)
    base = known if isinstance(known, type) and issubclass(known, Exception) else Exception
    for each in (base, Exception):
        made: type[Exception] = type(name, (each,), {"__str__": lambda _self: said})
        with suppress(TypeError):  # a few take more than one text
            return made(said)
    return RuntimeError(said)
