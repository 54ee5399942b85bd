"""Real child processes: started, watched, restarted, stopped, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from loopwright.core.errors import StartError
from loopwright.kit.processes import Backoff, Program, Supervisor, in_words

QUICK = Backoff(first=0.02, most=0.05, calm=60)


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", textwrap.dedent(code)]


def program(tmp_path: Path, code: str, name: str = "child", **more: Any) -> Program:
    return Program(name=name, command=python(code), log=tmp_path / f"{name}.log", **more)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.anyio
async def test_it_runs_until_stopped_with_its_output_on_record(tmp_path: Path) -> None:
    supervisor = Supervisor()
    code = "import os, time; print('hello from', os.environ['WHO']); time.sleep(60)"
    process = await supervisor.start(program(tmp_path, code, env={"WHO": "a test"}))
    await process.ready(20)
    await until(lambda: process.last_lines() == ["hello from a test"])
    status = process.status
    assert (status.state, status.healthy, status.restarts, status.last_exit) == ("healthy", True, 0, None)
    assert status.pid is not None
    await supervisor.stop_all()
    assert gone(status.pid)
    assert (process.status.state, process.status.pid, process.status.last_exit) == ("stopped", None, "was stopped")
    assert (tmp_path / "child.log").read_text() == "hello from a test\n"
    assert (tmp_path / "child.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_ready_waits_for_the_check(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    asked = 0

    async def ready() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ConnectionRefusedError
        return flag.exists()

    supervisor = Supervisor()
    process = await supervisor.start(program(tmp_path, "import time; time.sleep(60)", ready=ready))
    await until(lambda: asked > 3)
    assert process.status.state == "starting"
    flag.touch()
    await process.ready(20)
    assert process.status.healthy
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_an_end_before_ready_is_told_with_the_last_lines(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    supervisor = Supervisor(backoff=QUICK)
    process = await supervisor.start(
        program(tmp_path, "import sys; print('no such weights'); sys.exit(3)", ready=never, restart=False)
    )
    with pytest.raises(StartError, match=r"child ended with status 3 before it was ready(.|\n)*no such weights"):
        await process.ready(20)
    assert process.status.state == "failed"
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_not_ready_in_time_is_an_error_that_names_the_time(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    supervisor = Supervisor()
    process = await supervisor.start(program(tmp_path, "import time; time.sleep(60)", ready=never))
    with pytest.raises(StartError, match=r"within 0\.2 s"):
        await process.ready(0.2)
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_killed_it_is_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor(backoff=QUICK)
    process = await supervisor.start(program(tmp_path, "import time; time.sleep(60)"))
    await process.ready(20)
    pid = process.status.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: process.status.restarts == 1 and process.status.healthy)
    assert process.status.pid != pid
    assert process.status.last_exit == "was killed by SIGKILL (by hand or out of memory)"
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    supervisor = Supervisor(backoff=QUICK)

    async def never() -> bool:
        return False

    process = await supervisor.start(
        Program(name="x", command=["/nowhere/at-all"], log=tmp_path / "x.log", ready=never)
    )
    with pytest.raises(StartError, match=r"cannot start /nowhere/at-all: No such file"):
        await process.ready(20)
    await until(lambda: process.status.restarts > 1)  # it goes on trying: the command may come
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_sigterm_lets_it_finish_and_sigkill_ends_what_will_not(tmp_path: Path) -> None:
    finishes = """
        import signal, sys, time
        def leave(*_):
            time.sleep(0.1); print('finished'); sys.exit(0)
        signal.signal(signal.SIGTERM, leave); print('up')
        while True: time.sleep(1)
    """
    refuses = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    supervisor = Supervisor()
    good = await supervisor.start(program(tmp_path, finishes, "good", grace=20))
    bad = await supervisor.start(program(tmp_path, refuses, "bad", grace=0.2))
    await until(lambda: "up" in good.last_lines() and "up" in bad.last_lines())
    await supervisor.stop_all()
    assert good.last_lines() == ["up", "finished"]
    assert bad.status.state == "stopped"


@pytest.mark.anyio
async def test_grandchildren_go_too(tmp_path: Path) -> None:
    code = """
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)
        time.sleep(60)
    """
    supervisor = Supervisor(backoff=QUICK)
    process = await supervisor.start(program(tmp_path, code))
    await until(process.last_lines)
    grandchild = int(process.last_lines()[0])
    assert not gone(grandchild)
    os.kill(process.status.pid or 0, signal.SIGKILL)  # its end is noticed though the output is still held open
    await until(lambda: process.status.restarts == 1)
    assert gone(grandchild)
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_stages_stop_from_the_top(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = """
        import signal, sys, time
        def leave(*_):
            open({order!r}, 'a').write({name!r} + ' '); sys.exit(0)
        signal.signal(signal.SIGTERM, leave); print('up')
        while True: time.sleep(1)
    """
    supervisor = Supervisor()
    for name, stage in (("middle", 1), ("first", 2), ("last", 0)):
        await supervisor.start(program(tmp_path, code.format(order=str(order), name=name), name, stage=stage))
    await until(lambda: all(process.last_lines() for process in supervisor.processes.values()))
    await supervisor.stop_all()
    assert order.read_text().split() == ["first", "middle", "last"]


@pytest.mark.anyio
async def test_one_that_stops_answering_is_replaced(tmp_path: Path) -> None:
    deaf: set[int | None] = set()
    supervisor = Supervisor(backoff=QUICK)

    async def ready() -> bool:
        return process.status.pid not in deaf

    process = await supervisor.start(
        program(tmp_path, "import time; time.sleep(60)", ready=ready, check_every=0.02, give_up_after=0.1, grace=5)
    )
    await process.ready(20)
    deaf.add(process.status.pid)
    await until(lambda: process.status.restarts == 1 and process.status.healthy)
    assert "did not answer its health checks" in (process.status.last_exit or "")
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_one_that_answers_again_is_left_alone(tmp_path: Path) -> None:
    well = True
    supervisor = Supervisor()

    async def ready() -> bool:
        return well

    process = await supervisor.start(
        program(tmp_path, "import time; time.sleep(60)", ready=ready, check_every=0.02, give_up_after=60)
    )
    await process.ready(20)
    well = False
    await until(lambda: process.status.state == "unhealthy")
    well = True
    await until(lambda: process.status.healthy)
    assert process.status.restarts == 0
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_a_name_is_taken_while_it_runs(tmp_path: Path) -> None:
    supervisor = Supervisor()
    process = await supervisor.start(program(tmp_path, "import time; time.sleep(60)"))
    with pytest.raises(StartError, match="already running"):
        await supervisor.start(program(tmp_path, "pass"))
    await process.stop()
    again = await supervisor.start(program(tmp_path, "import time; time.sleep(60)"))
    await again.ready(20)
    await supervisor.stop_all()


@pytest.mark.anyio
async def test_an_inherited_descriptor_has_its_number(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    supervisor = Supervisor()
    await supervisor.start(
        program(tmp_path, f"import os; os.write({writing}, b'here')", pass_fds=(writing,), restart=False)
    )
    os.close(writing)
    assert await asyncio.to_thread(os.read, reading, 10) == b"here"
    os.close(reading)
    await supervisor.stop_all()


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = f"""
        import asyncio, sys
        from pathlib import Path
        from loopwright.kit.processes import Program, Supervisor
        async def main():
            command = [sys.executable, '-c', 'import time; time.sleep(120)']
            process = await Supervisor().start(Program(name='x', command=command, log=Path({str(tmp_path)!r}) / 'x.log'))
            await process.ready()
            print(process.status.pid, flush=True)
            await asyncio.sleep(120)
        asyncio.run(main())
    """
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert not gone(child)
        supervisor.kill()
    deadline = time.monotonic() + 20
    while not gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_waits_double_up_to_a_bound_with_jitter() -> None:
    backoff = Backoff()
    for failures, middle in ((1, 1), (2, 2), (3, 4), (6, 30), (1000, 30)):
        waits = [backoff.wait(failures) for _ in range(50)]
        assert all(0.75 * middle <= wait <= 1.25 * middle for wait in waits)
        assert len(set(waits)) > 1


def test_an_exit_in_words() -> None:
    assert in_words(0) == "ended with status 0"
    assert in_words(-11) == "was killed by SIGSEGV"
    assert in_words(None) == "is running"
