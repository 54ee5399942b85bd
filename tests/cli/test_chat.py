"""`loopwright chat` from outside: one shot, piped, and by turns on a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.stand_in import SECRET, House, call

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_one_shot_prints_the_answer_alone(run: Run, house: House) -> None:
    done = run("chat", "-m", "hello", "--system", "Be kind.", "--temperature", "0", house=house)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello there!\n", "")
    body = house.asked[-1][2]
    assert body["model"] == "small"  # the first that can chat, not the first of the list
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["temperature"] == 0
    assert "seed" not in body


def test_what_is_piped_in_follows_the_message(run: Run, house: House) -> None:
    run("chat", "task/sum", "-m", "Summarise:", house=house, stdin="a long text\n")
    body = house.asked[-1][2]
    assert body["messages"] == [{"role": "user", "content": "Summarise:\n\na long text"}]
    assert body["model"] == "task/sum"


def test_json_tells_what_it_took(run: Run, house: House) -> None:
    told = json.loads(run("chat", "-m", "hello", "--json", house=house).stdout)
    assert (told["text"], told["output_tokens"], told["call_id"]) == ("Hello there!", 3, call(1)["id"])
    assert told["ttft_s"] > 0


def test_nothing_to_say_is_wrong_usage(run: Run, house: House) -> None:
    assert run("chat", house=house).returncode == 2
    assert run("chat", "--json", house=house).returncode == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("refuse", "too many requests; try again in 2 s"),
        ("error", "the engine died"),
        ("cut", "the answer broke off before its end"),
    ],
)
def test_a_failed_answer_is_one_line_and_exit_code_1(run: Run, house: House, fault: str, said: str) -> None:
    house.fault = fault
    done = run("chat", "-m", "hello", house=house)
    assert done.returncode == 1
    assert f"error: {said}" in done.stderr
    assert "Traceback" not in done.stderr


class Terminal:
    """The program on a pseudo-terminal: what is typed, and what has been shown."""

    def __init__(self, *arguments: str, env: dict[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "loopwright.cli.main", *arguments]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=cwd, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, text: str) -> None:
        """Read until `text` has been shown since the last `until`."""
        while text not in self.shown:
            readable, _, _ = select.select([self._ours], [], [], 60)
            try:
                piece = os.read(self._ours, 4096) if readable else b""
            except OSError:  # the program has ended
                piece = b""
            assert piece, f"waiting for {text!r}, shown: {self.shown!r}"
            self.shown += piece.decode("utf-8", "replace")
        self.shown = self.shown.split(text, 1)[1]

    def end(self) -> int:
        return self.process.wait(timeout=60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


Start = Callable[..., Terminal]


@pytest.fixture
def start(house: House, environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    begun: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        env = {**environment, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": SECRET}
        begun.append(Terminal(*arguments, env=env, cwd=tmp_path))
        return begun[-1]

    yield start
    for terminal in begun:
        terminal.close()


def test_a_conversation_by_turns(house: House, start: Start) -> None:
    terminal = start("chat")
    terminal.until("> ")
    terminal.type("first\n")
    terminal.until("Hello there!")
    terminal.until("TTFT")
    terminal.until("> ")
    terminal.type("second\n")
    terminal.until("TTFT")
    contents = [message["content"] for message in house.asked[-1][2]["messages"]]
    assert contents == ["first", "Hello there!", "second"]

    terminal.type("/system Be brief.\n")
    terminal.until("told first")
    terminal.type("/stats\n")
    terminal.until("2 answers")
    terminal.type("/rest\n")
    terminal.until("did you mean '/reset'?")
    terminal.type("/reset\n")
    terminal.until("forgotten")
    terminal.type("/model vectors\n")
    terminal.until("No model that can chat")
    terminal.type("/model small\n")
    terminal.until("Talking to small")
    terminal.type("third\n")
    terminal.until("TTFT")
    assert [message["content"] for message in house.asked[-1][2]["messages"]] == ["Be brief.", "third"]
    terminal.type("/quit\n")
    assert terminal.end() == 0


def test_control_c_stops_the_answer_and_not_the_program(house: House, start: Start) -> None:
    house.words, house.gap = ("word ",) * 100_000, 0.01
    terminal = start("chat", "small")
    terminal.until("> ")
    terminal.type("go on\n")
    terminal.until("word word")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("stopped")
    assert house.hung_up.wait(30)  # the server heard of it, so that the engine can stop
    house.words, house.gap = ("Yes",), 0.0
    terminal.type("still there?\n")
    terminal.until("Yes")
    spoken = [message["role"] for message in house.asked[-1][2]["messages"]]
    assert spoken == ["user", "assistant", "user"]
    terminal.until("TTFT")
    terminal.until("> ")  # typed before readline listens, Ctrl-D would be lost
    terminal.type("\x04")
    assert terminal.end() == 0


def test_a_failed_turn_does_not_end_the_conversation(house: House, start: Start) -> None:
    terminal = start("chat", "small")
    terminal.until("> ")
    house.fault = "refuse"
    terminal.type("lost\n")
    terminal.until("too many requests")
    house.fault = ""
    terminal.type("again\n")
    terminal.until("Hello there!")
    assert [message["content"] for message in house.asked[-1][2]["messages"]] == ["again"]
    terminal.until("TTFT")
    terminal.until("> ")  # typed before readline listens, Ctrl-D would be lost
    terminal.type("\x04")
    assert terminal.end() == 0
