"""Child processes that are started, watched, restarted and stopped. Knows nothing of what they do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from loopwright.core.errors import StartError
from loopwright.kit import leash
from loopwright.kit.rotating import RotatingLog

State = Literal["starting", "healthy", "unhealthy", "waiting", "stopping", "stopped", "failed"]
"""starting: running, not ready yet. unhealthy: was ready, fails its checks. waiting: exited, a restart is due.
failed: exited and will not be restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, and how to tell that it is well."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to this process's environment. Secrets belong here, not in `command`, which every user can read."""
    log: Path
    """Its output goes here; the file is bounded."""
    ready: Callable[[], Awaitable[bool]] | None = None
    """Whether it answers; asked until True after a start, then every `check_every` seconds. None: running is ready."""
    grace: float = 10.0
    """Seconds from SIGTERM to SIGKILL."""
    restart: bool = True
    check_every: float = 5.0
    """Seconds between health checks."""
    give_up_after: float = 60.0
    """Seconds of failing health checks after which a running program is killed and started again."""
    start_within: float = 600.0
    """Seconds a start may take until it is ready, after which it is killed and started again."""
    pass_fds: tuple[int, ...] = ()
    """File descriptors it inherits, e.g. a listening socket that outlives a restart."""
    stage: int = 0
    """`stop_all` stops the highest stage first: give those who use others a higher one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a restart, in seconds."""

    first: float = 1.0
    most: float = 30.0
    calm: float = 60.0
    """A program healthy for this long has earned a fresh start at `first`."""

    def wait(self, failures: int) -> float:
        """The delay after the n-th failure in a row, with ±25 % jitter so that many do not return in step."""
        return min(self.first * 2.0 ** min(failures - 1, 30), self.most) * random.uniform(0.75, 1.25)  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a program is doing."""

    name: str
    state: State
    pid: int | None
    healthy: bool
    restarts: int
    since: datetime
    """When it came into this state."""
    last_exit: str | None
    """Why it ended the last time, in words."""


class Process:
    """One program under supervision. Made by `Supervisor.start`."""

    def __init__(self, program: Program, backoff: Backoff) -> None:
        self.program = program
        self._backoff = backoff
        self._log = RotatingLog(program.log)
        self._state: State = "starting"
        self._since = datetime.now(UTC)
        self._restarts = 0
        self._last_exit: str | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {program.name}")

    @property
    def status(self) -> Status:
        """A snapshot."""
        running = self._child is not None and self._child.returncode is None
        return Status(
            name=self.program.name,
            state=self._state,
            pid=self._child.pid if running and self._child is not None else None,
            healthy=self._state == "healthy",
            restarts=self._restarts,
            since=self._since,
            last_exit=self._last_exit,
        )

    def last_lines(self, count: int = 20) -> list[str]:
        """The newest lines of its output."""
        return self._log.last(count)

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the error names the program
        """Wait until it is healthy; `timeout` in seconds, None waits as long as starting may take.

        Raises:
            StartError: it ended before it was ready (with its last lines; the supervisor goes on trying when the
                program restarts), or was not ready in time.
        """
        try:
            async with asyncio.timeout(timeout):
                while self._state != "healthy":
                    if self._state in {"waiting", "failed", "stopping", "stopped"}:
                        raise StartError(self._complaint(f"{self._last_exit or self._state} before it was ready"))
                    await self._changed.wait()
        except TimeoutError:
            raise StartError(self._complaint(f"was not ready within {timeout:g} s")) from None

    def _complaint(self, what: str) -> str:
        lines = "\n".join(f"  {line}" for line in self.last_lines())
        return f"{self.program.name} {what} (log: {self.program.log})" + (
            f"; its last lines:\n{lines}" if lines else ""
        )

    async def stop(self) -> None:
        """SIGTERM, wait for the grace, SIGKILL its whole process group. Returns when it is gone; twice is once."""
        self._stopping.set()
        await asyncio.shield(self._watcher)

    def _become(self, state: State) -> None:
        if state != self._state:
            self._state, self._since = state, datetime.now(UTC)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _watch(self) -> None:
        """The life of the program: run, learn how it ended, wait, run again."""
        failures = 0
        try:
            while not self._stopping.is_set():
                healthy_for = await self._run_once()
                if self._stopping.is_set():
                    break
                if not self.program.restart:
                    self._become("failed")
                    return
                failures = 1 if healthy_for >= self._backoff.calm else failures + 1
                self._become("waiting")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._backoff.wait(failures))
                    break
                self._restarts += 1
            self._become("stopped")
        finally:
            self._log.close()

    async def _run_once(self) -> float:
        """Run until it ends or is told to; returns the seconds it was healthy."""
        self._become("starting")
        try:
            child, reading = await self._spawn()
        except OSError as error:  # no more processes, descriptors or memory: may pass
            self._last_exit = f"could not be started: {error.strerror}"
            return 0.0
        self._child = child
        copying = asyncio.create_task(self._copy_output(reading))
        checking = asyncio.create_task(self._check())
        ended = asyncio.create_task(child.wait())
        told = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, told, checking}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                checking.cancel()
                await self._terminate(child, graceful=told.done())
            self._last_exit = self._last_exit_in_words(checking, child, told=told.done())
        finally:
            checking.cancel()
            told.cancel()
            _kill_group(child.pid)  # grandchildren that outlived it
            await child.wait()
            with contextlib.suppress(TimeoutError):  # a stranger may still hold the pipe
                await asyncio.wait_for(copying, 2.0)
        with contextlib.suppress(asyncio.CancelledError):
            await checking
        return (datetime.now(UTC) - self._since).total_seconds() if self._state == "healthy" else 0.0

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, int]:
        """The child, and the descriptor its output is read from."""
        # A pipe of our own: asyncio's would hide the end of a program whose children still hold its output.
        reading, writing = os.pipe()
        try:
            # The death signal follows the thread that forks: the event loop must live as long as the house does.
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(int(signal.SIGTERM))),
                *self.program.command,
                env={**os.environ, **self.program.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.program.pass_fds,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return child, reading

    def _last_exit_in_words(self, checking: asyncio.Task[str], child: asyncio.subprocess.Process, *, told: bool) -> str:
        if told:
            return "was stopped"
        if checking.done() and not checking.cancelled() and checking.exception() is None:
            return checking.result()
        return in_words(child.returncode)

    async def _terminate(self, child: asyncio.subprocess.Process, *, graceful: bool) -> None:
        if graceful:
            self._become("stopping")
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), self.program.grace)
        except TimeoutError:
            _kill_group(child.pid)
            await child.wait()

    async def _copy_output(self, reading: int) -> None:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(reading, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while data := await reader.read(65536):
                self._log.write(data)
        finally:
            transport.close()

    async def _check(self) -> str:
        """Ask for its health for as long as it runs; returns only to say why it must be killed."""
        begun = time.monotonic()
        pause = 0.02
        while not await self._answers():
            if time.monotonic() - begun > self.program.start_within:
                return f"was not ready {self.program.start_within:g} s after its start"
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        self._become("healthy")
        failing_since: float | None = None
        while True:
            await asyncio.sleep(self.program.check_every)
            if await self._answers():
                failing_since = None
                if self._state == "unhealthy":
                    self._become("healthy")
                continue
            now = time.monotonic()
            failing_since = now if failing_since is None else failing_since
            self._become("unhealthy")
            if now - failing_since >= self.program.give_up_after:
                return f"did not answer its health checks for {self.program.give_up_after:g} s"

    async def _answers(self) -> bool:
        if self.program.ready is None:
            return True
        try:
            async with asyncio.timeout(max(self.program.check_every, 5.0)):
                return await self.program.ready()
        except Exception:  # noqa: BLE001 - an edge: whatever a health check raises means "not well"
            return False


class Supervisor:
    """Starts programs and keeps them running. They die with this process, also when it is killed."""

    def __init__(self, *, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._processes: dict[str, Process] = {}

    async def start(self, program: Program) -> Process:
        """Begin to run `program` and watch it; returns at once (`await process.ready()` waits).

        Raises:
            StartError: a program of this name is already running.
        """
        known = self._processes.get(program.name)
        if known is not None and known.status.state not in {"stopped", "failed"}:
            raise StartError(f"a process named {program.name!r} is already running")
        process = self._processes[program.name] = Process(program, self._backoff)
        await asyncio.sleep(0)
        return process

    @property
    def processes(self) -> Mapping[str, Process]:
        """Every process by the name of its program."""
        return self._processes

    def status(self) -> list[Status]:
        """How each program is doing, in the order they were started."""
        return [process.status for process in self._processes.values()]

    async def stop_all(self) -> None:
        """Stop everything, the highest stage first; programs of one stage stop together."""
        for stage in sorted({process.program.stage for process in self._processes.values()}, reverse=True):
            same = [process for process in self._processes.values() if process.program.stage == stage]
            await asyncio.gather(*(process.stop() for process in same))


def in_words(code: int | None) -> str:
    """An exit status for people: `ended with status 3`, `was killed by SIGKILL (out of memory?)`."""
    if code is None:
        return "is running"
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (by hand or out of memory)" if -code == signal.SIGKILL else "")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
